//! Sessions of our own client over TLS.

use std::time::Duration;

use axum::Router;
use tidings_axum::{Drain, Event, HandlerError, RouterExt, Session, serve};
use tidings_hyper::{DirectTransport, Reconnect, SseClient};
use tidings_testkit::timeout::timeout;
use tokio::net::TcpListener;

use crate::app::SOON;
use crate::trust::Authority;

/// Each connection receives three more events, and is then cut, or ended if the number is even.
fn counter() -> Router {
    Router::new().sse("/", async |session: Session| {
        let last = session.last_event_id().map(|id| id.as_str().parse());
        let next = last.transpose()?.map_or(0, |last: u64| last + 1);
        for number in next..next + 3 {
            let event = Event::new(number.to_string()).id(number);
            session.send(event.retry(Duration::from_millis(1))).await?;
        }
        if next % 2 == 0 {
            return Ok(());
        }
        Err(HandlerError::new("on purpose"))
    })
}

#[tokio::test]
async fn a_session_resumes_over_cuts_ends_and_new_certificates() {
    let authority = Authority::new("a");
    let tls = authority.tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let drain = Drain::new();
    let served = serve(listener, counter()).tls(&tls).http2(true);
    let server = tokio::spawn(served.drain(&drain).into_future());
    let transport = DirectTransport::new().no_proxy();
    let transport = transport.add_root_certificate(authority.pem().as_bytes());
    let client = SseClient::over(transport.unwrap());
    let url = format!("https://localhost:{port}/");
    let request = client.get(&url).reconnect(Reconnect::standard());
    let mut session = timeout(SOON, request.open()).await.unwrap().unwrap();
    for number in 0..60 {
        let event = timeout(SOON, session.try_next()).await.unwrap().unwrap();
        assert_eq!(event.unwrap().text(), number.to_string());
        if number % 20 == 0 {
            authority.issue().replace(&tls);
        }
    }
    drop(session);
    drain.start();
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}
