//! `tidings listen`: what it asks for, what it prints, and how it ends.

use crate::program::{run, run_unread};
use crate::scripted_server::{Answer, PROBLEM, STREAM, ScriptedServer};

const END: Answer = (204, &[], "");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_a_line_and_a_stranger_cannot_control_the_terminal() {
    let stream = "retry: 200\nid: a.1.AAAA\nevent: note\ndata: one\ndata: two\n\n\
        id: a.2.AAAA\ndata: \u{1b}[2J\u{9b}1m\u{202e}\t\n\n";
    let server = ScriptedServer::start(&[(200, STREAM, stream), END]).await;
    let outcome = run(&["listen", &server.url("/channels/news")], "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome.stdout,
        "a.1.AAAA\tnote\tone\\ntwo\n\
         a.2.AAAA\tmessage\t\\u{1b}[2J\\u{9b}1m\\u{202e}\\t\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_has_a_line_for_each_event_and_for_each_gap() {
    let stream = "retry: 200\nid: a.1.AAAA.rooms/7\ndata: \u{9b}1m\n\n\
        event: gap\nid: a.9.AAAA\n\
        data: {\"requested\":null,\"resumed\":\"a.9.AAAA\",\"reason\":\"slow\",\"missed\":8}\n\n";
    let server = ScriptedServer::start(&[(200, STREAM, stream), END]).await;
    let outcome = run(&["listen", "--json", &server.url("/events")], "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"id":"a.1.AAAA.rooms/7","event":"message","data":"\u009b1m","channel":"rooms/7"}"#
    );
    let gap: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(gap["id"], "a.9.AAAA");
    assert_eq!(gap["gap"]["missed"], 8);
    assert_eq!(lines.len(), 2);
    assert!(
        outcome
            .stderr
            .contains("tidings: at most 8 events are missing (slow)\n"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_stream_is_resumed_and_reported() {
    let script = [
        (200, STREAM, "retry: 200\nid: a.1.AAAA\ndata: 1\n\n"),
        (503, &[], "busy"),
        // The first is a repetition.
        (
            200,
            STREAM,
            "id: a.1.AAAA\ndata: 1\n\nid: a.2.AAAA\ndata: 2\n\n",
        ),
        END,
    ];
    let server = ScriptedServer::start(&script).await;
    let outcome = run(&["listen", &server.url("/channels/news?from=earliest")], "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome.stdout,
        "a.1.AAAA\tmessage\t1\na.2.AAAA\tmessage\t2\n"
    );
    for note in [
        "tidings: the server ended the stream; connecting again in 0.",
        " 503 Service Unavailable: busy; connecting again in ",
        "tidings: connected again\n",
    ] {
        assert!(outcome.stderr.contains(note), "{note}\n{}", outcome.stderr);
    }
    let asked = server.asked();
    let ids: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header("last-event-id"))
        .collect();
    assert_eq!(ids, ["", "a.1.AAAA", "a.1.AAAA", "a.2.AAAA"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_after_the_count_which_gaps_do_not_count_for() {
    let stream = "event: gap\nid: a.9.AAAA\n\
        data: {\"requested\":null,\"resumed\":\"a.9.AAAA\",\"reason\":\"trimmed\",\"missed\":null}\n\n\
        data: 1\n\ndata: 2\n\ndata: 3\n\n";
    let server = ScriptedServer::start(&[(200, STREAM, stream)]).await;
    let outcome = run(
        &["listen", &server.url("/channels/news"), "--count", "2"],
        "",
    )
    .await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let data: Vec<&str> = outcome
        .stdout
        .lines()
        .map(|line| line.rsplit('\t').next().unwrap())
        .collect();
    assert_eq!(data[1..], ["1", "2"]);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_is_sent_as_the_server_reads_it() {
    let server = ScriptedServer::start(&[END, END]).await;
    let url = server.url("/channels/gr%C3%B6%C3%9Fe");
    let time = "2026-11-28T10:00:00Z";
    let arguments = [
        "listen",
        &url,
        "--from",
        time,
        "--last-event-id",
        "a.1.AAAA",
    ];
    assert_eq!(run(&arguments, "").await.code, Some(0));
    assert_eq!(
        run(&["listen", &url, "--last", "50"], "").await.code,
        Some(0)
    );
    let asked = server.asked();
    let query = asked[0].uri.query().unwrap().as_bytes();
    let from = form_urlencoded::parse(query).next().unwrap();
    assert_eq!((&*from.0, &*from.1), ("from", time));
    assert_eq!(asked[0].header("last-event-id"), "a.1.AAAA");
    assert_eq!(asked[0].uri.path(), "/channels/gr%C3%B6%C3%9Fe");
    assert_eq!(asked[1].uri.query(), Some("last=50"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_as_large_as_a_server_allows_is_printed() {
    let text = "x".repeat(17 << 20);
    let stream = format!("data: {text}\n\n").leak();
    let server = ScriptedServer::start(&[(200, STREAM, stream)]).await;
    let url = server.url("/channels/news");
    let outcome = run(&["listen", &url, "--count", "1"], "").await;
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    assert!(outcome.stdout.trim_end().strip_prefix("\tmessage\t") == Some(&text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_it_with_the_reason() {
    let problem =
        r#"{"status":400,"title":"Bad Request","code":"invalid-start","detail":"no such time"}"#;
    let server = ScriptedServer::start(&[(400, PROBLEM, problem)]).await;
    let outcome = run(&["listen", &server.url("/channels/news?from=x")], "").await;
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.stdout, "");
    assert!(
        outcome.stderr.ends_with("400 Bad Request: no such time\n")
            && outcome.stderr.lines().count() == 1,
        "{}",
        outcome.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pipe_is_not_a_failure() {
    let server = ScriptedServer::start(&[(200, STREAM, "data: 1\n\ndata: 2\n\n")]).await;
    let outcome = run_unread(&["listen", &server.url("/channels/news")], "").await;
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_exits_with_the_usage_code() {
    for arguments in [
        &["listen"][..],
        &["listen", "news"],
        &[
            "listen",
            "http://127.0.0.1:1/",
            "--last",
            "1",
            "--from",
            "latest",
        ],
        &["listen", "http://127.0.0.1:1/", "--count", "many"],
    ] {
        let outcome = run(arguments, "").await;
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
    }
}
