//! `ConnectionLimits`: how many connections may be open, in total and per key.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connection::Connections;
#[cfg(feature = "tls")]
use crate::connection::handshake;
use crate::short_answer::{ANSWER_TIME, answer};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// The most refused connections that are answered at one time. Others are closed at once.
const MAX_REFUSALS: usize = 128;

/// The least `Retry-After` of a refusal, in seconds. Each has a random one, up to twice this, so that the
/// clients do not all return at the same time.
const RETRY_AFTER: u64 = 5;

const REFUSAL: &str = "{\"status\":503,\"title\":\"Service Unavailable\",\"code\":\"too-many-connections\",\
                       \"detail\":\"too many connections are open\"}";

/// The connections of a server that are open, and how many may be.
pub(crate) struct ConnectionLimits<A> {
    pub(crate) max: usize,
    max_per_key: usize,
    key: Option<Box<Key<A>>>,
    open: Arc<Mutex<OpenCounts>>,
}

type Key<A> = dyn Fn(&A) -> Option<String> + Send + Sync;

#[derive(Debug, Default)]
struct OpenCounts {
    connections: usize,
    by_key: HashMap<Box<str>, usize>,
}

/// The limit that a connection reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitReached {
    Total,
    PerKey,
}

impl<A> ConnectionLimits<A> {
    pub(crate) fn max_per_key(
        &mut self,
        max: usize,
        key: impl Fn(&A) -> Option<String> + Send + Sync + 'static,
    ) {
        self.max_per_key = max;
        self.key = Some(Box::new(key));
    }

    /// Counts a connection until the permit is dropped.
    pub(crate) fn admit(&self, peer: &A) -> Result<ConnectionPermit, LimitReached> {
        let key = self.key.as_ref().and_then(|key| key(peer));
        let key = key.map(String::into_boxed_str);
        let mut open = lock(&self.open);
        if open.connections >= self.max {
            return Err(LimitReached::Total);
        }
        if let Some(key) = &key {
            let of_key = open.by_key.get(key).copied().unwrap_or_default();
            if of_key >= self.max_per_key {
                return Err(LimitReached::PerKey);
            }
            open.by_key.insert(key.clone(), of_key + 1);
        }
        open.connections += 1;
        Ok(ConnectionPermit {
            open: Arc::clone(&self.open),
            key,
        })
    }
}

impl<A> Default for ConnectionLimits<A> {
    fn default() -> Self {
        Self {
            max: usize::MAX,
            max_per_key: usize::MAX,
            key: None,
            open: Arc::default(),
        }
    }
}

/// A connection that counts towards the limits until this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    open: Arc<Mutex<OpenCounts>>,
    key: Option<Box<str>>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.connections -= 1;
        let Some(key) = &self.key else {
            return;
        };
        let of_key = open.by_key.get_mut(key);
        let of_key = of_key.unwrap_or_else(|| unreachable!("a key is known while it counts"));
        *of_key -= 1;
        // An unused key costs no memory.
        if *of_key == 0 {
            open.by_key.remove(key);
        }
    }
}

fn lock(open: &Mutex<OpenCounts>) -> MutexGuard<'_, OpenCounts> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections over a limit that are being answered.
#[derive(Debug, Default)]
pub(crate) struct Refusals(JoinSet<()>);

impl Refusals {
    /// Answers 503 and closes the connection, or only closes it while too many others are answered.
    pub(crate) fn refuse<IO>(
        &mut self,
        io: IO,
        peer: &impl fmt::Debug,
        limit: LimitReached,
        connections: &Connections,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limit = match limit {
            LimitReached::Total => "total",
            LimitReached::PerKey => "key",
        };
        counter!("tidings_axum_connections_refused_total", "limit" => limit).increment(1);
        tracing::debug!(?peer, limit, "too many connections are open");
        while self.0.try_join_next().is_some() {}
        if self.0.len() < MAX_REFUSALS {
            let refused = refuse(io, connections);
            self.0.spawn(async {
                // A client that takes longer, or that has left, gets no answer.
                timeout(ANSWER_TIME, refused).await.ok();
            });
        }
    }
}

/// Over TLS, its handshake is a part of the answer.
#[cfg(feature = "tls")]
fn refuse<IO>(io: IO, connections: &Connections) -> impl Future<Output = io::Result<()>> + use<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let config = connections.tls.as_ref().map(Tls::http1);
    async {
        match config {
            Some(config) => answer(handshake(io, config, None).await?, refusal).await,
            None => answer(io, refusal).await,
        }
    }
}

#[cfg(not(feature = "tls"))]
fn refuse<IO>(io: IO, _: &Connections) -> impl Future<Output = io::Result<()>> + use<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    answer(io, refusal)
}

/// The answer to a request that begins like this.
fn refusal(request: &[u8]) -> String {
    let retry_after = fastrand::u64(RETRY_AFTER..=2 * RETRY_AFTER);
    let request = request.to_ascii_lowercase();
    // An `EventSource` would give up for ever after a 503.
    if request.starts_with(b"get ") && contains(&request, b"text/event-stream") {
        let retry = retry_after * 1000;
        return format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncache-control: no-store\r\n\
             content-type: text/event-stream\r\n\r\nretry: {retry}\n\n"
        );
    }
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {retry_after}\r\nconnection: close\r\n\
         content-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{REFUSAL}",
        REFUSAL.len()
    )
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_name(limits: &mut ConnectionLimits<&'static str>, max: usize) {
        limits.max_per_key(max, |peer| (!peer.is_empty()).then(|| (*peer).to_owned()));
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let mut limits = ConnectionLimits {
            max: 3,
            ..ConnectionLimits::default()
        };
        by_name(&mut limits, 2);
        let of_a = ["a", "a"].map(|peer| limits.admit(&peer).unwrap());
        assert_eq!(limits.admit(&"a").unwrap_err(), LimitReached::PerKey);
        let of_none = limits.admit(&"").unwrap();
        assert_eq!(limits.admit(&"b").unwrap_err(), LimitReached::Total);
        assert_eq!(lock(&limits.open).connections, 3);
        drop(of_a);
        assert!(lock(&limits.open).by_key.is_empty());
        drop((limits.admit(&"b").unwrap(), of_none));
        assert_eq!(lock(&limits.open).connections, 0);
        assert!(lock(&limits.open).by_key.is_empty());
    }

    #[test]
    fn only_an_event_source_is_asked_to_come_back_later() {
        let stream = "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
        let answer = refusal(stream.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\n\r\nretry: "), "{answer}");
        for other in [&stream.replace("GET", "POST"), "GET / HTTP/1.1\r\n\r\n", ""] {
            let answer = refusal(other.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        }
    }

    #[test]
    fn a_peer_without_a_key_counts_only_in_total() {
        let mut limits = ConnectionLimits::default();
        by_name(&mut limits, 0);
        let permits = [(); 10].map(|()| limits.admit(&"").unwrap());
        assert_eq!(limits.admit(&"a").unwrap_err(), LimitReached::PerKey);
        drop(permits);
    }
}
