//! Servers that answer before they have read the request.

use tokio::io::duplex;
use tokio::sync::oneshot;

use super::*;

const BODY_BYTES: usize = 4_000_000;

/// The body of a request, in which no piece is like another.
fn body() -> Vec<u8> {
    (0..BODY_BYTES / 4)
        .flat_map(|n: usize| u32::try_from(n).unwrap().to_be_bytes())
        .collect()
}

/// Answers with an event, and reads the request's body after the client has received the event. Then
/// sends another event, and closes. Returns the body.
async fn answer_early(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    received: oneshot::Receiver<()>,
) -> Vec<u8> {
    read_head(&mut stream).await;
    stream.write_all(ANSWER.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    soon(received).await.unwrap();
    let mut body = vec![0; BODY_BYTES];
    soon(stream.read_exact(&mut body)).await.unwrap();
    stream.write_all(b"data: thanks\n\n").await.unwrap();
    stream.shutdown().await.unwrap();
    body
}

/// Sends the body, and receives both events.
async fn upload(transport: DirectTransport, url: &str, received: oneshot::Sender<()>) {
    let request = client(transport).post(url).body(body());
    let mut session = soon(request.open()).await.unwrap();
    assert_eq!(next(&mut session).await, Ok(Some("hello".to_owned())));
    received.send(()).unwrap();
    assert_eq!(next(&mut session).await, Ok(Some("thanks".to_owned())));
    assert_eq!(next(&mut session).await, Ok(None));
}

#[tokio::test]
async fn an_early_answer_does_not_cut_the_upload() {
    let (listener, port) = listen().await;
    let (sender, receiver) = oneshot::channel();
    let serve = async { answer_early(accept(&listener).await, receiver).await };
    let url = format!("http://127.0.0.1:{port}/");
    let upload = upload(DirectTransport::new().no_proxy(), &url, sender);
    let (sent, ()) = tokio::join!(serve, upload);
    assert!(sent == body());
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn an_early_answer_over_tls_does_not_cut_the_upload() {
    let authority = tls::Authority::new();
    let acceptor = authority.acceptor(&["127.0.0.1"]);
    let (listener, port) = listen().await;
    let (sender, receiver) = oneshot::channel();
    let serve = async {
        let stream = acceptor.accept(accept(&listener).await).await.unwrap();
        answer_early(stream, receiver).await
    };
    let transport = authority.trusted_by(DirectTransport::new().no_proxy());
    let url = format!("https://127.0.0.1:{port}/");
    let (sent, ()) = tokio::join!(serve, upload(transport, &url, sender));
    assert!(sent == body());
}

/// A transport over one pipe that holds this many bytes each way, and the server's end of it.
fn pipe(capacity: usize) -> (DirectTransport, tokio::io::DuplexStream) {
    let (pipe, server) = duplex(capacity);
    let pipe = std::sync::Mutex::new(Some(pipe));
    let transport = DirectTransport::over(move |_| {
        let pipe = pipe.lock().unwrap().take().unwrap();
        async { Ok(pipe) }
    });
    (transport, server)
}

#[tokio::test]
async fn each_event_is_delivered_while_the_upload_stalls() {
    let (transport, mut server) = pipe(512);
    let opening = client(transport).post("http://a.test/").body(body());
    let serve = async {
        read_head(&mut server).await;
        server.write_all(STREAM.as_bytes()).await.unwrap();
        server
    };
    let (session, mut server) = tokio::join!(soon(opening.open()), serve);
    let mut session = session.unwrap();
    for n in 0..100 {
        let event = format!("data: {n}\n\n");
        server.write_all(event.as_bytes()).await.unwrap();
        assert_eq!(next(&mut session).await, Ok(Some(n.to_string())));
    }
    // The server reads again, while the client waits for the next event.
    let mut sent = vec![0; BODY_BYTES];
    let serve = async {
        soon(server.read_exact(&mut sent)).await.unwrap();
        server.write_all(b"data: z\n\n").await.unwrap();
    };
    let (event, ()) = tokio::join!(next(&mut session), serve);
    assert_eq!(event, Ok(Some("z".to_owned())));
    assert!(sent == body());
}

#[tokio::test]
async fn the_answer_of_a_server_that_does_not_read_the_request_is_received_whole() {
    for framing in ["content-length: 27\r\n\r\n", "\r\n"] {
        let (transport, mut server) = pipe(512);
        let opening = client(transport).post("http://a.test/").body(body());
        let serve = async {
            read_head(&mut server).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
            let answer = format!("{head}{framing}data: a\n\ndata: b\n\ndata: c\n\n");
            server.write_all(answer.as_bytes()).await.unwrap();
            drop(server);
        };
        let (session, ()) = tokio::join!(soon(opening.open()), serve);
        let mut session = session.unwrap();
        for text in ["a", "b", "c"] {
            assert_eq!(next(&mut session).await, Ok(Some(text.to_owned())));
        }
        assert_eq!(next(&mut session).await, Ok(None));
    }
}
