//! Laws of starts: the first event that the log holds, that of a time, the newest ones, and a skip.

use tidings_hub::{Entry, Place, Retention, Start};

use super::history::History;
use super::places::{CHANNELS, forgetful, lossy};
use super::subject::{Subject, end, event, held, place_of, seqs};
use super::{Law, TEN, law};

const TEN_AND_TWO_NAMES: Retention = TEN.remembered_channels(2);

pub(super) const LAWS: &[Law] = &[
    law!(the_earliest_place_is_the_floor, TEN),
    law!(earliest_tells_nothing_to_channels_that_lost_nothing, TEN)
        .if_able(|able| able.loss_by_channel),
    law!(
        earliest_tells_a_new_channel_nothing_while_others_are_forgotten,
        TEN_AND_TWO_NAMES
    )
    .if_able(|able| able.loss_by_channel),
    law!(a_time_is_before_the_first_entry_at_that_time),
    law!(a_time_finds_no_entry_after_the_newest_position),
    law!(a_removed_event_of_the_time_is_told, TEN),
    law!(a_removed_event_before_the_time_is_no_loss, TEN).if_able(|able| able.loss_by_channel),
    law!(the_last_events_are_counted_over_all_channels_together),
    law!(the_last_events_are_those_up_to_the_newest_position),
    law!(the_last_events_are_never_missed, TEN),
    law!(the_last_events_are_found_among_many_channels),
    law!(a_skip_counts_the_events_that_it_passes),
    law!(a_skip_counts_exactly).if_able(|able| able.loss_by_channel),
    law!(a_skip_counts_removed_events, TEN),
    law!(a_skip_of_nothing_misses_nothing, TEN).if_able(|able| able.loss_by_channel),
];

async fn the_earliest_place_is_the_floor(log: Subject) {
    for channels in CHANNELS {
        let found = log.find(Start::Earliest, channels).await;
        assert_eq!(found, (Place::start(), 0), "{channels:?}");
    }
    let history = lossy(&log).await;
    for channels in CHANNELS {
        let lost = history.events(channels, 1..=30).len() as u64;
        let (place, missed) = log.find(Start::Earliest, channels).await;
        assert_eq!(place, history.place(30));
        let case = format!("{channels:?}: {missed} of {lost}");
        assert!(lost <= missed && missed <= 30, "{case}");
    }
}

async fn earliest_tells_nothing_to_channels_that_lost_nothing(log: Subject) {
    let history = lossy(&log).await;
    for channels in CHANNELS {
        let is_lost = !history.events(channels, 1..=30).is_empty();
        let (_, missed) = log.find(Start::Earliest, channels).await;
        assert_eq!(missed > 0, is_lost, "{channels:?}");
    }
}

async fn earliest_tells_a_new_channel_nothing_while_others_are_forgotten(log: Subject) {
    let history = forgetful(&log).await;
    for channels in [&["new"][..], &["new/*"], &["new", "newer"]] {
        let found = log.find(Start::Earliest, channels).await;
        assert_eq!(found, (history.place(20), 0), "{channels:?}");
    }
    for channels in [&["few/8"][..], &["few/9"], &["new", "busy"]] {
        let (_, missed) = log.find(Start::Earliest, channels).await;
        assert!(missed > 0, "{channels:?}");
    }
    log.publish("new", "x").await;
    let (_, missed) = log.find(Start::Earliest, &["new"]).await;
    assert_eq!(missed, 0, "its first event is held");
}

async fn a_time_is_before_the_first_entry_at_that_time(log: Subject) {
    log.fill(9).await;
    log.end("c").await;
    log.fill(2).await;
    let entries = log.read_all(0, &[]).await;
    for time in times(&entries) {
        let before = entries.iter().take_while(|entry| entry.time < time);
        let place = before.last().map_or(Place::start(), place_of);
        for channels in [&["a"][..], &["c", "a/*"], &["none"], &[]] {
            let found = log.find(Start::Time(time), channels).await;
            assert_eq!(found, (place, 0), "{channels:?} from {time}");
        }
    }
}

