//! Response heads as real servers send them, byte for byte, over each transport with sockets.

use tidings::client::{ErrorKind, SseClient};
use tidings::hyper::DirectTransport;
use tidings::{Reconnect, reqwest as over_reqwest};
use tidings_testkit::server::{Script, ScriptedServer, Step};

use crate::subject::{receive, within};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

fn clients() -> [(&'static str, SseClient); 2] {
    let direct = SseClient::over(DirectTransport::new().no_proxy());
    [("direct", direct), ("reqwest", over_reqwest::client())]
}

/// The texts of the stream that follows this head, or the kind of the error; and the number of
/// requests that a client under `Reconnect::standard` sends for it.
async fn outcome(
    (name, client): &(&'static str, SseClient),
    head: &str,
    body: &str,
) -> (Result<Vec<String>, ErrorKind>, usize) {
    let answer = [Step::send(head), Step::send(body)];
    let server = ScriptedServer::plays([Script::answer(answer), Script::status(204, "")]);
    let listening = server.listen().await.unwrap();
    let client = client.clone().reconnect(Reconnect::standard());
    let client = client.reconnection_time(std::time::Duration::ZERO);
    let request = client.get(format!("http://{}/", listening.address));
    let outcome = match within(name, request.open()).await {
        Ok(mut session) => match receive(name, &mut session).await {
            (texts, None) => Ok(texts),
            (_, Some(kind)) => Err(kind),
        },
        Err(error) => Err(error.kind().clone()),
    };
    (outcome, server.connections())
}

/// Expects a stream after this head.
async fn check_opens(head: &str) {
    for client in clients() {
        let (outcome, _) = outcome(&client, head, "data: a\n\n").await;
        assert_eq!(outcome, Ok(vec!["a".to_owned()]), "{}: {head}", client.0);
    }
}

/// Expects an error after this head, and no other request.
async fn check_refused(head: &str, kind: ErrorKind) {
    for client in clients() {
        let outcome = outcome(&client, head, "data: a\n\n").await;
        assert_eq!(outcome, (Err(kind.clone()), 1), "{}: {head}", client.0);
    }
}

fn stream(lines: &str) -> String {
    format!("{STREAM}{lines}\r\n")
}

fn typed(content_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{content_type}\r\n\r\n")
}

#[tokio::test]
async fn a_name_that_is_no_coding_is_ignored() {
    for value in [
        "none",
        "utf-8",
        "UTF-8",
        "chunked",
        "",
        "identity",
        "binary",
        "*",
        "none, utf-8",
        "none\r\nContent-Encoding: identity",
        "text/event-stream",
        "\u{fc}",
    ] {
        check_opens(&stream(&format!("Content-Encoding: {value}\r\n"))).await;
    }
}

#[tokio::test]
async fn a_coding_that_is_not_decoded_is_refused_by_name() {
    for (value, coding) in [("deflate", "deflate"), ("none, X-Compress", "compress")] {
        let head = stream(&format!("Content-Encoding: {value}\r\n"));
        check_refused(&head, ErrorKind::ContentEncoding(coding)).await;
    }
}

#[tokio::test]
async fn the_last_valid_media_type_counts() {
    for lines in [
        "Content-Type: application/json, text/event-stream; charset=utf-8",
        "Content-Type: application/json\r\nContent-Type: text/event-stream",
        "Content-Type: text/event-stream, */*",
        "Content-Type: text/event-stream\r\nContent-Type: */*; q=0.1",
        "Content-Type: text/event-stream, nonsense",
        "Content-Type: text/html;x=\",text/plain,\", text/event-stream",
        "content-type: Text/Event-Stream;charset=latin1",
    ] {
        check_opens(&typed(lines)).await;
    }
    for (line, shown) in [
        (
            "Content-Type: text/event-stream;charset=utf-8, text/plain",
            "text/event-stream;charset=utf-8, text/plain",
        ),
        (
            "Content-Type: text/event-stream\r\nContent-Type: text/html",
            "text/event-stream, text/html",
        ),
        (
            "Content-Type: text/html;x=\",text/event-stream",
            "text/html;x=\",text/event-stream",
        ),
    ] {
        let kind = ErrorKind::ContentType(Some(shown.to_owned()));
        check_refused(&typed(line), kind).await;
    }
}

#[tokio::test]
async fn odd_header_lines_do_not_break_a_stream() {
    for head in [
        typed("Content-Type : text/event-stream"),
        typed("Content-Type\t:text/event-stream"),
        typed("Content-Type: text/event-stream;\r\n charset=utf-8"),
        typed("Content-Type:\r\n\ttext/event-stream"),
        stream("X-Folded: a\r\n\tb\r\n c\r\n"),
        stream("X-Control: a\u{1}b\r\n"),
        stream("X-Delete: a\u{7f}b\r\n"),
        stream("X Space: a\r\n"),
        stream("no colon\r\n"),
        stream(": no name\r\n"),
        stream(&"X-Many: 1\r\n".repeat(400)),
        stream(&format!("X-Long: {}\r\n", "x".repeat(200_000))),
        "HTTP/1.1 200\r\nCONTENT-TYPE: text/event-stream\r\n\r\n".to_owned(),
        "HTTP/1.1 200 \r\ncontent-type: text/event-stream\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\ncontent-type: text/event-stream\n\n".to_owned(),
        "HTTP/1.1 200 Alles gut \u{fc}\r\ncontent-type: text/event-stream\r\n\r\n".to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n{STREAM}\r\n"),
        stream("Transfer-Encoding: identity\r\n"),
        stream("Content-Length: 9\r\n"),
        stream("Content-Length: 9\r\nContent-Length: 9\r\n"),
    ] {
        check_opens(&head).await;
    }
}

#[tokio::test]
async fn a_content_type_with_a_control_character_is_none() {
    let head = typed("Content-Type: text/event-stream\u{1}");
    check_refused(&head, ErrorKind::ContentType(None)).await;
}

#[tokio::test]
async fn a_body_is_framed_by_its_chunks_before_its_length() {
    for client in clients() {
        let head = stream("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
        let body = "9\r\ndata: a\n\n\r\n0\r\n\r\n";
        let (outcome, _) = outcome(&client, &head, body).await;
        assert_eq!(outcome, Ok(vec!["a".to_owned()]), "{}", client.0);
    }
}

#[tokio::test]
async fn a_redirect_leads_to_the_bytes_that_the_server_names() {
    for (location, target) in [
        (&b"/gr\xf6\xdfe x?\xe9#y"[..], "/gr%F6%DFe%20x?%E9"),
        ("/größe".as_bytes(), "/gr%C3%B6%C3%9Fe"),
        (b"x\\y", "/a/x/y"),
        (b"\r\nLocation: /once", "/once"),
    ] {
        for (name, client) in clients() {
            let head = [
                b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: ",
                location,
            ];
            let head = [&head.concat()[..], b"\r\n\r\n"].concat();
            let redirect = Script::answer([Step::send(head)]);
            let server = ScriptedServer::plays([redirect, Script::status(204, "")]);
            let listening = server.listen().await.unwrap();
            let request = client.get(format!("http://{}/a/b", listening.address));
            within(name, request.open()).await.unwrap();
            assert_eq!(server.requests()[1].target(), target, "{name}");
        }
    }
}
