//! `tidings serve` over HTTPS: curl and our own clients, reloads, wrong files, and hostile beginnings.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tidings_testkit::temp_dir::TempDir;

use crate::process::{LIMIT, Server, serve_to_the_end, tidings};

/// The files of a server's certificate, and of the authority that has issued it.
pub(crate) struct Files {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            folder: TempDir::new(),
            authority: authority("first"),
        };
        files.write();
        files
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A new certificate of the authority, with a new key.
    fn write(&self) {
        self.write_with(&KeyPair::generate().unwrap());
    }

    /// A new certificate of the authority, with this key.
    pub(crate) fn write_with(&self, key: &KeyPair) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(key, &self.authority).unwrap();
        fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(self.path("ca.pem"), self.authority.as_ref().pem()).unwrap();
    }

    pub(crate) fn start(&self, flags: &[&str]) -> Server {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        let tls = ["--tls-cert", &certificate, "--tls-key", &key];
        Server::start(&[&tls, flags].concat())
    }

    /// Runs curl, which trusts the authority, with these arguments and this path of the server.
    pub(crate) fn curl(&self, server: &Server, arguments: &[&str], path: &str) -> Output {
        let output = self.curl_command(server, arguments, path).output();
        output.expect("curl is installed")
    }

    fn curl_command(&self, server: &Server, arguments: &[&str], path: &str) -> Command {
        let mut curl = Command::new("curl");
        let limit = LIMIT.as_secs().to_string();
        curl.args(["--silent", "--show-error", "--no-buffer", "--noproxy", "*"])
            .args(["--max-time", &limit, "--cacert", &self.path("ca.pem")])
            .args(arguments)
            .arg(format!("https://localhost:{}{path}", port(server)));
        curl
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn port(server: &Server) -> u16 {
    server.address().port()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The standard output of a process that must succeed.
#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{error}{}", output.status);
    out
}

/// A process that is killed when it is dropped, and the lines that it prints.
struct Lines {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Lines {
    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Reads until this line. The process has a time limit of its own.
    #[track_caller]
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        while line.trim_end() != expected {
            line.clear();
            let read = self.out.read_line(&mut line).unwrap();
            assert!(read > 0, "{expected:?} does not arrive");
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until the server has logged this.
fn expect_log(server: &Server, text: &str, times: usize) {
    let start = Instant::now();
    while server.log().matches(text).count() < times {
        assert!(start.elapsed() < LIMIT, "{text:?}: {}", server.log());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn curl_and_our_own_clients_publish_and_subscribe() {
    let files = Files::new();
    let mut server = files.start(&[]);
    assert!(server.listening().starts_with("https://127.0.0.1:"));
    // The printed lines work as they are.
    let publish = server.next_line();
    let line = publish.strip_prefix("publish: ").unwrap();
    let shell = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(succeeded(&shell).contains("\"id\""), "{shell:?}");
    assert!(server.next_line().contains(" https://localhost:"));

    let format = ["--write-out", "%{http_version}", "--output", "/dev/null"];
    let version =
        |more: &[&str]| succeeded(&files.curl(&server, &[&format, more].concat(), "/channels"));
    assert_eq!(version(&[]), "2");
    assert_eq!(version(&["--http1.1"]), "1.1");
    assert_eq!(version(&["--no-alpn"]), "1.1");

    let url = format!("https://localhost:{}/channels/news", port(&server));
    let authority = files.path("ca.pem");
    let trusting = |command: &str, more: &[&str]| {
        let mut client = tidings(&[command, "--cacert", &authority, &url]);
        succeeded(&client.args(more).output().unwrap())
    };
    trusting("publish", &["by our own client"]);
    let received = trusting("listen", &["--json", "--last", "2", "--count", "2"]);
    for data in ["hello", "by our own client"] {
        assert!(received.contains(data), "{received}");
    }
    for arguments in [&["--http2"][..], &["--http1.1"]] {
        let mut curl = files.curl_command(&server, arguments, "/channels/news?last=2");
        curl.stderr(Stdio::null());
        Lines::of(curl).expect("data: by our own client");
    }
    server.signal("TERM");
    assert!(server.wait(LIMIT).success());
}

#[test]
fn our_own_client_refuses_a_wrong_file() {
    let files = Files::new();
    let server = files.start(&[]);
    let url = format!("https://localhost:{}/channels/news", port(&server));
    for (file, expected) in [
        (files.path("key.pem"), "no certificate"),
        (files.path("missing.pem"), "cannot read the file"),
    ] {
        let arguments = ["listen", "--cacert", &file, &url];
        let refused = tidings(&arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let error = text(&refused.stderr);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn sighup_reloads_the_certificate_under_a_stream() {
    let mut files = Files::new();
    let server = files.start(&[]);
    let mut stream = Lines::of(files.curl_command(&server, &[], "/channels/news?from=earliest"));
    succeeded(&files.curl(&server, &["--data", "before"], "/channels/news"));
    stream.expect("data: before");

    let old = files.path("old-ca.pem");
    fs::copy(files.path("ca.pem"), &old).unwrap();
    files.authority = authority("second");
    files.write();
    server.signal("HUP");
    expect_log(&server, "the certificate is replaced", 1);
    succeeded(&files.curl(&server, &["--data", "after"], "/channels/news"));
    stream.expect("data: after");
    let refused = files.curl(&server, &["--cacert", &old], "/channels");
    // curl's code for a certificate that it does not trust.
    assert_eq!(refused.status.code(), Some(60), "{refused:?}");

    // A broken file keeps the certificate, and says so.
    for (number, broken) in ["no key", ""].into_iter().enumerate() {
        fs::write(files.path("key.pem"), broken).unwrap();
        server.signal("HUP");
        expect_log(&server, "the certificate stays as it was", number + 1);
        assert!(server.log().contains("the key text has no private key"));
        succeeded(&files.curl(&server, &["--data", "still"], "/channels/news"));
        stream.expect("data: still");
    }
    fs::remove_file(files.path("cert.pem")).unwrap();
    server.signal("HUP");
    expect_log(&server, "the certificate stays as it was", 3);
    succeeded(&files.curl(&server, &[], "/healthz"));
}

#[test]
fn http_on_the_port_is_answered_400() {
    let files = Files::new();
    let server = files.start(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("this port speaks HTTPS\r\n"), "{answer}");
}

#[test]
fn five_hundred_half_way_handshakes_delay_no_publisher_and_no_end() {
    let files = Files::new();
    let mut server = files.start(&["--drain", "1s"]);
    let mut half_way = Vec::new();
    for number in 0..500 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let begun = [22, 3, 1, 2, 0, 1, 0, 1, 252];
        stream.write_all(&begun[..number % 10]).unwrap();
        half_way.push(stream);
    }
    let mut stream = Lines::of(files.curl_command(&server, &[], "/channels/news?from=earliest"));
    for number in 0..5 {
        let data = number.to_string();
        succeeded(&files.curl(&server, &["--data", &data], "/channels/news"));
        stream.expect(&format!("data: {data}"));
    }
    server.signal("TERM");
    assert!(server.wait(LIMIT).success());
    drop(half_way);
}

#[test]
fn a_page_of_another_origin_is_refused_and_the_own_one_accepted() {
    let files = Files::new();
    let server = files.start(&[]);
    let status = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let arguments = [
            "--write-out",
            "%{http_code}",
            "--output",
            "/dev/null",
            "--header",
        ];
        let output = files.curl(&server, &[&arguments[..], &[&origin]].concat(), "/channels");
        succeeded(&output)
    };
    assert_eq!(
        status(&format!("https://localhost:{}", port(&server))),
        "200"
    );
    assert_eq!(status("https://evil.example"), "403");
    let foreign = ["--write-out", "%{http_code}", "--output", "/dev/null"];
    let host = ["--header", "Host: evil.example"];
    for version in ["--http2", "--http1.1"] {
        let arguments = [&foreign[..], &host, &[version]].concat();
        assert_eq!(
            succeeded(&files.curl(&server, &arguments, "/channels")),
            "403"
        );
    }
}

#[test]
fn over_https_the_cookie_of_the_page_is_secure_and_a_plain_one_does_not_count() {
    let files = Files::new();
    let key = files.path("tokens.jwk");
    succeeded(&tidings(&["key", &key]).output().unwrap());
    let grant = ["token", "--key", &key, "--subscribe", "news/*"];
    let token = succeeded(&tidings(&grant).output().unwrap());
    let token = token.trim();
    let server = files.start(&["--token-key", &key]);
    let bearer = format!("Authorization: Bearer {token}");
    let post = ["--include", "--request", "POST", "--header", &bearer];
    let opened = succeeded(&files.curl(&server, &post, "/session"));
    let cookie = format!("set-cookie: __Host-tidings-token={token};");
    let line = opened.lines().find(|line| line.starts_with(&cookie));
    assert!(line.unwrap().ends_with("; Secure"), "{line:?}");
    for (name, expected) in [("tidings-token", "401"), ("__Host-tidings-token", "200")] {
        let cookie = format!("Cookie: {name}={token}");
        let format = [
            "--write-out",
            "%{http_code}",
            "--output",
            "/dev/null",
            "--header",
        ];
        let output = files.curl(&server, &[&format[..], &[&cookie]].concat(), "/channels");
        assert_eq!(succeeded(&output), expected, "{name}");
    }
}

#[test]
fn wrong_files_and_flags_are_refused_with_a_clear_text() {
    let [files, other] = [Files::new(), Files::new()];
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| files.path(name));
    let (missing, foreign) = (files.path("missing.pem"), other.path("key.pem"));
    let socket = format!("unix:{}", files.path("socket"));
    let cases: [(i32, &[&str], &str); 5] = [
        (
            1,
            &["--tls-cert", &certificate, "--tls-key", &foreign],
            "does not fit the certificate",
        ),
        (
            1,
            &["--tls-cert", &missing, "--tls-key", &key],
            "cannot read",
        ),
        (2, &["--tls-cert", &certificate], "--tls-key"),
        (2, &["--tls-key", &key], "--tls-cert"),
        (
            2,
            &[
                "--listen",
                &socket,
                "--tls-cert",
                &certificate,
                "--tls-key",
                &key,
            ],
            "a Unix socket needs no TLS",
        ),
    ];
    for (code, arguments, expected) in cases {
        let listen = if arguments.contains(&"--listen") {
            &[][..]
        } else {
            &["--listen", "127.0.0.1:0"]
        };
        let output = serve_to_the_end(&[listen, arguments].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    }
}

#[test]
fn check_config_reads_all_files_and_writes_none() {
    let [files, other] = [Files::new(), Files::new()];
    let [certificate, key, store] =
        ["cert.pem", "key.pem", "events.db"].map(|name| files.path(name));
    // A port that is in use, as the server itself may run.
    let running = files.start(&[]);
    let address = running.address().to_string();
    let check = |key: &str, store: &str| {
        serve_to_the_end(&[
            "--check-config",
            "--listen",
            &address,
            "--tls-cert",
            &certificate,
            "--tls-key",
            key,
            "--store",
            store,
        ])
    };
    let good = check(&key, &store);
    let printed = succeeded(&good);
    let expected = format!(
        "listens on https://{address}\n\
         uses the certificate {certificate}\n\
         requires no tokens\n\
         keeps the events in {store}, a new file\n\
         the configuration is valid\n"
    );
    assert_eq!(printed, expected);
    assert!(!PathBuf::from(&store).exists());

    let folder = files.folder.display().to_string();
    let no_folder = files.path("missing/events.db");
    for (key, store, expected) in [
        (
            &other.path("key.pem"),
            &store,
            "does not fit the certificate",
        ),
        (&key, &folder, "is no file"),
        (&key, &no_folder, "does not exist"),
    ] {
        let bad = check(key, store);
        let error = text(&bad.stderr);
        assert_eq!(bad.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(bad.stdout.is_empty());
    }
}
