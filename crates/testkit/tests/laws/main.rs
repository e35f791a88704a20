//! The laws of logs, over a log that keeps them and over logs that each break some of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod wrong_log;

use std::collections::BTreeSet;
use std::sync::Arc;

use tidings_hub::{Abilities, Log, Retention};
use tidings_testkit::log_suite::{check_law, law_names, log_suite};
use tidings_testkit::scanning_log::ScanningLog;

use crate::wrong_log::{Bug, WrongLog};

#[tokio::test(flavor = "multi_thread")]
async fn a_scanning_log_keeps_the_laws_with_any_abilities() {
    for bits in 0..8 {
        let abilities = Abilities::NONE
            .loss_by_channel(bits & 1 > 0)
            .refuses_after_end(bits & 2 > 0)
            .remembers_ends(bits & 4 > 0);
        log_suite(async |retention| {
            Arc::new(ScanningLog::with(abilities, retention)) as Arc<dyn Log>
        })
        .await;
    }
}

#[tokio::test]
async fn the_suite_names_the_law_that_a_log_breaks() {
    let suite = log_suite(async |retention| wrong(Bug::TellsNoLoss, retention));
    let panic = tokio::spawn(suite).await.unwrap_err().into_panic();
    let text = panic.downcast::<String>().unwrap();
    assert!(
        text.starts_with("the log breaks the law `a_loss_is_told`: "),
        "{text}"
    );
}

