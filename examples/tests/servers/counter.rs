//! `axum_counter`, and `hyper_bare`, which counts alike.

use std::net::SocketAddr;

use crate::client::Client;
use crate::server::Server;

const COUNTERS: [&str; 2] = [
    env!("CARGO_BIN_EXE_axum_counter"),
    env!("CARGO_BIN_EXE_hyper_bare"),
];

fn check(address: SocketAddr, last_event_id: Option<&str>, first: u64) {
    let header = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n"));
    let mut client = Client::send(address, "GET /events", &header.unwrap_or_default(), b"");
    assert_eq!(client.header("content-type"), Some("text/event-stream"));
    for n in first..first + 2 {
        let expected = format!("data: {n}\nid: {n}");
        let block = client.block().expect("a number");
        assert_eq!(sorted(&block), sorted(&expected), "after {last_event_id:?}");
    }
}

/// The order of fields has no meaning.
fn sorted(block: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = block.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn counters_resume_after_the_last_event_id_and_otherwise_start_at_0() {
    for program in COUNTERS {
        let server = Server::start(program, 0);
        let address = server.address();
        check(address, None, 0);
        check(address, Some("0"), 1);
        check(address, Some("41"), 42);
        check(address, Some("18446744073709551612"), u64::MAX - 2);
        check(address, Some("18446744073709551615"), 0);
        for garbage in [
            "",
            "-1",
            "4 1",
            "0x10",
            "1e3",
            "18446744073709551616",
            "null",
            "\u{663}",
        ] {
            check(address, Some(garbage), 0);
        }
        // Each client has its own count.
        check(address, None, 0);
    }
}

#[test]
fn counters_answer_404_on_other_paths() {
    for program in COUNTERS {
        let server = Server::start(program, 0);
        assert_eq!(Client::get(server.address(), "/").status(), 404);
        assert_eq!(Client::get(server.address(), "/events/").status(), 404);
    }
}
