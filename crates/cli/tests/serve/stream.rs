//! Streams, read by the client of this repository.

use tidings::client::{RequestBuilder, Session, SseClient};
use tidings::hyper::DirectTransport;
use tidings::{Event, Reconnect};
use tidings_testkit::timeout::timeout;

use crate::process::{LIMIT, Server};

/// A client that never reconnects.
pub(crate) fn client() -> SseClient {
    // A proxy could not reach the server.
    SseClient::over(DirectTransport::new().no_proxy()).reconnect(Reconnect::off())
}

/// The stream of this path.
pub(crate) async fn open(server: &Server, path: &str) -> Session {
    open_request(client().get(server.url(path))).await
}

pub(crate) async fn open_request(request: RequestBuilder) -> Session {
    timeout(LIMIT, request.open()).await.unwrap().unwrap()
}

/// The next event.
pub(crate) async fn next(session: &mut Session) -> Event {
    let next = timeout(LIMIT, session.try_next()).await.unwrap();
    next.unwrap().expect("an event")
}

/// The texts of the next events. A gap is none.
pub(crate) async fn texts(session: &mut Session, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let event = next(session).await;
        assert_ne!(event.event_type(), "gap", "{event:?}");
        texts.push(event.text().to_owned());
    }
    texts
}

/// Asserts that the stream has ended.
pub(crate) async fn assert_end(session: &mut Session) {
    let end = timeout(LIMIT, session.try_next()).await.unwrap();
    assert_eq!(end.unwrap(), None);
}
