//! What one transaction of the writer does.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_hub::{Appended, random_epoch};

use super::budget::Budget;
use super::commit::Commit;
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
                let (appended, outcome) = match commit.append(draft) {
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

/// Enforces the retention, and does a step of the work that it causes.
pub(super) fn keep(commit: &mut Commit<'_>, first: u64, is_behind: bool) -> Outcome<()> {
    let appends = commit.staged.entries.len() as u64;
    let steps = commit.settings.steps;
    let most_unswept = 4 * REMOVALS.max(commit.settings.index_batch as u64);
    // Otherwise the channels with removed entries, which are in memory, have no limit.
    let time = if is_behind { Duration::MAX } else { steps.time };
    if commit.sweep.is_none() || commit.staged.head.unswept() < most_unswept {
        let most = match appends {
            0 => REMOVALS,
            _ => REMOVALS / 4 + 2 * appends,
        };
        commit.try_removal(first, most, &Budget::new(u64::MAX, steps.time))?;
    }
    let rows = match appends {
        0 => steps.rows,
        _ => steps.rows.min(64) + 4 * appends,
    };
    commit.try_tidy(&mut Budget::new(rows, time))
}
