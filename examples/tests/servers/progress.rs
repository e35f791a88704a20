//! `progress`: jobs and their updates. `real_clients` opens its page in a browser.

use serde_json::Value;

use crate::client::Client;
use crate::server::Server;

fn start() -> Server {
    Server::start(env!("CARGO_BIN_EXE_progress"), 0)
}

/// Starts a job, and returns the path of its stream.
fn start_job(server: &Server) -> String {
    let started = Client::send(server.address(), "POST /jobs", "", b"");
    assert_eq!(started.status(), 201);
    started.header("location").expect("a location").to_owned()
}

/// The next percentage. `None` when the job is done.
fn percent(client: &mut Client) -> Option<u64> {
    let block = client.block().expect("an update before the end");
    let (name, data) = block.split_once('\n').expect("two fields");
    let data = data.strip_prefix("data: ").expect("data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    if name == "event: done" {
        assert_eq!(data["answer"], 42);
        return None;
    }
    assert_eq!(name, "event: progress");
    Some(data["percent"].as_u64().expect("a number"))
}

#[test]
fn a_late_client_first_receives_the_current_progress() {
    let server = start();
    let job = start_job(&server);
    let mut early = Client::get(server.address(), &job);
    let mut current = percent(&mut early).expect("progress");
    while current < 30 {
        let next = percent(&mut early).expect("progress");
        assert!(next > current, "{next} % after {current} %");
        current = next;
    }
    let mut late = Client::get(server.address(), &job);
    assert!(percent(&mut late).expect("progress") >= current);
    for client in [&mut early, &mut late] {
        while percent(client).is_some() {}
        assert_eq!(client.block(), None, "an event after the end");
    }
    let mut too_late = Client::get(server.address(), &job);
    assert_eq!(percent(&mut too_late), None);
    assert_eq!(too_late.block(), None);
}

#[test]
fn jobs_are_independent_and_unknown_jobs_are_a_404() {
    let server = start();
    let first = start_job(&server);
    let mut client = Client::get(server.address(), &first);
    while percent(&mut client).expect("progress") < 10 {}
    let second = start_job(&server);
    assert_ne!(first, second);
    let mut other = Client::get(server.address(), &second);
    assert!(percent(&mut other).expect("progress") < 10);
    for unknown in [
        "/jobs/0",
        "/jobs/3",
        "/jobs/x",
        "/jobs/18446744073709551616",
        "/jobs/%ff",
    ] {
        let status = Client::get(server.address(), unknown).status();
        assert!(
            status == 404 || status == 400 && unknown.contains('%'),
            "{unknown}: {status}"
        );
    }
}

#[test]
fn the_page_is_html() {
    let server = start();
    let page = Client::get(server.address(), "/");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.body(), include_str!("../../progress.html"));
}
