//! The child: a process of this test binary that publishes to a store, and reports each step.

use std::env;
use std::io::{self, Write};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidings_hub::{Event, Hub, Log};
use tidings_proto::Position;
use tidings_store::StoreLog;
use tidings_testkit::error_chain::chain;
use tokio::runtime;
use tokio::task::JoinSet;

use crate::ledger::Said;
use crate::load::{BLOCK, End, Load, PAUSE};

/// The variable with the [`Load`] of a child.
pub(crate) const LOAD: &str = "TIDINGS_CRASH_LOAD";

/// The name of the test that is the child.
pub(crate) const NAME: &str = "child::a_child_publishes";

/// Does nothing without a load.
#[test]
fn a_child_publishes() {
    let Ok(load) = env::var(LOAD) else {
        return;
    };
    let load: Load = serde_json::from_str(&load).unwrap();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(run(&load));
    if let Err(error) = done {
        say(&Said::Failed(error));
    }
    // Without a destructor, and without a line of the harness.
    exit(0);
}

/// Each line is one write, so the parent never reads a part of one, and strace sees all of it.
fn say(said: &Said) {
    io::stdout().write_all(said.line().as_bytes()).unwrap();
}

async fn run(load: &Load) -> Result<(), String> {
    for session in 0..load.sessions {
        let first = load.first + session * load.blocks * BLOCK;
        let log = load.options().open(&load.path).map_err(|e| chain(&e))?;
        let bounds = log.bounds().await.map_err(|e| chain(&e))?;
        say(&Said::Opened(bounds.epoch));
        publish_all(load, first, &log).await?;
        let end = if session + 1 == load.sessions {
            load.end
        } else {
            End::Close
        };
        match end {
            End::Close => {
                if load.maintains {
                    log.backup(load.backup(first)).map_err(|e| chain(&e))?;
                    say(&Said::BackedUp(first));
                }
                say(&Said::Closes);
                log.close().await.map_err(|e| chain(&e))?;
                say(&Said::Closed);
                if load.maintains {
                    tidings_store::compact(&load.path).map_err(|e| chain(&e))?;
                }
            }
            End::Exit => exit(0),
            End::Wait => std::future::pending().await,
            End::Pause => {
                tokio::time::sleep(PAUSE).await;
                say(&Said::Paused);
                exit(0);
            }
        }
    }
    Ok(())
}

async fn publish_all(load: &Load, first: u64, log: &StoreLog) -> Result<(), String> {
    let hub = Hub::over(log.clone());
    let watcher = tokio::spawn(watch(hub.clone()));
    let next = Arc::new(AtomicU64::new(first));
    let last = first + load.blocks * BLOCK;
    let mut publishers: JoinSet<Result<(), String>> = JoinSet::new();
    for _ in 0..load.publishers {
        let (load, hub, log, next) = (load.clone(), hub.clone(), log.clone(), Arc::clone(&next));
        publishers.spawn(async move {
            loop {
                let begin = next.fetch_add(BLOCK, Ordering::Relaxed);
                if begin >= last {
                    return Ok(());
                }
                for n in begin..begin + BLOCK {
                    let position = publish(&load, &hub, n).await?;
                    if load.trims && n % 97 == 5 {
                        trim(&log, position.seq).await?;
                    }
                }
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    watcher.abort();
    Ok(())
}

async fn publish(load: &Load, hub: &Hub, n: u64) -> Result<Position, String> {
    let channel = hub.channel(Load::channel(n)).unwrap();
    say(&Said::Tries(n));
    if Load::is_end(n) {
        let position = channel.end().await.map_err(|e| chain(&e))?;
        say(&Said::Has(n, position.clone()));
        return Ok(position);
    }
    let event = Event::new(load.text(n));
    let Some(key) = Load::key(n) else {
        let position = channel.publish(event).await.map_err(|e| chain(&e))?;
        say(&Said::Has(n, position.clone()));
        return Ok(position);
    };
    let repeats = if n.is_multiple_of(4) { 2 } else { 1 };
    let mut position = None;
    for _ in 0..repeats {
        let publish = channel.publish(event.clone()).key(&key);
        let acknowledged = publish.await.map_err(|e| chain(&e))?;
        say(&Said::Has(n, acknowledged.clone()));
        position = Some(acknowledged);
    }
    Ok(position.unwrap())
}

async fn trim(log: &StoreLog, seq: u64) -> Result<(), String> {
    let first = seq.saturating_sub(30);
    say(&Said::Trims(first));
    log.trim(first).await.map_err(|e| chain(&e))
}

/// Reports each event that a subscriber of the hub receives.
async fn watch(hub: Hub) {
    let mut events = hub.subscribe_all(["room/*", "brief/*"]).events_after(None);
    while let Some(Ok(next)) = events.next().await {
        let body = format!("data: {}", next.event.text());
        if let (Some(n), Some(id)) = (Load::number(body.as_bytes()), &next.event.id) {
            say(&Said::Has(n, id.as_str().parse().unwrap()));
        }
    }
}
