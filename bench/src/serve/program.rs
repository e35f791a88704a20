//! The measured programs: `tidings serve`, and nginx with the module Nchan, each in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::harness::{Request, Result, another_core, pin_to};
use crate::server::limits;
use crate::server::usage::Usage;
use crate::store::folder::Scratch;

/// Debian's packages `nginx` and `libnginx-mod-nchan`.
const NGINX: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const CONFIGURATION: &str = include_str!("nginx.conf");

/// The longest wait for a program to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program that a sample measures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Tidings,
    /// Keeps so many messages of each channel.
    Nchan {
        kept: usize,
    },
}

/// A running program. It ends when this is dropped or this process ends.
pub struct Program {
    process: Child,
    /// The process that does the work.
    worker: u32,
    pub address: SocketAddr,
    /// The folder of nginx.
    _folder: Option<Scratch>,
}

/// Builds `tidings` in release mode, into the folder of this program.
pub fn build() -> Result<()> {
    let program = std::env::current_exe()?;
    let release = program.parent().ok_or("this program has no folder")?;
    let target = release.parent().ok_or("this program has no folder")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--package", "tidings-cli", "--manifest-path"])
        .arg(workspace)
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if !status.success() {
        return Err(format!("the build of tidings ended with {status}").into());
    }
    Ok(())
}

/// Fails if nginx or its module is missing.
pub fn check_nginx() -> Result<()> {
    if Path::new(NGINX).exists() && Path::new(MODULE).exists() {
        return Ok(());
    }
    Err(format!(
        "{NGINX} or its module {MODULE} is missing; install both, on Debian with \
         `apt-get install nginx libnginx-mod-nchan` or with `scripts/test needs`"
    )
    .into())
}

impl Program {
    /// Starts a product in memory on the measured core. From then on, this process runs on another one.
    pub fn start(request: &Request, product: Product) -> Result<Self> {
        match product {
            Product::Tidings => Self::tidings(request, &[]),
            Product::Nchan { kept } => on_core(request, || Self::nginx(kept)),
        }
    }

    /// Starts `tidings serve` with these flags in the same way.
    pub fn tidings(request: &Request, flags: &[&str]) -> Result<Self> {
        on_core(request, || {
            let mut command = command(&std::env::current_exe()?.with_file_name("tidings"));
            command
                .args(["serve", "--listen=127.0.0.1:0", "--log-level=warn"])
                .args(["--max-connections-per-address=20000", "--drain=1s"])
                .args(flags)
                .stdout(Stdio::piped());
            let mut process = command.spawn()?;
            let output = process.stdout.take().ok_or("it has no output")?;
            let mut program = Self::new(process, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            let mut greeting = String::new();
            BufReader::new(output).read_line(&mut greeting)?;
            let address = greeting.trim_end().strip_prefix("listening on http://");
            program.address = address.ok_or("tidings did not start")?.parse()?;
            Ok(program)
        })
    }

    fn nginx(kept: usize) -> Result<Self> {
        check_nginx()?;
        let folder = Scratch::new()?;
        let prefix = folder.file().with_file_name("");
        let address = free_address()?;
        let configuration = CONFIGURATION
            .replace("MODULE", MODULE)
            .replace("PORT", &address.port().to_string())
            .replace("KEPT", &kept.to_string());
        fs::write(prefix.join("nginx.conf"), configuration)?;
        let mut command = command(Path::new(NGINX));
        command.arg("-p").arg(&prefix);
        let process = command.args(["-c", "nginx.conf", "-e", "stderr"]).spawn()?;
        let mut program = Self::new(process, address);
        program._folder = Some(folder);
        program.await_worker()?;
        Ok(program)
    }

    fn new(process: Child, address: SocketAddr) -> Self {
        Self {
            worker: process.id(),
            process,
            address,
            _folder: None,
        }
    }

    /// Waits until nginx answers, and finds the process that does its work.
    fn await_worker(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            // The first process of nginx listens before it has a worker.
            if let Some(worker) = only_child(self.process.id())?
                && TcpStream::connect(self.address).is_ok()
            {
                self.worker = worker;
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("nginx ended with {status}").into());
            }
            if Instant::now() > end {
                return Err("nginx does not start".into());
            }
            pause();
        }
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.worker)
    }

    /// Ends the program in order: its store is closed.
    pub fn end(mut self) -> Result<()> {
        self.terminate()
    }

    fn terminate(&mut self) -> Result<()> {
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("the program does not end".into());
            }
            pause();
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.terminate().is_err() {
            self.process.kill().ok();
            self.process.wait().ok();
        }
    }
}

/// Starts a program on the measured core, and then moves this process to another one.
fn on_core(request: &Request, start: impl FnOnce() -> Result<Program>) -> Result<Program> {
    limits::raise()?;
    // A child inherits the core.
    pin_to(request.core)?;
    let program = start()?;
    pin_to(another_core(request.core)?)?;
    Ok(program)
}

/// The command of a program that is asked to end as soon as this process has ended.
fn command(program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    // No setting of this shell is measured.
    command.env_clear().stdin(Stdio::null());
    command
}

/// An address that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// The worker of nginx, if it has started. Its parent only watches it.
fn only_child(process: u32) -> Result<Option<u32>> {
    let path = PathBuf::from(format!("/proc/{process}/task/{process}/children"));
    let children = fs::read_to_string(path)?;
    let first = children.split_whitespace().next();
    Ok(first.map(str::parse).transpose()?)
}

#[allow(
    clippy::disallowed_methods,
    reason = "another process is waited for, which shares no clock"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
