//! A caller's own strategy decides when to connect again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_client::{ErrorKind, Outage, Reconnect, ReconnectionStrategy};
use tokio::time::sleep;

use crate::scripted::{Part, Script, Server, hear, parts, status, stream};

const SECOND: Duration = Duration::from_secs(1);

/// Takes a second to decide, then waits a second for each attempt, at most three times.
#[derive(Clone, Default)]
struct Patient {
    asked: Arc<Mutex<Vec<String>>>,
}

impl ReconnectionStrategy for Patient {
    async fn delay(&self, outage: Outage<'_>) -> Option<Duration> {
        sleep(SECOND).await;
        self.asked.lock().unwrap().push(format!(
            "{} {:?} {:?} {:?}",
            outage.attempt,
            outage.error.map(|error| error.kind().clone()),
            outage.reconnection_time,
            outage.retry_after,
        ));
        (outage.attempt <= 3).then(|| outage.attempt * SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_and_obeyed() {
    let server = Server::plays([
        stream("retry: 500\ndata: a\n\n"),
        Script::Refuse,
        Script::Busy("7"),
        stream("data: b\n\n"),
        parts(&[Part::Cut]),
        Script::Refuse,
        Script::Refuse,
        Script::Refuse,
    ]);
    let strategy = Patient::default();
    // It wins over the policy and the numbers beside it.
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(strategy.clone())
        .max_reconnection_attempts(1)
        .reconnection_time(9 * SECOND);
    let mut session = client.get("http://test/").open().await.unwrap();
    let (texts, error) = hear(&mut session).await;
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(error, Some(ErrorKind::Network));
    let time = "Some(500ms)";
    let asked = [
        format!("1 None {time} None"),
        format!("2 Some(Network) {time} None"),
        format!("3 Some(Status(503)) {time} Some(7s)"),
        format!("1 None {time} None"),
        format!("1 Some(Network) {time} None"),
        format!("2 Some(Network) {time} None"),
        format!("3 Some(Network) {time} None"),
        format!("4 Some(Network) {time} None"),
    ];
    assert_eq!(*strategy.asked.lock().unwrap(), asked);
    // One second to decide is on top.
    assert_eq!(server.waits(), [2, 3, 4, 2, 2, 3, 4].map(|n| n * SECOND));
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_about_what_is_for_good() {
    for script in [Script::Refuse, status(404), status(500)] {
        let server = Server::plays([script]);
        let strategy = Patient::default();
        let client = server
            .client(Reconnect::off())
            .reconnection_strategy(strategy.clone());
        client.get("http://test/").open().await.unwrap_err();
        assert!(strategy.asked.lock().unwrap().is_empty());
    }
    // A request that may not be repeated is sent once.
    let server = Server::plays([stream("data: a\n\n")]);
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(Patient::default());
    let mut session = client.post("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_about_the_first_connection_where_the_policy_covers_it() {
    let server = Server::plays([Script::Refuse, stream("data: a\n\n"), status(204)]);
    let client = server
        .client(Reconnect::off().retry_first_connection(true))
        .reconnection_strategy(Patient::default());
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_while_it_is_asked_asks_no_more() {
    let server = Server::plays([stream("")]);
    let strategy = Patient::default();
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(strategy.clone());
    let mut session = client.get("http://test/").open().await.unwrap();
    tokio::time::timeout(SECOND / 2, session.try_next())
        .await
        .unwrap_err();
    drop(session);
    sleep(2 * SECOND).await;
    assert!(strategy.asked.lock().unwrap().is_empty());
}

/// Trusts the server's word, and adds to it.
struct Polite;

impl ReconnectionStrategy for Polite {
    async fn delay(&self, outage: Outage<'_>) -> Option<Duration> {
        outage.retry_after.map(|time| time + SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn no_time_that_a_server_names_overflows() {
    let server = Server::plays([Script::Busy("99999999999999999999")]);
    let client = server
        .client(Reconnect::standard())
        .reconnection_strategy(Polite);
    let opening = client.get("http://test/").open();
    tokio::time::timeout(SECOND, opening).await.unwrap_err();
    assert_eq!(server.requests(), 1);
}
