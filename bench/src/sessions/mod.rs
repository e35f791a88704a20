//! The sessions' bench: whole clients on a socket, beside bare HTTP.
//!
//! The server is a process of its own on another core and is not measured. One write holds many chunks,
//! as the socket's buffer joins the writes of a fast server: so the bench measures a client's work for a
//! chunk, not the kernel's work for a packet. Where each chunk is a write of its own, the kernel takes
//! most of the time, and the clients differ less.

mod clients;
mod node;
mod server;
mod traffic;

pub use server::{Serving, serve};

use clients::{ALL, BARE_HYPER, Client, DIRECT, NODE, REQWEST, REQWEST_EVENTSOURCE, Received};
use server::Server;
use traffic::{Data, Framing, Reader, Traffic};

use crate::harness::{Case, Report, Request, Result, Sample, Target, Wanted};

/// The cases, and notes about contenders that take no part.
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
    // One thread for one core; waking a peer's tasks then costs least.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Sample::take(request, expected.events, || {
        let deliveries = client.read(url);
        let received = match traffic.reader {
            Reader::Main => runtime.block_on(deliveries),
            Reader::Task => {
                let task = runtime.spawn(deliveries);
                runtime.block_on(task).expect("no client panics")
            }
        };
        match received.expect("the server sends a good stream") {
            Received::Events(tally) => {
                assert_eq!(tally, expected, "events were lost or changed");
                Some(tally)
            }
            Received::BodyBytes(bytes) => {
                assert_eq!(bytes, body_bytes, "bytes were lost");
                None
            }
        }
    })
}

/// The promised ratios, which also hold on other machines. The alarms are at about half of the ratios
/// that a machine with two cores shows; a busy one has never reached them.
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
    // Un-chunked streams have no such target: bare HTTP has no work per event.
    let of_bare_hyper = || {
        let case = chunks.name();
        Some(Target {
            what: format!("{case}: the time of {DIRECT} against that of {BARE_HYPER}"),
            wanted: Wanted::AtMost(1.0),
            alarm: Some(Wanted::AtMost(4.0)),
            found: report.speedup(&case, BARE_HYPER, DIRECT)?,
        })
    };
    [
        less(chunks, DIRECT, 4.0, 0.8),
        less(chunks.in_main(), DIRECT, 6.0, 1.4),
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
