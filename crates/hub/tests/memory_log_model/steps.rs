//! Random steps: what is done to a log, and asked.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;

#[derive(Debug, Clone)]
pub enum Step {
    Append {
        channel: usize,
        is_end: bool,
        bytes: usize,
        key: Option<u8>,
    },
    Trim(u64),
    Rewind(u64),
    Renew(bool),
    Read {
        after: u64,
        limit: usize,
        scope: AnyScope,
    },
    Locate(AnyStart, AnyScope),
    Channels(usize),
    Tail(AnyPlace),
    Receive(usize),
    /// Not after each step, because an answer may hide a fault in what the log has put off.
    Compare,
}

/// A place near the numbers that a log holds, or one that it never had.
#[derive(Debug, Clone, Copy)]
pub struct AnyPlace {
    /// How far before the newest entry, or the next one.
    pub back: u64,
    pub is_wrong: bool,
}

#[derive(Debug, Clone)]
pub struct AnyScope {
    pub patterns: Vec<&'static str>,
    pub newest: AnyPlace,
    pub is_other_epoch: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum AnyStart {
    After(AnyPlace),
    Earliest,
    /// The time of this entry, and so much later.
    Time(AnyPlace, u64),
    Last(usize),
    Skip(AnyPlace, AnyPlace),
}

pub fn place(reach: u64) -> impl Strategy<Value = AnyPlace> {
    let is_wrong = prop_oneof![9 => Just(false), 1 => Just(true)];
    let place = (0..reach, is_wrong);
    place.prop_map(|(back, is_wrong)| AnyPlace { back, is_wrong })
}

pub fn scope(reach: u64) -> impl Strategy<Value = AnyScope> {
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

pub fn start(reach: u64) -> impl Strategy<Value = AnyStart> {
    prop_oneof![
        4 => place(reach).prop_map(AnyStart::After),
        1 => Just(AnyStart::Earliest),
        2 => (place(reach), 0..2_u64).prop_map(|(at, later)| AnyStart::Time(at, later)),
        2 => (0..12_usize).prop_map(AnyStart::Last),
        2 => (place(reach), place(reach)).prop_map(|(after, to)| AnyStart::Skip(after, to)),
    ]
}

/// A step of a log that has held about `reach` entries, in so many channels.
pub fn step(reach: u64, channels: usize) -> impl Strategy<Value = Step> {
    let is_end = prop_oneof![4 => Just(false), 1 => Just(true)];
    let append = (0..channels, is_end, 0..400_usize, any::<Option<u8>>()).prop_map(
        |(channel, is_end, bytes, key)| Step::Append {
            channel,
            is_end,
            bytes,
            key: key.map(|key| key % 8),
        },
    );
    let read = (0..reach, 0..20_usize, scope(reach)).prop_map(|(after, limit, scope)| Step::Read {
        after,
        limit,
        scope,
    });
    prop_oneof![
        16 => append,
        8 => read,
        12 => (start(reach), scope(reach)).prop_map(|(start, scope)| Step::Locate(start, scope)),
        1 => (0..4_usize).prop_map(Step::Channels),
        6 => (0..8_usize).prop_map(Step::Receive),
        3 => place(reach).prop_map(Step::Tail),
        1 => (0..reach).prop_map(Step::Trim),
        1 => (0..reach).prop_map(Step::Rewind),
        1 => any::<bool>().prop_map(Step::Renew),
        6 => Just(Step::Compare),
    ]
}
