//! Requests through an HTTP proxy, a tunnel and a SOCKS proxy.

use tidings_client::ConnectError;

use super::*;

fn through(port: u16) -> DirectTransport {
    let url = format!("http://user:secret@127.0.0.1:{port}");
    DirectTransport::new().proxy(&url).unwrap()
}

/// The header for `user:secret`.
const AUTHORIZATION: &str = "proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n";

#[tokio::test]
async fn a_proxy_receives_the_whole_url() {
    let (listener, port) = listen().await;
    let url = "http://name:hidden@a.test/b?c";
    let transport = through(port);
    let serve = async { answer(accept(&listener).await).await };
    let (head, ()) = tokio::join!(serve, receive(&transport, url));
    assert!(
        head.starts_with("GET http://a.test/b?c HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: a.test\r\n"), "{head}");
    assert_eq!(head.matches(AUTHORIZATION).count(), 1, "{head}");
    assert!(!head.contains("hidden"), "{head}");
}

#[tokio::test]
async fn the_answer_of_a_proxy_is_the_response() {
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

#[tokio::test]
async fn a_hand_set_header_for_the_proxy_replaces_that_of_its_url() {
    let (listener, port) = listen().await;
    let request = client(through(port)).get("http://a.test/");
    let request = request.header("proxy-authorization", "Bearer token");
    let serve = async { answer(accept(&listener).await).await };
    let (head, session) = tokio::join!(serve, soon(request.open()));
    session.unwrap();
    assert!(
        head.contains("proxy-authorization: Bearer token\r\n"),
        "{head}"
    );
    assert_eq!(head.matches("proxy-authorization").count(), 1, "{head}");
}

/// A SOCKS 5 proxy that allows the connection. Returns the requested host and port.
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
async fn a_socks_proxy_looks_the_name_up_and_connects() {
    for scheme in ["socks5", "socks5h"] {
        let (listener, port) = listen().await;
        let transport = DirectTransport::new().proxy(&format!("{scheme}://127.0.0.1:{port}"));
        let transport = transport.unwrap();
        let serve = async {
            let mut stream = accept(&listener).await;
            assert_eq!(socks(&mut stream).await, "a.test:80");
            answer(stream).await
        };
        let (head, ()) = tokio::join!(serve, receive(&transport, "http://a.test/b"));
        assert!(head.starts_with("GET /b HTTP/1.1\r\n"), "{head}");
    }
}

#[cfg(feature = "tls")]
mod tunnel {
    use super::*;
    use crate::tls::Authority;

    const URL: &str = "https://a.test/b?secret";

    /// Answers CONNECT with `answer`, and expects an error that contains `text`.
    async fn refuse(answer: &str, text: &str) {
        let (listener, port) = listen().await;
        let transport = through(port);
        let serve = async {
            let mut stream = accept(&listener).await;
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            closed(&mut stream).await;
        };
        let (session, ()) = tokio::join!(open(&transport, URL), serve);
        let error = session.unwrap_err();
        let refused = format!("the proxy 127.0.0.1:{port} did not connect to a.test:443");
        check_failed(&error, &refused);
        check_failed(&error, text);
    }

    #[tokio::test]
    async fn tls_goes_through_a_tunnel_and_the_server_sees_no_proxy_header() {
        let authority = Authority::new();
        let acceptor = authority.acceptor(&["a.test"]);
        let (listener, port) = listen().await;
        let transport = authority.trusted_by(through(port));
        let serve = async {
            let mut stream = accept(&listener).await;
            let connect = read_head(&mut stream).await;
            let ok = "HTTP/1.1 200 Connection established\r\n\r\n";
            stream.write_all(ok.as_bytes()).await.unwrap();
            (
                connect,
                answer(acceptor.accept(stream).await.unwrap()).await,
            )
        };
        let ((connect, head), ()) = tokio::join!(serve, receive(&transport, "https://a.test/b"));
        let connect = connect.to_lowercase();
        assert!(
            connect.starts_with("connect a.test:443 http/1.1\r\n"),
            "{connect}"
        );
        assert!(connect.contains("host: a.test:443\r\n"), "{connect}");
        assert!(connect.contains(&AUTHORIZATION.to_lowercase()), "{connect}");
        assert!(connect.contains("user-agent: tidings/"), "{connect}");
        assert!(head.starts_with("GET /b HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_lowercase().contains("proxy"), "{head}");
    }

    #[tokio::test]
    async fn a_hand_set_header_for_the_proxy_stays_outside_the_tunnel() {
        let authority = Authority::new();
        let acceptor = authority.acceptor(&["a.test"]);
        let (listener, port) = listen().await;
        let client = client(authority.trusted_by(through(port)));
        let request = client.get("https://a.test/b");
        let request = request.header("proxy-authorization", "Bearer token");
        let serve = async {
            let mut stream = accept(&listener).await;
            let connect = read_head(&mut stream).await;
            let ok = "HTTP/1.1 200 Connection established\r\n\r\n";
            stream.write_all(ok.as_bytes()).await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            (connect, answer(stream).await)
        };
        let ((connect, head), session) = tokio::join!(serve, soon(request.open()));
        session.unwrap();
        let connect = connect.to_lowercase();
        let header = "proxy-authorization: bearer token\r\n";
        assert!(connect.contains(header), "{connect}");
        assert_eq!(
            connect.matches("proxy-authorization").count(),
            1,
            "{connect}"
        );
        assert!(!head.to_lowercase().contains("proxy"), "{head}");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_a_connect_error() {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        refuse(refusal, "proxy authorization required").await;
        refuse("HTTP/1.1 502 Bad Gateway\r\n\r\n", "unsuccessful").await;
        refuse("HTTP/1.1 200 O", "unexpected end of file").await;
        refuse("garbage\r\n\r\n", "unsuccessful").await;
        refuse("", "unexpected end of file").await;
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(10_000));
        refuse(&endless, "proxy response headers too long").await;
    }

    #[tokio::test]
    async fn a_proxy_that_never_answers_times_out() {
        let (listener, port) = listen().await;
        let transport = through(port);
        let serve = async {
            let mut stream = accept(&listener).await;
            closed(&mut stream).await;
        };
        let (error, ()) = tokio::join!(open_within_limit(&transport, URL), serve);
        check_failed(&error, "no connection to a.test:443 within 200ms");
    }

    #[tokio::test]
    async fn a_dropped_wait_for_a_proxy_closes_its_socket() {
        let (listener, port) = listen().await;
        let opening = tokio::spawn(async move { open(&through(port), URL).await });
        let mut stream = accept(&listener).await;
        read_head(&mut stream).await;
        opening.abort();
        closed(&mut stream).await;
    }

    #[tokio::test]
    async fn tls_goes_through_socks_too() {
        let authority = Authority::new();
        let acceptor = authority.acceptor(&["a.test"]);
        let (listener, port) = listen().await;
        let transport = DirectTransport::new().proxy(&format!("socks5://127.0.0.1:{port}"));
        let transport = authority.trusted_by(transport.unwrap());
        let serve = async {
            let mut stream = accept(&listener).await;
            assert_eq!(socks(&mut stream).await, "a.test:443");
            answer(acceptor.accept(stream).await.unwrap()).await
        };
        tokio::join!(serve, receive(&transport, "https://a.test/b"));
    }
}

#[tokio::test]
async fn no_stream_is_opened_to_a_proxy_that_forwards_requests() {
    let (listener, port) = listen().await;
    let opened = through(port)
        .open_stream(&"http://a.test/".parse().unwrap(), SOON)
        .await;
    let Err(ConnectError::InvalidRequest(error)) = opened else {
        panic!("{opened:?}");
    };
    assert!(error.to_string().contains("https"), "{error}");
    // It has not connected.
    drop(
        TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap(),
    );
    assert_eq!(accept(&listener).await.read(&mut [0]).await.unwrap(), 0);
}
