//! `Disk`: the disk of a test, which fails on demand.
//!
//! A test runs in a process of its own, in which the library of `disk.c` answers for the disk. So it needs no
//! file system of its own, which a container may not be allowed to mount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs, io, process};

use tidings_testkit::temp_dir::TempDir;

/// The variable with the file that says how the disk fails; `disk.c` reads it.
const CONTROL: &str = "TIDINGS_DISK";

/// The variable with the directory of the test.
const FOLDER: &str = "TIDINGS_DISK_FOLDER";

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No file can grow.
    Full,
    /// Nothing can be written, as on a file system that writes each change to a new place.
    FullForAll,
    /// A write fails.
    Writes,
    /// A synchronization fails.
    Syncs,
    /// What is written to the database is lost later. The next synchronization of each file that is open
    /// fails.
    Lost,
    /// One synchronization of a `-wal` file fails. Each other descriptor of it then reports that once too.
    WalSync,
    /// Reads of the database fail.
    Reads,
}

impl Fault {
    /// All after which the store goes on, at least if it was no checkpoint that failed.
    pub(crate) const ALL: [Self; 4] = [Self::Full, Self::FullForAll, Self::Writes, Self::Syncs];
}

/// The disk of this process.
#[derive(Debug)]
pub(crate) struct Disk {
    control: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Runs a test of this name in a process with a disk of its own.
    pub(crate) fn run<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Self) -> F) {
        if let (Some(control), Some(folder)) = (env::var_os(CONTROL), env::var_os(FOLDER)) {
            let disk = Self {
                control: control.into(),
                folder: folder.into(),
            };
            disk.verify();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test(disk));
            return;
        }
        let folder = TempDir::new();
        let library = library();
        let done = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            // A relative path may contain no space.
            .current_dir(library.parent().unwrap())
            .env(
                "LD_PRELOAD",
                Path::new("./").join(library.file_name().unwrap()),
            )
            .env(CONTROL, folder.join("fault"))
            .env(FOLDER, folder.join("disk"))
            .output()
            .unwrap();
        let output =
            [done.stdout, done.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
        assert!(done.status.success(), "{}", output.join("\n"));
        assert!(
            output[0].contains("1 passed"),
            "no test is named {name}: {}",
            output[0]
        );
    }

    /// From now on, the disk fails.
    pub(crate) fn break_by(&self, fault: Fault) {
        self.repair();
        let letter = match fault {
            Fault::Full => "f",
            Fault::FullForAll => "n",
            Fault::Writes => "e",
            Fault::Syncs => "s",
            Fault::Lost => "l",
            Fault::WalSync => "w",
            Fault::Reads => "r",
        };
        // A file that appears with its content.
        let next = self.control.with_extension("next");
        fs::write(&next, letter).unwrap();
        fs::rename(next, &self.control).unwrap();
    }

    /// From now on, the disk works.
    pub(crate) fn repair(&self) {
        if let Err(error) = fs::remove_file(&self.control) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file with what was in the place of the lost writes.
    pub(crate) fn lost(&self) -> PathBuf {
        let mut name = self.control.clone().into_os_string();
        name.push(".lost");
        name.into()
    }

    /// The library works in this process.
    fn verify(&self) {
        fs::create_dir(&self.folder).unwrap();
        let file = self.path("file");
        fs::write(&file, "four").unwrap();
        self.break_by(Fault::Full);
        let error = fs::write(&file, "fives").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        self.break_by(Fault::Syncs);
        fs::File::open(&file).unwrap().sync_all().unwrap_err();
        self.repair();
        fs::write(&file, "fives").unwrap();
        fs::remove_file(&file).unwrap();
    }
}

/// The library that answers for the disk, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk_full/disk.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tidings-disk.so");
        let unfinished = library.with_extension(process::id().to_string());
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let done = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&unfinished, &source])
            .output()
            .unwrap_or_else(|error| {
                panic!(
                    "the C compiler {} does not start: {error}",
                    compiler.display()
                )
            });
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        fs::rename(&unfinished, &library).unwrap();
        library
    })
}
