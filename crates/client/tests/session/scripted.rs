//! A scripted transport: a script for each connection, and a record of the requests.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tidings_client::{
    ConnectError, Error, ErrorKind, FinalUrl, Reconnect, ResponseBody, ResponseFuture, Session,
    SseClient, Transport,
};
use tokio::time::Instant;

/// The behaviour of the server on one connection.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    Refuse,
    Unsendable,
    /// Never answers.
    Hang,
    /// Answers 503 with this `Retry-After`.
    Busy(&'static str),
    /// Answers this status with this `Location`.
    Redirect(u16, &'static str),
    /// Answers with a stream that ends, from a URL to which the transport followed a redirect.
    Followed(FinalUrl),
    Answer {
        status: u16,
        content_type: Option<&'static str>,
        body: Vec<Part>,
    },
    /// Answers with this status, these headers and this body.
    Head(u16, &'static [(&'static str, &'static str)], &'static str),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Bytes(&'static [u8]),
    Cut,
    /// Sends nothing more, and does not end.
    Stall,
    /// Is pending once, without a waker.
    Pause,
    /// Waits this many milliseconds before the next part.
    Wait(u64),
}

/// A stream of this text, which then ends.
pub(crate) fn stream(text: &'static str) -> Script {
    parts(&[Part::Bytes(text.as_bytes())])
}

pub(crate) fn parts(body: &[Part]) -> Script {
    Script::Answer {
        status: 200,
        content_type: Some("text/event-stream"),
        body: body.to_vec(),
    }
}

pub(crate) fn status(status: u16) -> Script {
    Script::Answer {
        status,
        content_type: Some("text/event-stream"),
        body: Vec::new(),
    }
}

pub(crate) type Requests = Vec<(Request<Bytes>, Instant)>;

/// Plays one script per connection, and keeps the requests.
#[derive(Clone, Default)]
pub(crate) struct Server {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    pub(crate) requests: Arc<Mutex<Requests>>,
    pub(crate) open_bodies: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn plays(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts = Arc::new(Mutex::new(scripts.into_iter().collect()));
        Self {
            scripts,
            ..Self::default()
        }
    }

    pub(crate) fn client(&self, reconnect: Reconnect) -> SseClient {
        SseClient::over(self.clone()).reconnect(reconnect)
    }

    pub(crate) async fn open(&self, reconnect: Reconnect) -> Result<Session, Error> {
        self.client(reconnect)
            .get("http://test/events")
            .open()
            .await
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The URL of each request.
    pub(crate) fn urls(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|(request, _)| request.uri().to_string())
            .collect()
    }

    /// The values of the header in each request.
    pub(crate) fn header(&self, name: &str) -> Vec<Vec<String>> {
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

    /// The time between each request and the one before it.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        let requests = self.requests.lock().unwrap();
        requests
            .windows(2)
            .map(|pair| pair[1].1 - pair[0].1)
            .collect()
    }
}

impl Transport for Server {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        self.requests
            .lock()
            .unwrap()
            .push((request, Instant::now()));
        let script = self.scripts.lock().unwrap().pop_front();
        let open_bodies = Arc::clone(&self.open_bodies);
        Box::pin(async move {
            match script.expect("there is a script for each request") {
                Script::Refuse => Err(ConnectError::Network("refused".into())),
                Script::Hang => std::future::pending().await,
                Script::Unsendable => Err(ConnectError::InvalidRequest("unsendable".into())),
                Script::Busy(retry_after) => Ok(answer(503, "retry-after", retry_after)),
                Script::Redirect(status, location) => Ok(answer(status, "location", location)),
                Script::Head(status, headers, body) => {
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(*name, *value);
                    }
                    let body = ResponseBody::new(http_body_util::Full::from(body));
                    Ok(response.body(body).unwrap())
                }
                Script::Followed(url) => {
                    let mut response = answer(200, "content-type", "text/event-stream");
                    response.extensions_mut().insert(url);
                    Ok(response)
                }
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
            Some(Part::Pause) => Poll::Pending,
            Some(Part::Stall) => {
                this.parts.push_front(Part::Stall);
                Poll::Pending
            }
        }
    }
}

/// The texts up to the end or the error, and the kind of the error.
pub(crate) async fn read_all(session: &mut Session) -> (Vec<String>, Option<ErrorKind>) {
    let mut texts = Vec::new();
    loop {
        match session.try_next().await {
            Ok(Some(event)) => texts.push(event.text().to_owned()),
            Ok(None) => return (texts, None),
            Err(error) => return (texts, Some(error.kind().clone())),
        }
    }
}
