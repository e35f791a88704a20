//! Which requests are sent again: `may_be_repeated` and `repeat_refusals`.

use std::time::Duration;

use http::StatusCode;
use tidings_client::{ErrorKind, Reconnect, ReconnectionContext, ReconnectionStrategy};

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_get_may_be_sent_once_only() {
    let server = Server::plays([parts(&[Part::Cut])]);
    let client = server.client(Reconnect::persistent());
    let request = client.get("http://test/").may_be_repeated(false);
    let mut session = request.open().await.unwrap();
    let cut = (vec![], Some(ErrorKind::Interrupted));
    assert_eq!(read_all(&mut session).await, cut);

    let server = Server::plays([status(503)]);
    let client = server.client(Reconnect::persistent());
    let request = client.get("http://test/").may_be_repeated(false);
    request.open().await.unwrap_err();
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_repeated_until_the_stream_begins() {
    let server = Server::plays([
        Script::Refuse,
        Script::Busy("7"),
        Script::Hang,
        stream("data: a\n\n"),
    ]);
    let client = server.client(Reconnect::fixed(3, SECOND));
    let request = client.post("http://test/").body("prompt");
    let request = request.repeat_refusals(true).response_timeout(SECOND);
    let mut session = request.open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    assert_eq!(server.waits(), [SECOND, 7 * SECOND, 2 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_began_is_not_repeated() {
    for reconnect in [Reconnect::standard(), Reconnect::persistent()] {
        let server = Server::plays([Script::Busy("0"), parts(&[Part::Cut])]);
        let client = server.client(reconnect);
        let request = client.post("http://test/").repeat_refusals(true);
        let mut session = request.open().await.unwrap();
        let cut = (vec![], Some(ErrorKind::Interrupted));
        assert_eq!(read_all(&mut session).await, cut);
        assert_eq!(server.requests(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_limits_how_often_a_refusal_is_repeated() {
    let busy = || Script::Busy("0");
    for (reconnect, requests) in [(Reconnect::off(), 1), (Reconnect::fixed(2, SECOND), 3)] {
        let server = Server::plays([busy(), busy(), busy()]);
        let client = server.client(reconnect);
        let request = client.post("http://test/").repeat_refusals(true);
        let error = request.open().await.unwrap_err();
        let kind = ErrorKind::Status(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((error.kind(), server.requests()), (&kind, requests));
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_is_not_repeated() {
    let server = Server::plays([status(404)]);
    let client = server.client(Reconnect::persistent());
    let request = client.post("http://test/").repeat_refusals(true);
    request.open().await.unwrap_err();
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_be_repeated_reconnects_after_its_stream_too() {
    let server = Server::plays([parts(&[Part::Cut]), stream("data: a\n\n"), status(204)]);
    let client = server.client(Reconnect::standard());
    let request = client.post("http://test/").may_be_repeated(true);
    let mut session = request.repeat_refusals(true).open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn persistent_repeats_temporary_refusals_at_any_time() {
    let server = Server::plays([
        Script::Busy("7"),
        stream("data: a\n\n"),
        Script::Busy("0"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::persistent()).await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    assert_eq!(server.waits()[..2], [7 * SECOND, 3 * SECOND]);
}

/// Tries again after a second, always.
struct Stubborn;

impl ReconnectionStrategy for Stubborn {
    async fn delay(&self, _: ReconnectionContext<'_>) -> Option<Duration> {
        Some(SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_decides_until_the_stream_begins() {
    let server = Server::plays([Script::Refuse, Script::Busy("9"), parts(&[Part::Cut])]);
    let client = server.client(Reconnect::off());
    let client = client.reconnection_strategy(Stubborn);
    let request = client.post("http://test/").repeat_refusals(true);
    let mut session = request.open().await.unwrap();
    let cut = (vec![], Some(ErrorKind::Interrupted));
    assert_eq!(read_all(&mut session).await, cut);
    assert_eq!(server.waits(), [SECOND; 2]);
}
