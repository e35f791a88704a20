//! `Durability`: when an event that a store has acknowledged is safe on the disk.

use std::time::Duration;

/// When an event that a store has acknowledged is safe on the disk.
///
/// Whatever the durability, a store that is opened after a crash holds an unbroken beginning of what was
/// appended: it never has a hole.
///
/// | lost by | `EveryCommit` | `Interval` | `Buffered` |
/// | --- | --- | --- | --- |
/// | a crash or kill of the process | nothing | nothing | nothing |
/// | a crash of the operating system, or a power loss | nothing | the events of the last interval | the events that the system had not written yet, usually those of the last 30 s |
/// | a drive that confirms writes which it has not done | see its documents | see its documents | see its documents |
///
/// After an unclean stop of a store with `Interval` or `Buffered`, the next open takes a new epoch, because
/// it cannot know whether the system has crashed too. Each client that resumes then receives a `gap` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// An event is acknowledged when it is on the disk. Events that arrive while the disk writes are
    /// committed together by the next write. The default.
    #[default]
    EveryCommit,
    /// An event is acknowledged when the operating system has it. The store writes all events to the disk
    /// once in this time, at least 1 ms.
    Interval(Duration),
    /// An event is acknowledged when the operating system has it, which writes it to the disk when it wants.
    Buffered,
}
