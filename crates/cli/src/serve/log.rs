//! `LogArgs`: where the hub keeps its events, and for how long.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use tidings::hub::{Hub, HubBuilder, Retention};
use tidings::store::{Durability, StoreError, StoreErrorKind, StoreLog, StoreOptions};
use tokio::time::{Instant, sleep};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Events")]
pub(crate) struct LogArgs {
    /// The file in which the events are kept. Without it they are in memory, until the server ends.
    #[arg(long, env = "TIDINGS_STORE", value_name = "FILE")]
    store: Option<StoreFile>,

    /// When a published event is acknowledged: `every-commit`, when it is on the disk; `buffered`, when the
    /// operating system has it; or a time such as `100ms`, as `buffered`, and the disk has it that much
    /// later.
    #[arg(
        long,
        env = "TIDINGS_DURABILITY",
        value_name = "WHEN",
        default_value = "every-commit",
        value_parser = parse_durability,
        requires = "store"
    )]
    durability: Durability,

    /// How many bytes of events are kept, such as `512MiB`. [default: 256 MiB in memory, 1 GiB in a file]
    #[arg(long, env = "TIDINGS_RETAIN_BYTES", value_name = "BYTES")]
    retain_bytes: Option<ByteSize>,

    /// How long events are kept, such as `36h`. [default: no limit in memory, 7 days in a file]
    #[arg(long, env = "TIDINGS_RETAIN_AGE", value_name = "TIME", value_parser = humantime::parse_duration)]
    retain_age: Option<Duration>,
}

/// How long a demo in memory keeps its events, unless a flag sets the time, and how many ended channels
/// without events it remembers at most. Its answers end all the time, and would fill the list of channels.
const DEMO_AGE: Duration = Duration::from_secs(15 * 60);
const DEMO_REMEMBERED_CHANNELS: u64 = 50;

/// How long the server waits for a process that has the store: a backup or an export locks it while it
/// begins, and a server that was told to end may still be closing it.
const MAX_LOCKED: Duration = Duration::from_secs(5);

/// How long it waits between two attempts.
const LOCKED_PAUSE: Duration = Duration::from_millis(50);

impl LogArgs {
    /// The file of the events; `None` if they are in memory.
    pub(super) fn store(&self) -> Option<&Path> {
        self.store.as_ref().map(|StoreFile(path)| &**path)
    }

    /// The hub, and the store under it. Waits up to 5 s for another process that has the store.
    pub(super) async fn open(
        &self,
        builder: HubBuilder,
        remembered_channels: u64,
        is_demo: bool,
    ) -> Result<(Hub, Option<StoreLog>), StoreError> {
        let mut retention = self.retention().remembered_channels(remembered_channels);
        // A store may hold events that are no samples.
        if is_demo && self.store.is_none() {
            let age = self.retain_age.unwrap_or(DEMO_AGE);
            let remembered = remembered_channels.min(DEMO_REMEMBERED_CHANNELS);
            retention = retention.max_age(Some(age)).remembered_channels(remembered);
        }
        let Some(StoreFile(path)) = &self.store else {
            return Ok((builder.in_memory(retention), None));
        };
        let options = StoreLog::options()
            .durability(self.durability)
            .retention(retention);
        let store = open_when_free(options, path).await?;
        Ok((builder.over(store.clone()), Some(store)))
    }

    /// How many bytes of events are kept.
    pub(super) fn max_bytes(&self) -> u64 {
        self.retention().max_bytes
    }

    fn retention(&self) -> Retention {
        let mut retention = if self.store.is_some() {
            Retention::durable()
        } else {
            Retention::in_memory()
        };
        if let Some(bytes) = self.retain_bytes {
            retention = retention.max_bytes(bytes.as_u64());
        }
        if self.retain_age.is_some() {
            retention = retention.max_age(self.retain_age);
        }
        retention
    }
}

async fn open_when_free(options: StoreOptions, path: &Path) -> Result<StoreLog, StoreError> {
    let give_up = Instant::now() + MAX_LOCKED;
    loop {
        let opened = options.open(path);
        let is_locked = |error: &StoreError| matches!(error.kind(), StoreErrorKind::Locked { .. });
        if !opened.as_ref().is_err_and(is_locked) || Instant::now() >= give_up {
            return opened;
        }
        tracing::debug!("another process has the store; the server waits for it");
        sleep(LOCKED_PAUSE).await;
    }
}

/// The path of a store.
#[derive(Debug, Clone)]
struct StoreFile(PathBuf);

impl FromStr for StoreFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected the path of a file".into());
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(format!(
                "a store at {scheme}:// is not in this version; give the path of a file"
            )),
            None => Ok(Self(text.into())),
        }
    }
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "every-commit" => Ok(Durability::EveryCommit),
        "buffered" => Ok(Durability::Buffered),
        time => {
            let time = humantime::parse_duration(time);
            let time = time.ok().filter(|time| *time >= Duration::from_millis(1));
            let expected = "expected every-commit, buffered, or a time of at least 1ms";
            Ok(Durability::Interval(time.ok_or(expected)?))
        }
    }
}
