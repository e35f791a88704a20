//! A durable log for a hub: the events are in one file on the disk, and are there after any crash.
//!
//! ```no_run
//! use tidings_hub::Event;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = tidings_store::hub("events.db")?;
//!     let position = hub.publish("news", Event::new("hello")).await?;
//!     println!("published as {position}");
//!     let mut news = hub.subscribe("news").earliest().resume_after(None);
//!     while let Some(events) = news.next().await {
//!         events?.to_events().iter().for_each(|event| println!("{}", event.text()));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Run it, stop it in any way, `kill -9` included, and run it again: the second run prints `hello` twice.
//! [`hub`] opens the file, or creates it. Everything that the [guide to the hub](tidings_hub) teaches works
//! over a store, and clients resume over restarts of the server.
//!
//! There is no server to run: the file belongs to one process. SQLite, which writes the file, is built into
//! the program.
//!
//! # Settings
//! [`StoreLog::options`] sets how much is kept and when an event is safe on the disk. A [`StoreLog`] is the
//! log of a hub, and what you close and back up:
//!
//! ```
//! use std::time::Duration;
//!
//! use tidings_hub::{Event, Hub, Retention};
//! use tidings_store::{Durability, StoreLog};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("tidings-store-settings-{}", std::process::id()));
//! # std::fs::create_dir(&folder)?;
//! # let path = folder.join("events.db");
//! let day = Duration::from_secs(24 * 3600);
//! let log = StoreLog::options()
//!     .retention(Retention::durable().max_age(Some(day)))
//!     .durability(Durability::EveryCommit)
//!     .open(&path)?;
//! let hub = Hub::builder().over(log.clone());
//! hub.publish("news", Event::new("hello")).await?;
//!
//! hub.drain().await;
//! log.close().await?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which log to choose
//! | | [`MemoryLog`](tidings_hub::MemoryLog), `Hub::in_memory()` | [`StoreLog`], `tidings_store::hub(path)` |
//! | --- | --- | --- |
//! | after a restart | all events are lost; clients receive a `gap` | all events are there; clients resume |
//! | keeps by default | 256 MiB of events, any age | 1 GiB of events, 7 days |
//! | a publisher waits for | the turn of a task, some microseconds | the disk, usually for some milliseconds or less |
//! | builds | nothing more | SQLite, so it needs a C compiler |
//!
//! # What survives
//! By default, [`Durability::EveryCommit`], a `publish` that has returned is on the disk: no crash and no
//! power loss removes it. Events that arrive while the disk writes share the next write, so many publishers
//! cost little more than one. [`Durability`] lists what each setting may lose, and when.
//!
//! With each setting, a store never has a hole, and no loss is silent. If events may be missing after a
//! crash, the store takes a new epoch, and each client that resumes receives a `gap` event with the reason
//! `epoch`. The keys of [`Publish::key`](tidings_hub::Publish::key) survive a restart too: a publisher that
//! does not know whether its event was stored repeats it under the same key.
//!
//! # Retention
//! A store removes its oldest events by size, number and age; see [`Retention`](tidings_hub::Retention). It
//! removes them in small steps beside its writes, and uses their space again, so the file stops growing.
//! [`compact`](compact()) makes the file smaller after a reduction of the retention.
//!
//! The age of an event counts by the clock of the machine. A clock that is set forward makes older events too
//! old at once. A clock that is set back does not make the time run backwards.
//!
//! One retention holds for all channels of a store. Channels that differ in kind, such as a feed of a day and
//! the answers of an hour, each get a store and a hub of their own:
//!
//! ```
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use tidings_hub::{Hub, Retention};
//! use tidings_store::{StoreError, StoreLog};
//!
//! struct Hubs {
//!     feeds: Hub,
//!     answers: Hub,
//! }
//!
//! fn open(folder: &Path) -> Result<Hubs, StoreError> {
//!     let open = |name: &str, hours: u64| {
//!         let age = Duration::from_secs(hours * 3600);
//!         let retention = Retention::durable().max_age(Some(age));
//!         StoreLog::options().retention(retention).open(folder.join(name)).map(Hub::over)
//!     };
//!     Ok(Hubs { feeds: open("feeds.db", 24)?, answers: open("answers.db", 1)? })
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("tidings-store-hubs-{}", std::process::id()));
//! # std::fs::create_dir(&folder)?;
//! # let hubs = open(&folder)?;
//! # hubs.answers.publish("answers/1", tidings_hub::Event::new("42")).await?;
//! # drop(hubs);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! A subscription reads one hub. A client that needs both opens two streams.
//!
//! # One process for each file
//! The process that has opened a store holds its lock. Another process, or a second `open` in the same one,
//! receives [`StoreErrorKind::Locked`] with the file and the number of the process that holds it. The lock
//! ends with the process, also if it is killed.
//!
//! * **Several tasks and threads** share one hub: clone it.
//! * **A new version replaces the old one**: the new process opens the store after the old one has closed it.
//!   On `Locked`, wait and try again.
//! * **Several processes at once** need a server: one process has the store and publishes the events that
//!   the others send to it, for example by a POST. Or give each process a store of its own, with different
//!   channels.
//!
//! Keep the file on a local disk. SQLite's write-ahead log does not work on a network file system.
//!
//! # Files
//! A store is the file `events.db` and, while it is open and after a crash, SQLite's `events.db-wal` and
//! `events.db-shm`; the lock is `events.db.lock`. The newest events may be only in `events.db-wal`: do not
//! copy, move or delete some of the files by themselves.
//! [The format](https://github.com/tidings-rs/tidings/blob/main/docs/log-format.md) describes files and tables.
//! Any tool for SQLite can read a store, also one that is open: `sqlite3 -readonly events.db`.
//!
//! # Backup and repair
//! | task | function | while the store is open |
//! | --- | --- | --- |
//! | copy it | [`StoreLog::backup`], or [`backup`](backup()) of a file | yes |
//! | look for damage | [`StoreLog::check`], or [`check`](check()) of a file | yes |
//! | write all events as lines of JSON | [`StoreLog::export`], or [`export`](export()) of a file | yes |
//! | make a store of such lines | [`import`](import()) | a new file |
//! | write the intact events of a damaged store as such lines | [`salvage`](salvage()) | no |
//! | make the file smaller | [`compact`](compact()) | no |
//!
//! [`backup`](backup()), [`check`](check()) and [`export`](export()) of a file work while another process has
//! the store open, or opens it. [`compact`](compact()) and [`salvage`](salvage()) need the store for
//! themselves. [`close`](StoreLog::close) waits for a backup, a check and an export of its own process; those
//! of another process do not hold it up.
//!
//! A restored backup and an imported store have a new epoch, because clients may have received events that
//! they lack: each client that resumes receives a `gap` event.
//!
//! Each row has a checksum, and a read verifies it: a damaged file is an error, never a wrong event. If a
//! store is [`Damaged`](StoreErrorKind::Damaged), restore a backup. Without one, [`salvage`](salvage()) its
//! intact events and [`import`](import()) them into a new file.
//!
//! # Errors
//! [`StoreErrorKind`] lists why a store cannot be opened; the message of a [`StoreError`] names the file and
//! what you can do. After that, questions of a hub fail with a [`LogError`](tidings_hub::LogError), whose
//! source is the [`StoreError`]:
//!
//! * **The disk is full**: `publish` fails, subscribers receive everything that is stored, and `publish`
//!   succeeds again as soon as there is space. No restart is necessary. A used-up quota may be an error of
//!   the disk instead, because SQLite recognises only a full disk. To *open* a store, SQLite needs some
//!   space.
//! * **The disk fails a write**: its events are unconfirmed. The store opens the file again by itself, once a
//!   second until it succeeds. If acknowledged events are missing or damaged then, every question fails until
//!   you open the store again.
//! * **The disk loses what it has accepted**, which a failed `fsync` of the database shows: the store stops,
//!   and every question fails. Check the disk, then open the store again. With [`Durability::EveryCommit`]
//!   nothing is lost, because the write-ahead log is kept and moved again.
//! * **A row is damaged**: the questions that read it fail, and the others are answered. A damaged index row
//!   of a channel keeps the rows of this channel from being removed. While the oldest entry is damaged, the
//!   store removes none, so the file grows; it traces an error, and tries again each second.
//! * **A page cannot be read**: as before, but the appends beside each try are refused, so the store tries
//!   more and more seldom, in the end once an hour. A store that needs the page to open is refused.
//!
//! # Limits
//! * An event has at most 64 MiB in the store; the hub accepts
//!   [1 MiB](tidings_hub::HubBuilder::max_event_bytes) by default.
//! * At most 100,000 appends, or 64 MiB, wait for the disk. Another one is refused.
//! * At most 1,000,000 keys are remembered, for [2 minutes](tidings_hub::KEY_LIFETIME) each. An append with
//!   another key is refused then.
//! * In memory are 8 MiB of the newest events, the index of the newest entries, which
//!   [`index_batch`](StoreOptions::index_batch) limits to about 10 MB by default, up to 48 MiB of entries and
//!   16 MiB of names that subscribers have read from the disk, and the caches of SQLite: up to 16 MiB for the
//!   writes, and 2 MiB for each of four readers. They are taken when they are needed.
//!
//! # Blocking and closing
//! [`StoreLog::open`], [`hub`] and the functions of the table above block. In an asynchronous program, open
//! the store before the server starts, and run the others in `spawn_blocking`. A store has threads of its own
//! for its writes and reads; a subscriber or a publisher never blocks a thread of your runtime.
//!
//! [`StoreLog::close`] writes everything, and releases the file before it returns. The drop of the last
//! [`StoreLog`] and hub does the same, and blocks meanwhile, usually for milliseconds. A process that ends
//! without either loses nothing with [`Durability::EveryCommit`].

mod backup;
mod channel_row;
mod check;
mod clock;
mod compact;
mod connection;
mod durability;
mod entry_row;
mod export;
mod export_line;
mod failure;
mod header;
mod import;
mod index_row;
mod keys;
mod live;
mod location;
mod lock;
mod open;
mod options;
mod questions;
mod queue;
mod read_cache;
mod readers;
mod reading;
mod recent_entries;
mod recent_index;
mod salvage;
mod schema;
mod shared;
mod source;
mod state_row;
mod store_error;
mod store_file;
mod store_log;
mod sums;
mod tail;
mod wal;
mod writer;

use std::path::Path;

use tidings_hub::Hub;

pub use backup::{BackedUp, backup};
pub use check::{CheckReport, check};
pub use compact::{Compacted, compact};
pub use durability::Durability;
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use options::StoreOptions;
pub use salvage::{Salvaged, salvage};
pub use store_error::{StoreError, StoreErrorKind};
pub use store_log::StoreLog;

/// A hub that keeps its events in this file, which it creates if it is missing.
///
/// # Errors
/// [`StoreErrorKind`] lists all kinds.
pub fn hub(path: impl AsRef<Path>) -> Result<Hub, StoreError> {
    StoreLog::open(path).map(Hub::over)
}

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
