//! A session over a scripted transport, on paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use tidings_client::{
    ConnectError, Connecting, Error, ErrorKind, Reconnect, ResponseBody, Session, SseClient,
    Transport,
};
use tokio::time::{Instant, timeout};

/// What one connection does.
#[derive(Debug, Clone)]
enum Script {
    Refuse,
    Unsendable,
    /// Never answers.
    Hang,
    /// Answers 503 with this `Retry-After`.
    Busy(&'static str),
    /// Answers this status with this `Location`.
    Redirect(u16, &'static str),
    Answer {
        status: u16,
        content_type: Option<&'static str>,
        body: Vec<Part>,
    },
}

#[derive(Debug, Clone)]
enum Part {
    Bytes(&'static [u8]),
    Cut,
    /// Sends no more, and does not end.
    Stall,
    /// Sends the next part after this many milliseconds.
    Wait(u64),
}

/// A stream that ends after this text.
fn stream(text: &'static str) -> Script {
    parts(&[Part::Bytes(text.as_bytes())])
}

fn parts(body: &[Part]) -> Script {
    Script::Answer {
        status: 200,
        content_type: Some("text/event-stream"),
        body: body.to_vec(),
    }
}

fn status(status: u16) -> Script {
    Script::Answer {
        status,
        content_type: Some("text/event-stream"),
        body: Vec::new(),
    }
}

type Requests = Vec<(Request<Bytes>, Instant)>;

/// Plays one script a connection, and keeps the requests.
#[derive(Clone, Default)]
struct Server {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    requests: Arc<Mutex<Requests>>,
    open_bodies: Arc<AtomicUsize>,
}

impl Server {
    fn plays(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts = Arc::new(Mutex::new(scripts.into_iter().collect()));
        Self {
            scripts,
            ..Self::default()
        }
    }

    fn client(&self, reconnect: Reconnect) -> SseClient {
        SseClient::over(self.clone()).reconnect(reconnect)
    }

    async fn open(&self, reconnect: Reconnect) -> Result<Session, Error> {
        self.client(reconnect)
            .get("http://test/events")
            .open()
            .await
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Where each request went.
    fn urls(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|(request, _)| request.uri().to_string())
            .collect()
    }

    /// The header's values in each request.
    fn header(&self, name: &str) -> Vec<Vec<String>> {
        let requests = self.requests.lock().unwrap();
        let values = |request: &Request<Bytes>| {
            let values = request.headers().get_all(name).into_iter();
            values
                .map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
                .collect()
        };
        requests
            .iter()
            .map(|(request, _)| values(request))
            .collect()
    }

    /// How long after the one before it each request came.
    fn waits(&self) -> Vec<Duration> {
        let requests = self.requests.lock().unwrap();
        requests
            .windows(2)
            .map(|pair| pair[1].1 - pair[0].1)
            .collect()
    }
}

impl Transport for Server {
    fn connect(&self, request: Request<Bytes>) -> Connecting {
        self.requests
            .lock()
            .unwrap()
            .push((request, Instant::now()));
        let script = self.scripts.lock().unwrap().pop_front();
        let open_bodies = Arc::clone(&self.open_bodies);
        Box::pin(async move {
            match script.expect("a request too many") {
                Script::Refuse => Err(ConnectError::Network("refused".into())),
                Script::Hang => std::future::pending().await,
                Script::Unsendable => Err(ConnectError::InvalidRequest("unsendable".into())),
                Script::Busy(retry_after) => Ok(answer(503, "retry-after", retry_after)),
                Script::Redirect(status, location) => Ok(answer(status, "location", location)),
                Script::Answer {
                    status,
                    content_type,
                    body,
                } => {
                    open_bodies.fetch_add(1, Ordering::SeqCst);
                    let body = ScriptedBody {
                        parts: body.into(),
                        wait: None,
                        open_bodies,
                    };
                    let mut response = Response::builder().status(status);
                    if let Some(content_type) = content_type {
                        response = response.header("content-type", content_type);
                    }
                    Ok(response.body(ResponseBody::new(body)).unwrap())
                }
            }
        })
    }
}

fn answer(status: u16, name: &str, value: &str) -> Response<ResponseBody> {
    let response = Response::builder().status(status).header(name, value);
    let body = ResponseBody::new(http_body_util::Empty::new());
    response.body(body).unwrap()
}

struct ScriptedBody {
    parts: VecDeque<Part>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    open_bodies: Arc<AtomicUsize>,
}

impl Drop for ScriptedBody {
    fn drop(&mut self) {
        self.open_bodies.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = self.get_mut();
        if let Some(wait) = &mut this.wait {
            std::task::ready!(wait.as_mut().poll(cx));
            this.wait = None;
        }
        match this.parts.pop_front() {
            None => Poll::Ready(None),
            Some(Part::Wait(millis)) => {
                let wait = Box::pin(tokio::time::sleep(Duration::from_millis(millis)));
                this.wait = Some(wait);
                Pin::new(this).poll_frame(cx)
            }
            Some(Part::Bytes(bytes)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes)))))
            }
            Some(Part::Cut) => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            Some(Part::Stall) => Poll::Pending,
        }
    }
}

