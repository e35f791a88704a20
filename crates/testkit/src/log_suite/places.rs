//! Laws of places: where a subscriber resumes, and which events it misses.

use tidings_hub::{Located, LogErrorKind, Place, Retention, Start};
use tidings_proto::Position;

use super::checks::STARTS;
use super::history::History;
use super::subject::{Subject, end, event, held};
use super::{Law, TEN, law, other_epoch};

const TEN_AND_TWO_NAMES: Retention = TEN.remembered_channels(2);

pub(super) const LAWS: &[Law] = &[
    law!(a_held_place_misses_nothing, TEN),
    law!(a_place_past_the_end_is_unknown),
    law!(a_place_after_the_newest_position_is_held),
    law!(a_loss_is_told, TEN),
    law!(a_channel_that_lost_no_event_is_told_nothing, TEN).if_able(|able| able.loss_by_channel),
    law!(a_removed_end_is_no_loss, TEN).if_able(|able| able.loss_by_channel),
    law!(an_entry_after_the_newest_position_is_no_loss, TEN),
    law!(a_read_tells_what_a_resume_tells, TEN),
    law!(a_forgotten_channel_is_told, TEN_AND_TWO_NAMES),
    law!(
        a_place_after_all_forgotten_channels_is_judged_exactly,
        TEN_AND_TWO_NAMES
    )
    .if_able(|able| able.loss_by_channel),
    law!(a_search_up_to_a_removed_position_finds_the_floor, TEN),
    law!(a_search_up_to_a_position_past_the_end_fails),
    law!(a_search_up_to_a_position_of_another_epoch_fails),
];

/// Channels and patterns that have lost all their events, some or none in [`lossy`].
pub(super) const CHANNELS: &[&[&str]] = &[
    &["busy"],
    &["quiet"],
    &["kept"],
    &["over"],
    &["new"],
    &["below/a"],
    &["below/*"],
    &["new/*"],
    &["kept", "over"],
    &["new", "quiet"],
    &["kept", "busy"],
    &["below/*", "new"],
    &[],
];

/// 40 entries, of which the log has removed 30. `over` has only an end, and `kept` only held events.
pub(super) async fn lossy(log: &Subject) -> History {
    let mut history = History::of(log);
    for n in 1..=40 {
        let draft = match n {
            3 | 12 | 36 => event("quiet", "x"),
            5 => end("over"),
            8 => event("below/a", "x"),
            20 => event("below/b", "x"),
            22 => end("below/a"),
            33 | 38 => event("kept", "x"),
            _ => event("busy", n.to_string()),
        };
        history.append(draft).await;
    }
    assert_eq!(history.floor().await, 30);
    history
}

async fn a_held_place_misses_nothing(log: Subject) {
    let start = Place::start();
    assert_eq!(log.find(Start::After(start), &["a"]).await, (start, 0));
    let history = lossy(&log).await;
    for seq in 30..=40 {
        let place = history.place(seq);
        for channels in CHANNELS {
            let found = log.find(Start::After(place), channels).await;
            assert_eq!(found, (place, 0), "{channels:?}");
        }
    }
}

async fn a_place_past_the_end_is_unknown(log: Subject) {
    for last in 0..3 {
        let check = log.newest().await.check;
        for seq in [last + 1, last + 2, u64::MAX] {
            let located = log.locate(Start::After(Place { seq, check }), &["a"]).await;
            assert_eq!(located, Located::Unknown { last }, "{seq}");
        }
        log.publish("a", "x").await;
    }
}

/// A client may know a newer entry than the hub that it asks.
async fn a_place_after_the_newest_position_is_held(log: Subject) {
    log.fill(3).await;
    let newest = log.newest().await;
    log.fill(3).await;
    let place = log.bounds().await.last;
    let located = log.locate_to(&newest, Start::After(place), &["a"]).await;
    assert_eq!(held(located.unwrap()), (place, 0));
}

async fn a_loss_is_told(log: Subject) {
    let history = lossy(&log).await;
    for seq in 0..30 {
        for channels in CHANNELS {
            let lost = history.events(channels, seq + 1..=30).len() as u64;
            let place = history.place(seq);
            let (found, missed) = log.find(Start::After(place), channels).await;
            let case = format!("{channels:?} after {seq}: {missed} of {lost}");
            assert!(lost <= missed && missed <= 30 - seq, "{case}");
            let expected = if missed > 0 { history.place(30) } else { place };
            assert_eq!(found, expected, "{case}");
        }
    }
}

async fn a_channel_that_lost_no_event_is_told_nothing(log: Subject) {
    let history = lossy(&log).await;
    for seq in 0..30 {
        for channels in CHANNELS {
            if history.events(channels, seq + 1..=30).is_empty() {
                let place = history.place(seq);
                let found = log.find(Start::After(place), channels).await;
                assert_eq!(found, (place, 0), "{channels:?}");
            }
        }
    }
}

