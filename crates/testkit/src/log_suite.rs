//! `log_suite`: the laws that every log of a hub must keep.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed law is a failed test"
)]

mod appends;
mod epochs;
mod keys;
mod reads;
mod retention;
mod subject;
mod tails;

use std::any::Any;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use tidings_hub::{Log, Retention};

use self::subject::Subject;

/// A retention that keeps all entries that the laws append.
const ROOMY: Retention = Retention::in_memory();

/// Checks every law, each with a fresh log that `make` makes for a retention.
///
/// Time is real, and no wait is longer than five seconds. Call it within a tokio runtime.
///
/// # Panics
/// If a law does not hold. The text names the law.
pub async fn log_suite<F, Fut>(make: F)
where
    F: Fn(Retention) -> Fut,
    Fut: Future<Output = Arc<dyn Log>>,
{
    let mut epochs = HashSet::new();
    for law in LAWS.iter().copied().flatten() {
        let log = Subject(make(law.retention).await);
        let epoch = log.bounds().await.epoch;
        assert!(epochs.insert(epoch), "two logs have the same epoch");
        if let Err(error) = tokio::spawn((law.hold)(log)).await {
            fail(law.name, &error.try_into_panic().ok());
        }
    }
}

const LAWS: &[&[Law]] = &[
    appends::LAWS,
    reads::LAWS,
    tails::LAWS,
    retention::LAWS,
    keys::LAWS,
    epochs::LAWS,
];

struct Law {
    name: &'static str,
    retention: Retention,
    hold: fn(Subject) -> Holding,
}

type Holding = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A law by the function that checks it, with a log that keeps everything or has this retention.
macro_rules! law {
    ($law:ident) => {
        law!($law, crate::log_suite::ROOMY)
    };
    ($law:ident, $retention:expr) => {
        crate::log_suite::Law {
            name: stringify!($law),
            retention: $retention,
            hold: |log| Box::pin($law(log)),
        }
    };
}
use law;

fn fail(law: &str, panic: &Option<Box<dyn Any + Send>>) -> ! {
    let panic = panic.as_deref();
    let text = panic.and_then(|panic| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.or(panic.and_then(|panic| panic.downcast_ref::<&str>().copied()));
    panic!(
        "the log breaks the law `{law}`: {}",
        text.unwrap_or("it panicked")
    );
}
