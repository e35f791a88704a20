//! The model of hubs over a log in memory with all abilities, and over one with none.

use tidings_hub::MemoryLog;
use tidings_testkit::hub_model;
use tidings_testkit::model_log::LogKind;
use tidings_testkit::scanning_log::ScanningLog;

const DEFAULT_STEPS: u64 = 1_000_000;

#[test]
fn each_client_receives_every_event_or_a_gap() {
    hub_model::check(DEFAULT_STEPS, |rng| {
        if rng.u32(..3) > 0 {
            LogKind::new("Memory", MemoryLog::new)
        } else {
            LogKind::new("Scanning", ScanningLog::new)
        }
    });
}
