//! `tidings publish`: what it sends, when it sends it again, and what it prints.

use crate::program::{run, run_unread};
use crate::scripted_server::{Answer, JSON, PROBLEM, ScriptedServer};

const STORED: Answer = (201, JSON, r#"{"id":"a.1.AAAA"}"#);
const REPEATED: Answer = (200, JSON, r#"{"id":"a.1.AAAA"}"#);
const OVERLOADED: Answer = (
    503,
    PROBLEM,
    r#"{"status":503,"title":"Service Unavailable","code":"unconfirmed","detail":"it may be stored"}"#,
);
const ENDED: Answer = (
    409,
    PROBLEM,
    r#"{"status":409,"title":"Conflict","code":"channel-ended","detail":"news \u001b[2Jhas ended"}"#,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_is_sent_as_the_data_and_its_id_is_printed() {
    let server = ScriptedServer::start(&[STORED]).await;
    let url = server.url("/channels/news");
    let outcome = run(
        &[
            "publish",
            &url,
            "größe: 1\n2",
            "--event",
            "note a&b",
            "--key",
            "order \"17\"",
        ],
        "",
    )
    .await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "a.1.AAAA\n");
    assert_eq!(outcome.stderr, "");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked[0].uri.path(), "/channels/news");
    let query = asked[0].uri.query().unwrap_or_default();
    let event = form_urlencoded::parse(query.as_bytes()).next().unwrap();
    assert_eq!((&*event.0, &*event.1), ("event", "note a&b"));
    assert_eq!(asked[0].body, "größe: 1\n2");
    assert_eq!(asked[0].header("idempotency-key"), r#""order \"17\"""#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_of_the_input_is_an_event_with_a_key_of_its_own() {
    let server = ScriptedServer::start(&[STORED, STORED, STORED]).await;
    let outcome = run(&["publish", &server.url("/channels/news")], "a\r\n\nb").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "a.1.AAAA\n".repeat(3));
    let asked = server.asked();
    let bodies: Vec<&str> = asked.iter().map(|asked| &*asked.body).collect();
    assert_eq!(bodies, ["a", "", "b"]);
    let keys: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header("idempotency-key").trim_matches('"'))
        .collect();
    let (random, _) = keys[0].split_once('-').unwrap();
    assert_eq!(random.len(), 32);
    assert_eq!(keys, [1, 2, 3].map(|n| format!("{random}-{n}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_not_confirmed_is_sent_again_with_its_key() {
    let script = [
        OVERLOADED,
        (429, &[("retry-after", "0")], ""),
        REPEATED,
        STORED,
    ];
    let server = ScriptedServer::start(&script).await;
    let outcome = run(&["publish", &server.url("/channels/news")], "a\nb\n").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "a.1.AAAA\n".repeat(2));
    assert!(
        outcome
            .stderr
            .ends_with(": it may be stored; trying again\n"),
        "{}",
        outcome.stderr
    );
    let asked = server.asked();
    let bodies: Vec<&str> = asked.iter().map(|asked| &*asked.body).collect();
    assert_eq!(bodies, ["a", "a", "a", "b"]);
    let key = |n: usize| asked[n].header("idempotency-key");
    assert!(key(0) == key(1) && key(1) == key(2) && key(2) != key(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_it_with_the_reason_and_the_line() {
    let server = ScriptedServer::start(&[STORED, ENDED]).await;
    let outcome = run(&["publish", &server.url("/channels/news")], "a\nb\nc\n").await;
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.stdout, "a.1.AAAA\n");
    assert!(
        outcome.stderr.starts_with("tidings: line 2: ")
            && outcome
                .stderr
                .ends_with("409 Conflict: news \\u{1b}[2Jhas ended\n"),
        "{}",
        outcome.stderr
    );
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_up_after_the_timeout_and_names_the_key() {
    // A free port on which nothing listens after this.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/channels/news", listener.local_addr().unwrap());
    drop(listener);
    let arguments = ["publish", &url, "a", "--timeout", "300ms", "--key", "k"];
    let outcome = run(&arguments, "").await;
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("; trying again\n")
            && outcome.stderr.contains(
                "not confirmed within 300ms, but it may be stored: repeat it with the key \"k\""
            ),
        "{}",
        outcome.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_beyond_the_timeout_is_not_waited_for() {
    let server = ScriptedServer::start(&[(503, &[("retry-after", "600")], "")]).await;
    let outcome = run(&["publish", &server.url("/channels/news"), "a"], "").await;
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("not confirmed"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_something_else_is_named_as_such() {
    for answer in [(200, &[][..], "<html>"), (200, JSON, "{}"), (204, &[], "")] {
        let server = ScriptedServer::start(&[answer]).await;
        let outcome = run(&["publish", &server.url("/"), "a"], "").await;
        assert_eq!(outcome.code, Some(1));
        assert!(
            outcome
                .stderr
                .contains("expected the ID of the event as JSON"),
            "{}",
            outcome.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_used_again_until_the_server_closes_it() {
    let last: Answer = (201, &[("connection", "close")], STORED.2);
    let server = ScriptedServer::start(&[STORED, STORED, last, STORED]).await;
    let outcome = run(&["publish", &server.url("/channels/news")], "a\nb\nc\nd\n").await;
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let asked = server.asked();
    let peers: Vec<_> = asked.iter().map(|asked| asked.peer.unwrap()).collect();
    assert!(peers[0] == peers[1] && peers[1] == peers[2] && peers[2] != peers[3]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_reached() {
    let dir = tidings_testkit::temp_dir::TempDir::in_memory();
    let path = dir.join("socket");
    let server = ScriptedServer::start_unix(&path, &[STORED]);
    let url = server.url("/channels/news");
    let arguments = [
        "publish",
        &url,
        "a",
        "--unix-socket",
        path.to_str().unwrap(),
    ];
    let outcome = run(&arguments, "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(server.asked()[0].header("host"), "localhost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_output_does_not_stop_the_publication() {
    let server = ScriptedServer::start(&[STORED, STORED, STORED, ENDED]).await;
    let url = server.url("/channels/news");
    let outcome = run_unread(&["publish", &url], "a\nb\n").await;
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    assert_eq!(server.asked().len(), 2);
    let outcome = run_unread(&["publish", &url], "c\nd\ne\n").await;
    assert_eq!(outcome.code, Some(1), "a line is not published");
    assert!(outcome.stderr.contains("line 2: "), "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_looks_like_a_flag_follows_two_hyphens() {
    let server = ScriptedServer::start(&[STORED, STORED]).await;
    let url = server.url("/channels/news");
    for arguments in [
        &["publish", &url, "-1.5"][..],
        &["publish", &url, "--", "--x"],
    ] {
        let outcome = run(arguments, "").await;
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    }
    let bodies: Vec<String> = server.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies, ["-1.5", "--x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_another_server_is_followed_for_each_event() {
    let target = ScriptedServer::start(&[STORED, STORED]).await;
    let location = [("location", &*target.url("/channels/new").leak())].to_vec();
    let moved: Answer = (307, location.leak(), "moved");
    let server = ScriptedServer::start(&[moved, moved]).await;
    let outcome = run(&["publish", &server.url("/channels/old")], "a\nb\n").await;
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    for (server, path) in [(server, "/channels/old"), (target, "/channels/new")] {
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        for (asked, body) in asked.iter().zip(["a", "b"]) {
            assert_eq!((asked.uri.path(), &*asked.body), (path, body));
            assert_eq!(format!("http://{}", asked.header("host")), server.url(""));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_https_is_not_followed_in_plain_text() {
    let target = ScriptedServer::start(&[]).await;
    let url = target.url("/").replacen("http", "https", 1);
    let moved: Answer = (308, vec![("location", &*url.leak())].leak(), "");
    let server = ScriptedServer::start(&[moved]).await;
    // The script is over at the second attempt.
    let outcome = run(&["publish", &server.url("/channels/news"), "a"], "").await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(!server.asked().is_empty());
    assert_eq!(target.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_exits_with_the_usage_code() {
    for arguments in [
        &["publish"][..],
        &["publish", "news", "a"],
        &["publish", "localhost:8080/channels/news", "a"],
        &["publish", "http://127.0.0.1:1/", "--key", "k"],
        &["publish", "http://127.0.0.1:1/", "--evnt=price"],
        &["publish", "http://127.0.0.1:1/", "-v"],
        &["publish", "http://127.0.0.1:1/", "a", "--key", "größe"],
        &["publish", "http://127.0.0.1:1/", "a", "--timeout", "soon"],
    ] {
        let outcome = run(arguments, "").await;
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
        assert_eq!(outcome.stdout, "");
    }
}
