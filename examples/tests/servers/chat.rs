//! `chat`: a new client receives past messages, and the number of members. `real_clients` opens its page in
//! browsers.

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

fn start() -> Server {
    Server::start(env!("CARGO_BIN_EXE_chat"), 0)
}

fn post(server: &Server, room: &str, body: &[u8]) -> u16 {
    Client::send(server.address(), &format!("POST /rooms/{room}"), "", body).status()
}

fn post_message(server: &Server, room: &str, who: &str, text: &str) -> u16 {
    let message = json!({ "who": who, "text": text });
    post(server, room, message.to_string().as_bytes())
}

fn listen(server: &Server, room: &str) -> Client {
    Client::get(server.address(), &format!("/rooms/{room}"))
}

#[derive(Debug, PartialEq)]
enum Received {
    Presence(u32),
    Message { text: String, id: String },
}

fn next(client: &mut Client) -> Received {
    let block = client.event().expect("an event before the end");
    let field = |name: &str| {
        let mut fields = block.lines().filter_map(|line| line.split_once(": "));
        fields.find(|field| field.0 == name).map(|field| field.1)
    };
    let data = field("data").expect("data");
    if let Some(name) = field("event") {
        assert_eq!((name, field("id")), ("presence", None), "{block}");
        return Received::Presence(data.parse().expect("a count"));
    }
    let message: Value = serde_json::from_str(data).expect("JSON");
    Received::Message {
        text: message["text"].as_str().expect("a text").to_owned(),
        id: field("id").expect("an id").to_owned(),
    }
}

/// The next message and its ID.
fn text(client: &mut Client) -> (String, String) {
    loop {
        if let Received::Message { text, id } = next(client) {
            return (text, id);
        }
    }
}

/// Receives until the room has so many members.
fn expect_presence(client: &mut Client, count: u32) {
    while next(client) != Received::Presence(count) {}
}

#[test]
fn a_new_client_receives_the_past_messages_then_the_new_ones() {
    let server = start();
    let mut early = listen(&server, "lobby");
    let nasty = "<script>alert(1)</script>\r\n\ndata: x\n\n\u{0}\u{1f600}";
    for text_sent in ["one", nasty, "three"] {
        assert_eq!(post_message(&server, "lobby", "Ada", text_sent), 204);
        assert_eq!(text(&mut early).0, text_sent);
    }
    let mut late = listen(&server, "lobby");
    assert_eq!(text(&mut late).0, "one");
    let (second, id) = text(&mut late);
    assert_eq!(second, nasty);
    assert_eq!(text(&mut late).0, "three");
    post_message(&server, "lobby", "Ada", "four");
    let header = format!("Last-Event-ID: {id}\r\n");
    let mut resumed = Client::send(server.address(), "GET /rooms/lobby", &header, b"");
    assert_eq!(text(&mut resumed).0, "three");
    for client in [&mut early, &mut late, &mut resumed] {
        assert_eq!(text(client).0, "four");
    }
}

#[test]
fn rooms_are_independent() {
    let server = start();
    let mut rooms = ["a", "b", "a.b", "A"].map(|room| (room, listen(&server, room)));
    for (room, _) in &rooms {
        assert_eq!(post_message(&server, room, "Ada", room), 204);
    }
    for (room, client) in &mut rooms {
        assert_eq!(text(client).0, *room);
    }
}

#[test]
fn everyone_in_a_room_receives_its_number_of_members() {
    let server = start();
    let mut first = listen(&server, "lobby");
    expect_presence(&mut first, 1);
    let mut elsewhere = listen(&server, "elsewhere");
    expect_presence(&mut elsewhere, 1);
    let mut second = listen(&server, "lobby");
    expect_presence(&mut second, 2);
    expect_presence(&mut first, 2);
    let third = listen(&server, "lobby");
    expect_presence(&mut first, 3);
    expect_presence(&mut second, 3);
    drop((second, third));
    expect_presence(&mut first, 1);
    // The other room received nothing of that.
    post_message(&server, "elsewhere", "Ada", "quiet");
    assert!(matches!(next(&mut elsewhere), Received::Message { .. }));
}

#[test]
fn presence_is_not_kept() {
    let server = start();
    let mut steady = listen(&server, "lobby");
    expect_presence(&mut steady, 1);
    post_message(&server, "lobby", "Ada", "one");
    for _ in 0..20 {
        let passer_by = listen(&server, "lobby");
        expect_presence(&mut steady, 2);
        drop(passer_by);
        expect_presence(&mut steady, 1);
    }
    let mut late = listen(&server, "lobby");
    let mut counts = Vec::new();
    let (first, id) = loop {
        match next(&mut late) {
            Received::Presence(count) => counts.push(count),
            Received::Message { text, id } => break (text, id),
        }
    };
    assert_eq!(first, "one");
    assert!(
        counts.len() <= 2 && counts.iter().all(|count| *count <= 2),
        "{counts:?}"
    );
    // Its position is the next of the log: the log holds only messages.
    post_message(&server, "lobby", "Ada", "two");
    let (_, next_id) = text(&mut late);
    let seq = |id: &str| id.split('.').nth(1).and_then(|seq| seq.parse::<u64>().ok());
    assert_eq!(seq(&next_id), seq(&id).map(|seq| seq + 1));
}

#[test]
fn an_invalid_room_is_a_400() {
    let server = start();
    post_message(&server, "secret", "Ada", "psst");
    let long = "a".repeat(250);
    for room in [
        "*",
        "%2a",
        "secret%2F*",
        "a%20b",
        "..%2Fa",
        "%2F",
        "a%2F",
        "%C3%A9",
        "%00",
        &long,
    ] {
        assert_eq!(listen(&server, room).status(), 400, "{room}");
        assert_eq!(post_message(&server, room, "Ada", "hello"), 400, "{room}");
    }
    assert_eq!(listen(&server, "").status(), 404);
}

#[test]
fn an_invalid_message_is_refused() {
    let server = start();
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"null",
        b"\"hello\"",
        b"{}",
        br#"{"who": "Ada"}"#,
        br#"{"who": 1, "text": "a"}"#,
        b"{\"who\": \"\xff\", \"text\": \"a\"}",
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(post(&server, "lobby", body), 400, "{shown}");
    }
    assert_eq!(post_message(&server, "lobby", "", "a"), 400);
    assert_eq!(post_message(&server, "lobby", "Ada", ""), 400);
    // Four bytes each.
    let (who, longest) = ("\u{1f600}".repeat(40), "\u{1f600}".repeat(2_000));
    assert_eq!(post_message(&server, "lobby", &who, &longest), 204);
    assert_eq!(post_message(&server, "lobby", &(who + "a"), "a"), 413);
    assert_eq!(
        post_message(&server, "lobby", "Ada", &(longest.clone() + "a")),
        413
    );
    assert_eq!(post(&server, "lobby", &[b' '; 17_000]), 413);
    assert_eq!(text(&mut listen(&server, "lobby")).0, longest);
}

#[test]
fn the_page_is_html() {
    let server = start();
    let page = Client::get(server.address(), "/");
    let html = Some("text/html; charset=utf-8");
    assert_eq!(page.header("content-type"), html);
    assert_eq!(page.body(), include_str!("../../chat.html"));
}