/// Times of these entries, and others.
fn times(entries: &[Entry]) -> Vec<u64> {
    let times = entries.iter().map(|entry| entry.time);
    let around = times.flat_map(|time| [time - 1, time, time + 1]);
    around.chain([0, u64::MAX]).collect()
}

async fn a_time_finds_no_entry_after_the_newest_position(log: Subject) {
    log.fill(9).await;
    let entries = log.read_all(0, &[]).await;
    let newest = log.position(5).await;
    for time in times(&entries) {
        let before = entries[..5].iter().take_while(|entry| entry.time < time);
        let place = before.last().map_or(Place::start(), place_of);
        let located = log.locate_to(&newest, Start::Time(time), &["a"]).await;
        assert_eq!(held(located.unwrap()), (place, 0), "from {time}");
    }
}

async fn a_removed_event_of_the_time_is_told(log: Subject) {
    let history = lossy(&log).await;
    for time in times(&history.entries) {
        let before = history.entries.iter().take_while(|entry| entry.time < time);
        let before = before.count() as u64;
        for channels in CHANNELS {
            let lost = history.events(channels, before + 1..=30).len() as u64;
            let (place, missed) = log.find(Start::Time(time), channels).await;
            assert_eq!(place, history.place(before.max(30)));
            let case = format!("{channels:?} from {time}: {missed} of {lost}");
            assert!(lost <= missed && missed <= 30, "{case}");
        }
    }
}

async fn a_removed_event_before_the_time_is_no_loss(log: Subject) {
    let history = lossy(&log).await;
    let floor = history.entries[29].time;
    for time in times(&history.entries) {
        for channels in CHANNELS {
            let (_, missed) = log.find(Start::Time(time), channels).await;
            let has_lost_none = history.events(channels, 1..=30).is_empty();
            if time > floor || has_lost_none {
                assert_eq!(missed, 0, "{channels:?} from {time}");
            }
        }
    }
}

/// Events and ends of several channels.
async fn mixed(log: &Subject) -> History {
    let mut history = History::of(log);
    for n in 1..=30 {
        let draft = match n {
            7 | 29 => event("rare", "x"),
            15 => event("below/a", "x"),
            20 => end("below/a"),
            24 => end("over"),
            30 => end("rare"),
            _ => event(["a", "b", "a"][n % 3], "x"),
        };
        history.append(draft).await;
    }
    history
}

const MIXED: &[&[&str]] = &[
    &["a"],
    &["rare"],
    &["over"],
    &["none"],
    &["a", "b"],
    &["rare", "below/a", "over"],
    &["below/*", "rare"],
    &[],
];

/// Ends do not count.
async fn the_last_events_are_counted_over_all_channels_together(log: Subject) {
    let history = mixed(&log).await;
    for channels in MIXED {
        let events = history.events(channels, 1..=30);
        for count in [1, 2, 3, 10, 1000] {
            let last = &events[events.len().saturating_sub(count)..];
            let (place, missed) = log.find(Start::Last(count), channels).await;
            let case = format!("{count} of {channels:?}");
            assert_eq!(missed, 0, "{case}");
            if let Some(oldest) = last.first() {
                assert_eq!(place, history.place(oldest.seq - 1), "{case}");
            }
            let read = history.events(channels, place.seq + 1..=30);
            assert_eq!(seqs(&read), seqs(last), "{case}");
        }
    }
}

async fn the_last_events_are_those_up_to_the_newest_position(log: Subject) {
    let history = mixed(&log).await;
    for seq in [15, 19, 24] {
        let newest = log.position(seq).await;
        for channels in MIXED {
            let events = history.events(channels, 1..=seq);
            let Some(oldest) = events.iter().rev().take(2).last() else {
                continue;
            };
            let located = log.locate_to(&newest, Start::Last(2), channels).await;
            let expected = history.place(oldest.seq - 1);
            assert_eq!(held(located.unwrap()), (expected, 0), "{channels:?}");
        }
    }
}

