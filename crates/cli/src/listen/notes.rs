//! `Notes`: what happens between the events, on standard error.

use std::sync::{Mutex, PoisonError};

use tidings::client::{Gap, Lifecycle};

use crate::output::{Plain, report};
use crate::target::describe;

/// Reports reconnections. A first connection that succeeds is no news, and the last failure is the error of
/// the program.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Why the connection is lost, as long as it is.
    loss: Mutex<Option<String>>,
}

impl Notes {
    pub(super) fn report(&self, step: Lifecycle<'_>) {
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Lifecycle::Open { .. } if loss.take().is_some() => report("connected again"),
            Lifecycle::Lost { error, .. } => {
                *loss = Some(error.map_or_else(|| "the server ended the stream".into(), describe));
            }
            Lifecycle::Waiting { delay, .. } => {
                let (reason, seconds) = (loss.as_deref().unwrap_or_default(), delay.as_secs_f64());
                let reason = Plain(reason);
                report(format_args!("{reason}; connecting again in {seconds:.1} s"));
            }
            Lifecycle::NotResumable { .. } => {
                report("the last event ID cannot be sent, so events may be missing");
            }
            Lifecycle::Skipped { size, limit, .. } => report(format_args!(
                "an event of {size} bytes is left out, as the limit is {limit}"
            )),
            _ => {}
        }
    }
}

/// Reports lost events.
pub(super) fn report_gap(gap: &Gap) {
    let reason = serde_json::to_string(&gap.reason).unwrap_or_default();
    let reason = reason.trim_matches('"');
    match gap.missed {
        Some(missed) => report(format_args!(
            "at most {missed} events are missing ({reason})"
        )),
        None => report(format_args!(
            "events are missing, and their number is not known ({reason})"
        )),
    }
}
