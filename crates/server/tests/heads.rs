//! The heads of a session's responses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::stream;
use http::{HeaderMap, Method, Request, Response};
use tidings_server::{
    EncodedEvents, Event, EventId, Feed, FeedError, FeedOpened, SessionBody, SessionOptions,
    SseRequest,
};

/// A feed with this outcome, and without events.
struct Opens(Result<FeedOpened, FeedError>);

impl Feed for Opens {
    fn resume(&mut self, _: Option<&str>) {}

    fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        Poll::Ready(std::mem::replace(&mut self.0, Ok(FeedOpened::Stream)))
    }

    fn poll_events(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        Poll::Ready(None)
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        None
    }
}

fn request(method: Method, options: SessionOptions) -> SseRequest {
    let request = Request::builder()
        .method(method)
        .header("accept-encoding", "gzip");
    SseRequest::new(request.body(()).unwrap().into_parts().0).options(options)
}

/// The responses of each way to open a stream with these options.
async fn streams(options: SessionOptions) -> [Response<SessionBody>; 5] {
    let get = || request(Method::GET, options.clone());
    let events = stream::iter([Ok::<_, Infallible>(Event::new("a"))]);
    [
        get().open(async |_| Ok(())),
        get().stream(events),
        get().forward(Opens(Ok(FeedOpened::Stream))).await,
        request(Method::HEAD, options.clone()).open(async |_| Ok(())),
        request(Method::POST, options).open(async |_| Ok(())),
    ]
}

/// The lines of the head, sorted.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.iter().map(|(name, value)| {
        let value = value.to_str().unwrap();
        format!("{name}: {value}")
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn no_proxy_may_buffer_transform_or_store_a_stream() {
    for response in streams(SessionOptions::new()).await {
        assert_eq!(response.status(), 200);
        let expected = [
            "cache-control: no-store, no-transform",
            "content-type: text/event-stream",
            "incremental: ?1",
            "x-accel-buffering: no",
        ];
        assert_eq!(lines(response.headers()), expected);
    }
}

#[tokio::test]
async fn a_route_may_leave_out_the_header_that_some_proxies_refuse() {
    for response in streams(SessionOptions::new().incremental(false)).await {
        let expected = [
            "cache-control: no-store, no-transform",
            "content-type: text/event-stream",
            "x-accel-buffering: no",
        ];
        assert_eq!(lines(response.headers()), expected);
    }
}

/// The session compresses its own stream; nobody else may transform it.
#[cfg(feature = "compression")]
#[tokio::test]
async fn a_compressed_stream_may_not_be_transformed_either() {
    for response in streams(SessionOptions::new().compression(true)).await {
        let expected = [
            "cache-control: no-store, no-transform",
            "content-encoding: gzip",
            "content-type: text/event-stream",
            "incremental: ?1",
            "vary: accept-encoding",
            "x-accel-buffering: no",
        ];
        assert_eq!(lines(response.headers()), expected);
    }
}