/// Fewer than were asked for are no loss.
async fn the_last_events_are_never_missed(log: Subject) {
    let history = lossy(&log).await;
    for channels in CHANNELS {
        let events = history.events(channels, 31..=40);
        for count in [1, 3, 1000] {
            let last = &events[events.len().saturating_sub(count)..];
            let (place, missed) = log.find(Start::Last(count), channels).await;
            let case = format!("{count} of {channels:?}");
            assert_eq!(missed, 0, "{case}");
            assert!(place.seq >= 30, "{case}: {place:?}");
            assert_eq!(place, history.place(place.seq), "{case}");
            let read = history.events(channels, place.seq + 1..=40);
            assert_eq!(seqs(&read), seqs(last), "{case}");
        }
    }
}

async fn the_last_events_are_found_among_many_channels(log: Subject) {
    let mut history = History::of(&log);
    for n in 0..600 {
        history
            .append(event(&format!("many/{}", n % 400), "x"))
            .await;
        history.append(event("other", "x")).await;
    }
    let all = history.of_channels(&["many/*"], 1..=1_200);
    assert_eq!(log.read_all(0, &["many/*"]).await, all);
    for count in [1, 7, 500, 600] {
        let oldest = all[all.len() - count].seq;
        let found = log.find(Start::Last(count), &["many/*"]).await;
        assert_eq!(found, (history.place(oldest - 1), 0), "{count}");
    }
}

/// Pairs of numbers: the last entry that was received, and the last one that is skipped.
const SKIPS: &[(u64, u64)] = &[(0, 30), (0, 0), (3, 4), (6, 7), (7, 28), (14, 20), (19, 30)];

async fn a_skip_counts_the_events_that_it_passes(log: Subject) {
    let history = mixed(&log).await;
    for &(after, to) in SKIPS {
        for channels in MIXED {
            let passed = history.events(channels, after + 1..=to).len() as u64;
            let (place, missed) = log.find(Start::Skip { after, to }, channels).await;
            assert_eq!(place, history.place(to));
            let case = format!("{channels:?} {after} to {to}: {missed} of {passed}");
            assert!(passed <= missed && missed <= to - after, "{case}");
        }
    }
}

async fn a_skip_counts_exactly(log: Subject) {
    let history = mixed(&log).await;
    for &(after, to) in SKIPS {
        for channels in MIXED {
            let passed = history.events(channels, after + 1..=to).len() as u64;
            let (_, missed) = log.find(Start::Skip { after, to }, channels).await;
            assert_eq!(missed, passed, "{channels:?} {after} to {to}");
        }
    }
}

/// Pairs of numbers: before, around and after the floor, which is 30.
const LOSSY_SKIPS: &[(u64, u64)] = &[(0, 2), (2, 29), (11, 30), (12, 35), (25, 40), (31, 40)];

async fn a_skip_counts_removed_events(log: Subject) {
    let history = lossy(&log).await;
    for &(after, to) in LOSSY_SKIPS {
        let end = to.max(30);
        for channels in CHANNELS {
            let passed = history.events(channels, after + 1..=end).len() as u64;
            let (place, missed) = log.find(Start::Skip { after, to }, channels).await;
            assert_eq!(place, history.place(end));
            let case = format!("{channels:?} {after} to {to}: {missed} of {passed}");
            assert!(passed <= missed && missed <= end - after, "{case}");
        }
    }
}

async fn a_skip_of_nothing_misses_nothing(log: Subject) {
    let history = lossy(&log).await;
    for &(after, to) in LOSSY_SKIPS {
        for channels in CHANNELS {
            if history.events(channels, after + 1..=to.max(30)).is_empty() {
                let (_, missed) = log.find(Start::Skip { after, to }, channels).await;
                assert_eq!(missed, 0, "{channels:?} {after} to {to}");
            }
        }
    }
}
