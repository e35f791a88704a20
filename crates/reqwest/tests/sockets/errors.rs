//! The kinds of errors, and the secrets that no error shows.

use std::error::Error as StdError;
use std::iter::successors;

use reqwest::redirect::Policy;
use tidings_client::{Error, ErrorKind, Reconnect, SseClient};
use tidings_reqwest::{RequestBuilderExt as _, transport};
use tokio::net::TcpListener;

use crate::server::{Server, http, refused, soon};

/// Checks the kind of an error, and that no text of it or of its causes contains a secret.
fn check(error: &Error, kind: &ErrorKind) {
    assert_eq!(error.kind(), kind);
    let chain = successors(Some(error as &dyn StdError), |error| (*error).source());
    let shown: String = chain
        .map(|error| format!("{error}\n{error:?}\n{error:#?}\n"))
        .collect();
    assert!(!shown.contains("secret"), "{shown}");
}

fn client() -> SseClient {
    SseClient::over(transport(http().build().unwrap()))
}

#[tokio::test]
async fn a_url_that_reqwest_refuses_is_an_invalid_request() {
    // The policy would retry a network error for ever.
    let client = client().reconnect(Reconnect::standard());
    for url in [
        "ftp://localhost/?secret",
        "/events?secret",
        "http://localhost:99999/?secret",
    ] {
        let request = client.get(url).bearer("secret");
        check(&refused(request).await, &ErrorKind::InvalidRequest);
    }
    let http = http().https_only(true).build().unwrap();
    check(
        &refused(http.get("http://localhost/?secret").sse()).await,
        &ErrorKind::InvalidRequest,
    );
    for url in ["secret", "data:secret"] {
        check(
            &refused(http.get(url).sse()).await,
            &ErrorKind::InvalidRequest,
        );
    }
}

#[tokio::test]
async fn an_unreachable_server_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://user:secret@{}/secret?secret",
        listener.local_addr().unwrap()
    );
    drop(listener);
    check(&refused(client().get(&url)).await, &ErrorKind::Connect);
    let request = http().build().unwrap().get(&url).bearer_auth("secret");
    check(&refused(request.sse()).await, &ErrorKind::Connect);
}

#[tokio::test]
async fn a_cut_stream_shows_no_secret() {
    let mut server = Server::start().await;
    let (mut session, stream) = server
        .stream(client().get(server.url("/secret?secret")))
        .await;
    stream.cut().await;
    check(
        &soon(session.try_next()).await.unwrap_err(),
        &ErrorKind::Interrupted,
    );
}

#[tokio::test]
async fn a_redirect_that_reqwest_does_not_follow_shows_no_secret() {
    let mut server = Server::start().await;
    let refuse = || {
        Policy::custom(|attempt| {
            let inner = http()
                .build()
                .unwrap()
                .get("data:secret")
                .build()
                .unwrap_err();
            attempt.error(inner)
        })
    };
    for (policy, location) in [
        (Policy::limited(0), "/?secret"),
        (Policy::limited(10), "ftp://localhost/?secret"),
        (refuse(), "/"),
    ] {
        let http = http().redirect(policy).build().unwrap();
        let request = SseClient::over(transport(http)).get(server.url("/?secret"));
        let (error, ()) = tokio::join!(refused(request), async {
            server.next().await.redirect(302, location);
        });
        check(&error, &ErrorKind::Connect);
    }
}
