//! `replay`: no event is lost or repeated, and an ID that cannot be resumed is reported by a gap.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidings::client::{Lifecycle, Session, SseClient};
use tidings::proto::{Gap, GapReason};
use tidings::{EventId, Reconnect};

use crate::client::Client;
use crate::cutter::Cutter;
use crate::server::Server;
use crate::store::Store;

const PROGRAM: &str = env!("CARGO_BIN_EXE_replay");

/// The number of events that the example keeps.
const KEPT: u64 = 1_000;

#[tokio::test]
async fn our_client_receives_each_number_once_over_many_cuts() {
    let server = Server::start(PROGRAM, 0);
    let cutter = Cutter::start(server.address(), 600);
    let (client, gaps) = client();
    let url = format!("http://{}/feed", cutter.address());
    let mut session = client.get(url).open().await.expect("a stream");
    let mut last = None;
    while cutter.cuts() < 40 {
        let n = next_number(&mut session).await;
        assert!(last.is_none_or(|last| n == last + 1), "{n} after {last:?}");
        last = Some(n);
    }
    assert_eq!(*gaps.lock().expect("no panic"), []);
    assert!(last > Some(40), "{last:?}");
}

#[tokio::test]
async fn our_client_reports_each_gap_and_continues() {
    let server = Server::start(PROGRAM, 0);
    let url = format!("http://{}/feed", server.address());
    let (id, _) = next_event(&mut Client::get(server.address(), "/feed"));
    let epoch = id.split('.').next().expect("three parts");
    for (id, reason) in [
        ("nonsense".to_owned(), GapReason::UnknownId),
        ("other.1.AAAA".to_owned(), GapReason::Epoch),
        (format!("{epoch}.1000000.AAAA"), GapReason::Future),
    ] {
        let (client, gaps) = client();
        let last = EventId::new(&id).expect("an id");
        let session = client.get(&url).last_event_id(last).open().await;
        let mut session = session.expect("a stream");
        let first = next_number(&mut session).await;
        assert_eq!(next_number(&mut session).await, first + 1);
        assert_eq!(reported(&gaps), [(None, reason)]);
    }
}

#[tokio::test]
async fn our_client_reports_a_restart() {
    let server = Server::start(PROGRAM, 0);
    let port = server.address().port();
    let (client, gaps) = client();
    let url = format!("http://{}/feed", server.address());
    let mut session = client.get(url).open().await.expect("a stream");
    let mut last = next_number(&mut session).await;
    // The client receives all numbers until the server ends, each once; then the numbers start again.
    server.end("TERM");
    let _restarted = Server::start(PROGRAM, port);
    while reported(&gaps).is_empty() {
        let n = next_number(&mut session).await;
        if reported(&gaps).is_empty() {
            assert_eq!(n, last + 1);
            last = n;
        } else {
            assert_eq!(reported(&gaps), [(None, GapReason::Epoch)]);
            assert_eq!(next_number(&mut session).await, n + 1);
        }
    }
}

type Gaps = Arc<Mutex<Vec<Gap>>>;

/// A client that reconnects at once, and the gaps that it reports.
fn client() -> (SseClient, Gaps) {
    let gaps = Gaps::default();
    let reported = Arc::clone(&gaps);
    let client = tidings::client()
        .reconnect(Reconnect::standard().multiplier(1))
        .reconnection_time(Duration::from_millis(1))
        .gaps(true)
        .on_lifecycle(move |lifecycle| {
            if let Lifecycle::Gap(gap) = lifecycle {
                reported.lock().expect("no panic").push(gap.clone());
            }
        });
    (client, gaps)
}

fn reported(gaps: &Gaps) -> Vec<(Option<String>, GapReason)> {
    let gaps = gaps.lock().expect("no panic");
    let reported = gaps.iter().map(|gap| (gap.requested.clone(), gap.reason));
    reported.collect()
}

