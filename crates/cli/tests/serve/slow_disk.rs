//! A server whose disk does not respond for a while.

use std::fs;
use std::time::Instant;

use tidings_testkit::temp_dir::TempDir;

use crate::full_disk::start;
use crate::process::LIMIT;
use crate::raw::{post, request};
use crate::stream::{open, texts};

#[tokio::test]
async fn an_event_that_is_not_confirmed_in_time_is_stored_once_under_its_key() {
    let folder = TempDir::new();
    let control = folder.join("fault");
    let server = start(&folder.join("events.db"), &control);
    let address = server.address();
    assert_eq!(post(address, "/channels/a", "before").status, 201);
    fs::write(&control, "h").unwrap();
    let key = ["Idempotency-Key: k"];
    let publish = || request(address, "POST", "/channels/a", &key, "x");
    let unconfirmed = publish();
    unconfirmed.assert_problem(503, "unconfirmed");
    assert!(unconfirmed.header("retry-after").is_some());
    fs::remove_file(&control).unwrap();
    let begin = Instant::now();
    // The first attempt has stored it.
    let repeat = loop {
        let answer = publish();
        if answer.status == 200 {
            break answer;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(begin.elapsed() < LIMIT, "{answer:?}");
    };
    assert!(repeat.json()["id"].is_string(), "{repeat:?}");
    assert_eq!(post(address, "/channels/a", "after").status, 201);
    let mut session = open(&server, "/channels/a?from=earliest").await;
    assert_eq!(texts(&mut session, 3).await, ["before", "x", "after"]);
}

#[tokio::test]
async fn a_store_that_does_not_close_in_time_exits_with_1_and_loses_nothing() {
    let folder = TempDir::new();
    let (store, control) = (folder.join("events.db"), folder.join("fault"));
    let mut server = start(&store, &control);
    let published: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    for text in &published {
        assert_eq!(post(server.address(), "/channels/a", text).status, 201);
    }
    fs::write(&control, "h").unwrap();
    server.signal("TERM");
    assert_eq!(server.wait(LIMIT).code(), Some(1));
    server.await_log("the store does not close in time");
    fs::remove_file(&control).unwrap();
    let server = start(&store, &control);
    let mut session = open(&server, "/channels/a?from=earliest").await;
    assert_eq!(texts(&mut session, published.len()).await, published);
}
