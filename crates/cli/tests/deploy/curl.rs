//! `curl` as a client of a proxy.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::process::LIMIT;
use crate::proxy::{HOST, Proxy};

/// The command for a path of a proxy on this port, with this certificate.
fn curl(port: u16, certificate: &Path, path: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time"])
        .arg(LIMIT.as_secs().to_string())
        .arg("--cacert")
        .arg(certificate)
        .args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")])
        .arg(format!("https://{HOST}:{port}{path}"))
        .stdin(Stdio::null());
    curl
}

fn curl_to(proxy: &Proxy, path: &str, args: &[&str]) -> Command {
    let mut curl = curl(proxy.port(), &proxy.certificate(), path);
    curl.args(args);
    curl
}

/// Whether a proxy answers on this port.
pub(crate) fn is_answered(port: u16, certificate: &Path) -> bool {
    let output = curl(port, certificate, "/").output();
    output.unwrap().status.success()
}

/// The answer of a request: the head, with names in lower case, and the body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, expected: &str) -> &Self {
        assert_eq!(self.status(), expected, "{self:?}");
        self
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }
}

/// The whole answer to a request.
pub(crate) fn request(proxy: &Proxy, path: &str, args: &[&str]) -> Answer {
    let output = curl_to(proxy, path, args)
        .arg("--include")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout)
        .unwrap()
        .replace("\r\n", "\n");
    let (head, body) = text
        .split_once("\n\n")
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Answer {
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// A stream that is being read.
pub(crate) struct Stream {
    child: Child,
    lines: Receiver<String>,
}

impl Stream {
    /// Opens the stream of this path.
    pub(crate) fn open(proxy: &Proxy, path: &str, args: &[&str]) -> Self {
        let mut curl = curl_to(proxy, path, args);
        curl.arg("--no-buffer").stdout(Stdio::piped());
        let mut child = curl.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that begins with this, without it.
    pub(crate) fn next(&mut self, field: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|error| panic!("{field}: {error}"));
            if let Some(value) = line.strip_prefix(field) {
                return value.to_owned();
            }
        }
    }

    /// Whether the stream ends as it should, not by an error.
    pub(crate) fn ends_well(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Publishes a text, and returns its ID.
pub(crate) fn publish(proxy: &Proxy, path: &str, text: &str) -> String {
    let answer = request(proxy, path, &["--data-binary", text]);
    answer.assert_status("201");
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

/// Writes a file with this many bytes for a request.
pub(crate) fn body_of(path: &Path, bytes: usize) -> String {
    std::fs::write(path, vec![b'x'; bytes]).unwrap();
    format!("@{}", path.display())
}
