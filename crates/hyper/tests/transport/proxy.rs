use super::*;

fn through(port: u16) -> DirectTransport {
    let url = format!("http://user:secret@127.0.0.1:{port}");
    DirectTransport::new().proxy(&url).unwrap()
}

/// `user:secret`.
const AUTHORIZATION: &str = "proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n";

#[tokio::test]
async fn a_proxy_is_asked_for_the_whole_url() {
    let (listener, port) = listen().await;
    let url = "http://name:hidden@a.test/b?c";
    let transport = through(port);
    let serve = async { answer(accept(&listener).await).await };
    let (head, ()) = tokio::join!(serve, hear(&transport, url));
    assert!(
        head.starts_with("GET http://a.test/b?c HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: a.test\r\n"), "{head}");
    assert_eq!(head.matches(AUTHORIZATION).count(), 1, "{head}");
    assert!(!head.contains("hidden"), "{head}");
}

#[tokio::test]
async fn what_a_proxy_answers_is_the_response() {
    let (listener, port) = listen().await;
    let transport = through(port);
    let serve = async {
        let mut stream = accept(&listener).await;
        read_head(&mut stream).await;
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await.unwrap();
    };
    let (session, ()) = tokio::join!(open(&transport, "http://a.test/"), serve);
    let status = http::StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    assert_eq!(session.unwrap_err().kind(), &ErrorKind::Status(status));
}

/// Its half of SOCKS 5, as far as a connection that is allowed; where to.
async fn socks(stream: &mut TcpStream) -> String {
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, [5, 1, 0]);
    stream.write_all(&[5, 0]).await.unwrap();
    let mut request = [0; 5];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request[..4], [5, 1, 0, 3]);
    let mut host = vec![0; usize::from(request[4])];
    stream.read_exact(&mut host).await.unwrap();
    let port = stream.read_u16().await.unwrap();
    stream
        .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    format!("{}:{port}", String::from_utf8(host).unwrap())
}

#[tokio::test]
async fn socks_looks_names_up_itself_and_leads_to_the_server() {
    for scheme in ["socks5", "socks5h"] {
        let (listener, port) = listen().await;
        let transport = DirectTransport::new().proxy(&format!("{scheme}://127.0.0.1:{port}"));
        let transport = transport.unwrap();
        let serve = async {
            let mut stream = accept(&listener).await;
            assert_eq!(socks(&mut stream).await, "a.test:80");
            answer(stream).await
        };
        let (head, ()) = tokio::join!(serve, hear(&transport, "http://a.test/b"));
        assert!(head.starts_with("GET /b HTTP/1.1\r\n"), "{head}");
    }
}
