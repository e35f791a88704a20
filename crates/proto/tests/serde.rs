//! The serde forms of IDs, names, positions and events (feature `serde`).
#![cfg(feature = "serde")]

use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_proto::{Event, EventId, EventName, Position};

/// The value has this JSON, and the JSON reads back as the value.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &str) {
    assert_eq!(serde_json::to_string(value).ok().as_deref(), Some(json));
    assert_eq!(serde_json::from_str(json).ok().as_ref(), Some(value));
}

#[track_caller]
fn check_refused<T: DeserializeOwned + Debug>(json: &str, error: &str) {
    let found = serde_json::from_str::<T>(json).map_err(|found| found.to_string());
    assert!(
        matches!(&found, Err(found) if found.starts_with(error)),
        "{found:?}"
    );
}

#[test]
fn text_types_are_strings() {
    check(&EventId::from_static("a \"b\""), r#""a \"b\"""#);
    check(&EventId::EMPTY, r#""""#);
    check(&EventName::from_static("price"), r#""price""#);
    check(
        &Position::from_static("k3Zq9.42.x_7A"),
        r#""k3Zq9.42.x_7A""#,
    );
}

#[test]
fn a_position_is_read_from_an_id_that_names_its_channel() {
    let read: Position = serde_json::from_str(r#""k3Zq9.42.x_7A.rooms/7""#).unwrap();
    check(&read, r#""k3Zq9.42.x_7A""#);
}

#[test]
fn reading_validates() {
    check_refused::<EventId>(
        r#""a\nb""#,
        "an event ID must not contain NUL, CR or LF, but byte 1 is LF",
    );
    check_refused::<EventName>(
        r#""a\rb""#,
        "an event name must not contain CR or LF, but byte 1 is CR",
    );
    check_refused::<Position>(r#""42""#, "a position reads <epoch>.<seq>.<check>");
    check_refused::<EventId>("42", "invalid type: integer `42`, expected an event ID");
    check_refused::<Event>(r#"{"id":"\u0000"}"#, "an event ID must not contain");
}

#[test]
fn an_event_is_its_five_fields() {
    check(
        &Event::default(),
        r#"{"data":null,"event":null,"id":null,"retry":null,"comments":null}"#,
    );
    let event = Event {
        comments: Some("seen".into()),
        ..Event::new("a\nb")
            .event(EventName::from_static("note"))
            .id(7)
            .retry(Duration::from_millis(1500))
    };
    check(
        &event,
        r#"{"data":"a\nb","event":"note","id":"7","retry":1500,"comments":"seen"}"#,
    );
    check(
        &Event::of(vec![1, 2]),
        r#"{"data":[1,2],"event":null,"id":null,"retry":null,"comments":null}"#,
    );
}

#[test]
fn fields_that_are_missing_are_none() {
    assert_eq!(
        serde_json::from_str::<Event>("{}").unwrap(),
        Event::default()
    );
    assert_eq!(
        serde_json::from_str::<Event>(r#"{"data":"x","id":"1"}"#).unwrap(),
        Event::new("x").id(1)
    );
}