async fn a_removed_end_is_no_loss(log: Subject) {
    let mut history = History::of(&log);
    history.append(event("a", "x")).await;
    history.append(end("a")).await;
    history.append(end("b")).await;
    for _ in 0..15 {
        history.append(event("c", "x")).await;
    }
    for (channel, seq) in [("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)] {
        let place = history.place(seq);
        let found = log.find(Start::After(place), &[channel]).await;
        assert_eq!(found, (place, 0), "{channel} after {seq}");
    }
}

async fn an_entry_after_the_newest_position_is_no_loss(log: Subject) {
    let history = lossy(&log).await;
    let epoch = log.bounds().await.epoch;
    for seq in 0..30 {
        let place = history.place(seq);
        let newest = place.in_epoch(&epoch);
        for channels in CHANNELS {
            let located = log.locate_to(&newest, Start::After(place), channels).await;
            assert_eq!(held(located.unwrap()), (place, 0), "{channels:?}");
        }
    }
}

async fn a_read_tells_what_a_resume_tells(log: Subject) {
    let history = lossy(&log).await;
    for seq in 0..=40 {
        for channels in CHANNELS {
            let start = Start::After(history.place(seq));
            let (_, missed) = log.find(start, channels).await;
            if missed == 0 {
                let rest = history.of_channels(channels, seq.max(30) + 1..=40);
                let read = log.read_in_pages(seq, 3, channels).await;
                assert_eq!(read, rest, "{channels:?} after {seq}");
            } else {
                let page = log.read(seq, 3, channels).await;
                let trimmed = LogErrorKind::Trimmed { first: 31 };
                assert_eq!(page, Err(trimmed), "{channels:?} after {seq}");
            }
        }
    }
}

/// Ten channels of one event each, of which the log remembers two, and 20 events of another one.
pub(super) async fn forgetful(log: &Subject) -> History {
    let mut history = History::of(log);
    for n in 0..10 {
        history.append(event(&format!("few/{n}"), "x")).await;
    }
    for _ in 0..20 {
        history.append(event("busy", "x")).await;
    }
    assert_eq!(history.floor().await, 20);
    history
}

/// The log may have forgotten whether an event of a channel was removed. Then it must not answer that none
/// was.
async fn a_forgotten_channel_is_told(log: Subject) {
    let mut history = forgetful(&log).await;
    // A channel that is known again has still lost its first event.
    history.append(event("few/0", "x")).await;
    for seq in 0..10 {
        let start = Start::After(history.place(seq));
        for channel in [format!("few/{seq}"), "few/*".to_owned(), "few/9".to_owned()] {
            let (place, missed) = log.find(start, &[&channel]).await;
            let lost = history.events(&[&channel], seq + 1..=21).len() as u64;
            assert!(
                lost <= missed && missed <= 21 - seq,
                "{channel} after {seq}"
            );
            assert_eq!(place, history.place(21));
            let page = log.read(seq, 10, &[&channel]).await;
            assert_eq!(page, Err(LogErrorKind::Trimmed { first: 22 }));
        }
    }
}

async fn a_place_after_all_forgotten_channels_is_judged_exactly(log: Subject) {
    let history = forgetful(&log).await;
    for seq in 8..20 {
        let place = history.place(seq);
        for channel in [
            "few/0", "few/7", "few/8", "few/9", "busy", "new", "few/*", "new/*",
        ] {
            let is_lost = !history.events(&[channel], seq + 1..=20).is_empty();
            let (_, missed) = log.find(Start::After(place), &[channel]).await;
            assert_eq!(missed > 0, is_lost, "{channel} after {seq}");
        }
    }
}

/// A newest entry that was removed by the retention counts as held.
async fn a_search_up_to_a_removed_position_finds_the_floor(log: Subject) {
    let history = lossy(&log).await;
    let epoch = log.bounds().await.epoch;
    for seq in [0, 1, 8, 29] {
        let newest = history.place(seq).in_epoch(&epoch);
        for start in STARTS {
            for channels in CHANNELS {
                let located = log.locate_to(&newest, *start, channels).await;
                let (place, missed) = held(located.unwrap());
                let case = format!("{start:?} of {channels:?} up to {seq}: {missed}");
                assert_eq!(place, history.place(30), "{case}");
                assert!(missed <= 30, "{case}");
            }
        }
    }
}

async fn a_search_up_to_a_position_past_the_end_fails(log: Subject) {
    log.fill(5).await;
    let newest = log.newest().await;
    for seq in [6, 7, u64::MAX] {
        let past = Position {
            seq,
            ..newest.clone()
        };
        assert_rewound(&log, &past).await;
    }
}

async fn a_search_up_to_a_position_of_another_epoch_fails(log: Subject) {
    let start = log.newest().await;
    log.fill(5).await;
    for position in [start, log.position(2).await, log.newest().await] {
        let other = Position {
            epoch: other_epoch(),
            ..position
        };
        assert_rewound(&log, &other).await;
    }
}

async fn assert_rewound(log: &Subject, newest: &Position) {
    let resume = Start::After(Place::start());
    for start in STARTS.iter().chain([&resume]) {
        let located = log.locate_to(newest, *start, &["a"]).await;
        assert_eq!(located, Err(LogErrorKind::Rewound { last: 5 }), "{start:?}");
    }
}
