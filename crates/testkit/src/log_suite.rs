//! `log_suite`: the laws that every log of a hub must keep.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed law is a failed test"
)]

mod appends;
mod channels;
mod checks;
mod ends;
mod epochs;
mod history;
mod keys;
mod places;
mod random;
mod reads;
mod retention;
mod starts;
mod subject;
mod tails;

use std::any::Any;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use tidings_hub::{Abilities, Log, Retention};
use tidings_proto::Epoch;

use self::subject::Subject;

/// A retention that keeps all entries that the laws append.
const ROOMY: Retention = Retention::in_memory();
const TWO: Retention = ROOMY.max_events(Some(2));
const TEN: Retention = ROOMY.max_events(Some(10));

/// Checks every law, each with a fresh log that `make` makes for a retention.
///
/// A log is held to the [`Abilities`] that it declares: a law that needs one it lacks is left out, and a
/// weaker law holds instead. Time is real, and no wait is longer than five seconds. Call it within a tokio
/// runtime.
///
/// # Panics
/// If a law does not hold. The text names the law.
pub async fn log_suite<F, Fut>(make: F)
where
    F: Fn(Retention) -> Fut,
    Fut: Future<Output = Arc<dyn Log>>,
{
    let mut epochs = HashSet::new();
    for law in all_laws() {
        let log = Subject(make(law.retention).await);
        let is_new = epochs.insert(log.bounds().await.epoch);
        assert!(is_new, "two logs have the same epoch");
        if let Err(breach) = law.check(log).await {
            panic!("the log breaks the law `{}`: {breach}", law.name);
        }
    }
}

/// Checks one law, to see a wrong log break it. Returns how the log breaks it. A law that needs an ability
/// which the log does not declare holds.
///
/// # Errors
/// If the law does not hold: how the log breaks it.
///
/// # Panics
/// If there is no such law.
pub async fn check_law<F, Fut>(name: &str, make: F) -> Result<(), String>
where
    F: FnOnce(Retention) -> Fut,
    Fut: Future<Output = Arc<dyn Log>>,
{
    let law = all_laws().find(|law| law.name == name);
    let law = law.unwrap_or_else(|| panic!("there is no law `{name}`"));
    law.check(Subject(make(law.retention).await)).await
}

/// The names of all laws.
pub fn law_names() -> impl Iterator<Item = &'static str> {
    all_laws().map(|law| law.name)
}

fn all_laws() -> impl Iterator<Item = &'static Law> {
    LAWS.iter().copied().flatten()
}

const LAWS: &[&[Law]] = &[
    appends::LAWS,
    reads::LAWS,
    tails::LAWS,
    checks::LAWS,
    retention::LAWS,
    places::LAWS,
    starts::LAWS,
    ends::LAWS,
    channels::LAWS,
    keys::LAWS,
    epochs::LAWS,
    random::LAWS,
];

struct Law {
    name: &'static str,
    retention: Retention,
    /// Whether a log with these abilities must keep the law.
    binds: fn(Abilities) -> bool,
    hold: fn(Subject) -> Holding,
}

type Holding = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Law {
    /// Limits the law to the logs whose abilities meet a condition.
    const fn if_able(mut self, binds: fn(Abilities) -> bool) -> Self {
        self.binds = binds;
        self
    }

    async fn check(&self, log: Subject) -> Result<(), String> {
        if !(self.binds)(log.abilities()) {
            return Ok(());
        }
        let held = tokio::spawn((self.hold)(log)).await;
        held.map_err(|error| text_of(error.try_into_panic().ok().as_deref()))
    }
}

/// A law by the function that checks it, with a log that keeps everything or has this retention.
macro_rules! law {
    ($law:ident) => {
        law!($law, crate::log_suite::ROOMY)
    };
    ($law:ident, $retention:expr) => {
        crate::log_suite::Law {
            name: stringify!($law),
            retention: $retention,
            binds: |_| true,
            hold: |log| Box::pin($law(log)),
        }
    };
}
use law;

fn text_of(panic: Option<&(dyn Any + Send)>) -> String {
    let text = panic.and_then(|panic| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.or(panic.and_then(|panic| panic.downcast_ref::<&str>().copied()));
    text.unwrap_or("it panicked").to_owned()
}

/// An epoch that no log has.
fn other_epoch() -> Epoch {
    Epoch::new("other").unwrap()
}
