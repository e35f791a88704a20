//! Which responses open a stream: status, media type and content coding.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "any time will do")]

use std::time::{Instant, SystemTime};

use tidings_proto::EventSourceFailure::{ContentEncoding, ContentType, Status};
use tidings_proto::{
    Decoder, EventSourceAction, EventSourceFailure, EventSourceState, Reconnect, ResponseHead,
    StreamTypes,
};

const STREAM: Option<&str> = Some("text/event-stream");

fn state() -> EventSourceState {
    EventSourceState::new(Reconnect::persistent(), Decoder::new(), 42)
}

/// Expects a stream (`None`), or the end of the session by this failure.
fn check(
    mut state: EventSourceState,
    head: ResponseHead<'_>,
    expected: Option<EventSourceFailure>,
) {
    let connect = EventSourceAction::Connect {
        last_event_id: None,
    };
    assert_eq!(state.poll_action(), Some(connect));
    state.handle_response(head, Instant::now(), SystemTime::now());
    assert_eq!(state.is_open(), expected.is_none(), "{head:?}");
    let failed = expected.map(EventSourceAction::Fail);
    assert_eq!(state.poll_action(), failed, "{head:?}");
}

#[test]
fn another_success_than_200_opens_a_stream_only_on_request() {
    for status in [201, 202, 203, 206, 226, 299] {
        let head = ResponseHead::new(status).content_type(STREAM);
        check(state(), head, Some(Status(status)));
        check(state().accept_any_success(true), head, None);
        let untyped = ResponseHead::new(status);
        let refused = Some(ContentType(None));
        check(state().accept_any_success(true), untyped, refused);
    }
    for status in [199, 205, 300, 404] {
        let head = ResponseHead::new(status).content_type(STREAM);
        check(state().accept_any_success(true), head, Some(Status(status)));
    }
    let mut no_content = state().accept_any_success(true);
    assert!(no_content.poll_action().is_some());
    let head = ResponseHead::new(204).content_type(STREAM);
    no_content.handle_response(head, Instant::now(), SystemTime::now());
    assert_eq!(no_content.poll_action(), Some(EventSourceAction::Finish));
}

#[test]
fn a_stream_has_one_of_the_media_types() {
    let plain = || StreamTypes::new().and("text/plain").unwrap();
    let head = |value| ResponseHead::new(200).content_type(value);
    let refused = |value: &str| Some(ContentType(Some(value.to_owned())));
    for (value, by_default, with_plain) in [
        ("text/event-stream; charset=latin1", None, None),
        ("text/plain, text/event-stream", None, None),
        ("text/plain", refused("text/plain"), None),
        (
            "text/event-stream, text/html",
            refused("text/event-stream, text/html"),
            refused("text/event-stream, text/html"),
        ),
    ] {
        check(state(), head(Some(value)), by_default);
        check(state().stream_types(plain()), head(Some(value)), with_plain);
        let any = StreamTypes::new().any(true);
        check(state().stream_types(any), head(Some(value)), None);
    }
    check(state(), head(None), Some(ContentType(None)));
    check(
        state().stream_types(plain()),
        head(None),
        Some(ContentType(None)),
    );
    check(
        state().stream_types(StreamTypes::new().any(true)),
        head(None),
        None,
    );
}

#[test]
fn a_stream_in_a_registered_coding_is_refused_for_good() {
    let head = |value| {
        ResponseHead::new(200)
            .content_type(STREAM)
            .content_encoding(Some(value))
    };
    for (value, coding) in [
        ("deflate", "deflate"),
        ("X-GZIP, none", "gzip"),
        ("gzip, br", "br"),
    ] {
        check(state(), head(value), Some(ContentEncoding(coding)));
    }
    for value in ["", "none", "utf-8", "chunked, identity"] {
        check(state(), head(value), None);
    }
    // The status and the media type are the better reasons.
    check(
        state(),
        ResponseHead::new(404).content_encoding(Some("br")),
        Some(Status(404)),
    );
    check(
        state(),
        ResponseHead::new(200).content_encoding(Some("br")),
        Some(ContentType(None)),
    );
}
