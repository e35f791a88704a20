//! The metrics of a hub, recorded through the `metrics` facade.

use metrics::{counter, gauge, histogram};
use tidings_proto::GapReason;

/// Records a batch that came through the log's tail.
pub(crate) fn batch(entries: usize, tape_bytes: usize) {
    counter!("tidings_hub_entries_total").increment(entries as u64);
    gauge!("tidings_hub_tape_bytes").set(to_f64(tape_bytes as u64));
}

/// Records that a subscription was opened.
pub(crate) fn join() {
    gauge!("tidings_hub_subscriptions").increment(1.0);
}

/// Records that a subscription was closed.
pub(crate) fn leave() {
    gauge!("tidings_hub_subscriptions").decrement(1.0);
}

/// Records a replay for a subscriber that is `lag` entries behind.
pub(crate) fn replay(lag: u64) {
    histogram!("tidings_hub_lag_entries").record(to_f64(lag));
}

/// Records a gap that is sent to a subscriber. `missed` counts as 0 if it is unknown.
pub(crate) fn gap(reason: GapReason, missed: Option<u64>) {
    let reason = match reason {
        GapReason::Epoch => "epoch",
        GapReason::Future => "future",
        GapReason::Trimmed => "trimmed",
        GapReason::UnknownId => "unknown-id",
        GapReason::Slow => "slow",
        _ => "other",
    };
    counter!("tidings_hub_gaps_total", "reason" => reason).increment(1);
    counter!("tidings_hub_missed_total", "reason" => reason).increment(missed.unwrap_or_default());
}

/// Records that the stream of a slow subscriber was ended.
pub(crate) fn disconnect() {
    counter!("tidings_hub_disconnects_total").increment(1);
}

/// Records a new life of the log.
pub(crate) fn life() {
    counter!("tidings_hub_lives_total").increment(1);
}

#[allow(clippy::cast_precision_loss, reason = "a metric may be rounded")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
