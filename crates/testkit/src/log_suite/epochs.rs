//! Laws of epochs: when an epoch changes, and when it does not.

use tidings_hub::{LogErrorKind, Start};

use super::subject::Subject;
use super::{Law, TEN, TWO, law, other_epoch};

pub(super) const LAWS: &[Law] = &[
    law!(an_epoch_stays_while_the_log_grows, TWO),
    law!(a_renewal_with_a_wrong_epoch_changes_nothing),
    law!(a_renewal_with_the_current_epoch_succeeds),
    law!(of_concurrent_renewals_one_succeeds),
    law!(a_tail_fails_when_the_epoch_changes),
    law!(positions_of_the_old_epoch_are_rewound, TEN),
    law!(abilities_never_change, TWO),
];

async fn an_epoch_stays_while_the_log_grows(log: Subject) {
    let epoch = log.bounds().await.epoch;
    for _ in 0..5 {
        log.fill(1).await;
        assert_eq!(log.bounds().await.epoch, epoch);
    }
}

async fn a_renewal_with_a_wrong_epoch_changes_nothing(log: Subject) {
    log.fill(2).await;
    let mut tail = log.tail(1).await;
    let before = log.bounds().await;
    assert_eq!(log.renew(&other_epoch()).await, before.epoch);
    assert_eq!(log.bounds().await, before);
    log.fill(1).await;
    assert_eq!(tail.take(2).await, log.read_all(1, &[]).await);
}

async fn a_renewal_with_the_current_epoch_succeeds(log: Subject) {
    log.fill(2).await;
    let before = log.bounds().await;
    let entries = log.read_all(0, &[]).await;
    let epoch = log.renew(&before.epoch).await;
    assert_ne!(epoch, before.epoch);
    assert_eq!(
        log.renew(&before.epoch).await,
        epoch,
        "a second renewal expects the old epoch"
    );
    let after = log.bounds().await;
    assert_eq!(after.epoch, epoch);
    assert_eq!((after.floor, after.last), (before.floor, before.last));
    assert_eq!(log.read_all(0, &[]).await, entries);
    assert_eq!(log.publish("a", "x").await, 3);
}

async fn of_concurrent_renewals_one_succeeds(log: Subject) {
    for _ in 0..10 {
        let before = log.bounds().await.epoch;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (log, before) = (log.clone(), before.clone());
                tokio::spawn(async move { log.renew(&before).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let epoch = log.bounds().await.epoch;
        assert_ne!(epoch, before);
        assert!(answers.iter().all(|answer| *answer == epoch), "{answers:?}");
    }
}

async fn a_tail_fails_when_the_epoch_changes(log: Subject) {
    log.fill(2).await;
    let mut tail = log.tail(0).await;
    assert_eq!(tail.take(2).await, log.read_all(0, &[]).await);
    let epoch = log.bounds().await.epoch;
    let (error, _) = tokio::join!(tail.error(), log.renew(&epoch));
    assert_eq!(error, LogErrorKind::Lost);
    let mut tail = log.tail(2).await;
    log.fill(1).await;
    assert_eq!(tail.next().await.unwrap().seq, 3);
}

async fn positions_of_the_old_epoch_are_rewound(log: Subject) {
    log.fill(15).await;
    let old = [
        log.position(5).await,
        log.position(9).await,
        log.newest().await,
    ];
    log.renew(&old[0].epoch).await;
    let kind = LogErrorKind::Rewound { last: 15 };
    for old in old {
        assert_eq!(log.tail_from(&old).error().await, kind);
        assert_eq!(log.read_to(&old, 5, 10, &[]).await, Err(kind));
        assert_eq!(log.locate_to(&old, Start::Earliest, &[]).await, Err(kind));
    }
}

async fn abilities_never_change(log: Subject) {
    let abilities = log.abilities();
    for seq in 1..=5 {
        assert_eq!(log.end(&format!("d/{seq}")).await, seq);
        assert_eq!(log.abilities(), abilities);
    }
    let epoch = log.bounds().await.epoch;
    log.renew(&epoch).await;
    assert_eq!(log.abilities(), abilities);
}
