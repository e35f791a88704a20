//! Headers that a client sets for all of its requests.

use http::header::{COOKIE, USER_AGENT};
use tidings_client::{ErrorKind, Reconnect};

use crate::scripted::{Script, Server, read_all, status, stream};

#[tokio::test(start_paused = true)]
async fn headers_of_a_client_are_sent_with_each_request() {
    let server = Server::plays([stream("data: a\n\n"), status(204), status(204)]);
    let client = server
        .client(Reconnect::standard())
        .header("x-client", "1")
        .user_agent("news/1.0")
        .bearer("token");
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    client.post("http://test/").open().await.unwrap();
    assert_eq!(server.header("x-client"), [["1"]; 3]);
    assert_eq!(server.header("user-agent"), [["news/1.0"]; 3]);
    assert_eq!(server.header("authorization"), [["Bearer token"]; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_request_replaces_a_header_of_its_client() {
    let server = Server::plays(vec![status(204); 3]);
    let client = server.client(Reconnect::off());
    let client = client.user_agent("client").bearer("client");
    let request = client.get("http://test/").header(USER_AGENT, "request");
    request.bearer("request").open().await.unwrap();
    // A name and a password in the URL are more specific than the client's token.
    client.get("http://a:b@test/").open().await.unwrap();
    let request = client.get("http://a:b@test/").bearer("request");
    request.open().await.unwrap();
    let agents = [["request"], ["client"], ["client"]];
    assert_eq!(server.header("user-agent"), agents);
    let sent = [["Bearer request"], ["Basic YTpi"], ["Bearer request"]];
    assert_eq!(server.header("authorization"), sent);
}

#[tokio::test(start_paused = true)]
async fn credentials_of_a_client_do_not_follow_a_redirect() {
    let server = Server::plays([Script::Redirect(307, "http://other.test/"), status(204)]);
    let client = server.client(Reconnect::off());
    let client = client.bearer("token").header(COOKIE, "a=b");
    client.get("http://test/").open().await.unwrap();
    let sent: [&[&str]; 2] = [&["Bearer token"], &[]];
    assert_eq!(server.header("authorization"), sent);
    let sent: [&[&str]; 2] = [&["a=b"], &[]];
    assert_eq!(server.header("cookie"), sent);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_header_of_a_client_fails_when_a_request_is_opened() {
    let server = Server::plays([]);
    let client = || server.client(Reconnect::standard());
    for client in [
        client().header("a b", "c"),
        client().header("a", "two\nlines"),
        client().user_agent("two\nlines"),
        client().bearer("two\nlines"),
        client().header("Last-Event-ID", "7"),
        // A later valid header does not hide the error.
        client().header("a b", "c").header("a", "b"),
    ] {
        let error = client.get("http://test/").open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(server.requests(), 0);
}
