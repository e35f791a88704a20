//! TCP connections: addresses, errors and the connect timeout.

use tidings_client::ConnectError;

use super::*;

#[tokio::test]
async fn the_address_that_listens_is_found_among_several() {
    let (listener, port) = listen().await;
    let transport = DirectTransport::new().no_proxy();
    let url = format!("http://localhost:{port}/");
    tokio::join!(receive(&transport, &url), async {
        let head = answer(accept(&listener).await).await;
        assert!(
            head.contains(&format!("host: localhost:{port}\r\n")),
            "{head}"
        );
    });
}

#[tokio::test]
async fn a_connect_error_names_the_host_and_no_secret() {
    let (listener, port) = listen().await;
    drop(listener);
    let transport = DirectTransport::new().no_proxy();
    let url = format!("http://secret:secret@127.0.0.1:{port}/secret?secret=secret");
    let error = open(&transport, &url).await.unwrap_err();
    check_failed(&error, &format!("no TCP connection to 127.0.0.1:{port}"));
    let url = "http://secret@no-such-host.invalid/secret?secret";
    let error = open(&transport, url).await.unwrap_err();
    check_failed(&error, "the lookup of no-such-host.invalid failed");
}

/// A listener whose queue of connections is full answers no further one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_does_not_answer_times_out() {
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
    let expected = format!("no connection to {address} within 200ms");
    check_failed(&error, &expected);
    assert!(error.is_timeout());

    let url = format!("http://{address}/?secret").parse().unwrap();
    let opened = soon(transport.open_stream(&url, LIMIT)).await;
    let Err(ConnectError::Network(error)) = opened else {
        panic!("{opened:?}");
    };
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn the_connect_timeout_ends_once_the_connection_is_open() {
    let (listener, port) = listen().await;
    let client = client(DirectTransport::new().no_proxy()).connect_timeout(LIMIT);
    let url = format!("http://127.0.0.1:{port}/");
    let serve = async {
        let mut stream = accept(&listener).await;
        read_head(&mut stream).await;
        tokio::time::sleep(LIMIT * 2).await;
        stream.write_all(ANSWER.as_bytes()).await.unwrap();
    };
    let (session, ()) = tokio::join!(soon(client.get(url).open()), serve);
    assert_eq!(
        next(&mut session.unwrap()).await,
        Ok(Some("hello".to_owned()))
    );
}

#[test]
fn debug_shows_no_secret() {
    let transport = DirectTransport::new().proxy("http://secret:secret@localhost:1");
    let text = format!("{:?}", transport.unwrap());
    assert!(!text.contains("secret"), "{text}");
}
