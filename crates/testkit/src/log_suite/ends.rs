//! Laws of ends: which entries may follow an end, and how long a log remembers it.

use tidings_hub::{Entry, EntryKind, LogErrorKind, Retention};

use super::history::History;
use super::subject::{Subject, end, event, name, within};
use super::{Law, TEN, TWO, law};

const TEN_AND_THREE_NAMES: Retention = TEN.remembered_channels(3);

pub(super) const LAWS: &[Law] = &[
    law!(the_first_end_of_each_channel_is_listed),
    law!(no_end_since_the_bound_is_missing, TEN_AND_THREE_NAMES),
    law!(nothing_follows_an_end).if_able(|able| able.refuses_after_end),
    law!(appends_in_flight_are_judged_in_the_order_of_their_calls)
        .if_able(|able| able.refuses_after_end),
    law!(of_concurrent_appends_none_follows_the_end).if_able(|able| able.refuses_after_end),
    law!(an_entry_after_an_end_is_stored).if_able(|able| !able.refuses_after_end),
    law!(an_end_outlives_its_entry, TWO).if_able(|able| able.remembers_ends),
    law!(nothing_follows_a_removed_end, TWO)
        .if_able(|able| able.remembers_ends && able.refuses_after_end),
    law!(an_end_outlives_the_epoch, TWO).if_able(|able| able.remembers_ends),
    law!(the_oldest_ends_are_forgotten_first, TEN_AND_THREE_NAMES)
        .if_able(|able| able.remembers_ends),
    law!(the_name_of_a_forgotten_end_is_free, TEN_AND_THREE_NAMES)
        .if_able(|able| able.remembers_ends),
    law!(ends_are_forgotten_with_their_entries, TEN).if_able(|able| !able.remembers_ends),
];

async fn the_first_end_of_each_channel_is_listed(log: Subject) {
    log.publish("a", "x").await;
    log.end("a").await;
    log.end("b/c").await;
    // A log that does not refuse them stores them, but they end nothing.
    drop(within(log.0.append(event("a", "y"))).await);
    drop(within(log.0.append(end("a"))).await);
    log.publish("b", "x").await;
    let expected = [("a".to_owned(), 2), ("b/c".to_owned(), 3)];
    assert_eq!(log.ends().await, expected);
    assert!(log.bounds().await.ends_since <= 2, "no end was forgotten");
    let kinds: Vec<_> = log.read_all(0, &[]).await[..3]
        .iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [EntryKind::Event, EntryKind::End, EntryKind::End]);
}

/// Otherwise a hub would treat a channel as open that has ended.
async fn no_end_since_the_bound_is_missing(log: Subject) {
    let mut history = History::of(&log);
    let mut since = log.bounds().await.ends_since;
    for n in 0..60 {
        let channel = format!("c/{n}");
        let draft = if n % 4 == 3 {
            end(&channel)
        } else {
            event(&channel, "x")
        };
        history.append(draft).await;
        let bounds = log.bounds().await;
        assert!(
            bounds.ends_since >= since,
            "a forgotten end is not found again"
        );
        since = bounds.ends_since;
        let mut ends = history.of_channels(&[], 1..=history.last());
        ends.retain(|entry| entry.kind == EntryKind::End);
        let ends = ends.iter().map(|end| (end.channel.to_string(), end.seq));
        let ends: Vec<_> = ends.filter(|(_, seq)| *seq >= since).collect();
        assert_eq!(log.ends().await, ends, "since {since}");
        assert!(
            since <= bounds.floor.seq + 1,
            "an end that is held is not forgotten"
        );
    }
}

async fn nothing_follows_an_end(log: Subject) {
    log.publish("a", "x").await;
    log.end("a").await;
    log.end("b").await;
    for channel in ["a", "b"] {
        let kind = log.refuse(event(channel, "late")).await;
        assert_eq!(kind, LogErrorKind::Ended);
        assert_eq!(log.refuse(end(channel)).await, LogErrorKind::Ended);
    }
    // Refused entries take no numbers, and other channels continue.
    for (seq, channel) in (4..).zip(["a/b", "A", "c", "b/a"]) {
        assert_eq!(log.publish(channel, "x").await, seq);
    }
    assert_eq!(log.read_all(0, &[]).await.len(), 7);
}

async fn appends_in_flight_are_judged_in_the_order_of_their_calls(log: Subject) {
    let drafts = [
        event("a", "x"),
        end("a"),
        event("b", "x"),
        end("a"),
        event("a", "y"),
    ];
    let calls: Vec<_> = drafts.map(|draft| log.0.append(draft)).into();
    let mut answers = Vec::new();
    for call in calls.into_iter().rev() {
        let answer = within(call).await.map_err(|error| error.kind());
        answers.push(answer.map(|appended| appended.seq));
    }
    answers.reverse();
    let ended = Err(LogErrorKind::Ended);
    assert_eq!(answers, [Ok(1), Ok(2), Ok(3), ended, ended]);
}

