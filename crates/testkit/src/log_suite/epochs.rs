//! Laws of epochs: when an epoch changes, and when it does not.

use tidings_hub::{LogErrorKind, Retention};
use tidings_proto::Epoch;

use super::subject::{Subject, must};
use super::{Law, ROOMY, law};

const TWO: Retention = ROOMY.max_events(2);

pub(super) const LAWS: &[Law] = &[
    law!(an_epoch_stays_while_the_log_grows, TWO),
    law!(a_renewal_with_a_wrong_epoch_changes_nothing),
    law!(a_renewal_with_the_current_epoch_succeeds),
    law!(of_concurrent_renewals_one_succeeds),
    law!(a_tail_fails_when_the_epoch_changes),
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
    let mut tail = log.tail(1);
    let before = log.bounds().await;
    let wrong = Epoch::new("wrong").unwrap();
    assert_eq!(renew(&log, &wrong).await, before.epoch);
    assert_eq!(log.bounds().await, before);
    log.fill(1).await;
    assert_eq!(tail.take(2).await, log.read_all(1, &[]).await);
}

async fn a_renewal_with_the_current_epoch_succeeds(log: Subject) {
    log.fill(2).await;
    let before = log.bounds().await;
    let entries = log.read_all(0, &[]).await;
    let epoch = renew(&log, &before.epoch).await;
    assert_ne!(epoch, before.epoch);
    assert_eq!(
        renew(&log, &before.epoch).await,
        epoch,
        "a second renewal expects the old epoch"
    );
    let after = log.bounds().await;
    assert_eq!(after.epoch, epoch);
    assert_eq!((after.first, after.last), (before.first, before.last));
    assert_eq!(log.read_all(0, &[]).await, entries);
    assert_eq!(log.publish("a", "x").await, 3);
}

async fn of_concurrent_renewals_one_succeeds(log: Subject) {
    for _ in 0..10 {
        let before = log.bounds().await.epoch;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (log, before) = (log.clone(), before.clone());
                tokio::spawn(async move { renew(&log, &before).await })
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
    let mut tail = log.tail(0);
    assert_eq!(tail.take(2).await, log.read_all(0, &[]).await);
    let epoch = log.bounds().await.epoch;
    let (error, _) = tokio::join!(tail.error(), renew(&log, &epoch));
    assert!(matches!(error.kind(), LogErrorKind::Lost), "{error:?}");
    let mut tail = log.tail(2);
    log.fill(1).await;
    assert_eq!(tail.next().await.unwrap().seq, 3);
}

async fn renew(log: &Subject, expected: &Epoch) -> Epoch {
    must(log.0.renew_epoch(expected)).await
}