async fn next_number(session: &mut Session) -> u64 {
    let next = tidings_testkit::timeout::timeout(Duration::from_secs(30), session.try_next());
    let event = next.await.expect("in time").expect("no error");
    number(event.expect("no end").text())
}

#[test]
fn a_client_resumes_by_header_or_by_query() {
    let server = Server::start(PROGRAM, 0);
    let mut client = Client::get(server.address(), "/feed");
    let (mut id, mut last) = next_event(&mut client);
    for turn in 0..20 {
        client = if turn % 2 == 0 {
            resume(&server, &id)
        } else {
            Client::get(server.address(), &format!("/feed?last_event_id={id}"))
        };
        for _ in 0..=turn % 5 {
            let (next_id, n) = next_event(&mut client);
            assert_eq!(n, last + 1);
            (id, last) = (next_id, n);
        }
    }
}

#[test]
fn a_feed_is_an_event_stream_and_other_paths_are_a_404() {
    let server = Server::start(PROGRAM, 0);
    let client = Client::get(server.address(), "/feed");
    assert_eq!(client.status(), 200);
    assert_eq!(client.header("content-type"), Some("text/event-stream"));
    assert_eq!(Client::get(server.address(), "/").status(), 404);
    let posted = Client::send(server.address(), "POST /feed", "", b"");
    assert_eq!(posted.status(), 405);
}

#[test]
fn an_id_that_is_not_a_position_is_reported() {
    let server = Server::start(PROGRAM, 0);
    for id in [
        "nonsense",
        "42",
        "a.b.c",
        "-1",
        "..",
        "x.1.",
        "%ff",
        "a.1.AAAA.",
        "a.1.AAAA.*",
    ] {
        let mut client = resume(&server, id);
        expect_gap(&mut client, id, GapReason::UnknownId);
    }
}

#[test]
fn an_id_of_another_run_or_with_another_check_is_reported() {
    let server = Server::start(PROGRAM, 0);
    let (id, _) = next_event(&mut Client::get(server.address(), "/feed"));
    let (place, check) = id.rsplit_once('.').expect("three parts");
    let other = if check == "AAAA" { "AAAB" } else { "AAAA" };
    let forged = format!("{place}.{other}");
    expect_gap(&mut resume(&server, &forged), &forged, GapReason::Epoch);
    let named = format!("{forged}.feed");
    expect_gap(&mut resume(&server, &named), &named, GapReason::Epoch);

    let port = server.address().port();
    server.end("TERM");
    let restarted = Server::start(PROGRAM, port);
    expect_gap(&mut resume(&restarted, &id), &id, GapReason::Epoch);
}

#[test]
fn an_id_past_the_end_is_reported() {
    let server = Server::start(PROGRAM, 0);
    let (id, _) = next_event(&mut Client::get(server.address(), "/feed"));
    let epoch = id.split('.').next().expect("three parts");
    let future = format!("{epoch}.1000000.AAAA");
    expect_gap(&mut resume(&server, &future), &future, GapReason::Future);
}

#[test]
fn a_client_that_was_away_too_long_receives_how_much_it_missed() {
    let server = Server::start(PROGRAM, 0);
    let mut steady = Client::get(server.address(), "/feed");
    let (id, n) = next_event(&mut steady);
    let mut newest = n;
    while newest < n + KEPT / 2 {
        newest = next_event(&mut steady).1;
    }
    assert_eq!(
        next_event(&mut resume(&server, &id)).1,
        n + 1,
        "within what is kept"
    );
    while newest < n + KEPT + 50 {
        newest = next_event(&mut steady).1;
    }
    let mut client = resume(&server, &id);
    let gap = expect_gap(&mut client, &id, GapReason::Trimmed);
    let (_, oldest) = next_event(&mut client);
    assert_eq!(gap.missed, Some(oldest - n - 1), "{gap:?}");
    assert!(
        (newest - oldest).abs_diff(KEPT) < 50,
        "{oldest} of {newest}"
    );
    assert_eq!(next_event(&mut client).1, oldest + 1);
}

