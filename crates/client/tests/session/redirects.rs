//! Where redirects lead, and what goes along.

use tidings_client::{ErrorKind, Reconnect};

use crate::scripted::{Script, Server, hear, status, stream};

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_and_the_last_url_is_kept() {
    let server = Server::plays([
        Script::Redirect(307, "/b?c"),
        Script::Redirect(301, "http://other.test/d"),
        stream("id: 1\ndata: a\n\n"),
        Script::Redirect(302, "e"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.url(), "http://other.test/d");
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    let urls = [
        "http://test/events",
        "http://test/b?c",
        "http://other.test/d",
        "http://other.test/d",
        "http://other.test/e",
    ];
    assert_eq!(server.urls(), urls);
    let sent: [&[&str]; 5] = [&[], &[], &[], &["1"], &["1"]];
    assert_eq!(server.header("last-event-id"), sent);
}

#[tokio::test(start_paused = true)]
async fn no_credential_follows_a_redirect_nor_a_reconnection_to_another_origin() {
    let server = Server::plays([
        Script::Redirect(307, "http://other.test/"),
        stream("data: a\n\n"),
        Script::Redirect(307, "http://test/back"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let request = client
        .get("http://test/events")
        .bearer("token")
        .header("cookie", "a=b");
    assert_eq!(
        hear(&mut request.open().await.unwrap()).await,
        (vec!["a".into()], None)
    );
    let sent: [&[&str]; 4] = [&["Bearer token"], &[], &[], &["Bearer token"]];
    assert_eq!(server.header("authorization"), sent);
    let sent: [&[&str]; 4] = [&["a=b"], &[], &[], &["a=b"]];
    assert_eq!(server.header("cookie"), sent);
}

#[tokio::test(start_paused = true)]
async fn redirects_without_end_are_a_network_error() {
    let server = Server::plays(vec![Script::Redirect(302, "/"); 21]);
    let error = server.open(Reconnect::off()).await.unwrap_err();
    assert_eq!((error.kind(), server.requests()), (&ErrorKind::Network, 21));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "too many redirects");

    let server = Server::plays([Script::Redirect(302, "/b"), Script::Unsendable]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidRedirect);

    let server = Server::plays([Script::Redirect(302, "http://[")]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(
        (error.kind(), server.requests()),
        (&ErrorKind::InvalidRedirect, 1)
    );
}
