//! The body of a request, within limits of size and time.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::app::App;
use super::problem::{Problem, causes};

/// How much of an unread body the server reads after the answer, in bytes, and for how long.
const MAX_DISCARDED_BYTES: usize = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// The room for the bodies that are being received. Without it, clients that send most of a body and stop
/// would take memory without limit.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

/// What one permit of the room stands for, in bytes.
const UNIT: usize = 1024;

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self(Semaphore::new(units))
    }

    /// Takes the room of so many bytes, until what it returns is dropped.
    fn take(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let full = "the server receives too many bodies at this time";
        self.0
            .try_acquire_many(units)
            .map_err(|_| Problem::unavailable(full))
    }
}

/// Reads the whole body.
///
/// A body over the limit is refused as soon as its length, or so much of it, is known, and is never held.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    if let Some(coding) = headers.get(CONTENT_ENCODING)
        && coding != "identity"
    {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = "a body must not be compressed";
        return Err(Problem::new(status, "unsupported-media-type", detail));
    }
    let max = app.max_body;
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > max as u64) {
        return Err(too_large(max));
    }
    match timeout(app.body_time, read_up_to(max, &app.bodies, body)).await {
        Ok(read) => read,
        Err(_) => Err(timed_out()),
    }
}

/// Reads a body that must be UTF-8.
pub(super) async fn read_text(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    let bytes = read(app, headers, body).await?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::invalid(
            "invalid-body",
            format!("the body is not UTF-8 at byte {at}"),
        )
    })
}

async fn read_up_to(max: usize, room: &Room, mut body: Body) -> Result<Bytes, Problem> {
    // Most bodies are one frame, which is not copied.
    let mut read = Bytes::new();
    let mut taken = room.take(0)?;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else {
            continue;
        };
        if read.len() + data.len() > max {
            return Err(too_large(max));
        }
        // Before the buffer grows, which may double it.
        let wanted = read.len() + data.len();
        if wanted > taken.num_permits() * UNIT {
            taken.merge(room.take(wanted)?);
        }
        read = if read.is_empty() {
            data
        } else {
            join(read, &data)
        };
    }
    Ok(read)
}

/// Appends in place, if there is room.
fn join(read: Bytes, data: &[u8]) -> Bytes {
    let mut joined = BytesMut::from(read);
    joined.extend_from_slice(data);
    joined.freeze()
}

/// Makes a request's body one that is [read on](Lingering) if its route does not read it to the end.
pub(super) fn linger(request: Request<Body>) -> Request<Body> {
    // A client that waits for permission to send its body sends none.
    let is_waiting = request.headers().contains_key(EXPECT);
    if is_waiting || request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(Lingering(Some(body))))
}

/// A body that is read on for a moment if it is dropped before its end.
///
/// A connection that is closed with unread bytes is reset, and its client may lose the answer.
struct Lingering(Option<Body>);

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(timeout(LINGER_TIME, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > MAX_DISCARDED_BYTES {
            break;
        }
    }
}

fn too_large(max: usize) -> Problem {
    Problem::too_large(format!("a body has at most {max} bytes"))
}

fn timed_out() -> Problem {
    let detail = "the body took too long";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail)
}

/// The connection failed within the body, or the client broke the rules for bodies.
fn broken(error: &(dyn Error + 'static)) -> Problem {
    let is_timeout = causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    });
    if is_timeout {
        timed_out()
    } else {
        Problem::invalid(
            "invalid-body",
            "the body is not complete, or not valid HTTP",
        )
    }
}
