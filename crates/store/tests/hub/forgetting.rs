//! What a store forgets, although it is killed again and again before its index shows the removals.

use tidings_hub::{ChannelName, Draft, Log, Retention};
use tidings_store::StoreLog;
use tidings_testkit::settled_log::wait;

use super::Home;

const REMEMBERED: usize = 2;

#[test]
fn channels_are_forgotten_although_kills_interrupt_the_index() {
    let retention = Retention::durable().max_events(Some(100));
    let retention = retention.remembered_channels(REMEMBERED as u64);
    // The index on the disk is up to 12 removals behind.
    let mut home = Home::with(StoreLog::options().retention(retention));
    for round in 0..100 {
        let log = home.open();
        for n in 0..3 {
            let name = ChannelName::new(format!("ended/{round}/{n}")).unwrap();
            wait(log.append(Draft::event(name.clone(), "x"))).unwrap();
            wait(log.append(Draft::end(name))).unwrap();
        }
        home = home.killed();
    }
    let log = home.open();
    let busy = ChannelName::new("busy").unwrap();
    for _ in 0..200 {
        wait(log.append(Draft::event(busy.clone(), "x"))).unwrap();
    }
    let ends = wait(log.ends()).unwrap();
    assert_eq!(ends.len(), REMEMBERED, "{ends:?}");
    let last = wait(log.bounds()).unwrap();
    assert_eq!(last.last.seq - last.floor.seq, 100);
    assert_eq!(last.ends_since, 597);
    let channels = wait(log.channels(None, 100)).unwrap();
    let names: Vec<_> = channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    assert_eq!(names, ["busy", "ended/99/1", "ended/99/2"]);
}
