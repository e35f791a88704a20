//! An exhaustive test that no wake-up is lost: it runs every order of the steps of a fan-out and of
//! readers that join, read, wait and leave.
//!
//! The steps are the ones of [`FanOut::write_batch`], of [`Life::close`] and of
//! [`Reader`](crate::reader::Reader). A step is atomic: a section under the lock of a topic or of the
//! directory, or an atomic operation. Steps that take no lock also run inside the locked sections of
//! readers.

mod hub;
mod reader;

use std::cell::RefCell;
use std::sync::Arc;

use super::FanOut;
use crate::ends::Ends;
use crate::life::Life;
use hub::{HubStep, SimulatedHub, batches, position};
use reader::{Joining, World, is_lost, reader};

/// The choices of one run. Many runs, one after the other, try all combinations.
#[derive(Default)]
struct Choices {
    /// For each choice so far: the chosen option, and the number of options.
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, options));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    /// Prepares the next run. Returns false after the last one.
    fn begin_next(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, options)) = self.taken.pop() {
            if chosen + 1 < options {
                self.taken.push((chosen + 1, options));
                return true;
            }
        }
        false
    }
}

/// Runs every order of these steps of the hub and the steps of these readers. Returns the number of
/// orders, and in how many of them a reader sleeps for ever before it received everything.
fn explore(steps: &[HubStep], readers: &[Joining]) -> (usize, usize) {
    let mut choices = Choices::default();
    let (mut runs, mut losses) = (0, 0);
    loop {
        let (is_lost, after) = run(choices, steps, readers);
        choices = after;
        runs += 1;
        losses += usize::from(is_lost);
        assert!(runs < 1_000_000, "too many orders");
        if !choices.begin_next() {
            return (runs, losses);
        }
    }
}

/// Runs one order. Returns whether a reader sleeps for ever before it received everything.
fn run(choices: Choices, steps: &[HubStep], readers: &[Joining]) -> (bool, Choices) {
    let life = Arc::new(Life::new(position(0), Ends::default()));
    let log: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            HubStep::Write(entry) => Some(entry.clone()),
            _ => None,
        })
        .collect();
    let mut readers: Vec<_> = readers
        .iter()
        .map(|joining| reader(&life, joining))
        .collect();
    let world = World {
        hub: RefCell::new(SimulatedHub {
            // The tapes keep nothing beyond a batch, so later readers read the log.
            fan_out: FanOut::new(Arc::clone(&life), 0),
            steps: steps.iter().cloned().collect(),
            has_locked: false,
            wakers: Vec::new(),
        }),
        choices: RefCell::new(choices),
        life,
        log,
        can_close: steps.iter().any(|step| matches!(step, HubStep::Close)),
    };
    loop {
        let has_locked = world.hub.borrow().has_locked;
        let mut awake: Vec<_> = readers
            .iter_mut()
            .filter_map(|r| r.is_awake(has_locked).then_some(r))
            .collect();
        let has_steps = !world.hub.borrow().steps.is_empty();
        let options = awake.len() + usize::from(has_steps);
        if options == 0 {
            break;
        }
        let chosen = world.choices.borrow_mut().choose(options);
        match awake.get_mut(chosen) {
            Some(reader) => world.take_step(reader),
            None => world.hub.borrow_mut().take_step(),
        }
    }
    let is_lost = readers.iter().any(|reader| is_lost(&world, reader));
    (is_lost, world.choices.into_inner())
}

#[track_caller]
fn assert_none_lost(steps: &[HubStep], readers: &[Joining]) {
    let (runs, losses) = explore(steps, readers);
    assert!(runs > 100, "{runs}");
    assert_eq!(losses, 0, "of {runs}");
}

#[test]
fn a_reader_of_one_topic_receives_two_batches_in_every_order() {
    assert_none_lost(&batches(&[&["a"], &["a"]]), &[Joining::before(&["a"])]);
}

#[test]
fn two_readers_of_one_topic_receive_a_batch_in_every_order() {
    let readers = [Joining::before(&["a"]), Joining::before(&["a"])];
    assert_none_lost(&batches(&[&["a"]]), &readers);
}

#[test]
fn a_reader_of_two_topics_receives_a_batch_of_both_in_every_order() {
    assert_none_lost(&batches(&[&["a", "b"]]), &[Joining::before(&["a", "b"])]);
}

#[test]
fn a_reader_of_two_topics_receives_a_batch_of_each_in_every_order() {
    let mut steps = batches(&[&["a"], &["b"]]);
    for step in &mut steps {
        if matches!(step, HubStep::TakeWakers) {
            *step = HubStep::TakeAndWake;
        }
    }
    assert_none_lost(&steps, &[Joining::before(&["a", "b"])]);
}

