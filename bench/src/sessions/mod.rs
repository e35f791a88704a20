//! Owns the sessions' bench: whole clients on a socket, beside bare HTTP.
//!
//! The server is a process of its own, on another core, and is not measured. Many chunks go into
//! one write, as the socket's buffer joins what a fast server writes: so what is measured is what
//! a client does for a chunk, not what the kernel does for a packet. Where each chunk is a write
//! of its own, the kernel has most of the time, and all clients are nearer to each other.

mod clients;
mod idle;
mod node;
mod server;
mod traffic;

pub use idle::print as print_idle;
pub use server::{Serving, serve};

use clients::{ALL, BARE_HYPER, Client, DIRECT, Heard, NODE, REQWEST, REQWEST_EVENTSOURCE};
use server::Server;
use traffic::{Data, Framing, Reader, Traffic};

use crate::harness::{Case, Report, Request, Result, Sample, Target, Wanted};

/// The cases, and what is to be known of who takes no part.
pub fn cases() -> (Vec<Case>, Vec<String>) {
    let absent = node::prepare().err();
    let cases = Traffic::ALL.map(|traffic| Case {
        name: traffic.name(),
        unit: "event",
        baseline: REQWEST_EVENTSOURCE,
        contenders: ALL.to_vec(),
        absent: absent.iter().map(|_| NODE).collect(),
    });
    let notes = absent.map(|reason| format!("{NODE} is absent: {reason}."));
    (cases.into(), notes.into_iter().collect())
}

pub fn sample(request: &Request) -> Result<Sample> {
    let traffic = Traffic::named(&request.case)?;
    let expected = traffic.tally(request.quick);
    let body_bytes = traffic.body_bytes(request.quick);
    let server = Server::start(traffic, request.core, request.quick)?;
    if request.contender == NODE {
        return node::sample(request, &server.url);
    }
    let client: &'static Client = Box::leak(Box::new(Client::named(
        &request.contender,
        traffic,
        request.quick,
    )?));
    let url: &'static str = server.url.clone().leak();
    // One thread, as there is one core; a peer's tasks are then woken at the least cost.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Sample::take(request, expected.events, || {
        let hearing = client.hear(url);
        let heard = match traffic.reader {
            Reader::Main => runtime.block_on(hearing),
            Reader::Task => {
                let task = runtime.spawn(hearing);
                runtime.block_on(task).expect("no client panics")
            }
        };
        match heard.expect("the server sends a good stream") {
            Heard::Events(tally) => {
                assert_eq!(tally, expected, "events were lost or changed");
                Some(tally)
            }
            Heard::BodyBytes(bytes) => {
                assert_eq!(bytes, body_bytes, "bytes were lost");
                None
            }
        }
    })
}

/// What is promised: ratios that hold on another machine, too. The alarms stand where a busy
/// machine with two cores has never come, at about half of what is found there.
pub fn targets(report: &Report) -> Vec<Target> {
    let chunks = Traffic::new(Data::Small, Framing::Chunks);
    let until_close = Traffic::new(Data::Small, Framing::UntilClose);
    let less = |traffic: Traffic, contender, ratio, alarm| {
        let case = traffic.name();
        Some(Target {
            what: format!("{case}: {contender} against {REQWEST_EVENTSOURCE}"),
            wanted: Wanted::AtLeast(ratio),
            alarm: Some(Wanted::AtLeast(alarm)),
            found: report.speedup(&case, contender, REQWEST_EVENTSOURCE)?,
        })
    };
    // Un-chunked there is no such target: bare HTTP makes no events, and does nothing for one.
    let of_bare_hyper = || {
        let case = chunks.name();
        Some(Target {
            what: format!("{case}: the time of {DIRECT} against that of {BARE_HYPER}"),
            wanted: Wanted::AtMost(1.35),
            alarm: Some(Wanted::AtMost(4.0)),
            found: report.speedup(&case, BARE_HYPER, DIRECT)?,
        })
    };
    [
        less(chunks, DIRECT, 3.5, 0.8),
        less(chunks.in_main(), DIRECT, 3.5, 1.4),
        less(until_close, DIRECT, 9.0, 2.5),
        less(chunks, REQWEST, 1.25, 0.5),
        less(chunks.in_main(), REQWEST, 1.25, 0.5),
        less(until_close, REQWEST, 9.0, 2.5),
        of_bare_hyper(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
