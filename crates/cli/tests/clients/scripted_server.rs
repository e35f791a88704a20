//! `ScriptedServer`: answers each request with the next answer of a list, and keeps the requests.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// An answer: status, headers and body.
pub(crate) type Answer = (u16, &'static [(&'static str, &'static str)], &'static str);

/// The headers of a stream.
pub(crate) const STREAM: &[(&str, &str)] = &[("content-type", "text/event-stream")];
/// The headers of a problem document.
pub(crate) const PROBLEM: &[(&str, &str)] = &[("content-type", "application/problem+json")];
/// The headers of JSON.
pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A request as it has arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The address of the client, over TCP.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ScriptedServer {
    script: Arc<Mutex<Script>>,
    url: String,
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    asked: Vec<Asked>,
}

impl ScriptedServer {
    /// Listens on a free port until the runtime of the test ends.
    pub(crate) async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self::new(answers, url);
        tokio::spawn(tidings::axum::serve(listener, server.router()).into_future());
        server
    }

    /// Listens on this Unix socket.
    #[cfg(unix)]
    pub(crate) fn start_unix(path: &std::path::Path, answers: &[Answer]) -> Self {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let server = Self::new(answers, "http://localhost".into());
        tokio::spawn(tidings::axum::serve(listener, server.router()).into_future());
        server
    }

    fn new(answers: &[Answer], url: String) -> Self {
        let script = Script {
            answers: answers.iter().copied().collect(),
            asked: Vec::new(),
        };
        let script = Arc::new(Mutex::new(script));
        Self { script, url }
    }

    fn router(&self) -> Router {
        Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&self.script))
    }

    /// The URL of this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let peer = head.extensions.get();
    let asked = Asked {
        peer: peer.map(|ConnectInfo(peer)| *peer),
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: String::from_utf8(body.into()).unwrap(),
    };
    let mut script = script.lock().unwrap();
    script.asked.push(asked);
    // A client that asks too often fails.
    let over: Answer = (418, &[], "the script is over");
    let (status, headers, body) = script.answers.pop_front().unwrap_or(over);
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    response.headers_mut().remove("content-type");
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}
