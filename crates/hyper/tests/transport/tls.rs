use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Each has a name of its own.
static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// Who vouches for the servers of a test.
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

    /// A server with a certificate for these names, which would rather speak HTTP/2.
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

/// Hears an event of a server for these names at `host`.
async fn check_heard(transport: &DirectTransport, authority: &Authority, host: &str) {
    let acceptor = authority.acceptor(&["localhost", "127.0.0.1"]);
    let (listener, port) = listen().await;
    let serve = async {
        let stream = acceptor.accept(accept(&listener).await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        answer(stream).await
    };
    let url = format!("https://user:secret@{host}:{port}/a?b");
    let (head, ()) = tokio::join!(serve, hear(transport, &url));
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {host}:{port}\r\n")), "{head}");
}

pub(crate) async fn check_own_authority() {
    let authority = Authority::new();
    check_heard(&authority.trusted_by(direct()), &authority, "localhost").await;
}

/// What becomes of a server for this name that this authority vouches for, or another.
async fn check_refused(name: &str, is_known: bool, says: &str) {
    let authority = Authority::new();
    let known = if is_known {
        &authority
    } else {
        &Authority::new()
    };
    let transport = known.trusted_by(direct());
    let acceptor = authority.acceptor(&[name]);
    let (listener, port) = listen().await;
    let url = format!("https://localhost:{port}/?secret");
    let serve = async { acceptor.accept(accept(&listener).await).await.is_err() };
    let (session, _) = tokio::join!(open(&transport, &url), serve);
    let error = session.unwrap_err();
    check_failed(&error, "no TLS with the server");
    check_failed(&error, says);
}

#[tokio::test]
async fn a_server_is_trusted_by_an_own_authority() {
    let authority = Authority::new();
    check_heard(&authority.trusted_by(direct()), &authority, "localhost").await;
    check_heard(&authority.trusted_by(direct()), &authority, "127.0.0.1").await;
    let both = Authority::new().pem() + &authority.pem();
    let transport = direct().add_root_certificate(both.as_bytes()).unwrap();
    check_heard(&transport, &authority, "localhost").await;
    // What was made for the first connection does not outlive a setting.
    let other = Authority::new();
    check_heard(&other.trusted_by(transport), &other, "localhost").await;
}

#[tokio::test]
async fn a_whole_configuration_speaks_http_1_all_the_same() {
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
    check_heard(&direct().tls_config(config), &authority, "localhost").await;
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_an_error_that_says_why() {
    check_refused("other.test", true, "not valid for name").await;
    check_refused("localhost", false, "UnknownIssuer").await;
}

#[test]
fn what_is_no_certificate_is_refused() {
    let cut = Authority::new().der()[..100].to_vec();
    let wrong = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let key = KeyPair::generate().unwrap().serialize_pem();
    for bytes in [b"", &cut[..], b"garbage", wrong.as_bytes(), key.as_bytes()] {
        assert!(direct().add_root_certificate(bytes).is_err(), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_breaks_is_an_error_of_the_network() {
    for garbage in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (listener, port) = listen().await;
        let serve = async {
            let mut stream = accept(&listener).await;
            stream.write_all(garbage.as_bytes()).await.unwrap();
            // Of what the client says first.
            stream.read_u8().await.unwrap();
        };
        let url = format!("https://localhost:{port}/?secret");
        let transport = direct();
        let (session, ()) = tokio::join!(open(&transport, &url), serve);
        check_failed(&session.unwrap_err(), "no TLS with the server");
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() {
    let (listener, port) = listen().await;
    let transport = direct();
    let url = format!("https://localhost:{port}/?secret");
    let serve = async { closed(&mut accept(&listener).await).await };
    let (error, ()) = tokio::join!(open_within_limit(&transport, &url), serve);
    check_failed(&error, "the connection was not made within 200ms");
}

#[tokio::test]
async fn who_stops_waiting_for_a_handshake_closes_its_socket() {
    let (listener, port) = listen().await;
    let url = format!("https://localhost:{port}/");
    let opening = tokio::spawn(async move { open(&direct(), &url).await });
    let mut stream = accept(&listener).await;
    stream.read_u8().await.unwrap();
    opening.abort();
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_stream_that_is_cut_without_a_word_is_an_error() {
    let authority = Authority::new();
    let transport = authority.trusted_by(direct());
    let acceptor = authority.acceptor(&["localhost"]);
    let (listener, port) = listen().await;
    let serve = async {
        let mut stream = acceptor.accept(accept(&listener).await).await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(HEARD.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // No close_notify: anybody on the way can cut a connection so.
        stream.into_inner().0.shutdown().await.unwrap();
    };
    let hear = async {
        let url = format!("https://localhost:{port}/");
        let mut session = open(&transport, &url).await.unwrap();
        assert_eq!(next(&mut session).await, Ok(Some("heard".to_owned())));
        assert_eq!(next(&mut session).await, Err(ErrorKind::Network));
    };
    tokio::join!(serve, hear);
}

#[tokio::test]
async fn a_redirect_leads_from_http_to_https_and_on() {
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
    let (head, ()) = tokio::join!(serve, hear(&transport, &url));
    assert!(head.starts_with("GET /next HTTP/1.1\r\n"), "{head}");
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Unpin> Duplex for IO {}