/// Each bug, and laws that a log with it breaks.
const BUGS: &[(Bug, &[&str])] = &[
    (
        Bug::DeclaresTooMuch,
        &[
            "a_channel_that_lost_no_event_is_told_nothing",
            "nothing_follows_an_end",
            "appends_in_flight_are_judged_in_the_order_of_their_calls",
            "an_end_outlives_its_entry",
        ],
    ),
    (
        Bug::DeclaresTooLittle,
        &[
            "an_entry_after_an_end_is_stored",
            "ends_are_forgotten_with_their_entries",
        ],
    ),
    (Bug::LearnsItsAbilities, &["abilities_never_change"]),
    (
        Bug::BeginsWithAnEntry,
        &[
            "a_fresh_log_is_empty",
            "sequence_numbers_are_contiguous_from_one",
        ],
    ),
    (
        Bug::AppendsWhenPolled,
        &[
            "appends_keep_the_order_of_their_calls",
            "a_repeat_of_an_append_in_flight_is_a_repeat",
            "appends_in_flight_are_judged_in_the_order_of_their_calls",
        ],
    ),
    (
        Bug::AppendsTwice,
        &[
            "appends_of_many_tasks_are_kept_once_each",
            "dropped_futures_do_no_harm",
        ],
    ),
    (
        Bug::CutsBodies,
        &["an_entry_reads_back_as_it_was_appended", "any_body_is_kept"],
    ),
    (Bug::IgnoresCase, &["any_name_is_kept"]),
    (Bug::MeasuresTimeInSeconds, &["time_never_falls"]),
    (
        Bug::ForgetsKeys,
        &[
            "a_repeat_returns_the_first_sequence_number",
            "a_key_belongs_to_one_channel",
            "any_key_is_kept",
            "of_many_repeats_one_is_appended",
            "a_key_outlives_its_entry",
            "a_key_outlives_the_end_of_its_channel",
        ],
    ),
    (
        Bug::TakesBodiesForKeys,
        &["an_append_without_a_key_is_never_a_repeat"],
    ),
    (
        Bug::KeepsKeysOfRefusedAppends,
        &["the_key_of_a_refused_append_is_free"],
    ),
    (
        Bug::PageSkipsAnEntry,
        &[
            "a_page_contains_only_the_requested_entries",
            "pages_together_contain_every_requested_entry",
        ],
    ),
    (Bug::PageBeginsTooEarly, &["a_page_at_the_end_is_empty"]),
    (Bug::ReadGivesUp, &["rare_entries_are_found_among_many"]),
    (
        Bug::ReadIgnoresTheNewest,
        &[
            "a_page_contains_only_the_requested_entries",
            "a_read_up_to_a_position_past_the_end_fails",
            "a_read_up_to_a_position_of_another_epoch_fails",
            "a_read_up_to_a_removed_position_is_empty",
            "a_read_up_to_another_check_fails",
            "positions_of_the_old_epoch_are_rewound",
        ],
    ),
    (
        Bug::ReadSkipsTheRemoved,
        &[
            "a_log_answers_like_one_that_scans",
            "a_read_of_removed_entries_fails",
            "a_read_tells_what_a_resume_tells",
        ],
    ),
    (
        Bug::ReadJudgesTheWholeLog,
        &[
            "a_log_answers_like_one_that_scans",
            "a_read_tells_what_a_resume_tells",
        ],
    ),
    (Bug::ZeroIsNoLimit, &["a_limit_of_zero_counts_as_one"]),
    (Bug::PagesAreLarge, &["a_page_of_large_entries_is_short"]),
    (
        Bug::TailSkipsAnEntry,
        &[
            "a_tail_returns_the_entries_that_reads_return",
            "a_tail_returns_later_entries",
            "several_tails_return_every_entry",
            "a_tail_misses_nothing_while_others_append",
            "a_long_history_is_returned_in_order",
        ],
    ),
    (
        Bug::TailIsNotWoken,
        &["a_waiting_tail_is_woken", "no_wake_up_is_lost"],
    ),
    (
        Bug::TailChecksNothing,
        &[
            "a_tail_past_the_end_fails",
            "a_tail_from_another_epoch_fails",
            "a_tail_from_another_check_fails",
            "positions_of_the_old_epoch_are_rewound",
        ],
    ),
    (
        Bug::TailSkipsTheRemoved,
        &[
            "a_tail_from_removed_entries_fails",
            "a_tail_that_is_too_slow_skips_nothing_silently",
        ],
    ),
    (
        Bug::TailOutlivesTheEpoch,
        &["a_tail_fails_when_the_epoch_changes"],
    ),
    (Bug::KeepsOneMore, &["the_limit_on_entries_is_kept"]),
    (Bug::KeepsTwiceTheBytes, &["the_limit_on_bytes_is_kept"]),
    (
        Bug::KeepsTheOld,
        &["old_entries_are_removed_except_the_newest"],
    ),
    (
        Bug::RemovesTheNewest,
        &[
            "the_newest_entry_stays_with_a_limit_of_zero_entries",
            "the_newest_entry_stays_however_large_it_is",
        ],
    ),
    (
        Bug::IgnoresChecks,
        &["a_place_with_another_check_is_unknown"],
    ),
    (Bug::HoldsTheFuture, &["a_place_past_the_end_is_unknown"]),
    (
        Bug::DoesNotHoldTheFuture,
        &["a_place_after_the_newest_position_is_held"],
    ),
    (
        Bug::SearchIgnoresTheNewest,
        &[
            "a_search_up_to_another_check_fails",
            "a_search_up_to_a_position_past_the_end_fails",
            "a_search_up_to_a_position_of_another_epoch_fails",
            "an_entry_after_the_newest_position_is_no_loss",
            "a_time_finds_no_entry_after_the_newest_position",
            "the_last_events_are_those_up_to_the_newest_position",
        ],
    ),
    (
        Bug::SearchEndsBelowTheFloor,
        &["a_search_up_to_a_removed_position_finds_the_floor"],
    ),
    (
        Bug::TellsNoLoss,
        &["a_loss_is_told", "a_forgotten_channel_is_told"],
    ),
    (
        Bug::CountsOneTooFew,
        &[
            "a_loss_is_told",
            "a_log_answers_like_one_that_scans",
            "a_log_that_forgets_answers_like_one_that_scans",
        ],
    ),
    (Bug::CountsOneTooMany, &["a_held_place_misses_nothing"]),
    (
        Bug::CountsOtherChannels,
        &[
            "a_log_answers_like_one_that_scans",
            "a_channel_that_lost_no_event_is_told_nothing",
            "a_place_after_all_forgotten_channels_is_judged_exactly",
            "earliest_tells_nothing_to_channels_that_lost_nothing",
            "a_removed_event_before_the_time_is_no_loss",
        ],
    ),
    (Bug::CountsEnds, &["a_removed_end_is_no_loss"]),
    (
        Bug::CountsTheForgottenAsNone,
        &["a_forgotten_channel_is_told"],
    ),
    (
        Bug::CountsTheForgottenAlways,
        &[
            "a_place_after_all_forgotten_channels_is_judged_exactly",
            "earliest_tells_a_new_channel_nothing_while_others_are_forgotten",
        ],
    ),
    (
        Bug::EarliestIsTheStart,
        &["the_earliest_place_is_the_floor"],
    ),
    (
        Bug::EarliestTellsNoLoss,
        &[
            "the_earliest_place_is_the_floor",
            "earliest_tells_nothing_to_channels_that_lost_nothing",
        ],
    ),
    (
        Bug::TimeIsExclusive,
        &["a_time_is_before_the_first_entry_at_that_time"],
    ),
    (
        Bug::TimeTellsNoLoss,
        &["a_removed_event_of_the_time_is_told"],
    ),
    (
        Bug::TimeTellsEarlierLosses,
        &["a_removed_event_before_the_time_is_no_loss"],
    ),
    (
        Bug::LastCountsEnds,
        &[
            "a_log_answers_like_one_that_scans",
            "the_last_events_are_counted_over_all_channels_together",
        ],
    ),
    (
        Bug::LastIsOfTheFirstChannel,
        &["the_last_events_are_counted_over_all_channels_together"],
    ),
    (
        Bug::LastGivesUp,
        &["the_last_events_are_found_among_many_channels"],
    ),
    (Bug::LastMissesEvents, &["the_last_events_are_never_missed"]),
    (
        Bug::SkipCountsOneTooFew,
        &[
            "a_log_answers_like_one_that_scans",
            "a_skip_counts_the_events_that_it_passes",
            "a_skip_counts_exactly",
        ],
    ),
    (
        Bug::SkipCountsOtherChannels,
        &["a_skip_counts_exactly", "a_skip_of_nothing_misses_nothing"],
    ),
    (
        Bug::SkipCountsOnlyTheHeld,
        &["a_skip_counts_removed_events"],
    ),
    (
        Bug::MisplacesEnds,
        &["the_first_end_of_each_channel_is_listed"],
    ),
    (
        Bug::ForgetsNoEndSinceEver,
        &["no_end_since_the_bound_is_missing"],
    ),
    (
        Bug::RefusesTooLate,
        &["of_concurrent_appends_none_follows_the_end"],
    ),
    (
        Bug::ForgetsRemovedEnds,
        &[
            "an_end_outlives_its_entry",
            "nothing_follows_a_removed_end",
            "an_end_outlives_the_epoch",
        ],
    ),
    (Bug::RenewalForgetsEnds, &["an_end_outlives_the_epoch"]),
    (
        Bug::RemembersOneEndLess,
        &["the_oldest_ends_are_forgotten_first"],
    ),
    (
        Bug::RemembersAllEnds,
        &[
            "the_oldest_ends_are_forgotten_first",
            "the_name_of_a_forgotten_end_is_free",
            "the_key_of_a_refused_append_is_free",
        ],
    ),
    (
        Bug::ForgetsTheNewestEnds,
        &[
            "the_oldest_ends_are_forgotten_first",
            "no_end_since_the_bound_is_missing",
        ],
    ),
    (
        Bug::NewestIsTheEnd,
        &["a_channel_has_its_newest_event_and_its_end"],
    ),
    (
        Bug::RemembersAllNames,
        &[
            "a_channel_whose_entries_were_removed_is_unknown",
            "the_name_of_a_forgotten_end_is_free",
        ],
    ),
    (
        Bug::NamesTheFirstEpoch,
        &["the_newest_event_of_a_channel_is_of_the_current_epoch"],
    ),
    (
        Bug::OrdersBySegments,
        &["channels_are_in_the_order_of_the_bytes_of_their_names"],
    ),
    (
        Bug::ChannelsRepeat,
        &["pages_together_contain_each_channel_once"],
    ),
    (
        Bug::ChannelsSkip,
        &["pages_together_contain_each_channel_once"],
    ),
    (
        Bug::ChannelsOmitEnded,
        &[
            "a_log_answers_like_one_that_scans",
            "channels_are_those_that_are_found_one_by_one",
        ],
    ),
    (Bug::RenewsByItself, &["an_epoch_stays_while_the_log_grows"]),
    (
        Bug::RenewsAlways,
        &[
            "a_renewal_with_a_wrong_epoch_changes_nothing",
            "a_renewal_with_the_current_epoch_succeeds",
            "of_concurrent_renewals_one_succeeds",
        ],
    ),
    (
        Bug::RenewsNever,
        &[
            "a_renewal_with_the_current_epoch_succeeds",
            "of_concurrent_renewals_one_succeeds",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_log_breaks_its_laws() {
    let pairs = BUGS
        .iter()
        .flat_map(|(bug, laws)| laws.iter().map(|law| (*bug, *law)));
    // All at once, because some laws are broken by a wait.
    let checks: Vec<_> = pairs
        .map(|(bug, law)| {
            let check = check_law(law, async move |retention| wrong(bug, retention));
            (bug, law, tokio::spawn(check))
        })
        .collect();
    let mut kept = Vec::new();
    for (bug, law, check) in checks {
        match check.await.unwrap() {
            Ok(()) => kept.push((bug, law)),
            Err(breach) => eprintln!("{bug:?} breaks {law}: {breach}"),
        }
    }
    assert!(
        kept.is_empty(),
        "wrong logs that keep these laws: {kept:#?}"
    );
}

#[test]
fn each_law_is_broken_by_some_wrong_log() {
    let broken: BTreeSet<_> = BUGS.iter().flat_map(|(_, laws)| *laws).copied().collect();
    let mut unbroken: BTreeSet<_> = law_names().collect();
    unbroken.retain(|law| !broken.contains(law));
    assert!(unbroken.is_empty(), "no wrong log breaks {unbroken:#?}");
}

fn wrong(bug: Bug, retention: Retention) -> Arc<dyn Log> {
    Arc::new(WrongLog::new(bug, retention))
}
