//! `NoSession`: the answer to a request whose session does not open.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use http::header::ACCEPT;
use http::{Method, Response, StatusCode};
use tidings_proto::headers::EVENT_STREAM;
use tidings_proto::{Event, FeedError};

use crate::response::no_stream;
use crate::{Drain, SessionBody, SseRequest, meters};

/// The most text of a refusal, in characters.
const MAX_TEXT: usize = 300;

/// The answer to a request whose session does not open.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// The head of a stream, for a HEAD request.
    HeadOnly,
    /// 204: the client has received the whole stream.
    Over,
    /// A stream that is only this reconnection time.
    ComeBackLater(Duration),
    Refused(Refusal),
}

/// A status in place of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// The reason, for a person.
    pub(crate) text: Cow<'static, str>,
}

impl SseRequest {
    pub(crate) fn answer_without_session(&self, answer: NoSession) -> Response<SessionBody> {
        match answer {
            NoSession::HeadOnly => self.respond(SessionBody::head_only()),
            NoSession::Over => no_stream(StatusCode::NO_CONTENT, None, None),
            NoSession::ComeBackLater(retry) => {
                let retry = Event::default().retry(retry).encode();
                self.respond_uncompressed(if self.parts.method == Method::HEAD {
                    SessionBody::head_only()
                } else {
                    SessionBody::whole(retry.into_bytes())
                })
            }
            NoSession::Refused(Refusal {
                status,
                retry_after,
                text,
            }) => no_stream(status, retry_after, Some(text)),
        }
    }

    /// Asks the client to return after this time: an `EventSource` by a stream that is only a `retry:`,
    /// because it would give up for ever on a status, and other clients by this status.
    pub(crate) fn come_back_later(
        &self,
        status: StatusCode,
        retry: Duration,
        text: &'static str,
    ) -> NoSession {
        if self.is_from_event_source() {
            return NoSession::ComeBackLater(retry);
        }
        NoSession::Refused(Refusal {
            status,
            retry_after: Some(retry),
            text: text.into(),
        })
    }

    pub(crate) fn refuse_draining(&self, drain: &Drain) -> NoSession {
        meters::refuse("drain");
        let text = "the server is shutting down";
        self.come_back_later(StatusCode::SERVICE_UNAVAILABLE, drain.random_retry(), text)
    }

    /// Whether the request is like that of an `EventSource`: a GET, or the HEAD for it, whose `Accept`
    /// names `text/event-stream`.
    pub(crate) fn is_from_event_source(&self) -> bool {
        let lines = self.parts.headers.get_all(ACCEPT).iter();
        let mut ranges = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        matches!(self.parts.method, Method::GET | Method::HEAD) && ranges.any(accepts_event_stream)
    }
}

/// Whether a media range is `text/event-stream`, with a weight over 0.
fn accepts_event_stream(range: &[u8]) -> bool {
    let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    name.eq_ignore_ascii_case(EVENT_STREAM.as_bytes()) && !parts.any(is_weight_of_zero)
}

fn is_weight_of_zero(parameter: &[u8]) -> bool {
    let weight = parameter
        .strip_prefix(b"q=")
        .or(parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| {
        weight.starts_with(b"0") && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
    })
}

/// The rule that a request breaks: the causes of the error, on one line.
pub(crate) fn broken_rule(error: &FeedError) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        if write!(text, "{separator}{error}").is_err() {
            unreachable!("a string accepts any text");
        }
        cause = error.source();
    }
    let printable = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    text.chars().take(MAX_TEXT).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(method: &str, accept: &[&str], expected: bool) {
        let mut request = Request::builder().method(method);
        for line in accept {
            request = request.header("accept", *line);
        }
        let request = SseRequest::new(request.body(()).unwrap().into_parts().0);
        assert_eq!(
            request.is_from_event_source(),
            expected,
            "{method}, {accept:?}"
        );
    }

    #[test]
    fn an_event_source_sends_a_get_and_names_the_media_type() {
        check("GET", &["text/event-stream"], true);
        check("HEAD", &["text/event-stream"], true);
        check("GET", &["Text/Event-Stream; q=0.5"], true);
        check("GET", &["application/json, text/event-stream"], true);
        check(
            "GET",
            &["application/json", "text/event-stream;charset=utf-8"],
            true,
        );
        check("GET", &["text/event-stream;q=0.001"], true);
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/html,*/*;q=0.8",
            "text/event-streams",
            "text/event-stream;q=0",
            "text/event-stream ; q=0.000",
        ] {
            check("GET", &[accept], false);
        }
        check("GET", &[], false);
        check("POST", &["application/json, text/event-stream"], false);
    }
}
