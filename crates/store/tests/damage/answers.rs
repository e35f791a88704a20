//! What a log answers to all questions.

use std::fmt::Debug;

use futures_util::StreamExt;
use tidings_hub::{Bounds, ChannelName, Log, LogError, Pattern, Scope, Start};
use tidings_proto::Position;
use tidings_store::StoreLog;

/// The answers of a log, each with its question. `None` is an error.
pub(crate) type Answers = Vec<(String, Option<String>)>;

/// The most entries of a page. Small, so that there are many pages.
const PAGE: usize = 7;

/// Asks a log everything. `newest` is the position that the caller knows.
pub(crate) async fn answers(log: &StoreLog, names: &[ChannelName], newest: &Position) -> Answers {
    let mut answers = Answers::new();
    let bounds = log.bounds().await;
    note(&mut answers, "bounds".to_owned(), &bounds);
    note(&mut answers, "ends".to_owned(), &log.ends().await);
    note(&mut answers, "channels".to_owned(), &channels(log).await);
    let all = Scope::all(newest);
    note(
        &mut answers,
        "all entries".to_owned(),
        &read(log, all, &bounds).await,
    );
    note(&mut answers, "tail".to_owned(), &tail(log, &bounds).await);
    for name in names {
        note(
            &mut answers,
            format!("channel {name}"),
            &log.channel(name).await,
        );
        let patterns = [Pattern::from(name.clone())];
        of_patterns(log, &mut answers, &patterns, newest, &bounds).await;
    }
    for pattern in ["rooms/1*", "**"] {
        if let Ok(pattern) = Pattern::new(pattern) {
            of_patterns(log, &mut answers, &[pattern], newest, &bounds).await;
        }
    }
    answers
}

fn note<T: Debug>(answers: &mut Answers, question: String, answer: &Result<T, LogError>) {
    let answer = match answer {
        Ok(answer) => Some(format!("{answer:?}")),
        Err(error) => match error.kind() {
            // An answer too.
            tidings_hub::LogErrorKind::Trimmed { .. } => Some(format!("{:?}", error.kind())),
            _ => None,
        },
    };
    answers.push((question, answer));
}

async fn of_patterns(
    log: &StoreLog,
    answers: &mut Answers,
    patterns: &[Pattern],
    newest: &Position,
    bounds: &Result<Bounds, LogError>,
) {
    let scope = Scope::new(patterns, newest);
    note(
        answers,
        format!("entries of {patterns:?}"),
        &read(log, scope, bounds).await,
    );
    let starts = [
        Start::After(tidings_hub::Place::start()),
        Start::Earliest,
        Start::Time(0),
        Start::Last(1),
        Start::Last(5),
        Start::Skip {
            after: 0,
            to: newest.seq,
        },
    ];
    for start in starts {
        note(
            answers,
            format!("{start:?} of {patterns:?}"),
            &log.locate(start, scope).await,
        );
    }
}

async fn channels(log: &StoreLog) -> Result<Vec<tidings_hub::StoredChannel>, LogError> {
    let mut all: Vec<tidings_hub::StoredChannel> = Vec::new();
    loop {
        let after = all.last().map(|channel| channel.name.clone());
        let page = log.channels(after.as_ref(), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

async fn read(
    log: &StoreLog,
    scope: Scope<'_>,
    bounds: &Result<Bounds, LogError>,
) -> Result<Vec<tidings_hub::Entry>, LogError> {
    let mut all = Vec::new();
    let mut after = bounds.clone()?.floor.seq;
    while after < scope.newest.seq {
        let page = log.read(after, PAGE, scope).await?;
        assert!(page.through > after, "a page makes no progress");
        after = page.through;
        all.extend(page.entries);
    }
    Ok(all)
}

async fn tail(
    log: &StoreLog,
    bounds: &Result<Bounds, LogError>,
) -> Result<Vec<tidings_hub::Entry>, LogError> {
    let bounds = bounds.clone()?;
    let mut tail = log.tail(&bounds.floor.in_epoch(&bounds.epoch));
    let mut all = Vec::new();
    let mut last = bounds.floor.seq;
    while last < bounds.last.seq {
        let Some(batch) = tail.next().await else {
            break;
        };
        all.extend(batch?);
        last = all
            .last()
            .map_or(last, |entry: &tidings_hub::Entry| entry.seq);
    }
    Ok(all)
}
