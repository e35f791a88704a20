//! `Publisher`: sends an event until the server confirms it.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tidings::client::http::header::CONNECTION;
use tidings::client::http::{Response, Uri, Version};
use tidings::client::{self, SseClient, StreamOrResponse};
use tokio::time::{Instant, sleep, timeout_at};

use super::kept_stream::{Kept, KeptTransport};
use crate::output::{Plain, report};
use crate::target::{Target, describe};

/// The wait before the second attempt. Each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two attempts, unless the server asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long one attempt may take, so that there is time for another one if its server has vanished.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// How much longer it may take for each byte of the data: the time of a slow link, 250 kB a second.
const BYTE_TIME: Duration = Duration::from_micros(4);

/// Publishes events, one after the other.
pub(super) struct Publisher {
    client: SseClient,
    /// The connection of `client`, which is used again for the next event; `None` if each event has its own.
    kept: Option<Kept>,
    url: Uri,
    event: Option<String>,
    attempt_time: Duration,
    timeout: Duration,
}

/// The answer to a publication.
#[derive(Deserialize)]
struct Published {
    id: String,
}

/// Why one attempt has failed.
struct Failed {
    reason: String,
    /// How long to wait at least before the next one. `None` if it would fail too.
    retry_after: Option<Duration>,
}

impl Publisher {
    /// A publisher to this server.
    ///
    /// # Errors
    /// The token of the target cannot be read or sent.
    pub(super) fn new(
        target: &Target,
        event: Option<String>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let kept = target.keeps_connections().then(Kept::default);
        let client = match &kept {
            Some(kept) => SseClient::over(KeptTransport::new(target, kept)),
            None => target.client(),
        };
        Ok(Self {
            client: target.credential.authorize(client)?,
            kept,
            url: target.url.clone(),
            event,
            attempt_time: ATTEMPT_TIME,
            timeout,
        })
    }

    /// Sends the event until it is confirmed, and returns its ID.
    pub(super) async fn publish(&self, key: &str, data: Bytes) -> Result<String, String> {
        let deadline = Instant::now() + self.timeout;
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let attempt_time = self.attempt_time + BYTE_TIME * size;
        let mut wait = FIRST_WAIT;
        let mut last = None;
        loop {
            let end = deadline.min(Instant::now() + attempt_time);
            let attempt = timeout_at(end, self.attempt(key, data.clone())).await;
            let failed = match attempt {
                Ok(Ok(id)) => return Ok(id),
                Ok(Err(failed)) => failed,
                Err(_) if end == deadline => return Err(self.gave_up(key, last)),
                Err(_) => Failed::silent(),
            };
            let Some(retry_after) = failed.retry_after else {
                return Err(failed.reason);
            };
            let pause = jitter(wait).max(retry_after);
            if Instant::now() + pause >= deadline {
                return Err(self.gave_up(key, Some(failed.reason)));
            }
            if last.is_none() {
                let reason = Plain(&failed.reason);
                report(format_args!("{reason}; trying again"));
            }
            last = Some(failed.reason);
            sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&self, key: &str, data: Bytes) -> Result<String, Failed> {
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "text/plain; charset=utf-8")
            .header("accept", "application/json")
            .header("idempotency-key", quoted(key))
            .body(data);
        if let Some(event) = &self.event {
            request = request.query("event", event);
        }
        match request.open_or_response().await {
            Ok(StreamOrResponse::Response(response)) => {
                if let Some(kept) = self.kept.as_ref().filter(|_| allows_another(&response)) {
                    kept.keep();
                }
                serde_json::from_slice(response.body())
                    .map(|Published { id }| id)
                    .map_err(|_| Failed::foreign())
            }
            Ok(StreamOrResponse::Stream(_)) => Err(Failed::foreign()),
            Err(error) => Err(Failed::of(&error)),
        }
    }

    /// The error after the last attempt. The key is part of it, as the event may be stored all the same.
    fn gave_up(&self, key: &str, reason: Option<String>) -> String {
        let time = humantime::format_duration(self.timeout);
        let reason = reason.unwrap_or_else(|| Failed::silent().reason);
        format!(
            "not confirmed within {time}, but it may be stored: repeat it with the key {key:?}: {reason}"
        )
    }
}

impl Failed {
    fn of(error: &client::Error) -> Self {
        let asked = error.retry_after().unwrap_or_default();
        Self {
            reason: describe(error),
            retry_after: error.is_retryable().then_some(asked),
        }
    }

    fn silent() -> Self {
        Self {
            reason: "the server has not answered".into(),
            retry_after: Some(Duration::ZERO),
        }
    }

    /// A server that answers with something else is no server of channels.
    fn foreign() -> Self {
        let reason = "expected the ID of the event as JSON; the URL must be that of a channel of a tidings server";
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

/// Whether the server accepts another request on the connection.
fn allows_another<B>(response: &Response<B>) -> bool {
    let closes = response.headers().get_all(CONNECTION).iter().any(|value| {
        value
            .to_str()
            .map_or(true, |text| !text.eq_ignore_ascii_case("keep-alive"))
    });
    response.version() == Version::HTTP_11 && !closes
}

/// The key as a string of a structured header (RFC 9651).
fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Half of the wait or more, so that publishers that failed together do not come back together.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tidings_testkit::timeout::timeout;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        target: Target,
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let target = Flags::parse_from(["test", &url]).target;
        let mut publisher = Publisher::new(&target, None, Duration::from_secs(30)).unwrap();
        publisher.attempt_time = Duration::from_millis(200);
        let server = async {
            let _silent = listener.accept().await.unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
                let answer = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
                    content-length: 10\r\n\r\n{\"id\":\"1\"}";
                stream.write_all(answer).await.unwrap();
            }
        };
        let published = async {
            tokio::select! {
                () = server => unreachable!("it answers for ever"),
                id = publisher.publish("k", Bytes::from_static(b"a")) => id,
            }
        };
        let id = timeout(Duration::from_secs(60), published).await.unwrap();
        assert_eq!(id.as_deref(), Ok("1"));
    }

    #[test]
    fn a_key_is_quoted_as_a_structured_header_demands() {
        assert_eq!(quoted("a-1"), "\"a-1\"");
        assert_eq!(quoted("a\"\\b"), "\"a\\\"\\\\b\"");
    }

    #[test]
    fn a_wait_is_at_least_half_of_its_length() {
        for _ in 0..100 {
            let wait = jitter(FIRST_WAIT);
            assert!(wait >= FIRST_WAIT / 2 && wait <= FIRST_WAIT, "{wait:?}");
        }
    }
}