/// The texts heard until the end or the error, and the error.
async fn hear(session: &mut Session) -> (Vec<String>, Option<ErrorKind>) {
    let mut texts = Vec::new();
    loop {
        match session.try_next().await {
            Ok(Some(event)) => texts.push(event.text().to_owned()),
            Ok(None) => return (texts, None),
            Err(error) => return (texts, Some(error.kind().clone())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_heard_to_its_end() {
    let server = Server::plays([stream(
        "data: a\n\nevent: b\nid: 1\ndata: c\n\ndata: unfinished",
    )]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(session.response().unwrap().status, StatusCode::OK);
    assert_eq!(
        hear(&mut session).await,
        (vec!["a".into(), "c".into()], None)
    );
    assert_eq!(session.last_event_id().unwrap(), "1");
    assert_eq!(
        session.try_next().await.unwrap(),
        None,
        "and stays at its end"
    );
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_the_standards_headers_once() {
    let server = Server::plays([stream("")]);
    let request = server.client(Reconnect::off()).get("http://test/events");
    let request = request
        .header("accept", "text/html")
        .header("cache-control", "max-age=1")
        .header("Last-Event-ID", "by hand")
        .header("x-mine", "1")
        .bearer("secret");
    request.open().await.unwrap();
    assert_eq!(server.header("accept"), [["text/event-stream"]]);
    assert_eq!(server.header("cache-control"), [["no-cache"]]);
    assert_eq!(server.header("x-mine"), [["1"]]);
    assert_eq!(server.header("authorization"), [["Bearer secret"]]);
    assert_eq!(server.header("last-event-id"), [["by hand"]]);
}

#[tokio::test(start_paused = true)]
async fn it_resumes_after_the_last_event_heard() {
    let server = Server::plays([
        stream("id: 1\ndata: a\n\nid: 2\ndata: unfinished\n"),
        stream("data: b\n\n"),
        stream("id: größe…\ndata: c\n\n"),
        stream("id:\ndata: d\n\n"),
        stream("data: e\n\n"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let (texts, error) = hear(&mut session).await;
    assert_eq!((texts.join(""), error), ("abcde".into(), None));
    let sent: [&[&str]; 6] = [&[], &["1"], &["1"], &["größe…"], &[], &[]];
    assert_eq!(server.header("last-event-id"), sent);
    assert_eq!(server.waits(), [Duration::from_secs(3); 5]);
}

#[tokio::test(start_paused = true)]
async fn it_resumes_after_the_id_it_was_given() {
    let server = Server::plays([Script::Refuse, stream("data: a\n\n")]);
    let client = server.client(Reconnect::standard());
    let mut session = client
        .get("http://test/")
        .last_event_id(7)
        .open()
        .await
        .unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().id.unwrap(), "7");
    assert_eq!(server.header("last-event-id"), [["7"], ["7"]]);
}

#[tokio::test(start_paused = true)]
async fn the_server_names_the_reconnection_time() {
    let server = Server::plays([
        stream("retry: 1500\n"),
        stream("retry: 0\ndata: a\n\n"),
        stream("retry: -5\n\n"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(hear(&mut session).await.0, ["a"]);
    assert_eq!(server.waits(), [1500, 200, 200].map(Duration::from_millis));
}

#[tokio::test(start_paused = true)]
async fn under_fixed_attempts_count_per_outage() {
    let server = Server::plays([
        stream("data: a\n\n"),
        Script::Refuse,
        stream("data: b\n\n"),
        Script::Refuse,
        Script::Refuse,
    ]);
    let reconnect = Reconnect::fixed(2, Duration::from_secs(1));
    let mut session = server.open(reconnect).await.unwrap();
    let (texts, error) = hear(&mut session).await;
    assert_eq!(
        (texts.join(""), error),
        ("ab".into(), Some(ErrorKind::Network))
    );
    assert_eq!(server.waits(), [Duration::from_secs(1); 4]);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_a_cut_is_an_error_once() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(session.next().await.unwrap().unwrap().text(), "a");
    let error = session.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Network);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "cut"
    );
    assert!(session.next().await.is_none());
    assert!(session.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_repeated() {
    for (script, kind, message) in [
        (
            status(404),
            ErrorKind::Status(StatusCode::NOT_FOUND),
            "expected status 200, but the server answered 404 Not Found",
        ),
        (
            status(302),
            ErrorKind::Status(StatusCode::FOUND),
            "expected status 200, but the server answered 302 Found",
        ),
        (
            Script::Answer {
                status: 200,
                content_type: Some("text/plain"),
                body: Vec::new(),
            },
            ErrorKind::ContentType(Some("text/plain".into())),
            "expected text/event-stream, but the server sent \"text/plain\"",
        ),
        (
            Script::Answer {
                status: 200,
                content_type: None,
                body: Vec::new(),
            },
            ErrorKind::ContentType(None),
            "expected text/event-stream, but the server named no content type",
        ),
        (
            Script::Unsendable,
            ErrorKind::InvalidRequest,
            "the request cannot be made",
        ),
    ] {
        let server = Server::plays([script]);
        let error = server.open(Reconnect::standard()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (&kind, message));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_asked_when_it_says() {
    let server = Server::plays([Script::Busy("2"), Script::Busy("2"), stream("data: a\n\n")]);
    let reconnect = Reconnect::standard().reconnection_time(Duration::from_millis(100));
    let mut session = server.open(reconnect.retry_refusals(true)).await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(server.waits(), [Duration::from_secs(2); 2]);
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_lengthen_the_wait_and_a_seed_repeats_it() {
    let waits = async |seed| {
        let server = Server::plays([
            stream(""),
            Script::Refuse,
            Script::Refuse,
            Script::Refuse,
            stream(""),
            status(204),
        ]);
        let client = server.client(Reconnect::standard()).jitter_seed(seed);
        let mut session = client.get("http://test/").open().await.unwrap();
        assert_eq!(hear(&mut session).await, (vec![], None));
        server.waits()
    };
    let first = waits(1).await;
    let second = waits(1).await;
    assert_eq!(first, second);
    assert_ne!(first, waits(2).await);
    let seconds = |seconds| Duration::from_secs(seconds);
    // From the end on: at once, then up to twice, four and eight times as long, and at once again.
    for (wait, longest) in first.iter().zip([3, 6, 12, 24, 3].map(seconds)) {
        assert!((seconds(3)..=longest).contains(wait), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_and_the_last_url_is_kept() {
    let server = Server::plays([
        Script::Redirect(307, "/b?c"),
        Script::Redirect(301, "http://other.test/d"),
        stream("id: 1\ndata: a\n\n"),
        Script::Redirect(302, "e"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.url(), "http://other.test/d");
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    let urls = [
        "http://test/events",
        "http://test/b?c",
        "http://other.test/d",
        "http://other.test/d",
        "http://other.test/e",
    ];
    assert_eq!(server.urls(), urls);
    let sent: [&[&str]; 5] = [&[], &[], &[], &["1"], &["1"]];
    assert_eq!(server.header("last-event-id"), sent);
}

#[tokio::test(start_paused = true)]
async fn no_credential_follows_a_redirect_nor_a_reconnection_to_another_origin() {
    let server = Server::plays([
        Script::Redirect(307, "http://other.test/"),
        stream("data: a\n\n"),
        Script::Redirect(307, "http://test/back"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let request = client
        .get("http://test/events")
        .bearer("token")
        .header("cookie", "a=b");
    assert_eq!(
        hear(&mut request.open().await.unwrap()).await,
        (vec!["a".into()], None)
    );
    let sent: [&[&str]; 4] = [&["Bearer token"], &[], &[], &["Bearer token"]];
    assert_eq!(server.header("authorization"), sent);
    let sent: [&[&str]; 4] = [&["a=b"], &[], &[], &["a=b"]];
    assert_eq!(server.header("cookie"), sent);
}

#[tokio::test(start_paused = true)]
async fn redirects_without_end_are_a_network_error() {
    let server = Server::plays(vec![Script::Redirect(302, "/"); 21]);
    let error = server.open(Reconnect::off()).await.unwrap_err();
    assert_eq!((error.kind(), server.requests()), (&ErrorKind::Network, 21));

    let server = Server::plays([Script::Redirect(302, "http://[")]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(
        (error.kind(), server.requests()),
        (&ErrorKind::InvalidRedirect, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_is_sent_once_unless_it_may_be_repeated() {
    let server = Server::plays([stream("data: a\n\n")]);
    let client = server.client(Reconnect::standard());
    let mut session = client
        .post("http://test/")
        .body("prompt")
        .open()
        .await
        .unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));

    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let client = server.client(Reconnect::standard());
    let request = client.post("http://test/").body("prompt").may_be_repeated();
    assert_eq!(
        hear(&mut request.open().await.unwrap()).await,
        (vec!["a".into()], None)
    );
    let requests = server.requests.lock().unwrap();
    assert!(
        requests
            .iter()
            .all(|(request, _)| request.body() == "prompt")
    );
    assert_eq!(requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_say_it_all() {
    let server = Server::plays([stream(": c\n\n")]);
    let client = server.client(Reconnect::standard());
    let request = client
        .post(("test", 8080, "/events"))
        .query("symbols", "AAPL,GOOGL")
        .query("q", "a b&c")
        .header("content-type", "application/json")
        .body("[1,2]")
        .max_reconnection_attempts(0)
        .show_comment_events(true);
    let mut session = request.open().await.unwrap();
    let event = session.try_next().await.unwrap().unwrap();
    assert_eq!(event.comments.as_deref(), Some("c"));
    assert_eq!(
        server.urls(),
        ["http://test:8080/events?symbols=AAPL%2CGOOGL&q=a%20b%26c"]
    );
    assert_eq!(server.header("content-type"), [["application/json"]]);
    assert_eq!(server.requests.lock().unwrap()[0].0.body(), "[1,2]");
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_body_may_be_json() {
    let server = Server::plays([stream("")]);
    let client = server.client(Reconnect::off());
    client
        .post("http://test/")
        .json(&[1, 2])
        .open()
        .await
        .unwrap();
    assert_eq!(server.header("content-type"), [["application/json"]]);
    assert_eq!(server.requests.lock().unwrap()[0].0.body(), "[1,2]");
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_network_error_and_a_comment_is_none() {
    let alive: Vec<Part> = b": one byte every 200 ms\ndata: a\n\n"
        .chunks(1)
        .flat_map(|byte| [Part::Wait(200), Part::Bytes(byte)])
        .chain([Part::Wait(10_000)])
        .collect();
    let server = Server::plays([parts(&alive)]);
    let client = server
        .client(Reconnect::off())
        .idle_timeout(Duration::from_millis(500));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    let before = Instant::now();
    let error = session.try_next().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Network);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the server was silent for 500ms"
    );
    assert_eq!(before.elapsed(), Duration::from_millis(500));

    let server = Server::plays([
        parts(&[Part::Wait(10_000)]),
        stream("data: b\n\n"),
        status(204),
    ]);
    let client = server
        .client(Reconnect::standard())
        .idle_timeout(Duration::from_millis(500));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_a_network_error() {
    let server = Server::plays([Script::Hang, Script::Hang, stream("data: a\n\n")]);
    let client = server.client(Reconnect::fixed(1, Duration::from_secs(1)));
    let client = client.response_timeout(Duration::from_secs(5));
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Network);

    let client =
        client.reconnect(Reconnect::fixed(1, Duration::from_secs(1)).retry_first_connection(true));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(server.waits()[1], Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_runs_only_while_the_network_is_waited_for() {
    let server = Server::plays([parts(&[
        Part::Bytes(b"data: a\n\n"),
        Part::Bytes(b"data: b\n\n"),
    ])]);
    let client = server
        .client(Reconnect::off())
        .idle_timeout(Duration::from_millis(500));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(hear(&mut session).await, (vec!["b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn the_event_that_ends_a_stream_is_not_heard_and_an_end_before_it_is_an_error() {
    let open = async |server: &Server, reconnect| {
        let request = server.client(reconnect).get("http://test/");
        request
            .until(|event| event.text() == "[DONE]")
            .open()
            .await
            .unwrap()
    };
    let server = Server::plays([stream("data: a\n\ndata: [DONE]\n\ndata: b\n\n")]);
    let mut session = open(&server, Reconnect::standard()).await;
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    assert_eq!(
        (session.try_next().await.unwrap(), server.requests()),
        (None, 1)
    );

    let server = Server::plays([stream("data: a\n\n")]);
    let mut session = open(&server, Reconnect::off()).await;
    assert_eq!(
        hear(&mut session).await,
        (vec!["a".into()], Some(ErrorKind::EndedEarly))
    );

    let server = Server::plays([stream("data: a\n\n"), stream("data: b\n\ndata: [DONE]\n\n")]);
    let mut session = open(&server, Reconnect::standard()).await;
    assert_eq!(
        hear(&mut session).await,
        (vec!["a".into(), "b".into()], None)
    );
}

#[tokio::test(start_paused = true)]
async fn no_content_is_a_session_without_events() {
    let server = Server::plays([status(204)]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.try_next().await.unwrap(), None);
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_must_succeed_unless_the_policy_covers_it() {
    let server = Server::plays([Script::Refuse]);
    let reconnect = Reconnect::fixed(5, Duration::ZERO);
    let error = server.open(reconnect).await.unwrap_err();
    assert_eq!((error.kind(), server.requests()), (&ErrorKind::Network, 1));

    let server = Server::plays([Script::Refuse, Script::Refuse, stream("data: a\n\n")]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cancelled_loses_nothing() {
    let server = Server::plays([
        parts(&[
            Part::Bytes(b"data: a\n\ndata: b\n\nda"),
            Part::Stall,
            Part::Bytes(b"ta: c\n\n"),
        ]),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let mut heard = String::new();
    while heard != "abc" {
        // The stalled part is pending without a waker: only the timeout goes on.
        if let Ok(event) = timeout(Duration::from_millis(1), session.try_next()).await {
            heard.push_str(event.unwrap().unwrap().text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_and_dropping_close_the_connection() {
    let server = Server::plays([parts(&[
        Part::Bytes(b"data: a\n\ndata: b\n\n"),
        Part::Stall,
    ])]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    session.try_next().await.unwrap().unwrap();
    session.close();
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
    assert_eq!(
        session.try_next().await.unwrap(),
        None,
        "nothing is heard after close"
    );

    let server = Server::plays([parts(&[Part::Stall])]);
    let session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 1);
    drop(session);
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_over_the_limit_ends_the_session() {
    let server = Server::plays([stream("data: a\n\ndata: 0123456789\n\ndata: b\n\n")]);
    let client = server.client(Reconnect::standard()).max_event_bytes(10);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(
        hear(&mut session).await,
        (vec!["a".into()], Some(ErrorKind::EventTooLarge))
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn comment_and_retry_events_are_heard_when_asked_for() {
    const STREAM: &str = "id: 1\ndata: a\n\n: only\n\nretry: 5\n\n: with\ndata: b\n\n";
    let heard = async |show: bool| {
        let server = Server::plays([stream(STREAM)]);
        let client = server.client(Reconnect::off());
        let client = client.show_comment_events(show).show_retry_events(show);
        let mut session = client.get("http://test/").open().await.unwrap();
        let mut heard = Vec::new();
        while let Some(event) = session.try_next().await.unwrap() {
            heard.push((event.data, event.comments, event.retry.is_some()));
        }
        heard
    };
    let text = |text: &str| Some(text.to_owned());
    let (a, b) = ((text("a"), None, false), (text("b"), text("with"), false));
    assert_eq!(heard(false).await, [a.clone(), b.clone()]);
    assert_eq!(
        heard(true).await,
        [a, (None, text("only"), false), (None, None, true), b]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_request_is_told_when_it_is_opened() {
    let server = Server::plays([]);
    let client = server.client(Reconnect::standard());
    for request in [
        client.get("http://a b/"),
        client.get("http://test/").header("a b", "c"),
        client.get("http://test/").bearer("two\nlines"),
    ] {
        let error = request.open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_session_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    is_send(
        Server::default()
            .client(Reconnect::off())
            .get("http://test/")
            .open(),
    );
}