#[tokio::test]
async fn a_feed_in_a_store_continues_over_kills() {
    let store = Store::new();
    let mut server = Server::start_command(store.command(PROGRAM), 0);
    let port = server.address().port();
    let (client, gaps) = client();
    let url = format!("http://{}/feed", server.address());
    let mut session = client.get(url).open().await.expect("a stream");
    let mut last = next_number(&mut session).await;
    for _ in 0..5 {
        for _ in 0..20 {
            let n = next_number(&mut session).await;
            assert_eq!(n, last + 1);
            last = n;
        }
        // The end of a `Server` is a SIGKILL. It has closed its port before the next one starts.
        drop(server);
        server = Server::start_command(store.command(PROGRAM), port);
    }
    assert_eq!(next_number(&mut session).await, last + 1);
    assert_eq!(reported(&gaps), []);
}

#[test]
fn an_id_resumes_a_feed_in_a_store_after_each_end_of_its_server() {
    let store = Store::new();
    let server = Server::start_command(store.command(PROGRAM), 0);
    let (id, n) = next_event(&mut Client::get(server.address(), "/feed"));
    drop(server);
    for _ in 0..3 {
        let server = Server::start_command(store.command(PROGRAM), 0);
        let mut client = resume(&server, &id);
        for later in 1..10 {
            assert_eq!(next_event(&mut client).1, n + later);
        }
        server.end("TERM");
    }
    let server = Server::start_command(store.command(PROGRAM), 0);
    expect_gap(
        &mut resume(&server, "other.1.AAAA"),
        "other.1.AAAA",
        GapReason::Epoch,
    );
}

#[test]
fn two_servers_cannot_share_a_store() {
    let store = Store::new();
    let server = Server::start_command(store.command(PROGRAM), 0);
    let second = store.command(PROGRAM).env("PORT", "0").output();
    let second = second.expect("the program runs");
    assert!(!second.status.success());
    let error = String::from_utf8_lossy(&second.stderr);
    let path = store.path();
    assert!(error.contains(&*path.to_string_lossy()), "{error}");
    assert!(error.contains(&server.process.id().to_string()), "{error}");
    // The first one is not disturbed.
    let mut client = Client::get(server.address(), "/feed");
    let (_, n) = next_event(&mut client);
    assert_eq!(next_event(&mut client).1, n + 1);
}

fn resume(server: &Server, id: &str) -> Client {
    let header = format!("Last-Event-ID: {id}\r\n");
    Client::send(server.address(), "GET /feed", &header, b"")
}

/// The stream begins with a gap, and continues after the ID that the gap names.
fn expect_gap(client: &mut Client, requested: &str, reason: GapReason) -> Gap {
    let block = client.block().expect("a gap");
    assert_eq!(field(&block, "event"), Some("gap"), "{block}");
    let data = field(&block, "data").expect("data");
    let gap: Gap = serde_json::from_str(data).expect("a gap as JSON");
    // A gap repeats no text that the log did not issue.
    let repeated = (reason == GapReason::Trimmed).then_some(requested);
    assert_eq!(gap.requested.as_deref(), repeated);
    assert_eq!(gap.reason, reason);
    assert_eq!(field(&block, "id"), Some(&*gap.resumed));
    if reason != GapReason::Trimmed {
        assert_eq!(gap.missed, None);
        let (_, first) = next_event(client);
        assert_eq!(next_event(client).1, first + 1);
    }
    gap
}

fn next_event(client: &mut Client) -> (String, u64) {
    let block = client.event().expect("an event");
    assert_eq!(field(&block, "event"), None, "{block}");
    let id = field(&block, "id").expect("an id");
    (id.to_owned(), number(field(&block, "data").expect("data")))
}

fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = block.lines().filter_map(|line| line.split_once(": "));
    fields.find(|field| field.0 == name).map(|field| field.1)
}

fn number(data: &str) -> u64 {
    let data: Value = serde_json::from_str(data).expect("JSON");
    data["n"].as_u64().expect("a number")
}
