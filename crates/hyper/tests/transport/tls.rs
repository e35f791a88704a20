//! TLS: trusted and refused certificates, handshakes that fail, and redirects to https.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidings_hyper::{ConnectFailure, ConnectFailureKind};
use tokio_rustls::TlsAcceptor;

use super::*;

/// How many authorities exist: the number of each is its name.
static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// The certificate authority of a test's servers.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        let name = AUTHORITIES.fetch_add(1, Ordering::Relaxed).to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn trusted_by(&self, transport: DirectTransport) -> DirectTransport {
        transport.add_root_certificate(self.der()).unwrap()
    }

    fn der(&self) -> &[u8] {
        self.0.as_ref().der()
    }

    fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A server with a certificate for these names, which prefers HTTP/2.
    pub(crate) fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config).into()
    }
}

fn direct() -> DirectTransport {
    DirectTransport::new().no_proxy()
}

/// Receives an event at `host` from a server with a certificate of this authority.
async fn check_received(transport: &DirectTransport, authority: &Authority, host: &str) {
    let acceptor = authority.acceptor(&["localhost", "127.0.0.1"]);
    let (listener, port) = listen().await;
    let serve = async {
        let stream = acceptor.accept(accept(&listener).await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        answer(stream).await
    };
    let url = format!("https://user:secret@{host}:{port}/a?b");
    let (head, ()) = tokio::join!(serve, receive(transport, &url));
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {host}:{port}\r\n")), "{head}");
}

pub(crate) async fn check_own_authority() {
    let authority = Authority::new();
    check_received(&authority.trusted_by(direct()), &authority, "localhost").await;
}

/// Expects an error that contains `text` for a certificate with this name, of an authority that is
/// trusted or not.
async fn check_refused(name: &str, is_trusted: bool, text: &str) {
    let authority = Authority::new();
    let trusted = if is_trusted {
        &authority
    } else {
        &Authority::new()
    };
    let transport = trusted.trusted_by(direct());
    let acceptor = authority.acceptor(&[name]);
    let (listener, port) = listen().await;
    let url = format!("https://localhost:{port}/?secret");
    let serve = async { acceptor.accept(accept(&listener).await).await.is_err() };
    let (session, _) = tokio::join!(open(&transport, &url), serve);
    let error = session.unwrap_err();
    let refused = format!("the certificate of localhost:{port} was refused");
    check_failed(&error, &refused);
    check_failed(&error, text);
    assert_eq!(failed_step(&error), ConnectFailureKind::Certificate);
}

fn failed_step(error: &Error) -> ConnectFailureKind {
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let failure = causes.find_map(|cause| cause.downcast_ref::<ConnectFailure>());
    failure.unwrap().kind()
}

#[tokio::test]
async fn an_opened_stream_has_tls_and_carries_no_request() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["localhost"]);
    let (listener, port) = listen().await;
    let url = format!("https://user:secret@localhost:{port}/?secret")
        .parse()
        .unwrap();
    let transport = authority.trusted_by(direct());
    let serve = async { acceptor.accept(accept(&listener).await).await.unwrap() };
    let opened = soon(async { tokio::join!(transport.open_stream(&url, SOON), serve) });
    let (stream, mut server) = opened.await;
    let mut stream = stream.unwrap();
    stream.write_all(b"ping").await.unwrap();
    stream.flush().await.unwrap();
    let mut received = [0; 4];
    soon(server.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"ping");
    let other = direct()
        .open_stream(&"ftp://localhost/".parse().unwrap(), SOON)
        .await;
    assert!(matches!(
        other,
        Err(tidings_client::ConnectError::InvalidRequest(_))
    ));
}

#[tokio::test]
async fn a_root_certificate_of_your_own_is_trusted() {
    let authority = Authority::new();
    check_received(&authority.trusted_by(direct()), &authority, "localhost").await;
    check_received(&authority.trusted_by(direct()), &authority, "127.0.0.1").await;
    let both = Authority::new().pem() + &authority.pem();
    let transport = direct().add_root_certificate(both.as_bytes()).unwrap();
    check_received(&transport, &authority, "localhost").await;
    // A later setting replaces the configuration of the first connection.
    let other = Authority::new();
    check_received(&other.trusted_by(transport), &other, "localhost").await;
}

#[tokio::test]
async fn a_tls_configuration_is_restricted_to_http_1() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.as_ref().der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let transport = direct().tls_config(config).unwrap();
    check_received(&transport, &authority, "localhost").await;
}

