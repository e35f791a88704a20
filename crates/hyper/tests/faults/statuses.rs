//! Every status, and media types other than `text/event-stream`.

use http::StatusCode;
use tidings_client::{ErrorKind, Reconnect};
use tidings_testkit::server::{Script, ScriptedServer, Step};

use crate::scene::{URL, client, open_and_collect};

#[tokio::test(start_paused = true)]
async fn every_status_except_200_ends_the_session_with_one_request() {
    for status in 201..600 {
        let server = ScriptedServer::plays([Script::status(
            status,
            "content-type: text/event-stream\r\n",
        )]);
        let outcome = open_and_collect(&client(&server, Reconnect::standard())).await;
        let expected =
            (status != 204).then(|| ErrorKind::Status(StatusCode::from_u16(status).unwrap()));
        assert_eq!(outcome, (Vec::new(), expected));
        assert_eq!(server.connections(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_media_type_or_none_ends_the_session() {
    for (line, found) in [
        ("content-type: text/plain\r\n", Some("text/plain")),
        (
            "content-type: text/event-streams\r\n",
            Some("text/event-streams"),
        ),
        ("content-type: \r\n", Some("")),
        ("", None),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{line}content-length: 2\r\n\r\nno");
        let server = ScriptedServer::plays([Script::answer([Step::send(head)])]);
        let request = client(&server, Reconnect::standard()).get(URL);
        let error = request.open().await.unwrap_err();
        let expected = ErrorKind::ContentType(found.map(str::to_owned));
        assert_eq!(error.kind(), &expected);
        assert_eq!(error.response().unwrap().body(), "no");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_media_type_is_compared_without_case_and_parameters() {
    for value in [
        "TEXT/Event-Stream",
        "text/event-stream;charset=latin1",
        "text/event-stream ; x=y",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {value}\r\n\r\n");
        let steps = [Step::send(head), Step::send("data: é\n\n")];
        let server = ScriptedServer::plays([Script::answer(steps)]);
        let outcome = open_and_collect(&client(&server, Reconnect::off())).await;
        assert_eq!(outcome, (vec!["é".into()], None), "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn interim_responses_are_skipped() {
    let steps = [
        Step::send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        Step::head(),
        Step::send("data: a\n\n"),
    ];
    let server = ScriptedServer::plays([Script::answer(steps)]);
    let outcome = open_and_collect(&client(&server, Reconnect::off())).await;
    assert_eq!(outcome, (vec!["a".into()], None));
}
