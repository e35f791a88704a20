//! A certificate that is replaced while the server runs.

use tokio::net::TcpStream;

use crate::app::{Client, Server};
use crate::trust::{Authority, connect};

#[tokio::test]
async fn new_connections_have_the_new_certificate_and_open_ones_continue() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let tls = old.tls();
    let server = Server::start(|serve| serve.tls(&tls)).await;
    let socket = async || TcpStream::connect(server.address).await.unwrap();
    let stream = connect(&old.client(&[]), socket().await).await.unwrap();
    let mut open = Client::over(stream, "/echo").await;
    open.read_until("101 Switching Protocols").await;
    new.issue().replace(&tls);
    connect(&old.client(&[]), socket().await).await.unwrap_err();
    connect(&new.client(&[]), socket().await).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut open.stream, b"still open")
        .await
        .unwrap();
    open.read_until("still open").await;
}

#[tokio::test]
async fn a_broken_certificate_keeps_the_old_one() {
    let authority = Authority::new("a");
    let [first, second] = [authority.issue(), authority.issue()];
    let tls = first.tls();
    let server = Server::start(|serve| serve.tls(&tls)).await;
    for (certificate, key) in [
        ("", &*second.key),
        (&*second.certificate, &*first.key),
        ("-----BEGIN CERTIFICATE-----", ""),
    ] {
        tls.replace(certificate.as_bytes(), key.as_bytes())
            .unwrap_err();
        let socket = TcpStream::connect(server.address).await.unwrap();
        let stream = connect(&authority.client(&[]), socket).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let pem = first.certificate.as_bytes();
        let expected = rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap();
        assert_eq!(shown, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_fails_while_certificates_are_replaced() {
    let authority = Authority::new("a");
    let tls = authority.tls();
    let mut server = Server::start(|serve| serve.tls(&tls)).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (connector, address) = (authority.client(&[]), server.address);
        clients.push(tokio::spawn(async move {
            for _ in 0..25 {
                let socket = TcpStream::connect(address).await.unwrap();
                let stream = connect(&connector, socket).await.unwrap();
                Client::over(stream, "/quiet")
                    .await
                    .read_until("data: hello")
                    .await;
            }
        }));
    }
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        authority.issue().replace(&tls);
        tokio::task::yield_now().await;
    }
    for client in clients {
        client.await.unwrap();
    }
    server
        .expect_reports(&crate::app::Report::Dropped, 100)
        .await;
}
