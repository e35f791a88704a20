//! Redirects: followed ones, endless ones and invalid ones.

use super::Listen;
use crate::server::Server;

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

#[tokio::test]
async fn each_kind_of_redirect_is_followed_and_the_final_url_kept() {
    for status in [301, 302, 303, 307, 308] {
        let (server, other) = (Server::start(), Server::start());
        let mut listen = Listen::to(&server.url("/a/b?c"));
        server.answer(&redirect(status, "../d?e#f")).await;
        let second = server.answer(&redirect(status, &other.url("/g"))).await;
        assert_eq!(second.target, "/d?e");
        assert_eq!(second.header("accept"), ["text/event-stream"]);

        let mut connection = other.open().await;
        assert_eq!(connection.request.target, "/g");
        connection.send("id: 1\ndata: a\n\n").await;
        connection.end().await;
        listen.expect_open().await;
        listen.expect_event("a", "1").await;
        listen.expect_loss().await;

        let again = other.open().await.request;
        assert_eq!(
            (again.method.as_str(), again.target.as_str()),
            ("GET", "/g")
        );
        assert_eq!(again.header("last-event-id"), ["1"]);
        listen.expect_open().await;
        server.expect_no_request().await;
    }
}

#[tokio::test]
async fn a_redirected_request_keeps_its_last_event_id() {
    let server = Server::start();
    let _listen = Listen::with(&server.url("/"), &[("SSE_LAST_EVENT_ID", "1")]);
    for location in ["/b", "/c"] {
        let request = server.answer(&redirect(307, location)).await;
        assert_eq!(request.header("last-event-id"), ["1"]);
    }
    assert_eq!(server.accept().await.request.header("last-event-id"), ["1"]);
}

#[tokio::test]
async fn twenty_redirects_in_a_row_are_followed() {
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/0"));
    for hop in 1..=20 {
        server.answer(&redirect(302, &format!("/{hop}"))).await;
    }
    assert_eq!(server.open().await.request.target, "/20");
    listen.expect_open().await;
}

#[tokio::test]
async fn the_twenty_first_redirect_is_an_error_and_the_next_attempt_starts_over() {
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/0"));
    for _ in 0..2 {
        for hop in 1..=21 {
            let request = server.answer(&redirect(302, &format!("/{hop}"))).await;
            assert_eq!(request.target, format!("/{}", hop - 1));
        }
        listen.expect_loss().await;
    }
    assert_eq!(server.accept().await.request.target, "/0");
}

#[tokio::test]
async fn a_redirect_without_a_valid_location_is_fatal() {
    for status in [301, 302, 303, 307, 308] {
        for location in [
            "",
            "location: \r\n",
            "location: ftp://localhost/\r\n",
            "location: http://[\r\n",
        ] {
            let server = Server::start();
            let listen = Listen::to(&server.url("/"));
            let mut connection = server.accept().await;
            let response = format!("HTTP/1.1 {status} X\r\n{location}\r\n");
            connection.write(&response).await;
            listen.expect_failure().await;
            server.expect_no_request().await;
        }
    }
}
