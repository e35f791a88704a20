//! Random steps: the changes of a log, and the questions to it.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use tidings_hub::{ChannelName, Draft, EntryKind};

use super::{FEW, of_many};
use crate::model_log::Restart;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Append(AnyDraft),
    /// All at once.
    Burst(Vec<AnyDraft>),
    Trim(u64),
    Rewind(u64),
    Renew(bool),
    Restart(Restart),
    Read {
        after: u64,
        limit: usize,
        scope: AnyScope,
    },
    Locate(AnyStart, AnyScope),
    Channels(usize),
    Tail(AnyPlace),
    Receive(usize),
    /// Not after each step, because an answer may hide a fault in the work that the log has put off.
    Compare,
}

/// An append to one of a few channels, or of many.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyDraft {
    pub(super) channel: usize,
    pub(super) is_end: bool,
    pub(super) bytes: usize,
    pub(super) key: Option<u8>,
}

impl AnyDraft {
    pub(super) fn named(&self) -> Draft {
        let name = match FEW.get(self.channel) {
            Some(name) => ChannelName::new(name).unwrap(),
            None => of_many(self.channel - FEW.len()),
        };
        let mut draft = Draft::event(name, vec![b'x'; self.bytes]);
        draft.kind = [EntryKind::Event, EntryKind::End][usize::from(self.is_end)];
        draft.key = self.key.map(|key| key.to_string().into());
        draft
    }
}

/// A place near the numbers that a log holds, or one that it never had.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyPlace {
    /// How far before the newest entry, or the next one.
    pub(super) back: u64,
    pub(super) is_wrong: bool,
}

#[derive(Debug, Clone)]
pub(super) struct AnyScope {
    pub(super) patterns: Vec<&'static str>,
    pub(super) newest: AnyPlace,
    pub(super) is_other_epoch: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum AnyStart {
    After(AnyPlace),
    Earliest,
    /// The time of this entry, and so much later.
    Time(AnyPlace, u64),
    Last(usize),
    Skip(AnyPlace, AnyPlace),
}

pub(super) fn place(reach: u64) -> impl Strategy<Value = AnyPlace> {
    let is_wrong = prop_oneof![9 => Just(false), 1 => Just(true)];
    let place = (0..reach, is_wrong);
    place.prop_map(|(back, is_wrong)| AnyPlace { back, is_wrong })
}

pub(super) fn scope(reach: u64) -> impl Strategy<Value = AnyScope> {
    let pattern = prop_oneof![
        Just("a"),
        Just("a/*"),
        Just("a/b"),
        Just("a/b/*"),
        Just("d"),
        Just("a/b/c"),
        Just("many/*"),
        Just("many/7"),
        Just("none")
    ];
    let newest = prop_oneof![2 => Just(1).boxed(), 1 => (1..reach).boxed()];
    let newest = (newest, 0..20_u64).prop_map(|(back, wrong)| AnyPlace {
        back,
        is_wrong: wrong == 0,
    });
    let other = prop_oneof![19 => Just(false), 1 => Just(true)];
    let scope = (vec(pattern, 0..4), newest, other);
    scope.prop_map(|(patterns, newest, is_other_epoch)| AnyScope {
        patterns,
        newest,
        is_other_epoch,
    })
}

pub(super) fn start(reach: u64) -> impl Strategy<Value = AnyStart> {
    prop_oneof![
        4 => place(reach).prop_map(AnyStart::After),
        1 => Just(AnyStart::Earliest),
        2 => (place(reach), 0..2_u64).prop_map(|(at, later)| AnyStart::Time(at, later)),
        2 => (0..12_usize).prop_map(AnyStart::Last),
        2 => (place(reach), place(reach)).prop_map(|(after, to)| AnyStart::Skip(after, to)),
    ]
}

/// A step of a log that has held about `reach` entries, in so many channels.
pub(super) fn step(
    reach: u64,
    channels: usize,
    burst: usize,
    has_restarts: bool,
) -> impl Strategy<Value = Step> {
    let appends = match burst {
        0 | 1 => draft(channels).prop_map(Step::Append).boxed(),
        _ => {
            let several = vec(draft(channels), 1..burst).prop_map(Step::Burst);
            prop_oneof![draft(channels).prop_map(Step::Append), several].boxed()
        }
    };
    let read = (0..reach, 0..20_usize, scope(reach)).prop_map(|(after, limit, scope)| Step::Read {
        after,
        limit,
        scope,
    });
    let last_step = match has_restarts {
        true => restart().boxed(),
        false => Just(Step::Compare).boxed(),
    };
    prop_oneof![
        16 => appends,
        8 => read,
        12 => (start(reach), scope(reach)).prop_map(|(start, scope)| Step::Locate(start, scope)),
        1 => (0..4_usize).prop_map(Step::Channels),
        6 => (0..8_usize).prop_map(Step::Receive),
        3 => place(reach).prop_map(Step::Tail),
        1 => (0..reach).prop_map(Step::Trim),
        1 => (0..reach).prop_map(Step::Rewind),
        1 => any::<bool>().prop_map(Step::Renew),
        5 => Just(Step::Compare),
        1 => last_step,
    ]
}

fn draft(channels: usize) -> impl Strategy<Value = AnyDraft> {
    let is_end = prop_oneof![4 => Just(false), 1 => Just(true)];
    let draft = (0..channels, is_end, 0..400_usize, any::<Option<u8>>());
    draft.prop_map(|(channel, is_end, bytes, key)| AnyDraft {
        channel,
        is_end,
        bytes,
        key: key.map(|key| key % 8),
    })
}

fn restart() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Restart::Clean), Just(Restart::Killed)].prop_map(Step::Restart)
}
