//! `Problems`: what a check has found, in a limited list.

use std::collections::HashMap;
use std::fmt::Display;

use crate::failure::{Failure, Outcome};

/// The most problems of one kind in the list.
pub(super) const MAX_OF_A_KIND: usize = 100;

/// What a check has found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    listed: Vec<String>,
    counts: HashMap<&'static str, usize>,
    more: u64,
}

impl Problems {
    /// Adds a problem of this kind.
    pub(super) fn add(&mut self, kind: &'static str, what: impl Display) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= MAX_OF_A_KIND {
            self.listed.push(format!("{kind}: {what}"));
        } else {
            self.more += 1;
        }
    }

    /// Adds a problem if the condition does not hold.
    pub(super) fn expect(
        &mut self,
        holds: bool,
        kind: &'static str,
        what: impl FnOnce() -> String,
    ) {
        if !holds {
            self.add(kind, what());
        }
    }

    /// Adds the failure of a step, which is a problem too, and returns its result.
    pub(super) fn found<T>(&mut self, kind: &'static str, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(result) => return Some(result),
            Err(Failure::Sqlite(error)) => self.add(kind, error),
            Err(Failure::Damaged(what)) => self.add(kind, what),
            Err(Failure::Log(error)) => self.add(kind, error),
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    pub(super) fn into_parts(self) -> (Vec<String>, u64) {
        (self.listed, self.more)
    }
}
