//! The timeouts of reqwest that affect a stream. The clock moves only while nothing is in flight.

use std::time::Duration;

use tidings_client::{ErrorKind, SseClient};
use tidings_reqwest::{RequestBuilderExt as _, transport};

use crate::server::{Server, http, next};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn no_total_timeout_cuts_a_stream() {
    let http = http().timeout(HOUR).build().unwrap();
    let mut server = Server::start().await;
    let url = server.url("/");
    for request in [
        SseClient::over(transport(http.clone())).get(&url),
        http.get(&url).sse(),
        http.get(&url).timeout(HOUR).sse(),
    ] {
        let (mut session, stream) = server.stream(request).await;
        for n in 0..3 {
            pass(HOUR * 1000).await;
            stream.send(format!("data: {n}\n\n")).await;
            assert_eq!(next(&mut session).await, Ok(Some(n.to_string())));
        }
    }
}

#[tokio::test]
async fn a_read_timeout_cuts_a_silent_stream() {
    let http = http().read_timeout(HOUR).build().unwrap();
    let mut server = Server::start().await;
    let request = SseClient::over(transport(http)).get(server.url("/"));
    let (mut session, stream) = server.stream(request).await;
    stream.send("data: a\n\n").await;
    assert_eq!(next(&mut session).await, Ok(Some("a".to_owned())));
    pass(HOUR * 2).await;
    let error = session.try_next().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Interrupted);
    assert!(error.is_timeout());
}
