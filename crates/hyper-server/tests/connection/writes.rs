//! How a stream is written: calls, partial writes, fairness, and bodies that fail.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::noop_waker;
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tidings_hyper_server::{Builder, Error, HttpService, RequestBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::sleep;

use crate::support::{
    BOTH, GET, Script, Step, Writer, builder, by, drive, frame, mark, read_until_quiet, serve,
    stream, talk, text,
};
use crate::wire::{Call, Wire};

/// A connection that is polled by hand.
struct ByHand<S: HttpService<Script>> {
    wire: Wire,
    connection: tidings_hyper_server::Connection<Wire, S, Script>,
}

fn by_hand(script: Script) -> ByHand<impl HttpService<Script>> {
    let wire = Wire::default();
    let script = Mutex::new(Some(script));
    let service = service_fn(move |_: Request<RequestBody>| {
        let script = script.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(mark(Response::new(script))) }
    });
    let connection = Builder::new().serve_connection(wire.clone(), service);
    wire.send(GET);
    ByHand { wire, connection }
}

impl<S: HttpService<Script>> ByHand<S> {
    fn poll(&mut self) -> Poll<Result<(), Error>> {
        let waker = noop_waker();
        Pin::new(&mut self.connection).poll(&mut Context::from_waker(&waker))
    }
}

/// The slices of the writes, without the flushes.
fn writes(wire: &Wire) -> Vec<Vec<usize>> {
    let calls = wire.calls().into_iter();
    calls
        .filter_map(|call| match call {
            Call::Write(slices) => Some(slices),
            Call::Flush | Call::Shutdown => None,
        })
        .collect()
}

#[tokio::test]
async fn a_small_frame_leaves_in_one_write_and_is_flushed() {
    let steps = [
        Step::Yield,
        frame("12345"),
        Step::Yield,
        frame("678"),
        Step::Hang,
    ];
    let mut by_hand = by_hand(Script::new(steps));
    assert!(by_hand.poll().is_pending());
    by_hand.wire.calls();
    by_hand.wire.received();
    assert!(by_hand.poll().is_pending());
    assert_eq!(by_hand.wire.received(), b"5\r\n12345\r\n");
    assert_eq!(by_hand.wire.calls(), [Call::Write(vec![10]), Call::Flush]);
    assert!(by_hand.poll().is_pending());
    assert_eq!(by_hand.wire.received(), b"3\r\n678\r\n");
    assert_eq!(by_hand.wire.calls(), [Call::Write(vec![8]), Call::Flush]);
    // Nothing is written or flushed without need.
    assert!(by_hand.poll().is_pending());
    assert_eq!(by_hand.wire.calls(), []);
}

#[tokio::test]
async fn frames_that_are_ready_together_leave_in_one_write() {
    let frames = (0..10).map(|_| frame("0123456789"));
    let mut by_hand = by_hand(Script::new([Step::Yield].into_iter().chain(frames)));
    assert!(by_hand.poll().is_pending());
    by_hand.wire.calls();
    assert!(by_hand.poll().is_pending());
    assert_eq!(writes(&by_hand.wire), [[10 * 15 + 5]]);
}

#[tokio::test]
async fn a_large_frame_is_not_copied() {
    let steps = [
        Step::Yield,
        frame("1"),
        frame(vec![b'x'; 10_000]),
        frame("2"),
    ];
    let mut by_hand = by_hand(Script::new(steps));
    assert!(by_hand.poll().is_pending());
    by_hand.wire.calls();
    assert!(by_hand.poll().is_pending());
    // The framing before the large frame, the frame, and the line end after it.
    let expected = [vec![6 + 6, 10_000, 2], vec![6 + 5]];
    assert_eq!(writes(&by_hand.wire), expected);
}

