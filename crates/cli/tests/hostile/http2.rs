//! Hostile clients of HTTP/2: each is cut, takes bounded memory, and holds nobody up.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::process::{LIMIT, Server};
use crate::scenario::run;
use crate::watch::{await_open_files, memory, open_files};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How much memory the server may take for one client, and keep: its allocator keeps some.
const MEMORY: u64 = 32 << 20;

/// A server that speaks HTTPS, and a client's trust in it.
struct Https {
    server: Server,
    certificate: CertificateDer<'static>,
    _dir: TempDir,
}

impl Https {
    fn start(flags: &[&str]) -> Self {
        let dir = TempDir::new();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = ["cert.pem", "key.pem"].map(|name| dir.join(name).display().to_string());
        std::fs::write(&files[0], made.cert.pem()).unwrap();
        std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
        let tls = ["--tls-cert", &files[0], "--tls-key", &files[1]];
        Self {
            server: Server::start(&[&tls, flags].concat()),
            certificate: made.cert.der().clone(),
            _dir: dir,
        }
    }

    async fn connect(&self, protocol: &str) -> TlsStream<TcpStream> {
        let mut trusted = RootCertStore::empty();
        trusted.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = config.with_root_certificates(trusted).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let socket = TcpStream::connect(self.server.address()).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let connected = timeout(LIMIT, connector.connect(name, socket)).await;
        connected.unwrap().unwrap()
    }

    /// A connection over HTTP/2 that has sent its preface and these settings.
    async fn attacker(&self, settings: &[u8]) -> TlsStream<TcpStream> {
        let mut attacker = self.connect("h2").await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        write(&mut attacker, preface).await;
        write(&mut attacker, &frame(SETTINGS, 0, 0, settings)).await;
        attacker
    }

    /// The answer to another client's request.
    async fn request(&self, request: &str, body: &str) -> String {
        let mut client = self.connect("http/1.1").await;
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        write(&mut client, request.as_bytes()).await;
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        timeout(LIMIT, read).await.unwrap().unwrap();
        answer
    }

    async fn assert_serves(&self) {
        let answer = self.request("GET /healthz", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The fields of a GET of this path: `:method`, `:scheme`, `:path` and `:authority`.
fn get(path: &str) -> Vec<u8> {
    let mut fields = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend_from_slice(path.as_bytes());
    fields.extend_from_slice(b"\x01\x09localhost");
    fields
}

/// Returns whether the connection was open.
async fn write(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> bool {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    timeout(LIMIT, written)
        .await
        .expect("it is read or cut")
        .is_ok()
}

/// Reads until the server has ended the connection.
async fn read_to_the_end(stream: &mut TlsStream<TcpStream>) {
    let mut bytes = Vec::new();
    // A server that is written to after its end resets the connection.
    timeout(LIMIT, stream.read_to_end(&mut bytes))
        .await
        .expect("it is cut")
        .ok();
}

#[test]
fn a_client_that_resets_its_streams_at_once_is_cut() {
    run(100, async {
        let https = Https::start(&[]);
        https.assert_serves().await;
        let (files, before) = (open_files(&https.server), memory(&https.server));
        for _ in 0..20 {
            let mut attacker = https.attacker(&[]).await;
            let burst = |first: u32| {
                let streams = (first..first + 500).map(|number| 2 * number + 1);
                let frames = streams.flat_map(|stream| {
                    let fields = get("/channels/news");
                    let head = frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields);
                    [head, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                });
                frames.flatten().collect::<Vec<_>>()
            };
            let mut sent = 0;
            while sent < 50_000 && write(&mut attacker, &burst(sent)).await {
                sent += 500;
            }
            assert!(sent < 50_000, "all resets are read");
            read_to_the_end(&mut attacker).await;
            https.assert_serves().await;
        }
        await_open_files(&https.server, files).await;
        let grown = memory(&https.server).saturating_sub(before);
        assert!(grown < MEMORY, "{grown}");
    });
}

#[test]
fn a_head_that_never_ends_is_cut() {
    run(100, async {
        let https = Https::start(&[]);
        https.assert_serves().await;
        let before = memory(&https.server);
        for field in [&b""[..], b"\0\x01a\x01b"] {
            let mut attacker = https.attacker(&[]).await;
            let head = frame(HEADERS, END_STREAM, 1, &get("/channels/news"));
            write(&mut attacker, &head).await;
            let continued = frame(CONTINUATION, 0, 1, field).repeat(1_000);
            let mut sent = 0;
            while write(&mut attacker, &continued).await {
                sent += continued.len();
                assert!(sent < 16 << 20, "{sent} bytes of a head are read");
            }
            https.assert_serves().await;
        }
        let grown = memory(&https.server).saturating_sub(before);
        assert!(grown < MEMORY, "{grown}");
    });
}

#[test]
fn streams_whose_windows_stay_shut_are_cut() {
    run(100, async {
        let flags = ["--write-deadline", "2s", "--request-time", "2s"];
        let https = Https::start(&flags);
        for _ in 0..20 {
            let data = "x".repeat(100_000);
            let answer = https.request("POST /channels/news", &data).await;
            assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        }
        let (files, before) = (open_files(&https.server), memory(&https.server));
        // The window of each stream begins at 0.
        let mut attacker = https.attacker(&[0, 4, 0, 0, 0, 0]).await;
        for number in 0..100 {
            let fields = get("/channels/news?from=earliest");
            let head = frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &fields);
            write(&mut attacker, &head).await;
        }
        https.assert_serves().await;
        read_to_the_end(&mut attacker).await;
        await_open_files(&https.server, files).await;
        https.assert_serves().await;
        let grown = memory(&https.server).saturating_sub(before);
        assert!(grown < MEMORY, "{grown}");
    });
}
