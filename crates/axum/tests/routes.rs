//! Event streams as routes of an axum router: in process, and over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use tidings_axum::{
    EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, FeedOpened, HandlerError,
    Limits, RouterExt, Session, SessionOptions, SseRequest, serve, sse,
};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

const SOON: Duration = Duration::from_secs(10);

async fn request(app: Router, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path);
    answer(app, request.body(Body::empty()).unwrap()).await
}

async fn answer(mut app: Router, request: Request<Body>) -> (StatusCode, String) {
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
    let received = request(app.clone(), Method::GET, "/count/2").await;
    assert_eq!(
        received,
        (StatusCode::OK, "data: #0\n\ndata: #1\n\n".into())
    );
    let (status, _) = request(app, Method::GET, "/count/many").await;
    assert_eq!(
        status,
        StatusCode::BAD_REQUEST,
        "the rejection is the answer"
    );
}

#[tokio::test]
async fn the_last_extractor_may_take_the_body() {
    let app = Router::new().route(
        "/{name}",
        post(sse(
            async |Path(name): Path<String>, Json(text): Json<String>, session: Session| {
                assert!(session.request().headers.contains_key("content-type"));
                session.send(Event::new(format!("{name}: {text}"))).await?;
                Ok(())
            },
        )),
    );
    for (body, status, expected) in [
        ("\"hello\"", StatusCode::OK, "data: ada: hello\n\n"),
        ("[]", StatusCode::UNPROCESSABLE_ENTITY, "Failed"),
    ] {
        let request = Request::post("/ada").header("content-type", "application/json");
        let (received_status, received) =
            answer(app.clone(), request.body(body.into()).unwrap()).await;
        assert_eq!(received_status, status);
        assert!(received.starts_with(expected), "{received}");
    }
}

#[tokio::test]
async fn a_route_sets_the_options_of_its_sessions() {
    let options = SessionOptions::new().retry(Duration::from_secs(1));
    let app = Router::new().route("/x", get(sse(greet).options(options)));
    assert_eq!(
        request(app, Method::GET, "/x").await.1,
        "retry: 1000\n\ndata: hello\n\n"
    );
}

#[tokio::test]
async fn a_session_holds_no_buffer_of_its_request() {
    let buffer = bytes::Bytes::from([b"/path".as_slice(), &[b' '; 8000]].concat());
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_maybe_shared(buffer.slice(..5)).unwrap();
    let mut app = Router::new().sse("/path", async |session: Session| {
        assert_eq!(session.request().uri, "/path");
        session.send(Event::new("hello")).await?;
        std::future::pending().await
    });
    let mut body = app.call(request).await.unwrap().into_body();
    assert!(body.frame().await.is_some());
    assert!(buffer.is_unique(), "the session still holds the buffer");
}

/// A feed of three events.
#[derive(Clone, Default)]
struct Three(u64);

impl Feed for Three {
    fn resume(&mut self, last_event_id: Option<&str>) {
        self.0 = last_event_id.map_or(0, |id| id.parse().unwrap());
    }

    fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        Poll::Ready(match self.0 {
            0..3 => Ok(FeedOpened::Stream),
            3 => Ok(FeedOpened::Over),
            _ => Err(FeedError::new(FeedErrorKind::Invalid, "there are three")),
        })
    }

    fn poll_events(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        self.0 += 1;
        let event = Event::new("n").id(self.0);
        Poll::Ready((self.0 <= 3).then(|| Ok(event.encode())))
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        None
    }
}

#[tokio::test]
async fn a_feed_is_forwarded_or_answered_with_a_status() {
    let feed = Three::default();
    let app = Router::new().route(
        "/",
        get(async move |request: SseRequest| request.forward(feed).await),
    );
    for (id, status, expected) in [
        ("1", StatusCode::OK, "id: 2\ndata: n\n\nid: 3\ndata: n\n\n"),
        ("3", StatusCode::NO_CONTENT, ""),
        ("4", StatusCode::BAD_REQUEST, "there are three"),
    ] {
        let request = Request::get("/").header("last-event-id", id);
        let received = answer(app.clone(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(received, (status, expected.into()));
    }
}

#[tokio::test]
async fn a_stream_of_events_is_sent() {
    async fn events(request: SseRequest) -> Response {
        request.stream(stream::iter([1, 2]).map(|n| Ok::<_, Infallible>(Event::new("n").id(n))))
    }
    let app = Router::new().route("/", get(events));
    assert_eq!(
        request(app, Method::GET, "/").await.1,
        "id: 1\ndata: n\n\nid: 2\ndata: n\n\n"
    );
}

#[tokio::test]
async fn a_request_over_a_limit_is_refused_with_retry_after() {
    let limits = Limits::new().max_sessions(1);
    let options = SessionOptions::new().limits(&limits);
    let mut app = Router::new().route("/", get(sse(greet).options(options)));
    let get = || Request::new(Body::empty());
    let first = app.call(get()).await.unwrap();
    let refused = app.call(get()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((5..=10).contains(&wait), "{wait}");
    assert_eq!(
        refused.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    drop(first);
    assert_eq!(limits.sessions(), 0);
    assert_eq!(app.call(get()).await.unwrap().status(), StatusCode::OK);
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
    let app = Router::new().sse("/events", async |_: Session| {
        panic!("a HEAD request ran the handler")
    });
    assert_eq!(
        request(app, Method::HEAD, "/events").await,
        (StatusCode::OK, String::new())
    );
}

#[tokio::test]
async fn a_served_router_has_the_peer_address_and_keeps_the_connection() {
    let app = Router::new().sse(
        "/events",
        async |ConnectInfo(peer): ConnectInfo<SocketAddr>, session: Session| {
            session.send(Event::new(peer.to_string())).await?;
            Ok(())
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, app).into_future());
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
        assert!(!answer.contains("connection:"), "{answer}");
    }
    server.abort();
}
