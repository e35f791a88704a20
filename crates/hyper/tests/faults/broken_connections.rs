//! Each way in which a connection can break: an error without a policy, a reconnection with one.

use tidings_client::{ErrorKind, Reconnect};
use tidings_testkit::server::{Script, ScriptedServer, Step};

use crate::scene::{SECOND, client, open_and_collect, waits};

/// The name of a fault, its script, and the events received before it.
type Fault = (&'static str, Script, &'static [&'static str]);

fn faults() -> Vec<Fault> {
    let mut faults = before_the_body();
    faults.extend(in_the_body());
    faults
}

fn answer(steps: &[Step]) -> Script {
    Script::answer(steps.to_vec())
}

fn before_the_body() -> Vec<Fault> {
    vec![
        ("refused", Script::Refuse, &[]),
        (
            "reset before the request",
            Script::Unread(vec![Step::Reset]),
            &[],
        ),
        ("closed before the request", Script::Unread(vec![]), &[]),
        ("reset before the head", answer(&[Step::Reset]), &[]),
        ("closed before the head", answer(&[]), &[]),
        (
            "reset in the head",
            answer(&[Step::send("HTTP/1.1 200 OK\r\ncontent-ty"), Step::Reset]),
            &[],
        ),
        (
            "closed in the head",
            answer(&[Step::send("HTTP/1.1 200 OK\r\ncontent-ty")]),
            &[],
        ),
        (
            "garbage",
            answer(&[Step::send(b"\x16\x03\x01\0garbage\r\n\r\n")]),
            &[],
        ),
        (
            "an invalid status",
            answer(&[Step::send("HTTP/1.1 9 OK\r\n\r\n")]),
            &[],
        ),
        ("a head that stalls", answer(&[Step::Stall]), &[]),
        (
            "a head that stalls in the middle",
            answer(&[Step::send("HTTP/1.1 200 OK\r\n"), Step::Stall]),
            &[],
        ),
    ]
}

fn in_the_body() -> Vec<Fault> {
    vec![
        (
            "reset in the body",
            answer(&[
                Step::head(),
                Step::send("data: a\n\ndata: b\n"),
                Step::Reset,
            ]),
            &["a"],
        ),
        (
            "a chunk cut short",
            answer(&[Step::chunked_head(), Step::send("ff\r\ndata: a\n\n")]),
            &["a"],
        ),
        (
            "no last chunk",
            answer(&[Step::chunked_head(), Step::chunk("data: a\n\n")]),
            &["a"],
        ),
        (
            "an invalid chunk size",
            answer(&[
                Step::chunked_head(),
                Step::chunk("data: a\n\n"),
                Step::send("no\r\nsize"),
            ]),
            &["a"],
        ),
        (
            "a body shorter than its length",
            answer(&[
                Step::send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"),
                Step::send("content-length: 99\r\n\r\ndata: a\n\n"),
            ]),
            &["a"],
        ),
        (
            "a body that stalls",
            answer(&[Step::head(), Step::send("data: a\n\nda"), Step::Stall]),
            &["a"],
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_each_fault_is_one_error() {
    for (name, fault, received) in faults() {
        let server = ScriptedServer::plays([fault]);
        let client = client(&server, Reconnect::off())
            .response_timeout(SECOND)
            .idle_timeout(SECOND);
        let (texts, error) = open_and_collect(&client).await;
        let kind = if received.is_empty() {
            ErrorKind::Connect
        } else {
            ErrorKind::Interrupted
        };
        assert_eq!(
            (texts.as_slice(), error),
            (owned(received).as_slice(), Some(kind)),
            "{name}"
        );
        assert_eq!(server.connections(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_standard_policy_survives_each_fault() {
    for (name, fault, received) in faults() {
        let server = ScriptedServer::plays([
            Script::stream("id: 7\n\n"),
            fault,
            Script::stream("data: z\n\n"),
            Script::status(204, ""),
        ]);
        let client = client(&server, Reconnect::standard())
            .response_timeout(SECOND)
            .idle_timeout(SECOND);
        let (texts, error) = open_and_collect(&client).await;
        let mut expected = owned(received);
        expected.push("z".into());
        assert_eq!((texts, error), (expected, None), "{name}");
        assert_eq!(server.connections(), 4, "{name}");
        for request in &server.requests()[1..] {
            assert_eq!(request.header("last-event-id"), ["7"], "{name}");
        }
        for wait in waits(&server) {
            assert!(wait >= 3 * SECOND, "{name}: {wait:?}");
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_over_the_limit_ends_the_session_under_any_policy() {
    let large = format!("data: a\n\ndata: {}\n\n", "x".repeat(2000));
    let server = ScriptedServer::plays([Script::stream(&large)]);
    let client = client(&server, Reconnect::standard()).max_event_bytes(1000);
    let outcome = open_and_collect(&client).await;
    assert_eq!(outcome, (vec!["a".into()], Some(ErrorKind::EventTooLarge)));
    assert_eq!(server.connections(), 1);
}
