//! Streams as routes of an axum router: in process, and served over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use tidings_axum::{RouterExt, SseRequest, serve, sse};
use tidings_proto::Event;
use tidings_server::{HandlerError, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower_service::Service;

const SOON: Duration = Duration::from_secs(10);

async fn request(mut app: Router, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = app.call(request).await.unwrap();
    let status = response.status();
    let body = timeout(SOON, response.into_body().collect())
        .await
        .unwrap()
        .unwrap()
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn greet(session: Session) -> Result<(), HandlerError> {
    session.send(Event::new("hello")).await?;
    Ok(())
}

#[tokio::test]
async fn a_function_of_extractors_is_a_handler() {
    async fn count(
        State(prefix): State<&'static str>,
        Path(to): Path<u32>,
        session: Session,
    ) -> Result<(), HandlerError> {
        for n in 0..to {
            session.send(Event::new(format!("{prefix}{n}"))).await?;
        }
        Ok(())
    }
    let app = Router::new().sse("/count/{to}", count).with_state("#");
    let heard = request(app.clone(), Method::GET, "/count/2").await;
    assert_eq!(heard, (StatusCode::OK, "data: #0\n\ndata: #1\n\n".into()));
    let (status, _) = request(app, Method::GET, "/count/many").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "what rejects answers");
}

#[tokio::test]
async fn a_closure_with_captures_is_a_handler() {
    let greeting = String::from("hello");
    let app = Router::new().sse("/events", async move |session: Session| {
        session.send(Event::new(greeting.clone())).await?;
        Ok(())
    });
    assert_eq!(
        request(app, Method::GET, "/events").await.1,
        "data: hello\n\n"
    );
}

#[tokio::test]
async fn any_method_can_open_a_stream() {
    let app = Router::new().route("/x", post(sse(greet)));
    assert_eq!(
        request(app.clone(), Method::POST, "/x").await.1,
        "data: hello\n\n"
    );
    assert_eq!(
        request(app, Method::GET, "/x").await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_handler_may_answer_something_else_first() {
    async fn events(Path(name): Path<String>, request: SseRequest) -> Response {
        if name != "known" {
            return StatusCode::NOT_FOUND.into_response();
        }
        request.open(greet)
    }
    let app = Router::new().route("/{name}", get(events));
    assert_eq!(
        request(app.clone(), Method::GET, "/known").await.1,
        "data: hello\n\n"
    );
    assert_eq!(
        request(app, Method::GET, "/unknown").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_head_request_runs_no_handler() {
    let app = Router::new().sse("/events", async |_: Session| panic!("not for a HEAD"));
    assert_eq!(
        request(app, Method::HEAD, "/events").await,
        (StatusCode::OK, String::new())
    );
}

#[tokio::test]
async fn a_served_router_knows_its_peer_and_keeps_the_connection() {
    let app = Router::new().sse(
        "/events",
        async |ConnectInfo(peer): ConnectInfo<SocketAddr>, session: Session| {
            session.send(Event::new(peer.to_string())).await?;
            Ok(())
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, app));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let event = format!("data: {}\n\n", stream.local_addr().unwrap());
    for _ in 0..2 {
        stream
            .write_all(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            assert_ne!(
                timeout(SOON, stream.read_buf(&mut answer))
                    .await
                    .unwrap()
                    .unwrap(),
                0
            );
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains(&event), "{answer}");
        assert_eq!(
            answer.matches("connection: keep-alive").count(),
            1,
            "{answer}"
        );
    }
    server.abort();
}
