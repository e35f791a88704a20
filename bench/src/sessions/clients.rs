//! The clients: each reads a whole stream and passes its events to the same loop.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use eventsource_client::{Client as _, SSE};
use futures::StreamExt;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use launchdarkly_sdk_transport::HyperTransport;
use reqwest_eventsource::{Event, EventSource};
use tidings_client::SseClient;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::harness::Tally;
use crate::sessions::traffic::Traffic;

/// The result of a client, whose error leaves its task.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub const DIRECT: &str = "tidings, direct";
pub const REQWEST: &str = "tidings, reqwest";
pub const IN_PROCESS: &str = "tidings, in process";
pub const REQWEST_EVENTSOURCE: &str = "reqwest-eventsource";
pub const EVENTSOURCE_CLIENT: &str = "eventsource-client";
pub const NODE: &str = "node, eventsource-parser";
/// Only the body's frames, from a connection that is polled beside it; no events.
pub const BARE_HYPER: &str = "bare hyper";
/// Only the body's frames, as reqwest returns them; no events.
pub const BARE_REQWEST: &str = "bare reqwest";

pub const ALL: [&str; 8] = [
    DIRECT,
    REQWEST,
    IN_PROCESS,
    REQWEST_EVENTSOURCE,
    EVENTSOURCE_CLIENT,
    NODE,
    BARE_HYPER,
    BARE_REQWEST,
];

/// A client, made once before the measurement.
pub enum Client {
    Tidings(SseClient),
    ReqwestEventsource(reqwest_0_12::Client),
    LaunchDarkly(HyperTransport),
    BareHyper,
    BareReqwest(reqwest::Client),
}

pub enum Received {
    Events(Tally),
    BodyBytes(u64),
}

impl Client {
    pub fn named(name: &str, traffic: Traffic, quick: bool) -> crate::harness::Result<Self> {
        Ok(match name {
            DIRECT => Self::Tidings(tidings_hyper::client()),
            REQWEST => Self::Tidings(tidings_reqwest::client()),
            IN_PROCESS => Self::Tidings(SseClient::over_service(InProcess(
                traffic.frames(quick).leak().iter(),
            ))),
            REQWEST_EVENTSOURCE => Self::ReqwestEventsource(reqwest_0_12::Client::new()),
            EVENTSOURCE_CLIENT => Self::LaunchDarkly(HyperTransport::builder().build_http()?),
            BARE_HYPER => Self::BareHyper,
            BARE_REQWEST => Self::BareReqwest(reqwest::Client::new()),
            other => return Err(format!("no contender is named {other}").into()),
        })
    }

    /// Reads a stream to its end.
    pub async fn read(&self, url: &str) -> Result<Received> {
        match self {
            Self::Tidings(client) => tidings(client, url).await.map(Received::Events),
            Self::ReqwestEventsource(client) => {
                let tally = reqwest_eventsource(client, url).await;
                tally.map(Received::Events)
            }
            Self::LaunchDarkly(transport) => {
                let tally = eventsource_client(transport, url).await;
                tally.map(Received::Events)
            }
            Self::BareHyper => bare_hyper(url).await.map(Received::BodyBytes),
            Self::BareReqwest(client) => bare_reqwest(client, url).await.map(Received::BodyBytes),
        }
    }
}

async fn tidings(client: &SseClient, url: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut session = client.get(url).open().await?;
    while let Some(event) = session.try_next().await? {
        tally.count(event.text());
    }
    Ok(tally)
}

async fn reqwest_eventsource(client: &reqwest_0_12::Client, url: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut events = EventSource::new(client.get(url))?;
    loop {
        match events.next().await {
            Some(Ok(Event::Message(event))) => tally.count(&event.data),
            Some(Ok(Event::Open)) => {}
            None | Some(Err(reqwest_eventsource::Error::StreamEnded)) => return Ok(tally),
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

async fn eventsource_client(transport: &HyperTransport, url: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    let without_reconnecting = eventsource_client::ReconnectOptions::reconnect(false).build();
    let client = eventsource_client::ClientBuilder::for_url(url)?
        .reconnect(without_reconnecting)
        .build_with_transport(transport.clone());
    let mut events = client.stream();
    loop {
        match events.next().await {
            Some(Ok(SSE::Event(event))) => tally.count(&event.data),
            Some(Ok(SSE::Connected(_) | SSE::Comment(_))) => {}
            None | Some(Err(eventsource_client::Error::Eof)) => return Ok(tally),
            Some(Err(error)) => return Err(error.to_string().into()),
        }
    }
}

/// hyper's connection without a task of its own: the least that a client over hyper can do.
async fn bare_hyper(url: &str) -> Result<u64> {
    let url: Uri = url.parse()?;
    let authority = url.authority().ok_or("a URL without a host")?.as_str();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = Some(connection);
    let request = Request::get(url.path()).header("host", authority);
    let mut response = std::pin::pin!(sender.send_request(request.body(Empty::<Bytes>::new())?));
    let response = beside(&mut connection, |cx| response.as_mut().poll(cx)).await?;
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = beside(&mut connection, |cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}

/// Polls the future that waits for the connection, then the connection, then the future again.
async fn beside<T>(
    connection: &mut Option<impl Future + Unpin>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(ready) = poll(cx) {
            return Poll::Ready(ready);
        }
        if let Some(open) = connection
            && Pin::new(open).poll(cx).is_ready()
        {
            *connection = None;
        }
        poll(cx)
    })
    .await
}

async fn bare_reqwest(client: &reqwest::Client, url: &str) -> Result<u64> {
    let response = client.get(url).send().await?;
    let mut body = reqwest::Body::from(response);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}

/// A service whose responses yield these chunks: no HTTP, no socket.
#[derive(Clone)]
struct InProcess(std::slice::Iter<'static, Bytes>);

impl<B> Service<Request<B>> for InProcess {
    type Response = Response<Self>;
    type Error = Infallible;
    type Future = Ready<std::result::Result<Response<Self>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(self.clone());
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/event-stream"),
        );
        ready(Ok(response))
    }
}

impl Body for InProcess {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.0.next().cloned();
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