#[test]
fn a_tls_configuration_of_another_type_is_refused() {
    let error = direct().tls_config("rustls").unwrap_err();
    let expected = "a TLS configuration must be a `rustls::ClientConfig` of rustls 0.23";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_untrusted_certificate_is_an_error_with_the_reason() {
    check_refused("other.test", true, "not valid for name").await;
    check_refused("localhost", false, "UnknownIssuer").await;
}

#[test]
fn bytes_without_a_certificate_are_refused() {
    let cut = Authority::new().der()[..100].to_vec();
    let wrong = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let key = KeyPair::generate().unwrap().serialize_pem();
    for bytes in [b"", &cut[..], b"garbage", wrong.as_bytes(), key.as_bytes()] {
        assert!(direct().add_root_certificate(bytes).is_err(), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_failed_handshake_is_a_connect_error() {
    for (garbage, expected, step) in [
        ("", "the TLS handshake with", ConnectFailureKind::Handshake),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "does not speak TLS",
            ConnectFailureKind::NoTls,
        ),
    ] {
        let (listener, port) = listen().await;
        let serve = async {
            let mut stream = accept(&listener).await;
            stream.write_all(garbage.as_bytes()).await.unwrap();
            // The first byte of the client's hello.
            stream.read_u8().await.unwrap();
        };
        let url = format!("https://localhost:{port}/?secret");
        let transport = direct();
        let (session, ()) = tokio::join!(open(&transport, &url), serve);
        let error = session.unwrap_err();
        check_failed(&error, expected);
        check_failed(&error, &format!("localhost:{port}"));
        assert_eq!(failed_step(&error), step);
    }
}

#[tokio::test]
async fn a_stalled_handshake_times_out() {
    let (listener, port) = listen().await;
    let transport = direct();
    let url = format!("https://localhost:{port}/?secret");
    let serve = async { closed(&mut accept(&listener).await).await };
    // On a busy machine, the time until the handshake begins is more than `LIMIT`.
    let client = client(transport).connect_timeout(Duration::from_secs(2));
    let (session, ()) = tokio::join!(soon(client.get(&url).open()), serve);
    let error = session.unwrap_err();
    assert!(error.is_timeout(), "{}", chain(&error));
    let expected = format!("no connection to localhost:{port} within 2s");
    check_failed(&error, &expected);
}

#[tokio::test]
async fn a_dropped_handshake_closes_its_socket() {
    let (listener, port) = listen().await;
    let url = format!("https://localhost:{port}/");
    let opening = tokio::spawn(async move { open(&direct(), &url).await });
    let mut stream = accept(&listener).await;
    stream.read_u8().await.unwrap();
    opening.abort();
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_stream_cut_without_close_notify_is_an_error() {
    let authority = Authority::new();
    let transport = authority.trusted_by(direct());
    let acceptor = authority.acceptor(&["localhost"]);
    let (listener, port) = listen().await;
    let serve = async {
        let mut stream = acceptor.accept(accept(&listener).await).await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(ANSWER.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // No close_notify: anyone on the path can cut a connection in this way.
        stream.into_inner().0.shutdown().await.unwrap();
    };
    let read = async {
        let url = format!("https://localhost:{port}/");
        let mut session = open(&transport, &url).await.unwrap();
        assert_eq!(next(&mut session).await, Ok(Some("hello".to_owned())));
        assert_eq!(next(&mut session).await, Err(ErrorKind::Interrupted));
    };
    tokio::join!(serve, read);
}

#[tokio::test]
async fn redirects_are_followed_from_http_to_https() {
    let authority = Authority::new();
    let transport = authority.trusted_by(direct());
    let acceptor = authority.acceptor(&["localhost"]);
    let ((plain, plain_port), (secure, port)) = (listen().await, listen().await);
    let redirect = async |mut stream: Box<dyn Duplex>| {
        let head = read_head(&mut stream).await;
        let location = format!("https://localhost:{port}/next");
        let answer =
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        head
    };
    let serve = async {
        redirect(Box::new(accept(&plain).await)).await;
        let tls = async || acceptor.accept(accept(&secure).await).await.unwrap();
        redirect(Box::new(tls().await)).await;
        answer(tls().await).await
    };
    let url = format!("http://localhost:{plain_port}/");
    let (head, ()) = tokio::join!(serve, receive(&transport, &url));
    assert!(head.starts_with("GET /next HTTP/1.1\r\n"), "{head}");
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Unpin> Duplex for IO {}
