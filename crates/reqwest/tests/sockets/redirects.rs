//! Redirects followed by the session or by reqwest, and the headers that a new origin receives.

use std::time::Duration;

use http::HeaderValue;
use reqwest::redirect::Policy;
use tidings_client::{ErrorKind, FinalUrl, Reconnect, SseClient};
use tidings_reqwest::transport;

use crate::server::{Exchange, Server, http, next, refused, soon};

fn secret() -> HeaderValue {
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    secret
}

/// Whether the request has credentials: `Authorization`, and a header marked sensitive.
fn has_secrets(exchange: &Exchange) -> [bool; 2] {
    ["authorization", "x-key"].map(|name| !exchange.header(name).is_empty())
}

#[tokio::test]
async fn the_session_follows_the_redirects_of_our_client() {
    let (mut a, mut b) = (Server::start().await, Server::start().await);
    let client = tidings_reqwest::client().reconnect(Reconnect::fixed(1, Duration::ZERO));
    let request = client
        .post(a.url("/a?b"))
        .body("prompt")
        .may_be_repeated(true);
    let open = request.bearer("token").header("x-key", secret()).open();
    let (session, stream) = tokio::join!(soon(open), async {
        let exchange = a.next().await;
        assert_eq!(has_secrets(&exchange), [true, true]);
        exchange.redirect(307, &b.url("/c?d"));
        let exchange = b.next().await;
        assert_eq!(exchange.request.method(), "POST");
        assert_eq!(exchange.request.body(), "prompt");
        assert_eq!(has_secrets(&exchange), [false, false]);
        assert!(exchange.header("referer").is_empty());
        exchange.stream(&[])
    });
    let mut session = session.unwrap();
    assert_eq!(session.url(), b.url("/c?d").as_str());
    let head = session.response().unwrap();
    assert_eq!(head.extensions.get::<FinalUrl>(), None);
    stream.cut().await;
    let (event, ()) = tokio::join!(next(&mut session), async {
        let exchange = b.next().await;
        assert_eq!(has_secrets(&exchange), [false, false]);
        exchange.answer(204, &[]);
    });
    assert_eq!(event, Ok(None));
}

#[tokio::test]
async fn a_session_reconnects_to_the_final_url_of_a_client_that_follows_redirects() {
    let (mut a, mut b) = (Server::start().await, Server::start().await);
    let client = SseClient::over(transport(http().build().unwrap()));
    let client = client.reconnect(Reconnect::fixed(1, Duration::ZERO));
    let request = client
        .get(a.url("/a?b"))
        .bearer("token")
        .header("x-key", secret());
    let (session, stream) = tokio::join!(soon(request.open()), async {
        let exchange = a.next().await;
        assert_eq!(has_secrets(&exchange), [true, true]);
        exchange.redirect(307, &b.url("/c?d"));
        let exchange = b.next().await;
        // reqwest removes `Authorization`, but not the header marked sensitive.
        assert_eq!(has_secrets(&exchange), [false, true]);
        exchange.stream(&[])
    });
    let mut session = session.unwrap();
    assert_eq!(session.url(), b.url("/c?d").as_str());
    stream.send("id: 7\ndata: a\n\n").await;
    assert_eq!(next(&mut session).await, Ok(Some("a".to_owned())));
    stream.cut().await;
    let (event, ()) = tokio::join!(next(&mut session), async {
        let exchange = b.next().await;
        assert_eq!(exchange.request.uri(), "/c?d");
        assert_eq!(exchange.header("last-event-id"), ["7"]);
        assert_eq!(has_secrets(&exchange), [false, false]);
        // Back to the origin that may receive them.
        exchange.redirect(307, &a.url("/e"));
        let exchange = a.next().await;
        assert_eq!(exchange.request.uri(), "/e");
        exchange.answer(204, &[]);
    });
    assert_eq!(event, Ok(None));
}

#[tokio::test]
async fn a_redirect_that_reqwest_refuses_is_an_error() {
    let mut server = Server::start().await;
    for (policy, location) in [
        (Policy::limited(0), "/a"),
        (Policy::limited(10), "ftp://localhost/"),
    ] {
        let http = http().redirect(policy).build().unwrap();
        let request = SseClient::over(transport(http)).get(server.url("/"));
        let (error, ()) = tokio::join!(refused(request), async {
            server.next().await.redirect(302, location);
        });
        assert_eq!(error.kind(), &ErrorKind::Connect, "{location}");
    }
}