async fn of_concurrent_appends_none_follows_the_end(log: Subject) {
    for round in 0..10 {
        let channel = format!("c/{round}");
        let tasks: Vec<_> = (0..8)
            .map(|task| tokio::spawn(append_until_the_end(log.clone(), channel.clone(), task)))
            .collect();
        let mut stored = Vec::new();
        for task in tasks {
            stored.extend(task.await.unwrap());
        }
        stored.sort_unstable();
        let entries = log.read_all(0, &[&channel]).await;
        let seqs = entries.iter().map(|entry| entry.seq);
        assert!(
            seqs.eq(stored),
            "the entries that were confirmed are stored"
        );
        let is_end = |entry: &Entry| entry.kind == EntryKind::End;
        let ends: Vec<_> = entries.iter().map(is_end).collect();
        let at = ends.iter().position(|is_end| *is_end);
        assert_eq!(at, Some(ends.len() - 1), "one end, and nothing after it");
    }
}

/// Appends events until the channel has ended; the first tasks also end it. Returns the numbers.
async fn append_until_the_end(log: Subject, channel: String, task: usize) -> Vec<u64> {
    let mut stored = Vec::new();
    for n in 0..1_000 {
        let is_end = task < 2 && n == 20;
        let draft = if is_end {
            end(&channel)
        } else {
            event(&channel, "x")
        };
        match within(log.0.append(draft)).await {
            Ok(appended) => stored.push(appended.seq),
            Err(error) => {
                assert_eq!(error.kind(), LogErrorKind::Ended);
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    stored
}

async fn an_entry_after_an_end_is_stored(log: Subject) {
    log.end("a").await;
    assert_eq!(log.publish("a", "x").await, 2);
    assert_eq!(log.end("a").await, 3);
    let entries = log.read_all(0, &["a"]).await;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::End, EntryKind::Event, EntryKind::End]);
    assert_eq!(log.ends().await, [("a".to_owned(), 1)]);
}

async fn an_end_outlives_its_entry(log: Subject) {
    log.publish("a", "x").await;
    log.end("a").await;
    log.end("b").await;
    fill(&log, 10).await;
    let expected = [("a".to_owned(), 2), ("b".to_owned(), 3)];
    assert_eq!(log.ends().await, expected);
    assert!(log.bounds().await.ends_since <= 2);
    for (channel, seq) in expected {
        let stored = log.channel(&channel).await.unwrap();
        assert_eq!((stored.newest, stored.end), (None, Some(seq)));
    }
}

async fn nothing_follows_a_removed_end(log: Subject) {
    log.publish("a", "x").await;
    log.end("a").await;
    fill(&log, 10).await;
    assert_eq!(log.refuse(event("a", "x")).await, LogErrorKind::Ended);
    assert_eq!(log.refuse(end("a")).await, LogErrorKind::Ended);
    assert_eq!(log.bounds().await.last.seq, 12);
}

async fn an_end_outlives_the_epoch(log: Subject) {
    log.end("removed").await;
    fill(&log, 3).await;
    log.end("held").await;
    let (ends, bounds) = (log.ends().await, log.bounds().await);
    assert_eq!(ends.len(), 2);
    log.renew(&bounds.epoch).await;
    assert_eq!(log.ends().await, ends);
    assert_eq!(log.bounds().await.ends_since, bounds.ends_since);
    if log.abilities().refuses_after_end {
        for channel in ["removed", "held"] {
            assert_eq!(log.refuse(end(channel)).await, LogErrorKind::Ended);
        }
    }
}

/// Ends ten channels, and fills the log until all of the ends are removed.
async fn end_ten(log: &Subject) {
    for n in 0..10 {
        log.publish(&format!("c/{n}"), "x").await;
        log.end(&format!("c/{n}")).await;
    }
    fill(log, 10).await;
}

async fn the_oldest_ends_are_forgotten_first(log: Subject) {
    end_ten(&log).await;
    let expected = [16, 18, 20].map(|seq| (format!("c/{}", seq / 2 - 1), seq));
    assert_eq!(log.ends().await, expected);
    let since = log.bounds().await.ends_since;
    assert!(14 < since && since <= 16, "ends since {since}");
}

async fn the_name_of_a_forgotten_end_is_free(log: Subject) {
    end_ten(&log).await;
    for n in 0..7 {
        assert_eq!(log.channel(&format!("c/{n}")).await, None);
    }
    assert_eq!(log.publish("c/0", "x").await, 31);
    let stored = log.channel("c/0").await.unwrap();
    assert_eq!(
        (stored.newest, stored.end),
        (Some(log.newest().await), None)
    );
    assert_eq!(log.end("c/0").await, 32);
    assert_eq!(log.channel("c/0").await.unwrap().end, Some(32));
    assert_eq!(log.ends().await.last(), Some(&("c/0".to_owned(), 32)));
}

async fn ends_are_forgotten_with_their_entries(log: Subject) {
    log.end("a").await;
    log.end("b").await;
    fill(&log, 9).await;
    assert_eq!(log.ends().await, [("b".to_owned(), 2)]);
    fill(&log, 1).await;
    assert_eq!(log.ends().await, []);
    assert_eq!(within(log.0.channel(&name("a"))).await.unwrap(), None);
    // The name now belongs to a new channel, which may end too.
    assert_eq!(log.end("a").await, 13);
    assert_eq!(log.ends().await, [("a".to_owned(), 13)]);
}

async fn fill(log: &Subject, count: usize) {
    for _ in 0..count {
        log.publish("filler", "x").await;
    }
}
