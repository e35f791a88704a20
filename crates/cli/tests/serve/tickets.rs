//! The cookie of the page, and the tickets for pages of other origins.

use serde_json::Value;

use crate::guarded::{Guarded, now, token};
use crate::raw::{Answer, get, request};
use crate::stream::{client, next, open_request};

fn ticket(guarded: &Guarded, query: &str, token: &str) -> String {
    let answer = guarded.send("POST", &format!("/tickets?{query}"), token, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let json = answer.json();
    assert_eq!(json["expires_in"], 30);
    json["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_stream() {
    let guarded = Guarded::start(&[]);
    let token = token(&["a", "b/*"], &["a", "b/*"]);
    let ticket = ticket(&guarded, "channel=a&channel=b/*", &token);
    let url = guarded
        .server
        .url(&format!("/events?channel=a&channel=b/c&ticket={ticket}"));
    let mut session = open_request(client().get(url)).await;
    for name in ["a", "b/c"] {
        let target = format!("/channels/{name}");
        assert_eq!(guarded.send("POST", &target, &token, name).status, 201);
        assert_eq!(next(&mut session).await.text(), name);
    }
    for target in ["/events?channel=a&", "/channels/a?"] {
        let again = get(
            guarded.server.address(),
            &format!("{target}ticket={ticket}"),
        );
        again.assert_problem(401, "invalid-token");
        assert!(
            again.json()["detail"]
                .as_str()
                .unwrap()
                .contains("used before")
        );
    }
}

#[test]
fn a_ticket_is_for_the_streams_of_its_channels_only() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let token = token(&["a", "b"], &["a", "b"]);
    let made = |query: &str| ticket(&guarded, query, &token);
    for target in [
        "/channels/b?",
        "/events?channel=a&channel=b&",
        "/events?channel=a/*&",
    ] {
        let answer = get(address, &format!("{target}ticket={}", made("channel=a")));
        answer.assert_problem(403, "insufficient-scope");
    }
    let misplaced = |method: &str, target: &str, lines: &[&str]| {
        let target = format!("{target}ticket={}", made("channel=a"));
        request(address, method, &target, lines, "").assert_problem(400, "misplaced-ticket");
    };
    misplaced("POST", "/channels/a?", &[]);
    misplaced("DELETE", "/channels/a?", &[]);
    misplaced("GET", "/channels?", &[]);
    misplaced("GET", "/channels/a?", &["Accept: application/json"]);
    misplaced("POST", "/tickets?channel=a&", &[]);
    misplaced("POST", "/session?", &[]);
    misplaced("GET", "/metrics?", &[]);
    for query in ["channel=c", "channel=a&channel=c", "channel=a/*"] {
        let answer = guarded.send("POST", &format!("/tickets?{query}"), &token, "");
        answer.assert_problem(403, "insufficient-scope");
    }
    for query in ["", "channel=", "channel=a//b"] {
        let answer = guarded.send("POST", &format!("/tickets?{query}"), &token, "");
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[test]
fn a_ticket_is_no_token_and_a_token_no_ticket() {
    let guarded = Guarded::start(&[]);
    let token = token(&["a"], &["a"]);
    let ticket = ticket(&guarded, "channel=a", &token);
    let as_token = guarded.send("POST", "/channels/a", &ticket, "x");
    as_token.assert_problem(401, "invalid-token");
    let cookie = format!("Cookie: tidings-token={ticket}");
    let as_cookie = request(guarded.server.address(), "GET", "/channels", &[&cookie], "");
    as_cookie.assert_problem(401, "invalid-token");
    for text in [&token, "", "x", "x.y"] {
        let answer = get(
            guarded.server.address(),
            &format!("/channels/a?ticket={text}"),
        );
        answer.assert_problem(401, "invalid-token");
    }
    let both = guarded.send("GET", &format!("/channels/a?ticket={ticket}"), &token, "");
    both.assert_problem(400, "two-credentials");
}

/// The value of the cookie that the answer sets, and its attributes.
fn cookie(answer: &Answer) -> (String, Vec<String>) {
    assert_eq!(answer.status, 204, "{answer:?}");
    let line = answer.header("set-cookie").unwrap();
    let mut parts = line.split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

#[tokio::test]
async fn a_token_becomes_a_cookie_of_this_server() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let token = token(&["a"], &["a"]);
    let (pair, attributes) = cookie(&guarded.send("POST", "/session", &token, ""));
    assert_eq!(pair, format!("tidings-token={token}"));
    let left = attributes.last().unwrap().strip_prefix("Max-Age=");
    let left: u64 = left.unwrap().parse().unwrap();
    assert!(left <= 3_600 && now() > 0, "{left}");
    assert_eq!(attributes[..3], ["HttpOnly", "SameSite=Strict", "Path=/"]);
    let sent = format!("Cookie: other=1; {pair}");
    let published = request(address, "POST", "/channels/a", &[&sent], "x");
    assert_eq!(published.status, 201, "{published:?}");
    let url = guarded.server.url("/channels/a?last=1");
    let mut session = open_request(client().get(url).header("cookie", pair.as_str())).await;
    assert_eq!(next(&mut session).await.text(), "x");
    // The cookie prolongs nothing, and a wrong header wins over it.
    request(address, "POST", "/session", &[&sent], "").assert_problem(401, "missing-token");
    let lines = [&*sent, "Authorization: Bearer x"];
    request(address, "GET", "/channels", &lines, "").assert_problem(401, "invalid-token");
    guarded
        .send("POST", "/session", "x", "")
        .assert_problem(401, "invalid-token");
}

#[test]
fn over_tls_the_cookie_is_secure() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let token = token(&["a"], &["a"]);
    let bearer = format!("Authorization: Bearer {token}");
    let own = format!("Origin: https://{address}");
    for line in [
        "X-Forwarded-Proto: https",
        "Forwarded: for=192.0.2.1;proto=https",
        &own,
    ] {
        let answer = request(address, "POST", "/session", &[&bearer, line], "");
        let (pair, attributes) = cookie(&answer);
        assert_eq!(pair, format!("__Host-tidings-token={token}"));
        assert!(attributes.contains(&"Secure".to_owned()), "{attributes:?}");
        let sent = format!("Cookie: {pair}");
        let answer = request(address, "POST", "/channels/a", &[&sent, line], "x");
        assert_eq!(answer.status, 201, "{answer:?}");
        // Another host of the same site could have set it.
        let tossed = format!("Cookie: tidings-token={token}");
        let answer = request(address, "POST", "/channels/a", &[&tossed, line], "x");
        answer.assert_problem(401, "missing-token");
    }
}

#[test]
fn a_session_is_closed_by_everyone_except_for_pages_of_other_origins() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let answer = request(address, "DELETE", "/session", &[], "");
    assert_eq!(answer.status, 204);
    let cookies: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .collect();
    assert_eq!(cookies.len(), 3);
    assert!(
        cookies
            .iter()
            .all(|(_, value)| value.contains("=;") && value.contains("Max-Age=0"))
    );
    let foreign = ["Origin: https://evil.example"];
    request(address, "DELETE", "/session", &foreign, "").assert_problem(403, "foreign-origin");
}

#[test]
fn a_cookie_is_of_no_use_to_a_page_of_another_origin() {
    let guarded = Guarded::start(&["--cors-origin", "https://shop.example"]);
    let address = guarded.server.address();
    let token = token(&["a"], &["a"]);
    let sent = format!("Cookie: tidings-token={token}");
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let line = format!("Origin: {origin}");
        for (method, target) in [
            ("POST", "/channels/a"),
            ("POST", "/tickets?channel=a"),
            ("GET", "/channels"),
        ] {
            let answer = request(address, method, target, &[&sent, &line], "");
            answer.assert_problem(403, "foreign-origin");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
    for site in ["cross-site", "same-site"] {
        let line = format!("Sec-Fetch-Site: {site}");
        let answer = request(address, "GET", "/channels/a", &[&sent, &line], "");
        answer.assert_problem(403, "foreign-origin");
    }
}

#[test]
fn a_listed_origin_may_send_credentials_and_sees_refusals() {
    let guarded = Guarded::start(&["--cors-origin", "https://shop.example"]);
    let address = guarded.server.address();
    let origin = "Origin: https://shop.example";
    let preflight = [
        origin,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization",
    ];
    let answer = request(address, "OPTIONS", "/tickets", &preflight, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let allowed = answer
        .header("access-control-allow-headers")
        .unwrap_or_default();
    assert!(
        allowed.to_lowercase().contains("authorization"),
        "{answer:?}"
    );
    let check = |answer: &Answer| {
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://shop.example"), "{answer:?}");
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
    };
    check(&answer);
    let refused = request(address, "POST", "/tickets?channel=a", &[origin], "");
    refused.assert_problem(401, "missing-token");
    check(&refused);
    let bearer = format!("Authorization: Bearer {}", token(&["a"], &[]));
    let made = request(
        address,
        "POST",
        "/tickets?channel=a",
        &[origin, &bearer],
        "",
    );
    check(&made);
    assert!(matches!(made.json()["ticket"], Value::String(_)));
}

#[test]
fn without_keys_there_are_no_tickets_and_no_sessions() {
    let server = crate::process::Server::start(&[]);
    for (method, target) in [
        ("POST", "/tickets?channel=a"),
        ("POST", "/session"),
        ("DELETE", "/session"),
    ] {
        request(server.address(), method, target, &[], "").assert_problem(404, "not-found");
    }
}
