use super::*;

#[tokio::test]
async fn of_several_addresses_the_one_that_listens_is_found() {
    let (listener, port) = listen().await;
    let transport = DirectTransport::new().no_proxy();
    let url = format!("http://localhost:{port}/");
    tokio::join!(hear(&transport, &url), async {
        let head = answer(accept(&listener).await).await;
        assert!(
            head.contains(&format!("host: localhost:{port}\r\n")),
            "{head}"
        );
    });
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_as_such_and_no_secret_with_it() {
    let (listener, port) = listen().await;
    drop(listener);
    let transport = DirectTransport::new().no_proxy();
    for url in [
        format!("http://secret:secret@127.0.0.1:{port}/secret?secret=secret"),
        "http://secret@no-such-host.invalid/secret?secret".to_owned(),
    ] {
        let error = open(&transport, &url).await.unwrap_err();
        check_failed(&error, "the server could not be reached");
    }
}

/// A queue of connections that is full answers none.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(LIMIT, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }

    let transport = DirectTransport::new().no_proxy();
    let error = open_within_limit(&transport, &format!("http://{address}/?secret")).await;
    check_failed(&error, "the connection was not made within 200ms");
}

#[tokio::test]
async fn the_connect_timeout_ends_with_the_connection() {
    let (listener, port) = listen().await;
    let client = client(DirectTransport::new().no_proxy()).connect_timeout(LIMIT);
    let url = format!("http://127.0.0.1:{port}/");
    let serve = async {
        let mut stream = accept(&listener).await;
        read_head(&mut stream).await;
        tokio::time::sleep(LIMIT * 2).await;
        stream.write_all(HEARD.as_bytes()).await.unwrap();
    };
    let (session, ()) = tokio::join!(soon(client.get(url).open()), serve);
    assert_eq!(
        next(&mut session.unwrap()).await,
        Ok(Some("heard".to_owned()))
    );
}

#[test]
fn debug_tells_no_secret() {
    let transport = DirectTransport::new().proxy("http://secret:secret@localhost:1");
    let text = format!("{:?}", transport.unwrap());
    assert!(!text.contains("secret"), "{text}");
}
