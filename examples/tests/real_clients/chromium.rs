//! A headless Chromium with a profile of its own.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::process::Process;

const FLAGS: &[&str] = &[
    "--headless",
    // The page is from another origin than the events, and the example sends no CORS headers.
    "--disable-web-security",
    "--no-proxy-server",
    // Containers have no user namespaces, little shared memory and no graphics card.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    // Only the page uses the network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
];

/// A running browser. Its fields are dropped in order: the browser first, then its files.
pub(crate) struct Chromium {
    _process: Process,
    _profile: Profile,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Only one test with a browser runs at a time: browsers are heavy, and the tests have time limits.
static TURN: Mutex<()> = Mutex::new(());

impl Chromium {
    pub(crate) fn open(address: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self::start(address, Some(turn))
    }

    /// Another browser of the same test.
    pub(crate) fn beside(&self, address: &str) -> Self {
        Self::start(address, None)
    }

    fn start(address: &str, turn: Option<MutexGuard<'static, ()>>) -> Self {
        let profile = Profile::fresh();
        let log = File::create(profile.0.join("stderr.log")).expect("a log in the new profile");
        let mut command = Command::new("chromium");
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .arg(address)
            .stdout(Stdio::null())
            .stderr(log);
        Self {
            _process: Process::start(&mut command, "apt-get install chromium"),
            _profile: profile,
            _turn: turn,
        }
    }
}

/// The browser's folder. Kept if the test fails, with the browser's log.
struct Profile(PathBuf);

impl Profile {
    fn fresh() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("chromium-{}-{}", process::id(), LAST.fetch_add(1, Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder for the profile");
        Self(folder)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("chromium's log: {}/stderr.log", self.0.display());
        } else {
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
