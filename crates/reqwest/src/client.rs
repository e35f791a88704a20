//! `client()`: a reqwest client configured for streams.

use std::time::Duration;

use reqwest::redirect::Policy;
use tidings_client::SseClient;

use crate::transport::ReqwestTransport;
use crate::unsendable::Unsendable;

/// The most header lines of a response over HTTP/1.
const MAX_HEADERS: usize = 512;
/// The most bytes of a response's head over HTTP/2, as in Chromium.
#[cfg(feature = "http2")]
const MAX_HEAD_BYTES: u32 = 256 * 1024;
/// The silence after which a connection is probed.
const ALIVE_AFTER: Duration = Duration::from_secs(15);
/// The time that an HTTP/2 connection has to answer a PING.
#[cfg(feature = "http2")]
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// The most unread bytes of one HTTP/2 stream.
#[cfg(feature = "http2")]
const STREAM_WINDOW: u32 = 256 * 1024;
/// The most unread bytes of all streams of one connection: the largest window that HTTP/2 has. In
/// a smaller one, streams that are not read would use all of it and block the others.
#[cfg(feature = "http2")]
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A client over a new `reqwest::Client` that is configured for streams.
///
/// * The session follows redirects: credentials are sent only to the origin that you named, https
///   never leads to http, and no `Referer` is sent.
/// * It detects a peer that has vanished: after 15 s of silence it probes the connection, by TCP
///   keep-alive and over HTTP/2 by a PING. A PING without an answer within 20 s is a network error.
/// * Over HTTP/2 a session that is not read buffers at most 256 KiB, and does not block the
///   sessions that share its connection.
/// * It accepts the response heads that browsers accept: a space before a header's colon, folded
///   lines, up to 512 header lines, and over HTTP/2 up to 256 KiB. A line that is no header, or has a
///   control character, is ignored.
/// * It sends a `User-Agent`, `tidings/<version>`, unless you
///   [set another](SseClient::user_agent).
/// * It uses the proxies of the environment, as reqwest reads them.
///
/// If reqwest cannot build its client, for example because the platform's certificates cannot be
/// read, each request fails with [`InvalidRequest`](tidings_client::ErrorKind::InvalidRequest)
/// when you open it.
///
/// ```no_run
/// # async fn read() -> Result<(), tidings_reqwest::Error> {
/// let mut session = tidings_reqwest::client().get("https://example.com/events").open().await?;
/// while let Some(event) = session.try_next().await? {
///     println!("{}", event.text());
/// }
/// # Ok(())
/// # }
/// ```
pub fn client() -> SseClient {
    match builder().build() {
        Ok(client) => SseClient::over(ReqwestTransport::without_timeout(client)),
        Err(error) => SseClient::over(Unsendable::new(error.without_url())),
    }
}

fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(MAX_HEADERS)
        .redirect(Policy::none())
        .tcp_keepalive(ALIVE_AFTER)
        .tcp_nodelay(true);
    #[cfg(feature = "http2")]
    let builder = builder
        .http2_keep_alive_interval(ALIVE_AFTER)
        .http2_keep_alive_timeout(ALIVE_WITHIN)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(MAX_HEAD_BYTES);
    builder
}

#[cfg(test)]
#[cfg(feature = "http2")]
mod tests {
    use tidings_testkit::timeout::timeout;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;

    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    type Sent = JoinHandle<reqwest::Result<reqwest::Response>>;

    /// A pending request, and the server's end of its connection after the HTTP/2 preface.
    async fn request() -> (Sent, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let http = builder().no_proxy().http2_prior_knowledge().build();
        let request = tokio::spawn(http.unwrap().get(url).send());
        let (mut stream, _) = soon(listener.accept()).await.unwrap();
        soon(stream.read_exact(&mut [0; 24])).await.unwrap();
        (request, stream)
    }

    /// The payload of the next frame of this kind.
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
    async fn a_peer_that_answers_no_ping_is_disconnected() {
        let (request, mut stream) = request().await;
        stream
            .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        frame(&mut stream, SETTINGS).await;
        // The acknowledgement of our settings: the client receives nothing after them.
        frame(&mut stream, SETTINGS).await;
        pass(ALIVE_AFTER).await;
        frame(&mut stream, PING).await;
        pass(ALIVE_WITHIN).await;
        let answer = soon(request).await;
        assert!(answer.unwrap().unwrap_err().is_timeout());
    }

    #[tokio::test]
    async fn a_head_may_be_as_large_as_in_browsers() {
        const MAX_HEADER_LIST_SIZE: u8 = 6;
        let (_request, mut stream) = request().await;
        let settings = frame(&mut stream, SETTINGS).await;
        let size = settings
            .chunks(6)
            .find(|setting| setting[..2] == [0, MAX_HEADER_LIST_SIZE]);
        assert_eq!(size.unwrap()[2..], MAX_HEAD_BYTES.to_be_bytes());
    }

    #[tokio::test]
    async fn a_stream_cannot_use_the_window_of_another() {
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