#[test]
fn a_reader_that_joins_a_channel_receives_two_batches_in_every_order() {
    assert_none_lost(&batches(&[&["a"], &["a"]]), &[Joining::late(&["a"])]);
}

#[test]
fn the_first_reader_of_a_pattern_receives_two_batches_in_every_order() {
    assert_none_lost(&batches(&[&["a/b"], &["a/b"]]), &[Joining::late(&["a/*"])]);
}

#[test]
fn a_reader_that_joins_a_channel_and_a_pattern_receives_a_batch_in_every_order() {
    assert_none_lost(&batches(&[&["a/b"]]), &[Joining::late(&["a/*", "c"])]);
}

#[test]
fn a_reader_that_joins_receives_a_batch_in_every_order_with_one_that_leaves() {
    let readers = [Joining::leaving(&["a/*"]), Joining::late(&["a/*"])];
    assert_none_lost(&batches(&[&["a/b"]]), &readers);
}

#[test]
fn the_first_named_reader_receives_two_batches_in_every_order() {
    assert_none_lost(
        &batches(&[&["a"], &["a"]]),
        &[Joining::late(&["a"]).named()],
    );
    let steps = batches(&[&["a/b"], &["a/b"]]);
    assert_none_lost(&steps, &[Joining::late(&["a/*"]).named()]);
}

#[test]
fn a_named_reader_receives_a_batch_in_every_order_with_a_plain_one() {
    let readers = [Joining::late(&["a"]).named(), Joining::before(&["a"])];
    assert_none_lost(&batches(&[&["a"]]), &readers);
    let readers = [Joining::before(&["a/*"]).named(), Joining::late(&["a/b"])];
    assert_none_lost(&batches(&[&["a/b"]]), &readers);
}

#[test]
fn a_named_reader_that_joins_receives_a_batch_in_every_order_with_one_that_leaves() {
    let leaving = Joining::leaving(&["a"]).named();
    assert_none_lost(
        &batches(&[&["a"]]),
        &[leaving, Joining::late(&["a"]).named()],
    );
    assert_none_lost(&batches(&[&["a"]]), &[leaving, Joining::late(&["a"])]);
}

#[test]
fn a_named_reader_that_joins_a_channel_sees_its_end_in_every_order() {
    let steps = batches(&[&["a"], &["!a"]]);
    assert_none_lost(&steps, &[Joining::late(&["a"]).named()]);
    assert_none_lost(&steps, &[Joining::before(&["a"]).named()]);
    let readers = [Joining::before(&["a"]), Joining::late(&["a"]).named()];
    assert_none_lost(&batches(&[&["!a"]]), &readers);
}

#[test]
fn a_reader_that_joins_a_channel_sees_its_end_in_every_order() {
    let steps = batches(&[&["a"], &["!a"]]);
    assert_none_lost(&steps, &[Joining::late(&["a"])]);
    assert_none_lost(&steps, &[Joining::before(&["a"])]);
}

#[test]
fn a_reader_that_joins_two_channels_sees_their_ends_in_every_order() {
    assert_none_lost(&batches(&[&["!a", "!b"]]), &[Joining::late(&["a", "b"])]);
}

#[test]
fn a_reader_that_joins_sees_that_the_hub_is_drained_in_every_order() {
    let mut steps = batches(&[&["a/b"]]);
    steps.extend([HubStep::Close, HubStep::List]);
    assert_none_lost(&steps, &[Joining::late(&["a/*"])]);
    assert_none_lost(
        &[HubStep::Close, HubStep::List],
        &[Joining::late(&["a", "b"])],
    );
}

/// Proves that the tests above detect a lost wake-up.
#[test]
fn a_wake_up_is_lost_if_wakers_are_taken_before_the_mark_moves() {
    for patterns in [&["a"][..], &["a", "b"]] {
        let mut steps = batches(&[&["a"]]);
        steps.swap(1, 2);
        let (_, losses) = explore(&steps, &[Joining::before(patterns)]);
        assert!(losses > 0);
    }
}

/// Proves that the tests above detect it if a reader can join a topic between the two.
#[test]
fn a_wake_up_is_lost_if_the_directory_is_unlocked_before_the_mark_moves() {
    for (entry, patterns) in [
        ("a/b", &["a/*"][..]),
        ("!a", &["a"]),
        ("a/b", &["a/*", "c"]),
    ] {
        let mut steps = batches(&[&[entry]]);
        steps.splice(1..2, [HubStep::Unlock, HubStep::Advance(1)]);
        let (_, losses) = explore(&steps, &[Joining::late(patterns)]);
        assert!(losses > 0, "{patterns:?}");
    }
}
