//! Laws of appending: order, sequence numbers, and each part of an entry.

use std::collections::HashSet;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{MAX_NAME_BYTES, Pattern, Place, Scope};

use super::subject::{Subject, assert_contiguous, end, event, must, place_of};
use super::{Law, law};

pub(super) const LAWS: &[Law] = &[
    law!(a_fresh_log_is_empty),
    law!(sequence_numbers_are_contiguous_from_one),
    law!(appends_keep_the_order_of_their_calls),
    law!(an_entry_reads_back_as_it_was_appended),
    law!(time_never_falls),
    law!(appends_of_many_tasks_are_kept_once_each),
    law!(any_body_is_kept),
    law!(any_name_is_kept),
    law!(dropped_futures_do_no_harm),
];

async fn a_fresh_log_is_empty(log: Subject) {
    let bounds = log.bounds().await;
    assert_eq!(
        (bounds.floor, bounds.last),
        (Place::start(), Place::start())
    );
    assert_eq!(log.ends().await, []);
    assert_eq!(log.channels(None, 10).await, []);
    let page = log.read(0, 10, &[]).await.unwrap();
    assert_eq!((page.entries, page.through), (vec![], 0));
}

async fn sequence_numbers_are_contiguous_from_one(log: Subject) {
    for n in 1..=20 {
        assert_eq!(log.publish("a", "x").await, n);
        let bounds = log.bounds().await;
        assert_eq!((bounds.floor, bounds.last.seq), (Place::start(), n));
    }
    let entries = log.read_all(0, &[]).await;
    assert_eq!(entries.len(), 20);
    assert_contiguous(&entries, 1);
}

async fn appends_keep_the_order_of_their_calls(log: Subject) {
    let drafts = (0..300).map(|n: u32| event(["a", "b"][n as usize % 2], n.to_string()));
    let calls: Vec<_> = drafts.map(|draft| log.0.append(draft)).collect();
    // The order of the calls counts, not the order of the awaits.
    for (call, seq) in calls.into_iter().rev().zip((1..=300).rev()) {
        assert_eq!(must(call).await.seq, seq);
    }
    for (n, entry) in log.read_all(0, &[]).await.iter().enumerate() {
        assert_eq!(entry.body, n.to_string());
    }
}

async fn an_entry_reads_back_as_it_was_appended(log: Subject) {
    let keyed = event("a/b", "data: 2\n\n").key("key");
    let drafts = [event("a", "data: 1\n\n"), keyed, end("a"), event("c", "3")];
    for draft in drafts.clone() {
        let appended = log.append(draft.clone()).await;
        assert!(!appended.is_repeat);
        let page = log.read(appended.seq - 1, 1, &[]).await;
        let [entry] = &page.unwrap().entries[..] else {
            unreachable!("one entry follows");
        };
        assert_eq!(entry.seq, appended.seq);
        assert_eq!(
            (&entry.channel, entry.kind, &entry.body),
            (&draft.channel, draft.kind, &draft.body)
        );
    }
    let entries = log.read_all(0, &[]).await;
    assert_eq!(entries.len(), drafts.len());
    assert_eq!(log.bounds().await.last, place_of(&entries[3]));
    assert_eq!(
        entries,
        log.read_all(0, &[]).await,
        "an entry never changes"
    );
}

async fn time_never_falls(log: Subject) {
    log.fill(100).await;
    let entries = log.read_all(0, &[]).await;
    assert!(entries.is_sorted_by_key(|entry| entry.time));
    // Nanoseconds since 1970: in another unit, the time would lie outside this century.
    for entry in entries {
        let of_this_century = 946_684_800_000_000_000..4_102_444_800_000_000_000;
        assert!(of_this_century.contains(&entry.time), "{}", entry.time);
    }
}

