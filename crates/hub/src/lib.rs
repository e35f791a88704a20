//! Channels for Server-Sent Events: publish once, and every subscriber hears it, in order, from where
//! it left off, or is told what it lost.

mod entry;
mod log;
mod memory_log;
mod name;
mod retention;

pub use entry::{Draft, Entry, EntryKind};
pub use log::{Appended, Bounds, KEY_LIFETIME, Log, LogError, LogFuture, Page, Tail};
pub use memory_log::{MemoryLog, TooManyKeys};
pub use name::{ChannelName, InvalidName, MAX_NAME_BYTES, Pattern};
pub use retention::Retention;
