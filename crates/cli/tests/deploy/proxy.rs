//! `Proxy`: nginx or Caddy with its file of `deploy/`, as a process in front of a server.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tidings_testkit::temp_dir::TempDir;

use crate::process::{LIMIT, Server, tidings};
use crate::{curl, deployed};

/// The name in the files.
pub(crate) const HOST: &str = "events.example";

/// Where the server listens in the files.
const SOCKET: &str = "/run/tidings/tidings.sock";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Proxy {
    pub(crate) fn start(kind: Kind) -> Self {
        let dir = TempDir::new();
        let names = vec![HOST.to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let start = Instant::now();
        loop {
            let port = free_port();
            let mut child = match kind {
                Kind::Nginx => nginx(&dir, port),
                Kind::Caddy => caddy(&dir, port),
            };
            if is_ready(&mut child, port, &dir.join("cert.pem")) {
                return Self { child, port, dir };
            }
            child.kill().ok();
            child.wait().unwrap();
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(start.elapsed() < LIMIT, "{kind:?} does not start: {log}");
        }
    }

    /// Starts a server behind the proxy.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts a server with these flags behind the proxy.
    pub(crate) fn serve_with(&self, flags: &[&str]) -> Server {
        let mut command = tidings(&["serve", "--host", HOST, "--socket-mode", "0666"]);
        command
            .args(flags)
            .arg("--listen")
            .arg(format!("unix:{}", socket(&self.dir)))
            .arg("--store")
            .arg(self.dir.join("events.db"));
        Server::spawn(command)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx ends its worker only if it is asked to end.
        let pid = self.child.id().to_string();
        Command::new("kill")
            .args(["-s", "TERM", &pid])
            .status()
            .ok();
        let start = Instant::now();
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if start.elapsed() > LIMIT {
                self.child.kill().ok();
            }
            thread::sleep(Duration::from_millis(10));
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.dir.join("log"));
            eprintln!("the log of the proxy:\n{}", log.unwrap_or_default());
        }
    }
}

/// A port that is free now; another process may take it before the proxy does.
///
/// It is none that the system gives to clients: a connection to such a port, while nobody listens there, may
/// become one to itself.
fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).unwrap()
}

fn socket(dir: &Path) -> String {
    dir.join("tidings.sock").display().to_string()
}

/// Replaces texts of a file of `deploy/`, each of which must be there.
fn adapted(name: &str, changes: &[(&str, String)]) -> String {
    changes.iter().fold(deployed(name), |text, (from, to)| {
        assert!(text.contains(from), "{name} has no {from:?}");
        text.replace(from, to)
    })
}

fn nginx(dir: &Path, port: u16) -> Child {
    let shown = dir.display();
    let site = adapted(
        "nginx.conf",
        &[
            (SOCKET, socket(dir)),
            ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
            ("    listen [::]:443 ssl http2;\n", String::new()),
            ("/etc/ssl/events.example.pem", format!("{shown}/cert.pem")),
            ("/etc/ssl/events.example.key", format!("{shown}/key.pem")),
        ],
    );
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {shown}/{kind};\n"))
        .concat();
    let main = format!(
        "daemon off;\nworker_processes 1;\npid {shown}/pid;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{site}}}\n"
    );
    fs::write(dir.join("nginx.conf"), main).unwrap();
    // Its folder is not in each user's PATH.
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .args(["-e", "stderr", "-c"])
        .arg(dir.join("nginx.conf"));
    spawn(command, dir)
}

fn caddy(dir: &Path, port: u16) -> Child {
    let shown = dir.display();
    let address = format!(
        "https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {shown}/cert.pem {shown}/key.pem\n"
    );
    let site = adapted(
        "Caddyfile",
        &[("events.example {\n", address), (SOCKET, socket(dir))],
    );
    let main = format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\n{site}");
    fs::write(dir.join("Caddyfile"), main).unwrap();
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(dir.join("Caddyfile"))
        .env("XDG_CONFIG_HOME", dir)
        .env("XDG_DATA_HOME", dir);
    spawn(command, dir)
}

fn spawn(mut command: Command, dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}; install it", command.get_program()))
}

/// Waits until the proxy answers, or has ended.
fn is_ready(child: &mut Child, port: u16, certificate: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if curl::is_answered(port, certificate) {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}
