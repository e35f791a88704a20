//! The head of a request as the transport completes it, and heads of responses that it refuses.

use super::*;

const AGENT: &str = concat!("user-agent: tidings/", env!("CARGO_PKG_VERSION"), "\r\n");

/// Opens a session with this client, and expects this error. The server answers with these bytes, once.
async fn refused(answer: &str) -> Error {
    let (listener, port) = listen().await;
    let transport = DirectTransport::over(move |_| TcpStream::connect(("127.0.0.1", port)));
    let serve = async {
        let mut stream = accept(&listener).await;
        read_head(&mut stream).await;
        // The client may close before it has read everything.
        stream.write_all(answer.as_bytes()).await.ok();
        stream
    };
    let (session, _stream) = tokio::join!(open(&transport, "http://a.test/"), serve);
    session.unwrap_err()
}

/// The head of this request.
async fn sent(request: impl Fn(SseClient, &str) -> tidings_client::RequestBuilder) -> String {
    let (listener, port) = listen().await;
    let client = client(DirectTransport::new().no_proxy());
    let request = request(client, &format!("http://127.0.0.1:{port}/"));
    let serve = async { answer(accept(&listener).await).await };
    let (head, session) = tokio::join!(serve, soon(request.open()));
    session.unwrap();
    head
}

#[tokio::test]
async fn a_request_names_its_agent_unless_the_caller_does() {
    let head = sent(|client, url| client.get(url)).await;
    assert_eq!(head.matches(AGENT).count(), 1, "{head}");
    let of_the_client = sent(|client, url| client.user_agent("news/1.0").get(url)).await;
    let of_the_request = sent(|client, url| client.get(url).header("user-agent", "news/1.0")).await;
    for head in [of_the_client, of_the_request] {
        assert!(head.contains("user-agent: news/1.0\r\n"), "{head}");
        assert_eq!(head.matches("user-agent").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn a_post_without_a_body_has_a_length() {
    for (method, expected) in [("POST", 1), ("PUT", 1), ("PATCH", 1), ("GET", 0)] {
        let head = sent(|client, url| client.request(method.parse().unwrap(), url)).await;
        assert!(head.starts_with(method), "{head}");
        assert_eq!(
            head.matches("content-length: 0\r\n").count(),
            expected,
            "{head}"
        );
    }
    let head = sent(|client, url| client.post(url).body("ab")).await;
    assert_eq!(head.matches("content-length: 2\r\n").count(), 1, "{head}");
}

#[tokio::test]
async fn a_hand_set_accept_is_the_only_one() {
    let both = "application/json, text/event-stream";
    let head = sent(|client, url| client.post(url).header("accept", both)).await;
    assert!(head.contains(&format!("accept: {both}\r\n")), "{head}");
    assert_eq!(head.matches("accept: ").count(), 1, "{head}");
}

#[tokio::test]
async fn a_coding_that_the_transport_does_not_decode_is_refused_by_name() {
    let codings: &[&str] = if cfg!(feature = "compression") {
        &["deflate", "compress", "dcb"]
    } else {
        &["deflate", "gzip", "br", "zstd"]
    };
    for coding in codings {
        let body = "content-length: 9\r\n\r\ndata: a\n\n";
        let stream = "content-type: text/event-stream\r\n";
        let encoding = format!("content-encoding: {coding}\r\n");
        let error = refused(&format!("HTTP/1.1 200 OK\r\n{stream}{encoding}{body}")).await;
        assert_eq!(error.kind(), &ErrorKind::ContentEncoding(coding));
        let error = refused(&format!("HTTP/1.1 404 No\r\n{encoding}{body}")).await;
        let status = http::StatusCode::NOT_FOUND;
        assert_eq!(error.kind(), &ErrorKind::Status(status));
        assert_eq!(error.response().unwrap().body(), "data: a\n\n");
    }
}

#[tokio::test]
async fn an_odd_head_may_arrive_byte_by_byte() {
    for head in [
        "HTTP/1.1 200\r\nContent-Type :\r\n\ttext/event-stream;\r\n x=y\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\nx-odd: \u{1}\nno colon\n content-type: x/y\ncontent-type: text/event-stream\n\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: x/y, text/event-stream\r\n\r\n",
    ] {
        let (client, mut server) = tokio::io::duplex(1);
        let client = std::sync::Mutex::new(Some(client));
        let transport = DirectTransport::over(move |_| {
            let client = client.lock().unwrap().take().unwrap();
            async { Ok(client) }
        });
        let serve = async {
            read_head(&mut server).await;
            server.write_all(head.as_bytes()).await.unwrap();
            server.write_all(b"data: hello\n\n").await.unwrap();
            server.shutdown().await.unwrap();
        };
        let receive = receive(&transport, "http://a.test/");
        tokio::join!(receive, serve);
    }
}

#[tokio::test]
async fn a_head_over_the_limits_is_refused() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    for lines in [
        "x-many: 1\r\n".repeat(600),
        format!("x-long: {}\r\n", "x".repeat(300_000)),
        // Without an end.
        "x-long: x\r\n".repeat(40_000),
    ] {
        let error = refused(&format!("{stream}{lines}\r\n")).await;
        check_failed(&error, "message head is too large");
    }
}

#[tokio::test]
async fn a_body_without_a_clear_end_is_a_failed_connect() {
    let stream = "200 OK\r\ncontent-type: text/event-stream\r\n";
    for head in [
        format!("HTTP/1.1 {stream}content-length: -1\r\n\r\n"),
        format!("HTTP/1.0 {stream}transfer-encoding: chunked\r\n\r\n"),
    ] {
        let error = refused(&head).await;
        assert!(error.is_connect(), "{head}: {}", chain(&error));
    }
}

#[tokio::test]
async fn a_head_that_browsers_refuse_is_a_failed_connect() {
    for head in [
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-nul: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let error = refused(head).await;
        assert!(error.is_connect(), "{head:?}: {}", chain(&error));
    }
}
