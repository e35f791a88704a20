//! Models over a store that is closed, killed, set back to an older copy and opened again under them: the
//! model of hubs, and a plain list that searches for every answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod store;

use std::time::Duration;

use fastrand::Rng;
use tidings_hub::Retention;
use tidings_store::{Durability, StoreLog, StoreOptions};
use tidings_testkit::hub_model;
use tidings_testkit::log_model::{self, Cases};
use tidings_testkit::model_log::LogKind;

use self::store::ModelStore;

const DEFAULT_STEPS: u64 = 100_000;

/// A store that remembers all channels of a model. One that remembers fewer forgets them as soon as the model
/// only if its index is never behind.
const ALL_CHANNELS: u64 = 1_000;

#[test]
fn each_client_of_a_store_receives_every_event_or_a_gap() {
    hub_model::check(DEFAULT_STEPS, |rng| {
        let durability = durability(rng);
        let index_batch = [1, 3, 30, 32_768][rng.usize(..4)];
        let max_bytes = [2_000, 20_000, 1 << 30, 1 << 30][rng.usize(..4)];
        let name = format!("Store({durability:?}, {index_batch}, {max_bytes})");
        let options = StoreLog::options().durability(durability);
        let options = options.index_batch(index_batch);
        LogKind::new(name, move |retention: Retention| {
            store(options, retention.max_bytes(max_bytes), durability)
        })
        .with_restarts()
        .without_ages()
    });
}

fn durability(rng: &mut Rng) -> Durability {
    let interval = Duration::from_millis(rng.u64(1..5));
    let any = [
        Durability::EveryCommit,
        Durability::EveryCommit,
        Durability::Interval(interval),
        Durability::Buffered,
    ];
    any[rng.usize(..any.len())]
}

fn store(options: StoreOptions, retention: Retention, durability: Durability) -> ModelStore {
    let options = if retention.remembered_channels < ALL_CHANNELS {
        options.index_batch(1)
    } else {
        options
    };
    ModelStore::new(options.retention(retention), durability)
}

/// Stores of which each answer is compared with a list.
fn kind(index_batch: usize, durability: Durability) -> LogKind {
    let options = StoreLog::options().durability(durability);
    let options = options.index_batch(index_batch);
    let name = format!("Store({durability:?}, {index_batch})");
    let kind = LogKind::new(name, move |retention| store(options, retention, durability));
    kind.with_restarts().without_ages()
}

#[test]
fn a_store_behaves_like_a_list_that_knows_its_channels() {
    let cases = Cases {
        count: 500,
        steps: 120,
        channels: 0,
        max_events: 12,
        max_bytes: 3_000,
        channel_bytes: 0,
        remembered: &[0, 1, 2, ALL_CHANNELS],
        burst: 1,
    };
    log_model::check(&cases, &kind(1, Durability::EveryCommit));
}

#[test]
fn a_store_of_many_channels_behaves_like_a_list_too() {
    // Up to 256 rows of the index are written at once.
    let cases = Cases {
        count: 200,
        steps: 40,
        channels: 200,
        max_events: 205,
        max_bytes: 1 << 30,
        channel_bytes: 0,
        remembered: &[5, ALL_CHANNELS],
        burst: 1,
    };
    log_model::check(&cases, &kind(50, Durability::Buffered));
}

/// A store whose index on the disk lacks entries, and is written step by step while it answers questions.
#[test]
fn a_store_whose_index_is_behind_behaves_like_a_list_too() {
    let cases = Cases {
        count: 30,
        steps: 60,
        channels: 2_500,
        max_events: 3_000,
        max_bytes: 1 << 30,
        channel_bytes: 0,
        remembered: &[100_000],
        burst: 1_000,
    };
    log_model::check(&cases, &kind(1_000_000, Durability::EveryCommit));
}
