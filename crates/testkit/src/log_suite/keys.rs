//! Laws of keys: repeated appends. A key is remembered for too long to test when it is forgotten.

use tidings_hub::{Appended, Draft, LogErrorKind};

use super::subject::{Subject, end, event, must};
use super::{Law, TWO, law};

pub(super) const LAWS: &[Law] = &[
    law!(a_repeat_returns_the_first_sequence_number),
    law!(an_append_without_a_key_is_never_a_repeat),
    law!(a_key_belongs_to_one_channel),
    law!(any_key_is_kept),
    law!(a_repeat_of_an_append_in_flight_is_a_repeat),
    law!(of_many_repeats_one_is_appended),
    law!(a_key_outlives_its_entry, TWO),
    law!(a_key_outlives_the_end_of_its_channel),
    law!(
        the_key_of_a_refused_append_is_free,
        TWO.remembered_channels(0)
    )
    .if_able(|able| able.refuses_after_end),
];

async fn a_repeat_returns_the_first_sequence_number(log: Subject) {
    log.publish("a", "before").await;
    assert_eq!(log.append(keyed("a", "key")).await, first(2));
    log.publish("a", "between").await;
    for body in ["", "other"] {
        let draft = event("a", body).key("key");
        assert_eq!(log.append(draft).await, repeat(2));
    }
    assert_eq!(log.append(end("a").key("key")).await, repeat(2));
    assert_eq!(log.publish("a", "after").await, 4);
    assert_eq!(log.ends().await, []);
}

async fn an_append_without_a_key_is_never_a_repeat(log: Subject) {
    for seq in 1..=3 {
        assert_eq!(log.append(event("a", "same")).await, first(seq));
    }
}

async fn a_key_belongs_to_one_channel(log: Subject) {
    // The last pairs differ only in the boundary between the channel and the key.
    let pairs = [
        ("a", "key"),
        ("b", "key"),
        ("a/b", "key"),
        ("a", "b/key"),
        ("a", "Key"),
        ("a:b", "c"),
        ("a", "b:c"),
        ("a.b", "c"),
        ("a", "b.c"),
    ];
    for (seq, (channel, key)) in (1..).zip(pairs) {
        let appended = log.append(keyed(channel, key)).await;
        assert_eq!(appended, first(seq), "{channel} {key}");
    }
    for (seq, (channel, key)) in (1..).zip(pairs) {
        let appended = log.append(keyed(channel, key)).await;
        assert_eq!(appended, repeat(seq), "{channel} {key}");
    }
}

async fn any_key_is_kept(log: Subject) {
    let long = "k".repeat(255);
    let longer = "k".repeat(256);
    let keys = ["", " ", "*", ">", "a b", "é", "\n", "\0", &long, &longer];
    for (seq, key) in (1..).zip(keys) {
        assert_eq!(log.append(keyed("a", key)).await, first(seq), "{key:?}");
    }
    for (seq, key) in (1..).zip(keys) {
        assert_eq!(log.append(keyed("a", key)).await, repeat(seq), "{key:?}");
    }
}

async fn a_repeat_of_an_append_in_flight_is_a_repeat(log: Subject) {
    let calls = [
        log.0.append(keyed("a", "key")),
        log.0.append(keyed("a", "key")),
        log.0.append(event("a", "between")),
        log.0.append(keyed("a", "key")),
    ];
    let expected = [first(1), repeat(1), first(2), repeat(1)];
    for (call, expected) in calls.into_iter().zip(expected).rev() {
        assert_eq!(must(call).await, expected);
    }
}

async fn of_many_repeats_one_is_appended(log: Subject) {
    for seq in 1..=10 {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let log = log.clone();
                tokio::spawn(async move { log.append(keyed("a", &seq.to_string())).await })
            })
            .collect();
        let mut appended = 0;
        for task in tasks {
            let answer = task.await.unwrap();
            assert_eq!(answer.seq, seq);
            appended += usize::from(!answer.is_repeat);
        }
        assert_eq!(appended, 1);
    }
    assert_eq!(log.bounds().await.last.seq, 10);
}

async fn a_key_outlives_its_entry(log: Subject) {
    assert_eq!(log.append(keyed("a", "key")).await, first(1));
    log.fill(5).await;
    assert_eq!(log.bounds().await.floor.seq, 4);
    assert_eq!(log.append(keyed("a", "key")).await, repeat(1));
}

async fn a_key_outlives_the_end_of_its_channel(log: Subject) {
    assert_eq!(log.append(keyed("a", "key")).await, first(1));
    assert_eq!(log.append(end("a").key("end")).await, first(2));
    for (key, seq) in [("key", 1), ("end", 2)] {
        assert_eq!(log.append(keyed("a", key)).await, repeat(seq));
        assert_eq!(log.append(end("a").key(key)).await, repeat(seq));
    }
    assert_eq!(log.bounds().await.last.seq, 2);
}

/// Otherwise a repeat would confirm an event that the log has not stored, once the end is forgotten.
async fn the_key_of_a_refused_append_is_free(log: Subject) {
    assert_eq!(log.end("a").await, 1);
    assert_eq!(log.refuse(keyed("a", "key")).await, LogErrorKind::Ended);
    for _ in 0..4 {
        log.publish("b", "x").await;
    }
    assert_eq!(log.ends().await, []);
    assert_eq!(log.append(keyed("a", "key")).await, first(6));
    assert_eq!(log.append(keyed("a", "key")).await, repeat(6));
}

fn keyed(channel: &str, key: &str) -> Draft {
    event(channel, key).key(key)
}

fn first(seq: u64) -> Appended {
    Appended::new(seq)
}

fn repeat(seq: u64) -> Appended {
    Appended::repeat(seq)
}
