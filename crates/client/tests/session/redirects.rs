//! Redirects, and the headers that follow them.

use tidings_client::{ErrorKind, Reconnect};

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

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
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
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
        read_all(&mut request.open().await.unwrap()).await,
        (vec!["a".into()], None)
    );
    let sent: [&[&str]; 4] = [&["Bearer token"], &[], &[], &["Bearer token"]];
    assert_eq!(server.header("authorization"), sent);
    let sent: [&[&str]; 4] = [&["a=b"], &[], &[], &["a=b"]];
    assert_eq!(server.header("cookie"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_that_leads_to_no_stream_is_forgotten() {
    let server = Server::plays([
        Script::Redirect(303, "/b"),
        Script::Refuse,
        Script::Redirect(308, "/c"),
        parts(&[Part::Cut]),
        Script::Redirect(303, "/d"),
        Script::Busy("0"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard().retry_refusals(true));
    let request = client.post("http://test/").body("a").may_be_repeated(true);
    let mut session = request.header("content-type", "x/y").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec![], None));

    let requests = server.requests.lock().unwrap();
    let sent: Vec<(&str, &str, usize)> = requests
        .iter()
        .map(|(request, _)| {
            let of_body = request.headers().get_all("content-type").iter().count();
            assert_eq!(request.body().len(), of_body);
            (request.method().as_str(), request.uri().path(), of_body)
        })
        .collect();
    let expected = [
        ("POST", "/", 1),
        ("GET", "/b", 0),
        ("POST", "/", 1),
        ("POST", "/c", 1),
        ("POST", "/c", 1),
        ("GET", "/d", 0),
        ("POST", "/c", 1),
    ];
    assert_eq!(sent, expected);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_follows_the_redirects_again() {
    let mut scripts = vec![Script::Redirect(302, "/on"); 42];
    scripts.push(status(204));
    let server = Server::plays(scripts);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec![], None));
    let asked_again = server
        .urls()
        .iter()
        .filter(|url| url.ends_with("/events"))
        .count();
    assert_eq!((asked_again, server.requests()), (3, 43));
}

#[tokio::test(start_paused = true)]
async fn endless_redirects_are_a_failed_connect() {
    let server = Server::plays(vec![Script::Redirect(302, "/"); 21]);
    let error = server.open(Reconnect::off()).await.unwrap_err();
    assert_eq!((error.kind(), server.requests()), (&ErrorKind::Connect, 21));
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

#[tokio::test(start_paused = true)]
async fn a_password_in_a_url_is_sent_to_its_origin_only() {
    let server = Server::plays([
        Script::Redirect(307, "http://evil:twin@other.test/"),
        Script::Redirect(307, "http://test/back"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let mut session = client.get("http://us3r:pa55@test/a").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    assert_eq!(session.url(), "http://test/back");
    let urls = [
        "http://test/a",
        "http://other.test/",
        "http://test/back",
        "http://test/back",
    ];
    assert_eq!(server.urls(), urls);
    let basic: &[&str] = &["Basic dXMzcjpwYTU1"];
    assert_eq!(server.header("authorization"), [basic, &[], basic, basic]);

    let server = Server::plays([status(204)]);
    let client = server.client(Reconnect::off());
    let request = client.get("http://us3r:pa55@test/").bearer("token");
    request.open().await.unwrap();
    assert_eq!(server.header("authorization"), [["Bearer token"]]);
}

#[tokio::test(start_paused = true)]
async fn an_odd_location_is_read_as_browsers_read_it() {
    let location = |lines| Server::plays([Script::Head(307, lines, ""), status(204)]);
    for (lines, expected) in [
        (&[("location", "a b\\c#d")][..], "http://test/a%20b/c"),
        (&[("location", ""), ("location", "/x")], "http://test/x"),
        (&[("location", "/x"), ("location", "/x")], "http://test/x"),
        (&[("location", "//other.test:80")], "http://other.test:80/"),
    ] {
        let server = location(lines);
        server.open(Reconnect::standard()).await.unwrap();
        assert_eq!(server.urls()[1], expected, "{lines:?}");
    }
    let server = location(&[("location", "/x"), ("location", "/y")]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidRedirect);
    assert_eq!(server.requests(), 1);
    // Only a redirect has a target.
    let both = &[("location", "/x"), ("location", "/y")];
    let server = Server::plays([Script::Head(404, both, "")]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        &ErrorKind::Status(http::StatusCode::NOT_FOUND)
    );
}
