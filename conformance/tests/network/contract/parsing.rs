//! Basic parsing, comments and the BOM.

use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{Service, comment, event, message};

#[tokio::test]
async fn basic_parsing() {
    let service = Service::start().await;
    let check = async |chunks: &[&str], expected: &[Value]| service.check(chunks, expected).await;
    check(&["data: Hello\n\n"], &[message("Hello")]).await;
    check(&["data: Hel", "lo\n\n"], &[message("Hello")]).await;
    let two = [message("testtest"), message("test")];
    check(&["data: test", "test\n\ndata:", "test\n\n"], &two).await;
    let two = [message("Hello"), message("World")];
    check(&["data: Hello\n\ndata: World\n\n"], &two).await;
    check(&["data: Hello\ndata:World\n\n"], &[message("Hello\nWorld")]).await;
    check(&["data:\n\n"], &[message("")]).await;
    check(
        &["id: abc\ndata: Hello\n\n"],
        &[event("message", "Hello", "abc")],
    )
    .await;
    check(&["id: a\0bc\ndata: Hello\n\n"], &[message("Hello")]).await;
    let first = event("message", "first", "abc");
    let second = event("message", "second", "abc");
    check(
        &["id: abc\ndata: first\n\n", "data: second\n\n"],
        &[first.clone(), second],
    )
    .await;
    check(
        &["id: abc\ndata: first\n\n", "id: \ndata: second\n\n"],
        &[first, message("second")],
    )
    .await;

    let greeting = || event("greeting", "Hello", "");
    check(&["event: greeting\ndata: Hello\n\n"], &[greeting()]).await;
    let text = "event: greeting\ncolor: blue\ndata: Hello\n\n";
    check(&[text], &[greeting()]).await;
    check(&["event:greeting\ndata:Hello\n\n"], &[greeting()]).await;
    let greeting = event(" greeting", " Hello", "");
    check(&["event:  greeting\ndata:  Hello\n\n"], &[greeting]).await;
    let greeting = || event("greeting", "Hello", "abc");
    let text = "event: greeting\nid: abc\ndata: Hello\n\n";
    check(&[text], &[greeting()]).await;
    let text = "data: Hello\nid: abc\nevent: greeting\n\n";
    check(&[text], &[greeting()]).await;

    check(&["data\n\ndata\ndata\n\n"], &[message(""), message("\n")]).await;
    check(&["data: €豆腐\n\n"], &[message("€豆腐")]).await;
    let bytes: Vec<[u8; 1]> = "data: €豆腐\n\n".bytes().map(|byte| [byte]).collect();
    service.check(&bytes, &[message("€豆腐")]).await;
}

#[tokio::test]
async fn many_messages_keep_their_order() {
    let data = |n| format!("message {n}");
    let all: String = (0..100).map(|n| format!("data: {}\n\n", data(n))).collect();
    let expected: Vec<Value> = (0..100).map(|n| message(&data(n))).collect();
    Service::start().await.check(&[all], &expected).await;
}

/// The two sizes of the harness, and sizes near the limits of usual buffers.
#[tokio::test]
async fn a_large_message_is_reported_in_time() {
    let service = Service::start().await;
    let check = async |sizes: &[usize]| {
        let (mut stream, mut connection) = service.open().await;
        let parts: Vec<String> = sizes.iter().map(|&size| "x".repeat(size)).collect();
        let began = Instant::now();
        connection.send("data: ").await;
        for part in &parts {
            connection.send(part).await;
        }
        connection.send("\n\n").await;
        let callback = stream.callback().await;
        assert!(began.elapsed() < Duration::from_secs(5), "{sizes:?}");
        // Not `assert_eq`, which would print the message.
        assert!(callback == message(&parts.concat()), "{sizes:?}");
        service.close(stream).await;
    };
    for size in [
        1, 128, 512, 1023, 1024, 1025, 2048, 3999, 4094, 4096, 4098, 6144, 8189, 8192, 8195, 12288,
        16384, 32768, 65536, 262_144, 1_048_576,
    ] {
        check(&[size]).await;
    }
    // 5 MiB, and twice that, in base64.
    check(&[6_990_508]).await;
    check(&[6_990_508, 6_990_508]).await;
}

#[tokio::test]
async fn comments_are_reported_as_their_lines_end() {
    let service = Service::start().await;
    let check = async |chunks: &[&str], expected: &[Value]| service.check(chunks, expected).await;
    let hello = || comment("Hello");
    check(&[":Hello\n"], &[hello()]).await;
    check(
        &[":Hello\n", "data: Hello\n\n"],
        &[hello(), message("Hello")],
    )
    .await;
    check(
        &["data: Hello\n\n", ":Hello\n"],
        &[message("Hello"), hello()],
    )
    .await;
    check(&["data: Hello\n:Hello\n\n"], &[hello(), message("Hello")]).await;
    check(&[":\n: Hello\n"], &[comment(""), hello()]).await;

    let (mut stream, mut connection) = service.open().await;
    for text in ["Hello", "World"] {
        connection.send(format!(":{text}\n")).await;
        assert_eq!(stream.callback().await, comment(text));
    }
}

#[tokio::test]
async fn one_bom_is_removed() {
    let service = Service::start().await;
    let check = async |chunks: &[&[u8]], expected: &[Value]| service.check(chunks, expected).await;
    let hello = || message("Hello");
    check(&["\u{feff}data: Hello\n\n".as_bytes()], &[hello()]).await;
    let greeting = event("greeting", "Hello", "abc");
    let text = "\u{feff}event: greeting\nid: abc\ndata: Hello\n\n";
    check(&[text.as_bytes()], &[greeting]).await;
    let two = [message("First"), message("Second")];
    check(
        &["\u{feff}data: First\n\ndata: Second\n\n".as_bytes()],
        &two,
    )
    .await;
    let two = [message("First"), message("\u{feff}Second")];
    check(
        &[b"data: First\n\n", "data: \u{feff}Second\n\n".as_bytes()],
        &two,
    )
    .await;
    check(&[b"\xEF\xBB", b"\xBFdata: Hello\n\n"], &[hello()]).await;
    check(&[b"\xEF", b"\xBB", b"\xBF", b"data: Hello\n\n"], &[hello()]).await;
    let text = "\u{feff}data: \u{feff}Hello\n\n";
    check(&[text.as_bytes()], &[message("\u{feff}Hello")]).await;
    check(&[b"data: Hello\n\n"], &[hello()]).await;
    let text = "\u{feff}data: Line1\ndata: Line2\n\n";
    check(&[text.as_bytes()], &[message("Line1\nLine2")]).await;
    let text = "\u{feff}:comment\ndata: Hello\n\n";
    check(&[text.as_bytes()], &[comment("comment"), hello()]).await;
    check(&["\u{feff}data:\n\n".as_bytes()], &[message("")]).await;
}
