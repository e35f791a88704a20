//! Random faults from a seed: each event is delivered once and in order, or there is one error.

use std::time::Duration;

use proptest::prelude::*;
use tidings_client::{ErrorKind, Reconnect};
use tidings_testkit::property;
use tidings_testkit::server::{Received, Script, ScriptedServer, Step};

use crate::scene::{SECOND, URL, client, collect};

/// The fault of one connection.
#[derive(Debug, Clone)]
enum Fault {
    Refuse,
    /// Breaks before it reads the request.
    Unread,
    /// Sends this much of the head.
    HeadCut(usize),
    HeadStall,
    /// Sends this many bytes of the body, and then does this.
    Body(usize, Then),
    /// A permanent refusal.
    NotFound,
    Busy,
    Redirect,
}

#[derive(Debug, Clone, Copy)]
enum Then {
    End,
    Reset,
    Stall,
}

#[derive(Debug, Clone)]
struct Schedule {
    events: u64,
    faults: Vec<Fault>,
    /// The server repeats up to this many events that the client has received.
    repeats: u64,
    piece: usize,
    pause: u64,
    chunked: bool,
    line_end: &'static str,
    policy: Policy,
    seed: u64,
}

#[derive(Debug, Clone, Copy)]
enum Policy {
    Off,
    Fixed,
    Standard,
}

fn faults() -> impl Strategy<Value = Fault> {
    let then = prop_oneof![Just(Then::End), Just(Then::Reset), Just(Then::Stall)];
    prop_oneof![
        2 => Just(Fault::Refuse),
        1 => Just(Fault::Unread),
        1 => (0..60usize).prop_map(Fault::HeadCut),
        1 => Just(Fault::HeadStall),
        8 => (0..400usize, then).prop_map(|(bytes, then)| Fault::Body(bytes, then)),
        1 => Just(Fault::Busy),
        1 => Just(Fault::Redirect),
        1 => (0..8u8).prop_map(|n| if n == 0 { Fault::NotFound } else { Fault::Refuse }),
    ]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let policy = prop_oneof![
        1 => Just(Policy::Off),
        2 => Just(Policy::Fixed),
        5 => Just(Policy::Standard),
    ];
    let shape = (1..80usize, 0..30u64, any::<bool>());
    let line_end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    let faults = prop::collection::vec(faults(), 0..10);
    (
        1..40u64,
        faults,
        0..4u64,
        shape,
        line_end,
        policy,
        any::<u64>(),
    )
        .prop_map(
            |(events, faults, repeats, (piece, pause, chunked), line_end, policy, seed)| Schedule {
                events,
                faults,
                repeats,
                piece,
                pause,
                chunked,
                line_end,
                policy,
                seed,
            },
        )
}

const EPOCH: &str = "epoch";

/// All events after the last one that the client has received, as bytes on the wire.
fn body(schedule: &Schedule, request: &Received) -> String {
    let received = request.header("last-event-id");
    let received = received.first().map_or(0, |id| {
        let seq = id.split('.').nth(1).unwrap();
        seq.parse::<u64>().unwrap()
    });
    let mut text = String::from(": welcome\n\nretry: 1000\n");
    for n in received.saturating_sub(schedule.repeats) + 1..=schedule.events {
        let comment = if n % 3 == 0 { ": beat\n\n" } else { "" };
        let lines = if n % 5 == 0 { "data\ndata: more\n" } else { "" };
        text += &format!("{comment}id: {EPOCH}.{n}.AAAA\nevent: n\ndata: {n}\n{lines}\n");
    }
    text.replace('\n', schedule.line_end)
}

fn is_over(schedule: &Schedule, request: &Received) -> bool {
    let last = format!("{EPOCH}.{}.AAAA", schedule.events);
    request.header("last-event-id") == [last]
}

/// The steps that send a body: in pieces, with pauses.
fn send(schedule: &Schedule, text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in text.as_bytes().chunks(schedule.piece) {
        let piece = std::str::from_utf8(piece).unwrap();
        steps.push(if schedule.chunked {
            Step::chunk(piece)
        } else {
            Step::send(piece)
        });
        steps.push(Step::wait(schedule.pause));
    }
    steps
}

