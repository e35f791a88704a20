//! Time: how often a client sends a request, and how long silence may last.

use std::time::Duration;

use tidings_client::{ErrorKind, Reconnect};
use tidings_testkit::server::{Script, ScriptedServer, Step};
use tidings_testkit::timeout::timeout;
use tokio::time::Instant;

use crate::scene::{SECOND, URL, client, collect, open_and_collect, waits};

#[tokio::test(start_paused = true)]
async fn a_server_with_retry_0_receives_at_most_five_requests_a_second() {
    for (stream, expected) in [
        (":\nretry: 0\n\n", 40..=51),
        // Without a comment each attempt has failed, so the waits grow.
        ("retry: 0\n\n", 5..=15),
    ] {
        let server = ScriptedServer::directed(move |_| Script::stream(stream));
        let client = client(&server, Reconnect::standard()).jitter_seed(7);
        let mut session = client.get(URL).open().await.unwrap();
        timeout(10 * SECOND, session.try_next()).await.unwrap_err();
        let connections = server.connections();
        assert!(expected.contains(&connections), "{connections} in 10 s");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_slow_down_when_a_server_closes_before_it_answers() {
    let server = ScriptedServer::directed(|_| Script::answer([]));
    let client = client(&server, Reconnect::standard()).jitter_seed(7);
    let opening = timeout(600 * SECOND, client.get(URL).open()).await;
    assert!(opening.is_err());
    // Random delays between 3 s and 30 s: about 36 attempts in ten minutes.
    let connections = server.connections();
    assert!((25..60).contains(&connections), "{connections} in 10 min");
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_after_its_retry_after() {
    let busy = || Script::status(503, "retry-after: 2\r\n");
    let server = ScriptedServer::plays([
        busy(),
        busy(),
        Script::stream("data: a\n\n"),
        Script::status(204, ""),
    ]);
    let reconnect = Reconnect::standard()
        .retry_refusals(true)
        .reconnection_time(SECOND / 10);
    let outcome = open_and_collect(&client(&server, reconnect)).await;
    assert_eq!(outcome, (vec!["a".into()], None));
    assert_eq!(waits(&server)[..2], [2 * SECOND; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_for_half_a_minute_is_reached_again() {
    let started = Instant::now();
    let server = ScriptedServer::directed(move |connection| match started.elapsed().as_secs() {
        _ if connection == 0 => Script::stream("id: 1\ndata: a\n\n"),
        0..30 => Script::Refuse,
        _ => Script::answer([Step::head(), Step::send("id: 2\ndata: b\n\n"), Step::Stall]),
    });
    let client = client(&server, Reconnect::standard());
    let mut session = client.get(URL).open().await.unwrap();
    for text in ["a", "b"] {
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), text);
    }
    assert_eq!(server.requests()[1].header("last-event-id"), ["1"]);
    assert!(started.elapsed() < 61 * SECOND, "{:?}", started.elapsed());
    assert!(server.connections() < 13, "{}", server.connections());
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_prevents_the_idle_timeout() {
    let mut steps = vec![Step::head(), Step::send(":")];
    for _ in 0..50 {
        steps.extend([Step::wait(200), Step::send("x")]);
    }
    steps.push(Step::send("\ndata: a\n\n"));
    let server = ScriptedServer::plays([Script::answer(steps)]);
    let client = client(&server, Reconnect::off()).idle_timeout(SECOND / 2);
    let started = Instant::now();
    assert_eq!(open_and_collect(&client).await, (vec!["a".into()], None));
    assert_eq!(started.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn silence_is_an_error() {
    let silent = || {
        let steps = [Step::head(), Step::send("data: a\n\n"), Step::Stall];
        Script::answer(steps)
    };
    let idle = Duration::from_millis(500);
    let server = ScriptedServer::plays([silent()]);
    let started = Instant::now();
    let off = client(&server, Reconnect::off()).idle_timeout(idle);
    assert_eq!(
        open_and_collect(&off).await,
        (vec!["a".into()], Some(ErrorKind::Interrupted))
    );
    assert_eq!(started.elapsed(), idle);

    let server = ScriptedServer::plays([silent(), silent(), Script::status(204, "")]);
    let standard = client(&server, Reconnect::standard()).idle_timeout(idle);
    assert_eq!(
        open_and_collect(&standard).await,
        (vec!["a".into(), "a".into()], None)
    );
    assert_eq!(waits(&server), [3 * SECOND + idle; 2]);
}

#[tokio::test(start_paused = true)]
async fn silence_does_not_count_while_the_session_is_not_read() {
    let server = ScriptedServer::plays([Script::answer([
        Step::head(),
        Step::send("data: a\n\n"),
        Step::wait(5000),
        Step::send("data: b\n\n"),
    ])]);
    let client = client(&server, Reconnect::off()).idle_timeout(SECOND);
    let mut session = client.get(URL).open().await.unwrap();
    session.try_next().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(collect(&mut session).await, (vec!["b".into()], None));
}
