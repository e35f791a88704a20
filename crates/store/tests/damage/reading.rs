//! A log over a damaged file: each answer is the right one, or an error.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use tidings_hub::{ChannelName, Draft, Log, LogErrorKind, Retention};
use tidings_proto::Position;
use tidings_store::{StoreErrorKind, StoreLog, StoreOptions};
use tidings_testkit::property;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::answers::{Answers, answers};
use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(60);

/// How many bytes are changed, one after the other, unless `TIDINGS_TEST_STEPS` is set.
const FLIPS: usize = 150;

/// No age, and few removals, so that the log is the same whenever it is opened.
fn options() -> StoreOptions {
    let retention = Retention::durable().max_age(None);
    StoreLog::options().retention(retention.max_events(Some(250)).remembered_channels(12))
}

fn name(channel: u32) -> ChannelName {
    ChannelName::new(format!("rooms/{channel}")).unwrap()
}

/// Appends entries of which about a third is removed, with ends, keys, and channels without entries.
async fn fill(log: &StoreLog, rng: &mut Rng, count: u64) {
    for n in 0..count {
        let channel = rng.u32(0..30) + if n < 60 { 0 } else { 15 };
        let size = if n % 50 == 7 {
            9_000
        } else {
            rng.usize(1..300)
        };
        let draft = match n % 40 {
            39 => Draft::end(name(channel)),
            _ => Draft::event(name(channel), format!("data: {n} {}\n\n", "x".repeat(size))),
        };
        match log.append(draft.key(n.to_string())).await {
            Err(error) if error.kind() != LogErrorKind::Ended => panic!("{error:?}"),
            _ => {}
        }
    }
}

/// Also of channels that never existed.
fn names() -> Vec<ChannelName> {
    (0..50).map(name).collect()
}

/// The answers of the log in this file, or `None` if it is refused with a reason.
async fn answers_of(path: &Path, newest: &Position) -> Option<Answers> {
    let log = match options().open(path) {
        Ok(log) => log,
        Err(error) => {
            let is_clear = matches!(
                error.kind(),
                StoreErrorKind::Damaged { .. }
                    | StoreErrorKind::NotAStore { .. }
                    | StoreErrorKind::NewerFormat { .. }
                    | StoreErrorKind::ForeignJournal { .. }
            );
            assert!(is_clear, "{error:?}");
            return None;
        }
    };
    let answers = answers(&log, &names(), newest).await;
    drop(log);
    Some(answers)
}

/// Requires that each answer is an error, or the right one. Returns how many are errors.
fn check_answers(found: &Answers, expected: &Answers, context: &str) -> usize {
    assert_eq!(found.len(), expected.len());
    let mut errors = 0;
    for ((question, found), (_, expected)) in found.iter().zip(expected) {
        match found {
            Some(_) if found == expected => {}
            Some(found) => {
                let short: String = found.chars().take(300).collect();
                panic!("{context}: {question}: {short}")
            }
            None => errors += 1,
        }
    }
    errors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_never_shows_another_event_or_a_hole() {
    let mut rng = Rng::with_seed(property::seed());
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = options().open(&path).unwrap();
    fill(&log, &mut rng, 400).await;
    let newest = log.bounds().await.unwrap().newest();
    log.close().await.unwrap();
    drop(log);
    let scene = Scene::of(dir, path, rng);
    let expected = answers_of(&scene.copy_whole(), &newest).await.unwrap();
    assert!(expected.iter().all(|(_, answer)| answer.is_some()));
    let (mut refused, mut failed, mut wrong) = (0, 0, Vec::new());
    for (at, mask) in scene.flips(property::steps(FLIPS)) {
        let copy = scene.flipped(at, mask);
        let context = format!("byte {at} xor {mask}");
        let asked = AssertUnwindSafe(timeout(PATIENCE, answers_of(&copy, &newest))).catch_unwind();
        match asked.await {
            Ok(Ok(None)) => refused += 1,
            Ok(Ok(Some(found))) => {
                let checked = AssertUnwindSafe(|| check_answers(&found, &expected, &context));
                match std::panic::catch_unwind(checked) {
                    Ok(errors) => failed += usize::from(errors > 0),
                    Err(_) => wrong.push(context),
                }
            }
            Ok(Err(_)) => wrong.push(format!("{context}: it hangs")),
            Err(_) => wrong.push(format!("{context}: it panics")),
        }
    }
    println!("{refused} opens were refused, {failed} answered some questions with an error");
    assert_eq!(wrong, [""; 0], "{} wrong", wrong.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_write_ahead_log_shows_a_beginning_of_the_log_or_is_refused() {
    let mut rng = Rng::with_seed(property::seed());
    let dir = TempDir::in_memory();
    let log = options().open(dir.join("events.db")).unwrap();
    fill(&log, &mut rng, 120).await;
    let bounds = log.bounds().await.unwrap();
    let killed = TempDir::in_memory();
    killed.copy_from(&dir, &["events.db", "events.db-wal"]);
    let mut lines = Vec::new();
    log.export(&mut lines).unwrap();
    drop(log);
    let wal = fs::read(killed.join("events.db-wal")).unwrap();
    assert!(wal.len() > 100_000);
    let (mut whole, mut refused) = (0, 0);
    for n in 0..property::steps(FLIPS) {
        let mut damaged = wal.clone();
        let at = rng.usize(0..wal.len());
        match n % 2 {
            0 => damaged[at] ^= rng.u8(1..),
            _ => damaged.truncate(at),
        }
        let copy = TempDir::in_memory();
        let path = copy.join("events.db");
        fs::copy(killed.join("events.db"), &path).unwrap();
        fs::write(copy.join("events.db-wal"), damaged).unwrap();
        let log = match options().open(&path) {
            Ok(log) => log,
            Err(error) => {
                assert!(
                    matches!(error.kind(), StoreErrorKind::Damaged { .. }),
                    "{error:?}"
                );
                refused += 1;
                continue;
            }
        };
        let mut found = Vec::new();
        log.export(&mut found).unwrap();
        assert!(lines.starts_with(&found), "byte {at}");
        let report = log.check().unwrap();
        assert!(report.is_sound(), "{report}");
        let now = log.bounds().await.unwrap();
        assert_eq!(now.epoch, bounds.epoch);
        // The damaged commit, and one that follows it. An append here is at most two commits.
        let lost = bounds.last.seq - now.last.seq;
        assert!(
            n % 2 == 1 || lost <= 2,
            "byte {at}: {lost} entries are lost"
        );
        whole += u32::from(now.last == bounds.last);
    }
    println!("{whole} logs were whole, {refused} were refused");
}

#[tokio::test]
async fn a_write_ahead_log_with_a_damaged_header_is_refused() {
    let mut rng = Rng::with_seed(property::seed());
    let dir = TempDir::in_memory();
    let log = options().open(dir.join("events.db")).unwrap();
    fill(&log, &mut rng, 20).await;
    for length in [4, 8, 12, 16, 24, 32] {
        let killed = TempDir::in_memory();
        killed.copy_from(&dir, &["events.db", "events.db-wal"]);
        let path = killed.join("events.db-wal");
        let mut wal = fs::read(&path).unwrap();
        wal[..length].fill(0);
        fs::write(path, wal).unwrap();
        let error = options().open(killed.join("events.db")).unwrap_err();
        assert!(
            matches!(error.kind(), StoreErrorKind::Damaged { .. }),
            "{error}"
        );
    }
}