fn answer(schedule: &Schedule, fault: Option<&Fault>, request: &Received) -> Vec<Step> {
    let head = if schedule.chunked {
        Step::chunked_head()
    } else {
        Step::head()
    };
    if is_over(schedule, request) {
        return vec![Step::send("HTTP/1.1 204 No Content\r\n\r\n")];
    }
    let empty = |start: &str| vec![Step::send(format!("{start}\r\ncontent-length: 0\r\n\r\n"))];
    let whole = body(schedule, request);
    match fault {
        Some(Fault::HeadCut(bytes)) => {
            let Step::Send(head) = head else {
                return vec![];
            };
            vec![Step::send(&head[..*bytes]), Step::Reset]
        }
        Some(Fault::HeadStall) => vec![Step::Stall],
        Some(Fault::NotFound) => empty("HTTP/1.1 404 X"),
        Some(Fault::Busy) => empty("HTTP/1.1 503 X\r\nretry-after: 5"),
        Some(Fault::Redirect) => empty("HTTP/1.1 307 X\r\nlocation: /elsewhere"),
        Some(Fault::Body(bytes, then)) => {
            let cut = whole.len().min(*bytes);
            let mut steps = vec![head];
            steps.extend(send(schedule, &whole[..cut]));
            match then {
                Then::End if schedule.chunked => steps.push(Step::chunk("")),
                Then::End => {}
                Then::Reset => steps.push(Step::Reset),
                Then::Stall => steps.push(Step::Stall),
            }
            steps
        }
        _ => {
            let mut steps = vec![head];
            steps.extend(send(schedule, &whole));
            if schedule.chunked {
                steps.push(Step::chunk(""));
            }
            steps
        }
    }
}

fn server(schedule: &Schedule) -> ScriptedServer {
    let schedule = schedule.clone();
    ScriptedServer::directed(move |connection| {
        let fault = schedule.faults.get(connection).cloned();
        let schedule = schedule.clone();
        match fault {
            Some(Fault::Refuse) => Script::Refuse,
            Some(Fault::Unread) => Script::Unread(vec![Step::Reset]),
            fault => Script::Answer(Box::new(move |request| {
                answer(&schedule, fault.as_ref(), request)
            })),
        }
    })
}

async fn holds(schedule: Schedule) {
    let server = server(&schedule);
    let reconnect = match schedule.policy {
        Policy::Off => Reconnect::off(),
        Policy::Fixed => Reconnect::fixed(3, SECOND).retry_refusals(true),
        Policy::Standard => Reconnect::standard().retry_refusals(true),
    };
    let client = client(&server, reconnect)
        .jitter_seed(schedule.seed)
        .response_timeout(5 * SECOND)
        .idle_timeout(5 * SECOND)
        .dedupe(true);
    let reading = async {
        match client.get(URL).open().await {
            Ok(mut session) => collect(&mut session).await,
            Err(error) => (Vec::new(), Some(error.kind().clone())),
        }
    };
    // No schedule takes an hour of virtual time.
    let hour = Duration::from_secs(3600);
    let (texts, error) = tidings_testkit::timeout::timeout(hour, reading)
        .await
        .unwrap();

    let numbers: Vec<u64> = texts
        .iter()
        .map(|text| text.lines().next().unwrap().parse().unwrap())
        .collect();
    let received = numbers.len() as u64;
    assert_eq!(
        numbers,
        (1..=received).collect::<Vec<_>>(),
        "once and in order"
    );
    match (schedule.policy, error) {
        (Policy::Standard, Some(error)) => {
            assert_eq!(error, ErrorKind::Status(http::StatusCode::NOT_FOUND));
        }
        (Policy::Standard | Policy::Fixed, None) => assert_eq!(received, schedule.events),
        _ => {}
    }
}

#[test]
fn every_event_is_delivered_once_and_in_order_or_there_is_one_error() {
    property::check(&schedules(), |schedule| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(holds(schedule));
    });
}
