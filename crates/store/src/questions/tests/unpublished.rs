//! A question in the moment between a commit and its publication.

use fastrand::Rng;
use futures_util::FutureExt;
use tidings_hub::{Located, Scope, Start};
use tidings_testkit::property;

use super::history::History;
use super::store::{Split, TestStore};
use crate::questions;

#[tokio::test(start_paused = true)]
async fn a_skip_waits_for_the_publication_of_a_commit_that_removes_what_was_published() {
    let mut rng = Rng::with_seed(property::seed());
    let mut store = TestStore::new();
    let history = loop {
        let history = History::random(6, &mut rng).await;
        if history.known.floor > 1 {
            break history;
        }
    };
    let shared = store.write(&history, &Split::random(&history, &mut rng));
    let published = shared.published().last;
    shared.publish(|now| now.last = history.place(history.known.floor - 1));
    let newest = shared.published().last.in_epoch(&history.epoch);
    let start = Start::Skip { after: 0, to: 1 };
    let mut located = questions::locate(&shared, start, Scope::all(&newest));
    for _ in 0..20 {
        assert!((&mut located).now_or_never().is_none());
        // The other readers answer meanwhile.
        questions::ends(&shared).await.unwrap();
    }
    shared.publish(|now| now.last = published);
    assert!(matches!(located.await.unwrap(), Located::Held { .. }));
    shared.readers.close();
}
