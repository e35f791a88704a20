//! Channels for Server-Sent Events: publish once, and every subscriber hears it, in order, from where
//! it left off, or is told what it lost.

mod channel;
mod confirm;
mod ends;
mod entry;
mod error;
mod fan_out;
mod follow;
mod gather;
mod grant;
mod hub;
mod life;
mod log;
mod memory_log;
mod meters;
mod name;
mod presence;
mod producer;
mod publish;
mod reader;
mod replay;
mod resume;
mod retention;
mod shared;
mod slow_reader;
mod subscription;
mod tape;
mod topic;

pub use channel::Channel;
pub use entry::{Draft, Entry, EntryKind};
pub use error::Error;
pub use grant::Grant;
pub use hub::{Hub, HubBuilder};
pub use log::{Appended, Bounds, KEY_LIFETIME, Log, LogError, LogFuture, PAGE_BYTES, Page, Tail};
pub use memory_log::{MemoryLog, TooManyKeys};
pub use name::{ChannelName, InvalidName, MAX_NAME_BYTES, Pattern};
pub use presence::Presence;
pub use producer::Producer;
pub use publish::Publish;
pub use retention::Retention;
pub use slow_reader::SlowReader;
pub use subscription::Subscription;
pub use tidings_proto::{Event, EventName};
