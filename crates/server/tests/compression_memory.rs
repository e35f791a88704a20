//! The memory that a coding adds to a session. The test has a process of its own, because it measures the
//! whole process.
#![cfg(all(feature = "compression", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::fs;
use std::future::pending;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use cap::Cap;
use http::Request;
use http::header::ACCEPT_ENCODING;
use http_body::Body;
use tidings_server::{Event, SessionBody, SessionOptions, SseRequest};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: usize = 48;

/// Sessions that have sent this many events, each in a frame of its own.
fn sessions(coding: &str, events: usize) -> Vec<Pin<Box<SessionBody>>> {
    (0..SESSIONS).map(|_| session(coding, events)).collect()
}

fn session(coding: &str, events: usize) -> Pin<Box<SessionBody>> {
    let request = Request::get("/").header(ACCEPT_ENCODING, coding);
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let response = SseRequest::new(parts)
        .options(SessionOptions::new().compression(true))
        .open(async move |session| {
            for n in 0..events {
                session
                    .send(Event::new(format!("{n} {}", "x".repeat(1000))))
                    .await?;
                session.flush().await?;
            }
            pending().await
        });
    let mut body = Box::pin(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = 0;
    for _ in 0..4 * (events + 1) {
        frames += usize::from(pin!(&mut body).poll_frame(&mut cx).is_ready());
    }
    assert_eq!(frames, events, "{coding}");
    body
}

/// The bytes per session that Rust's allocator has allocated.
fn allocated(coding: &str, events: usize) -> usize {
    let before = ALLOCATOR.allocated();
    let sessions = sessions(coding, events);
    let after = ALLOCATOR.allocated();
    drop(sessions);
    (after - before) / SESSIONS
}

/// The bytes per session in the resident memory of the process, which includes allocations of C code.
fn resident(coding: &str, events: usize) -> usize {
    let before = resident_bytes();
    let sessions = sessions(coding, events);
    let after = resident_bytes();
    drop(sessions);
    (after - before) / SESSIONS
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_coding_takes_its_documented_memory_from_the_first_event_on() {
    // zstd allocates from C. It is measured first, before there is freed memory to reuse.
    let zstd = resident("zstd", 100);
    assert!((100 * 1024..180 * 1024).contains(&zstd), "zstd: {zstd}");

    for (coding, expected) in [("gzip", 307 * 1024), ("br", 326 * 1024)] {
        let state = allocated(coding, 100) - allocated("identity", 100);
        let slack = 4 * 1024;
        let expected = expected - slack..expected + slack;
        assert!(expected.contains(&state), "{coding}: {state}");
    }
    for coding in ["zstd", "gzip", "br"] {
        let state = allocated(coding, 0) - allocated("identity", 0);
        assert!(state < 256, "{coding}: {state}");
    }
}
