//! What one transaction of the writer does.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_hub::{Appended, random_epoch};

use super::Settings;
use super::budget::{Budget, Steps};
use super::commit::{Commit, Work};
use super::replies::{Reply, Trim};
use crate::failure::Outcome;
use crate::queue::Command;

/// How many entries a transaction without appends removes at most. One with appends removes a quarter of it,
/// and two for each append.
const REMOVALS: u64 = 4_096;

/// Decides the commands in their order. Those after a failure stay in the batch.
pub(super) fn decide(
    commit: &mut Commit<'_>,
    batch: &mut VecDeque<Command>,
    trims: &mut Vec<Trim>,
    replies: &mut Vec<Reply>,
) -> Outcome<()> {
    while let Some(command) = batch.pop_front() {
        match command {
            Command::Append { draft, reply } => {
                // The number that a failure refuses.
                let next = Appended::new(commit.staged.head.last() + 1);
                let (appended, outcome) =
                    match commit.within(Work::Append, |commit| commit.append(draft)) {
                        Ok(appended) => (appended, Ok(())),
                        Err(failure) => (Ok(next), Err(failure)),
                    };
                replies.push(Reply::Append(reply, appended));
                outcome?;
            }
            Command::RenewEpoch { expected, reply } => {
                let state = &mut commit.staged.head.state;
                if state.epoch == expected {
                    state.epoch = random_epoch();
                }
                replies.push(Reply::Epoch(reply, state.epoch.clone()));
            }
            Command::Trim { first, reply } => trims.push(Trim { first, reply }),
            Command::Close { .. } => unreachable!("it is taken out of the batch first"),
        }
    }
    Ok(())
}

/// How many removed entries may wait for the sweep in progress to end.
pub(super) fn most_unswept(settings: &Settings) -> u64 {
    REMOVALS.max(settings.index_batch as u64).saturating_mul(4)
}

/// Enforces the retention, and does a step of the work that it causes.
pub(super) fn keep(commit: &mut Commit<'_>, first: u64, is_behind: bool) -> Outcome<()> {
    let appends = commit.staged.entries.len() as u64;
    let steps = commit.settings.steps;
    // The removal and what follows from it share the time.
    let removal = Budget::new(u64::MAX, steps.time / 2);
    let mut tidy = tidy_budget(steps, appends, is_behind);
    if commit.sweep.is_none() || commit.staged.head.unswept() < most_unswept(commit.settings) {
        let most = match appends {
            0 => REMOVALS,
            _ => REMOVALS / 4 + 2 * appends,
        };
        commit.try_removal(first, most, &removal)?;
    }
    commit.try_tidy(&mut tidy)
}

/// The limits of a step: the same for each, and more for each append. An append causes up to eight rows of
/// other work, if its channel is forgotten later. If too many wait in memory, a step beside appends has all
/// of its rows however long they take, so that the memory has a limit.
fn tidy_budget(steps: Steps, appends: u64, is_behind: bool) -> Budget {
    let rows = match appends {
        0 => steps.rows,
        _ => steps.rows.min(64) + 8 * appends,
    };
    let time = if is_behind && appends > 0 {
        Duration::MAX
    } else {
        steps.time + Duration::from_micros(10 * appends)
    };
    Budget::new(rows, time)
}
