//! Transports of other kinds: a tower service of `http` types, a shared or boxed transport, and one
//! that follows redirects.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tidings_client::{ErrorKind, FinalUrl, Reconnect, RequestBody, SseClient, Transport};
use tower_service::Service;

use crate::scripted::{Script, Server, read_all, status, stream};

/// Answers with the method and URL of the request, or fails.
#[derive(Clone)]
struct Echo {
    ready_calls: u32,
    fails: bool,
}

impl Service<Request<RequestBody>> for Echo {
    type Response = Response<Full<Bytes>>;
    type Error = String;
    type Future = Ready<Result<Self::Response, String>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.ready_calls += 1;
        if self.ready_calls == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        assert_eq!(
            self.ready_calls, 2,
            "the service must be ready before it is called"
        );
        if self.fails {
            return ready(Err("out of order".into()));
        }
        let text = format!("data: {} {}\n\n", request.method(), request.uri());
        let response = Response::builder().header("content-type", "text/event-stream");
        ready(Ok(response.body(text.into()).unwrap()))
    }
}

#[tokio::test]
async fn a_tower_service_is_a_transport() {
    let service = Echo {
        ready_calls: 0,
        fails: false,
    };
    let client = SseClient::over_service(service);
    let mut session = client.get("http://test/a?b").open().await.unwrap();
    let read = read_all(&mut session).await;
    assert_eq!(read, (vec!["GET http://test/a?b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_is_a_transport_and_is_resumed() {
    let events = async |headers: HeaderMap| match headers.get("last-event-id") {
        None => ([(CONTENT_TYPE, "text/event-stream")], "id: 1\ndata: a\n\n").into_response(),
        Some(id) if id == "1" => {
            ([(CONTENT_TYPE, "text/event-stream")], "id: 2\ndata: b\n\n").into_response()
        }
        Some(_) => StatusCode::NO_CONTENT.into_response(),
    };
    let client = SseClient::over_service(Router::new().route("/events", get(events)));
    let client = client.max_reconnection_attempts(1);
    let request = client.get("http://localhost/events");
    let mut session = request.open().await.unwrap();
    let read = read_all(&mut session).await;
    assert_eq!(read, (vec!["a".into(), "b".into()], None));

    let error = client.get("http://localhost/elsewhere").open().await;
    let kind = ErrorKind::Status(StatusCode::NOT_FOUND);
    assert_eq!(error.unwrap_err().kind(), &kind);
}

#[tokio::test]
async fn an_error_of_a_service_is_a_failed_connect() {
    let service = Echo {
        ready_calls: 0,
        fails: true,
    };
    let client = SseClient::over_service(service);
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connect);
}

#[tokio::test]
async fn the_body_of_a_request_reaches_a_service_in_one_frame() {
    use http_body_util::BodyExt;
    for text in ["", "prompt"] {
        let body = RequestBody::from(Bytes::from(text));
        assert_eq!(
            http_body::Body::size_hint(&body).exact(),
            Some(text.len() as u64)
        );
        let collected: Result<_, Infallible> = body.collect().await;
        assert_eq!(collected.unwrap().to_bytes(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_follows_redirects_reports_the_final_url() {
    let final_url = FinalUrl("http://other.test/b".parse().unwrap());
    let server = Server::plays([
        Script::Followed(final_url),
        stream("data: b\n\n"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let request = client.get("http://test/a").bearer("secret");
    let mut session = request.open().await.unwrap();
    assert_eq!(session.url(), "http://other.test/b");
    assert_eq!(read_all(&mut session).await, (vec!["b".into()], None));
    let urls = [
        "http://test/a",
        "http://other.test/b",
        "http://other.test/b",
    ];
    assert_eq!(server.urls(), urls);
    let sent: [&[&str]; 3] = [&["Bearer secret"], &[], &[]];
    assert_eq!(server.header("authorization"), sent);
}

#[tokio::test]
async fn a_shared_or_boxed_transport_is_a_transport() {
    let server = Server::plays([
        stream("data: a\n\n"),
        stream("data: b\n\n"),
        stream("data: c\n\n"),
    ]);
    let dynamic: Arc<dyn Transport> = Arc::new(server.clone());
    let clients = [
        SseClient::over(Arc::new(server.clone())),
        SseClient::over(Arc::clone(&dynamic)),
        SseClient::over(Box::new(dynamic) as Box<dyn Transport>),
    ];
    for (client, text) in clients.iter().zip(["a", "b", "c"]) {
        let mut session = client.get("http://test/").open().await.unwrap();
        assert_eq!(read_all(&mut session).await, (vec![text.into()], None));
    }
    assert_eq!(server.requests(), 3);
}
