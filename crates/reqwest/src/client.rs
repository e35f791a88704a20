//! Owns `client()`: a reqwest client set up for streams.

use std::time::Duration;

use reqwest::redirect::Policy;
use tidings_client::SseClient;

use crate::transport;
use crate::unsendable::Unsendable;

/// How long a connection is silent before it is asked whether it lives.
const ALIVE_AFTER: Duration = Duration::from_secs(15);
/// How long an HTTP/2 connection has to answer that.
#[cfg(feature = "http2")]
const ALIVE_WITHIN: Duration = Duration::from_secs(20);

/// A client over a reqwest client of its own.
///
/// Redirects are left to the session: credentials stay at the origin that was named, https never
/// leads to http, and no `Referer` is sent. A peer that is gone is noticed: a connection that is
/// silent for 15 s is probed, by TCP keep-alive and over HTTP/2 by a PING; no answer within 20 s to
/// the PING is a network error. Proxies are those of the environment, as reqwest reads it.
///
/// Should reqwest refuse to build its client, as where the platform's certificates cannot be read,
/// every request says so when it is opened, by
/// [`InvalidRequest`](tidings_client::ErrorKind::InvalidRequest).
pub fn client() -> SseClient {
    match builder().build() {
        Ok(client) => SseClient::over(transport(client)),
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
        .http2_keep_alive_while_idle(true);
    builder
}