#[tokio::test]
async fn a_connection_that_cannot_write_several_slices_receives_the_same() {
    for most_per_write in [1, 7, usize::MAX] {
        let steps = [
            frame("1"),
            frame(vec![b'x'; 10_000]),
            Step::Yield,
            frame("2"),
        ];
        let mut by_hand = by_hand(Script::new(steps));
        by_hand.wire.state().is_vectored = false;
        by_hand.wire.state().most_per_write = most_per_write;
        for _ in 0..5 {
            assert!(by_hand.poll().is_pending());
        }
        let sent = by_hand.wire.received();
        let large = vec![b'x'; 10_000];
        let expected = [
            b"1\r\n1\r\n2710\r\n",
            &large[..],
            b"\r\n1\r\n2\r\n0\r\n\r\n",
        ]
        .concat();
        assert!(sent.ends_with(&expected), "{most_per_write}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn partial_writes_change_nothing(
        sizes in prop::collection::vec(0..10_000_usize, 1..8),
        rooms in prop::collection::vec(1..3_000_usize, 1..20),
        most_per_write in 1..5_000_usize,
        is_vectored: bool,
    ) {
        let mut expected = Vec::new();
        let mut steps = Vec::new();
        for (letter, size) in (b'a'..).zip(&sizes) {
            let bytes = vec![letter; *size];
            if *size > 0 {
                expected.extend_from_slice(format!("{size:X}\r\n").as_bytes());
                expected.extend_from_slice(&bytes);
                expected.extend_from_slice(b"\r\n");
            }
            steps.push(frame(bytes));
            if size % 3 == 0 {
                steps.push(Step::Yield);
            }
        }
        expected.extend_from_slice(b"0\r\n\r\n");
        let mut by_hand = by_hand(Script::new(steps));
        by_hand.wire.state().most_per_write = most_per_write;
        by_hand.wire.state().is_vectored = is_vectored;
        let mut sent = Vec::new();
        for room in rooms.iter().cycle().take(100_000) {
            by_hand.wire.accept(*room);
            prop_assert!(by_hand.poll().is_pending());
            sent.append(&mut by_hand.wire.received());
            if sent.ends_with(b"\r\n0\r\n\r\n") {
                break;
            }
        }
        let head = sent.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        prop_assert!(sent[head..] == expected);
    }
}

#[tokio::test]
async fn a_body_waits_for_the_client_and_runs_when_it_reads() {
    let script = Script::new((0..1_000_000).map(|_| frame("0123456789")));
    let polls = Arc::clone(&script.polls);
    let mut by_hand = by_hand(script);
    by_hand.wire.accept(0);
    // hyper flushes nothing before the first response, so the stream begins all the same.
    for _ in 0..100 {
        assert!(by_hand.poll().is_pending());
    }
    let waiting = polls.load(Ordering::SeqCst);
    assert!(waiting <= 64, "{waiting}");
    by_hand.wire.accept(usize::MAX);
    assert!(by_hand.poll().is_pending());
    assert!(polls.load(Ordering::SeqCst) > waiting);
}

#[tokio::test]
async fn a_body_that_is_always_ready_does_not_keep_its_thread() {
    for size in [0, 1, 1_000, 100_000] {
        let script = Script::new((0..100_000).map(|_| frame(vec![b'x'; size.min(10_000)])));
        let polls = Arc::clone(&script.polls);
        let mut by_hand = by_hand(script);
        assert!(by_hand.poll().is_pending());
        let in_one_poll = polls.load(Ordering::SeqCst);
        assert!(in_one_poll <= 16 * 64, "{size}: {in_one_poll}");
        assert!(by_hand.wire.received().len() <= 17 * 16 * 1024);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_always_ready_is_written_to_its_end() {
    let answer = |_: &_| stream((0..50_000).map(|n| frame(n.to_string())));
    let driven = serve(&builder(), answer, async |io| talk(io, GET).await).await;
    let sent = text(&driven.client.0);
    let frames = sent
        .split("\r\n\r\n")
        .nth(1)
        .unwrap()
        .lines()
        .skip(1)
        .step_by(2);
    let frames: Vec<usize> = frames.map(|line| line.parse().unwrap()).collect();
    assert_eq!(frames, (0..50_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_cut_after_its_frames() {
    for steps in [
        vec![Step::Fail],
        vec![frame("1"), Step::Fail],
        vec![
            frame("1"),
            Step::Yield,
            frame(vec![b'x'; 10_000]),
            Step::Fail,
            frame("2"),
        ],
    ] {
        let driven = serve(
            &builder(),
            |_| stream(steps.clone()),
            async |mut io| {
                io.write_all(GET).await.unwrap();
                let mut all = Vec::new();
                // A byte at a time, so that the cut does not wait in the pipe.
                while let Ok(byte) = io.read_u8().await {
                    all.push(byte);
                }
                all
            },
        )
        .await;
        let sent = text(&driven.client);
        assert!(sent.starts_with("HTTP/1.1 200 OK\r\n"), "{sent}");
        let has_first = !matches!(steps[0], Step::Fail);
        assert_eq!(sent.contains("\r\n\r\n1\r\n1\r\n"), has_first, "{sent}");
        assert_eq!(sent.contains("xxx"), steps.len() > 2);
        assert!(
            !sent.contains("\r\n0\r\n") && !sent.contains("2\r\n"),
            "{sent}"
        );
        let error = driven.ended.unwrap().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(error.to_string(), "the body of a stream failed");
        assert_eq!(source, "the script has failed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_waits_for_the_bytes_before_it() {
    // A frame that shares its batch with the failure, and one that has a batch of its own.
    for size in [3_000, 100_000] {
        let (mut near, far) = duplex(10);
        let service = service_fn(|_: Request<RequestBody>| {
            let response = stream([frame(vec![b'x'; size]), Step::Fail]);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = builder().serve_connection(TokioIo::new(far), service);
        let driven = drive(connection, async {
            near.write_all(GET).await.unwrap();
            sleep(Duration::from_secs(20)).await;
            read_until_quiet(&mut near).await
        })
        .await;
        let (sent, is_closed) = driven.client;
        let end = [b"x".repeat(size), b"\r\n".to_vec()].concat();
        assert!(is_closed && sent.ends_with(&end), "{size}");
    }
}

#[tokio::test]
async fn a_panic_of_a_body_is_passed_on_and_drops_it() {
    let script = Script::new([Step::Yield, frame("1"), Step::Panic]);
    let is_dropped = Arc::clone(&script.is_dropped);
    let mut by_hand = by_hand(script);
    assert!(by_hand.poll().is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| by_hand.poll())).is_err());
    drop(by_hand);
    assert!(is_dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_body_is_dropped_when_it_has_ended_even_if_its_end_cannot_be_written() {
    let script = Script::new([Step::Yield]);
    let is_dropped = Arc::clone(&script.is_dropped);
    let mut by_hand = by_hand(script);
    assert!(by_hand.poll().is_pending());
    by_hand.wire.accept(3);
    assert!(by_hand.poll().is_pending());
    assert!(by_hand.wire.received().ends_with(b"0\r\n"));
    assert!(is_dropped.load(Ordering::SeqCst));
    by_hand.wire.accept(100);
    assert!(by_hand.poll().is_pending());
    assert_eq!(by_hand.wire.received(), b"\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_byte_a_second_receives_everything() {
    for writer in BOTH {
        let (mut near, far) = duplex(1);
        let steps = [frame("12"), Step::Yield, frame(vec![b'x'; 60]), frame("3")];
        let service = service_fn(|_: Request<RequestBody>| {
            let response = by(writer, stream(steps.clone()));
            async { Ok::<_, Infallible>(response) }
        });
        let connection = builder().serve_connection(TokioIo::new(far), service);
        let driven = drive(connection, async {
            near.write_all(GET).await.unwrap();
            let mut all = Vec::new();
            while !all.ends_with(b"0\r\n\r\n") {
                all.push(near.read_u8().await.unwrap());
                sleep(Duration::from_secs(1)).await;
            }
            text(&all)
        })
        .await;
        assert_eq!(driven.has_streamed, writer == Writer::Ours);
        let body = format!(
            "\r\n\r\n2\r\n12\r\n3C\r\n{}\r\n1\r\n3\r\n0\r\n\r\n",
            "x".repeat(60)
        );
        assert!(driven.client.ends_with(&body), "{}", driven.client);
    }
}
