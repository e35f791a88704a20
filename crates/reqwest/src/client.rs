//! Owns `client()`: a reqwest client set up for streams.

use std::time::Duration;

use reqwest::redirect::Policy;
use tidings_client::SseClient;

use crate::transport::ReqwestTransport;
use crate::unsendable::Unsendable;

/// How long a connection is silent before it is asked whether it lives.
const ALIVE_AFTER: Duration = Duration::from_secs(15);
/// How long an HTTP/2 connection has to answer that.
#[cfg(feature = "http2")]
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// How much an HTTP/2 stream may send that is not read yet, in bytes.
#[cfg(feature = "http2")]
const STREAM_WINDOW: u32 = 256 * 1024;
/// How much all streams of a connection may: the most there is. Of a smaller one, streams that
/// nobody reads would take all, and hold up the others.
#[cfg(feature = "http2")]
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A client over a reqwest client of its own.
///
/// Redirects are left to the session: credentials stay at the origin that was named, https never
/// leads to http, and no `Referer` is sent. A peer that is gone is noticed: a connection that is
/// silent for 15 s is probed, by TCP keep-alive and over HTTP/2 by a PING; no answer within 20 s to
/// the PING is a network error. A session that is not read takes 256 KiB over HTTP/2, and holds up
/// none of those that share its connection. Proxies are those of the environment, as reqwest reads it.
///
/// Should reqwest refuse to build its client, as where the platform's certificates cannot be read,
/// every request says so when it is opened, by
/// [`InvalidRequest`](tidings_client::ErrorKind::InvalidRequest).
pub fn client() -> SseClient {
    match builder().build() {
        Ok(client) => SseClient::over(ReqwestTransport::without_timeout(client)),
        Err(error) => SseClient::over(Unsendable::new(error.without_url())),
    }
}

fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .tcp_keepalive(ALIVE_AFTER)
        .tcp_nodelay(true);
    #[cfg(feature = "http2")]
    let builder = builder
        .http2_keep_alive_interval(ALIVE_AFTER)
        .http2_keep_alive_timeout(ALIVE_WITHIN)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

#[cfg(test)]
#[cfg(feature = "http2")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    type Sent = JoinHandle<reqwest::Result<reqwest::Response>>;

    /// A request on its way, and the connection that it comes over, behind its preface.
    async fn request() -> (Sent, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let http = builder().no_proxy().http2_prior_knowledge().build();
        let request = tokio::spawn(http.unwrap().get(url).send());
        let (mut stream, _) = soon(listener.accept()).await.unwrap();
        soon(stream.read_exact(&mut [0; 24])).await.unwrap();
        (request, stream)
    }

    /// What the next frame of this kind holds.
    async fn frame(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
        let find = async {
            loop {
                let length = stream.read_u32().await.unwrap();
                stream.read_exact(&mut [0; 5]).await.unwrap();
                let mut payload = vec![0; (length >> 8) as usize];
                stream.read_exact(&mut payload).await.unwrap();
                if length.to_be_bytes()[3] == kind {
                    return payload;
                }
            }
        };
        soon(find).await
    }

    async fn soon<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(10), future).await.unwrap()
    }

    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn a_peer_that_answers_no_ping_is_gone() {
        let (request, mut stream) = request().await;
        stream
            .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        frame(&mut stream, SETTINGS).await;
        // And the answer to ours: by then it has heard of us for the last time.
        frame(&mut stream, SETTINGS).await;
        pass(ALIVE_AFTER).await;
        frame(&mut stream, PING).await;
        pass(ALIVE_WITHIN).await;
        let answer = soon(request).await;
        assert!(answer.unwrap().unwrap_err().is_timeout());
    }

    #[tokio::test]
    async fn no_stream_takes_the_window_of_another() {
        const INITIAL_WINDOW_SIZE: u8 = 4;
        let (_request, mut stream) = request().await;
        let settings = frame(&mut stream, SETTINGS).await;
        let window = settings
            .chunks(6)
            .find(|setting| setting[..2] == [0, INITIAL_WINDOW_SIZE]);
        assert_eq!(window.unwrap()[2..], STREAM_WINDOW.to_be_bytes());
        let more = CONNECTION_WINDOW - 65_535;
        assert_eq!(frame(&mut stream, WINDOW_UPDATE).await, more.to_be_bytes());
    }
}
