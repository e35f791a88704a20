//! `tickets`: cookies, single-use tickets, resuming with a fresh ticket, and CORS. `real_clients` opens its
//! page in a browser.

use std::process::Command;

use crate::client::Client;
use crate::server::Server;

const TOKEN: &str = "Authorization: Bearer secret\r\n";
const ORIGIN: &str = "http://page.test";

fn start() -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickets"));
    command.env("PAGE_ORIGIN", ORIGIN);
    Server::start_command(command, 0)
}

fn ticket(server: &Server) -> String {
    let issued = Client::send(server.address(), "POST /tickets", TOKEN, b"");
    assert_eq!(issued.status(), 200);
    issued.body()
}

/// Receives five numbers from this one on, and the end.
fn expect_numbers(client: &mut Client, first: u64) {
    assert_eq!(client.status(), 200);
    assert_eq!(client.block().as_deref(), Some("retry: 100"));
    for n in first..first + 5 {
        let block = client.block().expect("a number");
        assert!(
            block.lines().any(|line| line == format!("data: {n}")),
            "{block}"
        );
    }
    assert_eq!(client.block(), None);
}

#[test]
fn without_a_cookie_or_a_ticket_it_is_a_401() {
    let server = start();
    for path in [
        "/events",
        "/events?ticket=",
        "/events?ticket=00",
        "/events?ticket=secret",
    ] {
        assert_eq!(Client::get(server.address(), path).status(), 401, "{path}");
    }
    for request in ["POST /login", "POST /tickets"] {
        for headers in [
            "",
            "Authorization: Bearer other\r\n",
            "Cookie: session=x\r\n",
        ] {
            let refused = Client::send(server.address(), request, headers, b"");
            assert_eq!(refused.status(), 401, "{request} {headers}");
        }
    }
}

#[test]
fn a_ticket_is_valid_once_and_a_fresh_one_resumes() {
    let server = start();
    let url = format!("/events?ticket={}&last_event_id=", ticket(&server));
    expect_numbers(&mut Client::get(server.address(), &url), 0);
    // As an `EventSource` reconnects.
    let repeated = Client::send(
        server.address(),
        &format!("GET {url}"),
        "Last-Event-ID: 4\r\n",
        b"",
    );
    assert_eq!(repeated.status(), 401);
    let url = format!("/events?ticket={}&last_event_id=4", ticket(&server));
    expect_numbers(&mut Client::get(server.address(), &url), 5);
}

#[test]
fn a_cookie_is_valid_for_each_reconnection() {
    let server = start();
    let login = Client::send(server.address(), "POST /login", TOKEN, b"");
    assert_eq!(login.status(), 204);
    let cookie = login.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("httponly"), "{cookie}");
    let (session, _) = cookie.split_once(';').expect("attributes");
    for (id, first) in [("", 0), ("Last-Event-ID: 4\r\n", 5)] {
        let headers = format!("Cookie: theme=dark; {session}\r\n{id}");
        let mut client = Client::send(server.address(), "GET /events", &headers, b"");
        expect_numbers(&mut client, first);
    }
}

#[test]
fn only_the_page_of_the_set_origin_may_read() {
    let server = start();
    let url = format!("GET /events?ticket={}", ticket(&server));
    let origin = format!("Origin: {ORIGIN}\r\n");
    let events = Client::send(server.address(), &url, &origin, b"");
    assert_eq!(events.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(
        events.header("access-control-allow-credentials"),
        Some("true")
    );
    let preflight = format!(
        "{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"
    );
    let preflight = Client::send(server.address(), "OPTIONS /tickets", &preflight, b"");
    assert_eq!(preflight.status(), 200);
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("authorization")
    );
}

#[test]
fn the_page_is_html() {
    let server = start();
    let page = Client::get(server.address(), "/");
    let html = Some("text/html; charset=utf-8");
    assert_eq!(page.header("content-type"), html);
    assert_eq!(page.body(), include_str!("../../tickets.html"));
}