async fn appends_of_many_tasks_are_kept_once_each(log: Subject) {
    let mut tasks = Vec::new();
    for task in 0..8 {
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..50 {
                seqs.push(log.publish("a", format!("{task} {n}")).await);
            }
            seqs
        }));
    }
    let mut bodies = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let seqs = task.await.unwrap();
        assert!(
            seqs.is_sorted(),
            "a task that awaits each append keeps its order"
        );
        let texts = (0..50).map(|n| format!("{number} {n}"));
        bodies.extend(seqs.into_iter().zip(texts));
    }
    bodies.sort_unstable();
    let entries = log.read_all(0, &[]).await;
    assert_eq!(entries.len(), 400);
    assert_contiguous(&entries, 1);
    for (entry, (seq, body)) in entries.iter().zip(bodies) {
        assert_eq!((entry.seq, &entry.body[..]), (seq, body.as_bytes()));
    }
}

async fn any_body_is_kept(log: Subject) {
    let bodies = [
        vec![],
        (0..=u8::MAX).collect(),
        vec![0; 7],
        b"\r\n\r\n".to_vec(),
        (0..512 * 1024).map(|n: u32| n.to_le_bytes()[1]).collect(),
        b"the last".to_vec(),
    ];
    for body in &bodies {
        log.publish("a", body.clone()).await;
    }
    let entries = log.tail(0).await.take(bodies.len()).await;
    assert_eq!(log.read_all(0, &[]).await, entries);
    for (entry, body) in entries.iter().zip(&bodies) {
        // Not `assert_eq`, which would print half a megabyte.
        assert!(entry.body == body, "a body of {} bytes", body.len());
    }
}

/// Names that a log could confuse if it encodes them.
const NAMES: &[&str] = &[
    "a", "A", "a.b", "a/b", "a_b", "a-b", "a:b", "a~b", "a~2Fb", "a_2Fb", "a/b/c", "a/b.c",
    "a.b/c", "ab/c", "...", "a/...", "a/.b", "a/b.", "-", "_", "~", ":", "0", "con",
];

async fn any_name_is_kept(log: Subject) {
    let every_byte: String = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*b"_-.~:")
        .map(char::from)
        .collect();
    let one_segment = "s".repeat(MAX_NAME_BYTES);
    let many_segments = ["s"; MAX_NAME_BYTES.div_ceil(2)].join("/");
    let dots = ["..."; MAX_NAME_BYTES / 4].join("/");
    let mut names = NAMES.to_vec();
    names.extend([&*every_byte, &*one_segment, &*many_segments, &*dots]);
    for name in &names {
        log.publish(name, *name).await;
    }
    for name in &names {
        let entries = log.read_all(0, &[name]).await;
        assert_eq!(entries.len(), 1, "{name}");
        assert_eq!(entries[0].channel.as_str(), *name);
        assert_eq!(entries[0].body, *name);
        let below = format!("{name}/");
        let expected: Vec<_> = names.iter().filter(|n| n.starts_with(&below)).collect();
        if let Ok(pattern) = Pattern::new(format!("{name}/*")) {
            let entries = log.read_all(0, &[pattern.as_ref()]).await;
            let found: Vec<_> = entries.iter().map(|entry| entry.channel.as_str()).collect();
            assert!(found.iter().eq(expected), "{pattern}: {found:?}");
        }
    }
}

async fn dropped_futures_do_no_harm(log: Subject) {
    let start = log.newest().await;
    for n in 0..50 {
        drop(log.0.append(event("dropped", n.to_string())));
        let polled = log.0.append(event("dropped", format!("polled {n}")));
        drop(polled.now_or_never());
        drop(log.0.read(0, 10, Scope::all(&start)));
        drop(log.0.bounds());
        drop(log.0.tail(&start).next().now_or_never());
        log.publish("kept", n.to_string()).await;
    }
    let entries = log.read_all(0, &[]).await;
    assert_contiguous(&entries, 1);
    let kept = log.read_all(0, &["kept"]).await;
    assert!((0..50).eq(kept.iter().map(|entry| number(&entry.body))));
    let dropped = log.read_all(0, &["dropped"]).await;
    let once: HashSet<_> = dropped.iter().map(|entry| &entry.body).collect();
    assert_eq!(once.len(), dropped.len(), "none is kept twice");
}

fn number(body: &[u8]) -> u32 {
    str::from_utf8(body).unwrap().parse().unwrap()
}
