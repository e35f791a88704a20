//! Entries that were read before: they are in memory.

use std::sync::Arc;

use fastrand::Rng;
use tidings_hub::{LogErrorKind, Page, Pattern, Position, Scope};
use tidings_testkit::property;

use super::history::History;
use super::store::{Split, TestStore};
use crate::questions;
use crate::shared::Shared;

#[tokio::test(start_paused = true)]
async fn an_entry_that_was_read_for_its_channel_needs_no_disk() {
    let mut rng = Rng::with_seed(property::seed());
    let mut store = TestStore::new();
    let (history, last) = loop {
        let history = History::random(6, &mut rng).await;
        let last = history.entries.len() as u64;
        if history.known.floor < last {
            break (history, last);
        }
    };
    let shared = store.write(&history, &Split::random(&history, &mut rng));
    let newest = history.place(last).in_epoch(&history.epoch);
    let pages = pages(&shared, &history, &newest).await;
    assert!(pages.iter().any(|page| !page.entries.is_empty()));
    store.connection.execute("DELETE FROM entries", []).unwrap();
    assert_eq!(self::pages(&shared, &history, &newest).await, pages);
    let all = questions::read(&shared, history.known.floor, 9, Scope::all(&newest));
    assert_eq!(all.await.unwrap_err().kind(), LogErrorKind::Lost);
    shared.readers.close();
}

/// The first entries of each channel.
async fn pages(shared: &Arc<Shared>, history: &History, newest: &Position) -> Vec<Page> {
    let mut pages = Vec::new();
    for name in history.names() {
        let pattern = [Pattern::from(name.clone())];
        let scope = Scope::new(&pattern, newest);
        let page = questions::read(shared, history.known.floor, 99, scope).await;
        pages.push(page.unwrap());
    }
    pages
}
