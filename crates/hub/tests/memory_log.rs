//! What only a log in memory has. That it is a log, the suite of all logs says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;

use tidings_hub::{ChannelName, Draft, EntryKind, Log, MemoryLog};
use tidings_testkit::log_suite::log_suite;

fn event(channel: &str, body: &str) -> Draft {
    Draft {
        channel: ChannelName::new(channel).unwrap(),
        kind: EntryKind::Event,
        body: body.to_owned().into(),
        key: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_log() {
    log_suite(async |retention| Arc::new(MemoryLog::new(retention)) as Arc<dyn Log>).await;
}

#[tokio::test]
async fn what_grew_again_has_other_checks() {
    let log = MemoryLog::default();
    for n in 0..3 {
        log.append(event("a", &n.to_string())).await.unwrap();
    }
    let before = log.read(0, 9, &[], 9).await.unwrap().entries;
    log.rewind(1);
    log.append(event("a", "1")).await.unwrap();
    let after = log.read(0, 9, &[], 9).await.unwrap().entries;
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1].check(), before[1].check());
    assert!(after[1].time > before[2].time);
}
