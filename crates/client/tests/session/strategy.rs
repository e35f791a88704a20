//! A `ReconnectionStrategy` decides when to reconnect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_client::{ErrorKind, Reconnect, ReconnectionContext, ReconnectionStrategy};
use tokio::time::sleep;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

const SECOND: Duration = Duration::from_secs(1);

/// Takes a second to decide, then waits a second for each attempt, at most three times.
#[derive(Clone, Default)]
struct Patient {
    asked: Arc<Mutex<Vec<String>>>,
}

impl ReconnectionStrategy for Patient {
    async fn delay(&self, context: ReconnectionContext<'_>) -> Option<Duration> {
        sleep(SECOND).await;
        self.asked.lock().unwrap().push(format!(
            "{} {:?} {:?} {:?}",
            context.attempt,
            context.error.map(|error| error.kind().clone()),
            context.reconnection_time,
            context.retry_after,
        ));
        (context.attempt <= 3).then(|| context.attempt * SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_is_asked_and_obeyed() {
    let server = Server::plays([
        stream("retry: 500\ndata: a\n\n"),
        Script::Refuse,
        Script::Busy("7"),
        stream("data: b\n\n"),
        parts(&[Part::Bytes(b":\n"), Part::Cut]),
        Script::Refuse,
        Script::Refuse,
        Script::Refuse,
    ]);
    let strategy = Patient::default();
    // It decides in place of the policy.
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(strategy.clone());
    let mut session = client.get("http://test/").open().await.unwrap();
    let (texts, error) = read_all(&mut session).await;
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(error, Some(ErrorKind::Connect));
    let time = "Some(500ms)";
    let asked = [
        format!("1 None {time} None"),
        format!("2 Some(Connect) {time} None"),
        format!("3 Some(Status(503)) {time} Some(7s)"),
        format!("1 None {time} None"),
        format!("1 Some(Interrupted) {time} None"),
        format!("2 Some(Connect) {time} None"),
        format!("3 Some(Connect) {time} None"),
        format!("4 Some(Connect) {time} None"),
    ];
    assert_eq!(*strategy.asked.lock().unwrap(), asked);
    // The decision takes one second more.
    assert_eq!(server.waits(), [2, 3, 4, 2, 2, 3, 4].map(|n| n * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_is_not_asked_about_permanent_failures() {
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
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_decides_on_the_first_connection_if_the_policy_covers_it() {
    let server = Server::plays([Script::Refuse, stream("data: a\n\n"), status(204)]);
    let client = server
        .client(Reconnect::off().retry_first_connection(true))
        .reconnection_strategy(Patient::default());
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_drops_the_decision() {
    let server = Server::plays([stream("")]);
    let strategy = Patient::default();
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(strategy.clone());
    let mut session = client.get("http://test/").open().await.unwrap();
    tidings_testkit::timeout::timeout(SECOND / 2, session.try_next())
        .await
        .unwrap_err();
    drop(session);
    sleep(2 * SECOND).await;
    assert!(strategy.asked.lock().unwrap().is_empty());
}

/// Waits as long as the server asks, and a second more.
struct Polite;

impl ReconnectionStrategy for Polite {
    async fn delay(&self, context: ReconnectionContext<'_>) -> Option<Duration> {
        context.retry_after.map(|time| time + SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn no_time_that_a_server_names_overflows() {
    let server = Server::plays([Script::Busy("99999999999999999999")]);
    let client = server
        .client(Reconnect::standard())
        .reconnection_strategy(Polite);
    let opening = client.get("http://test/").open();
    tidings_testkit::timeout::timeout(SECOND, opening)
        .await
        .unwrap_err();
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_strategy_and_numbers_at_one_level_are_refused() {
    let server = Server::plays([]);
    let client = server.client(Reconnect::standard());
    let with_strategy = client.clone().reconnection_strategy(Polite);
    let attempts = "max_reconnection_attempts and reconnection_strategy are both set: \
                    the strategy decides alone, so remove one";
    let time = attempts.replace("max_reconnection_attempts", "reconnection_time");
    for (request, cause) in [
        (
            with_strategy
                .clone()
                .max_reconnection_attempts(1)
                .get("http://test/"),
            attempts,
        ),
        (
            client
                .clone()
                .reconnection_time(SECOND)
                .reconnection_strategy(Polite)
                .get("http://test/"),
            &time,
        ),
        (
            client
                .get("http://test/")
                .reconnection_strategy(Polite)
                .reconnection_time(SECOND),
            &time,
        ),
        (
            client
                .get("http://test/")
                .max_reconnection_attempts(1)
                .reconnection_strategy(Polite),
            attempts,
        ),
        // A conflict of the client is one of each request.
        (
            with_strategy
                .reconnection_time(SECOND)
                .get("http://test/")
                .reconnect(Reconnect::off()),
            &time,
        ),
    ] {
        let error = request.open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), cause);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_replace_the_strategy_of_its_client_and_its_numbers() {
    let asked = Patient::default();
    let lossy = || Server::plays([stream(""), Script::Refuse]);
    let server = lossy();
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(asked.clone());
    let request = client.get("http://test/").max_reconnection_attempts(1);
    let failed = (vec![], Some(ErrorKind::Connect));
    assert_eq!(read_all(&mut request.open().await.unwrap()).await, failed);

    let server = lossy();
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(asked.clone());
    let request = client
        .get("http://test/")
        .reconnect(Reconnect::fixed(1, SECOND));
    assert_eq!(read_all(&mut request.open().await.unwrap()).await, failed);
    assert!(asked.asked.lock().unwrap().is_empty());

    let server = Server::plays([stream(""), status(204)]);
    let client = server.client(Reconnect::off()).max_reconnection_attempts(9);
    let request = client
        .get("http://test/")
        .reconnection_strategy(asked.clone());
    assert_eq!(
        read_all(&mut request.open().await.unwrap()).await,
        (vec![], None)
    );
    assert_eq!(asked.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_strategy_is_asked_about_a_hook_that_fails() {
    let server = Server::plays([stream("")]);
    let asked = Patient::default();
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(asked.clone());
    let client = client.before_connect(async |attempt| match attempt.number() {
        0 => Ok(attempt),
        _ => Err("no token".into()),
    });
    let mut session = client.get("http://test/").open().await.unwrap();
    let failed = (vec![], Some(ErrorKind::BeforeConnect));
    assert_eq!(read_all(&mut session).await, failed);
    let asked = asked.asked.lock().unwrap();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[1], "2 Some(BeforeConnect) None None");
}
