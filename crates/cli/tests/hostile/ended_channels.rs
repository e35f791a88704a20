//! Channels that are created and ended all the time, many more than the server remembers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tidings_testkit::property::steps;
use tidings_testkit::temp_dir::TempDir;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::process::Server;
use crate::publisher::Publisher;
use crate::raw::get;
use crate::scenario::run;
use crate::watch::{memory, metric};

/// How many channels are created and ended in each half, unless `TIDINGS_TEST_STEPS` says otherwise.
const CHANNELS: u64 = 6_000;

/// The clients that do it at one time.
const CLIENTS: u64 = 8;

/// After how many channels of each they wait for each other.
const ROUNDS: u64 = 8;

/// How many ended channels the server remembers. The channels are many times more.
const REMEMBERED: u64 = 200;

/// How many bytes of events the server keeps: those of some hundred channels.
const RETAINED: &str = "64KiB";

/// Events that fill the tapes: 72 MB.
const FILLERS: u64 = 1_200;
const EVENT_BYTES: usize = 60_000;

/// How much the memory may grow in the second half, in bytes.
const GROWTH: u64 = 3 << 20;

/// How much the file of a store may grow in the second half, in bytes.
const FILE_GROWTH: u64 = 1 << 20;

/// Creates and ends channels with these numbers. The count is a multiple of the clients.
async fn create_and_end(server: SocketAddr, first: u64, count: u64) {
    // Nobody is so far ahead that the retention removes a channel before its end: while one client is between
    // the two, the others append at most 7 * 8 * 2 entries of about 110 bytes.
    let rounds = Arc::new(Barrier::new(usize::try_from(CLIENTS).unwrap()));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let rounds = Arc::clone(&rounds);
        clients.spawn(async move {
            let mut publisher = Publisher::connect(server, "").await;
            for round in 0..count / CLIENTS {
                let number = first + round * CLIENTS + client;
                let target = format!("/channels/rooms/{number}");
                let event = publisher.publish_to(&target, number).await;
                publisher.end(&target, &event).await;
                if round % ROUNDS == 0 {
                    rounds.wait().await;
                }
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// The channels that the server lists, at most 1,000.
fn listed(server: &Server) -> u64 {
    let page = get(server.address(), "/channels?limit=1000").json();
    page["channels"].as_array().unwrap().len() as u64
}

/// Publishes more than the hub's tapes hold, 64 MiB, so that their memory grows no more.
async fn fill_tapes(server: SocketAddr) {
    let publisher = Publisher::connect(server, "/channels/filler").await;
    let mut publisher = publisher.width(EVENT_BYTES);
    for number in 0..FILLERS {
        publisher.publish(number).await;
    }
}

/// What the server uses after a half.
#[derive(Debug)]
struct Used {
    memory: u64,
    /// The part of the memory that the hub counts as its tapes.
    tapes: u64,
    /// The bytes of the store, without its journal, which has a limit of its own.
    file: u64,
    listed: u64,
}

impl Used {
    fn by(server: &Server, store: Option<&Path>) -> Self {
        Self {
            memory: memory(server),
            tapes: metric(server, "tidings_hub_tape_bytes"),
            file: store.map_or(0, |file| fs::metadata(file).unwrap().len()),
            listed: listed(server),
        }
    }
}

async fn check(store: Option<&Path>) {
    let remembered = REMEMBERED.to_string();
    let mut flags = vec![
        "--retain-bytes",
        RETAINED,
        "--remembered-channels",
        &remembered,
    ];
    if let Some(file) = store {
        flags.extend([
            "--store",
            file.to_str().unwrap(),
            "--durability",
            "buffered",
        ]);
    }
    let server = Server::start(&flags);
    let count = steps(CHANNELS) / CLIENTS * CLIENTS;
    fill_tapes(server.address()).await;
    create_and_end(server.address(), 0, count).await;
    let first = Used::by(&server, store);
    create_and_end(server.address(), count, count).await;
    let second = Used::by(&server, store);

    eprintln!("after {count} channels: {first:?}; after as many more: {second:?}");
    let entries = metric(&server, "tidings_hub_entries_total");
    assert_eq!(entries, 4 * count + FILLERS);
    assert!(second.memory < first.memory + GROWTH);
    assert!(second.tapes < first.tapes + GROWTH);
    assert!(second.file < first.file + FILE_GROWTH);
    // Beside the remembered channels, those whose events are kept are listed.
    assert!(second.listed < 1_000, "all channels are listed");
    assert!(second.listed < first.listed + 100);
}

#[test]
fn ended_channels_in_memory_leave_nothing() {
    run(CLIENTS, check(None));
}

#[test]
fn ended_channels_in_a_store_leave_nothing() {
    let directory = TempDir::in_memory();
    run(CLIENTS, check(Some(&directory.join("events.db"))));
}
