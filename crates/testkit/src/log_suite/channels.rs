//! Laws of channels: which ones a log knows, and its knowledge of each.

use tidings_hub::{EntryKind, Retention, StoredChannel};

use super::history::History;
use super::subject::{Subject, end, event, name};
use super::{Law, TEN, law};

const TEN_AND_THREE_NAMES: Retention = TEN.remembered_channels(3);

pub(super) const LAWS: &[Law] = &[
    law!(a_channel_has_its_newest_event_and_its_end),
    law!(a_channel_whose_entries_were_removed_is_unknown, TEN),
    law!(the_newest_event_of_a_channel_is_of_the_current_epoch),
    law!(channels_are_in_the_order_of_the_bytes_of_their_names),
    law!(pages_together_contain_each_channel_once),
    law!(
        channels_are_those_that_are_found_one_by_one,
        TEN_AND_THREE_NAMES
    ),
];

async fn a_channel_has_its_newest_event_and_its_end(log: Subject) {
    assert_eq!(log.channel("a").await, None);
    log.publish("a", "x").await;
    log.publish("a/b", "x").await;
    assert_channel(&log, "a", Some(1), None).await;
    log.publish("a", "x").await;
    log.publish("c", "x").await;
    assert_channel(&log, "a", Some(3), None).await;
    log.end("a").await;
    log.end("over").await;
    assert_channel(&log, "a", Some(3), Some(5)).await;
    assert_channel(&log, "over", None, Some(6)).await;
    assert_channel(&log, "a/b", Some(2), None).await;
    for unknown in ["b", "A", "a/b/c", "ab"] {
        assert_eq!(log.channel(unknown).await, None);
    }
}

async fn assert_channel(log: &Subject, channel: &str, newest: Option<u64>, end: Option<u64>) {
    let newest = match newest {
        Some(seq) => Some(log.position(seq).await),
        None => None,
    };
    let expected = StoredChannel::new(name(channel), newest, end);
    assert_eq!(log.channel(channel).await, Some(expected));
}

async fn a_channel_whose_entries_were_removed_is_unknown(log: Subject) {
    log.publish("a", "x").await;
    log.publish("b", "x").await;
    for _ in 0..9 {
        log.publish("filler", "x").await;
    }
    assert_eq!(log.channel("a").await, None);
    assert_channel(&log, "b", Some(2), None).await;
    assert_eq!(names(&log.channels(None, 10).await), ["b", "filler"]);
    log.publish("a", "x").await;
    assert_channel(&log, "a", Some(12), None).await;
}

async fn the_newest_event_of_a_channel_is_of_the_current_epoch(log: Subject) {
    log.publish("a", "x").await;
    let epoch = log.bounds().await.epoch;
    log.renew(&epoch).await;
    let newest = Some(log.newest().await);
    assert_eq!(log.channel("a").await.unwrap().newest, newest);
    assert_eq!(log.channels(None, 10).await[0].newest, newest);
}

/// Names whose order by segments or by letters would be another one, in the order of their bytes.
const NAMES: &[&str] = &[
    "A", "B", "a", "a-b", "a.b", "a/b", "a/b/c", "a/c", "a:b", "aa", "ab", "a~", "b",
];

async fn channels_are_in_the_order_of_the_bytes_of_their_names(log: Subject) {
    for name in NAMES.iter().rev() {
        log.publish(name, "x").await;
        log.publish(name, "y").await;
    }
    let channels = log.channels(None, 100).await;
    assert_eq!(names(&channels), NAMES);
    for after in ["0", "B", "a/b/b", "a/bb", "az", "zz"] {
        // The name of no channel, too, is a place in the order.
        let expected: Vec<_> = NAMES
            .iter()
            .filter(|name| **name > after)
            .copied()
            .collect();
        let page = log.channels(Some(after), 100).await;
        assert_eq!(names(&page), expected, "after {after}");
    }
}

async fn pages_together_contain_each_channel_once(log: Subject) {
    for name in NAMES {
        log.publish(name, "x").await;
    }
    log.end("a").await;
    log.end("over").await;
    for limit in [0, 1, 2, 3, 5, 14, 15, 100] {
        let found = all_channels(&log, limit).await;
        let expected: Vec<_> = NAMES.iter().chain(&["over"]).copied().collect();
        assert_eq!(names(&found), expected, "by {limit}");
    }
}

/// The channels of all pages of this size.
async fn all_channels(log: &Subject, limit: usize) -> Vec<StoredChannel> {
    let mut found: Vec<StoredChannel> = Vec::new();
    loop {
        let after = found.last().map(|channel| channel.name.as_str());
        let page = log.channels(after, limit).await;
        assert!(page.len() <= limit.max(1), "{} of {limit}", page.len());
        if page.is_empty() {
            return found;
        }
        assert!(found.len() < 1_000, "the pages never end");
        found.extend(page);
    }
}

/// While entries are removed, ends are remembered and ends are forgotten.
async fn channels_are_those_that_are_found_one_by_one(log: Subject) {
    let mut history = History::of(&log);
    for n in 0..60 {
        let channel = format!("c/{}", n / 2);
        let is_end = n % 4 == 3;
        let draft = if is_end {
            end(&channel)
        } else {
            event(&channel, "x")
        };
        history.append(draft).await;
        let mut expected = Vec::new();
        let ends = log.ends().await;
        let floor = history.floor().await;
        let mut names: Vec<_> = (0..=n / 2).map(|n| format!("c/{n}")).collect();
        names.sort_unstable();
        for channel in names {
            let held = history.of_channels(&[&channel], floor + 1..=history.last());
            let newest = held
                .iter()
                .rev()
                .find(|entry| entry.kind == EntryKind::Event);
            let newest = newest.map(|entry| entry.seq);
            let end = ends.iter().find(|end| end.0 == channel).map(|end| end.1);
            let found = log.channel(&channel).await;
            assert_eq!(
                found.is_some(),
                !held.is_empty() || end.is_some(),
                "{channel}"
            );
            let Some(found) = found else { continue };
            let seq = found.newest.as_ref().map(|newest| newest.seq);
            assert_eq!((seq, found.end), (newest, end), "{channel}");
            expected.push(found);
        }
        assert_eq!(log.channels(None, 100).await, expected);
        assert_eq!(all_channels(&log, 2).await, expected);
    }
}

fn names(channels: &[StoredChannel]) -> Vec<&str> {
    let names = channels.iter().map(|channel| channel.name.as_str());
    names.collect()
}
