//! `chat`: who comes hears what was said, and how many are there; its page is opened by the browsers of
//! `real_clients`.

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

fn start() -> Server {
    Server::start(env!("CARGO_BIN_EXE_chat"), 0)
}

fn post(server: &Server, room: &str, body: &[u8]) -> u16 {
    Client::send(server.address(), &format!("POST /rooms/{room}"), "", body).status()
}

fn say(server: &Server, room: &str, who: &str, text: &str) -> u16 {
    let message = json!({ "who": who, "text": text });
    post(server, room, message.to_string().as_bytes())
}

fn listen(server: &Server, room: &str) -> Client {
    Client::get(server.address(), &format!("/rooms/{room}"))
}

#[derive(Debug, PartialEq)]
enum Heard {
    Presence(u32),
    Message { text: String, id: String },
}

fn next(client: &mut Client) -> Heard {
    let block = client.event().expect("an event before the end");
    let field = |name: &str| {
        let mut fields = block.lines().filter_map(|line| line.split_once(": "));
        fields.find(|field| field.0 == name).map(|field| field.1)
    };
    let data = field("data").expect("data");
    if let Some(name) = field("event") {
        assert_eq!((name, field("id")), ("presence", None), "{block}");
        return Heard::Presence(data.parse().expect("a count"));
    }
    let message: Value = serde_json::from_str(data).expect("JSON");
    Heard::Message {
        text: message["text"].as_str().expect("a text").to_owned(),
        id: field("id").expect("an id").to_owned(),
    }
}

/// The next message, and its id.
fn text(client: &mut Client) -> (String, String) {
    loop {
        if let Heard::Message { text, id } = next(client) {
            return (text, id);
        }
    }
}

/// Hears until so many are there.
fn expect_presence(client: &mut Client, count: u32) {
    while next(client) != Heard::Presence(count) {}
}

#[test]
fn who_comes_hears_what_was_said_and_then_what_is() {
    let server = start();
    let mut early = listen(&server, "lobby");
    let nasty = "<script>alert(1)</script>\r\n\ndata: x\n\n\u{0}\u{1f600}";
    for said in ["one", nasty, "three"] {
        assert_eq!(say(&server, "lobby", "Ada", said), 204);
        assert_eq!(text(&mut early).0, said);
    }
    let mut late = listen(&server, "lobby");
    assert_eq!(text(&mut late).0, "one");
    let (second, id) = text(&mut late);
    assert_eq!(second, nasty);
    assert_eq!(text(&mut late).0, "three");
    say(&server, "lobby", "Ada", "four");
    let header = format!("Last-Event-ID: {id}\r\n");
    let mut resumed = Client::send(server.address(), "GET /rooms/lobby", &header, b"");
    assert_eq!(text(&mut resumed).0, "three");
    for client in [&mut early, &mut late, &mut resumed] {
        assert_eq!(text(client).0, "four");
    }
}

#[test]
fn rooms_are_apart() {
    let server = start();
    let mut rooms = ["a", "b", "a.b", "A"].map(|room| (room, listen(&server, room)));
    for (room, _) in &rooms {
        assert_eq!(say(&server, room, "Ada", room), 204);
    }
    for (room, client) in &mut rooms {
        assert_eq!(text(client).0, *room);
    }
}

#[test]
fn all_in_a_room_are_told_how_many_they_are() {
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
    // Those elsewhere have heard of none of that.
    say(&server, "elsewhere", "Ada", "quiet");
    assert!(matches!(next(&mut elsewhere), Heard::Message { .. }));
}

#[test]
fn coming_and_going_is_not_kept() {
    let server = start();
    let mut steady = listen(&server, "lobby");
    expect_presence(&mut steady, 1);
    say(&server, "lobby", "Ada", "one");
    for _ in 0..20 {
        let passer_by = listen(&server, "lobby");
        expect_presence(&mut steady, 2);
        drop(passer_by);
        expect_presence(&mut steady, 1);
    }
    let mut late = listen(&server, "lobby");
    let mut counts = Vec::new();
    let (said, id) = loop {
        match next(&mut late) {
            Heard::Presence(count) => counts.push(count),
            Heard::Message { text, id } => break (text, id),
        }
    };
    assert_eq!(said, "one");
    assert!(
        counts.len() <= 2 && counts.iter().all(|count| *count <= 2),
        "{counts:?}"
    );
    // Its place is the second of the log: nothing but messages stands there.
    say(&server, "lobby", "Ada", "two");
    let (_, next_id) = text(&mut late);
    let seq = |id: &str| id.split('.').nth(1).and_then(|seq| seq.parse::<u64>().ok());
    assert_eq!(seq(&next_id), seq(&id).map(|seq| seq + 1));
}

#[test]
fn what_is_no_room_is_a_400() {
    let server = start();
    say(&server, "secret", "Ada", "psst");
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
        assert_eq!(say(&server, room, "Ada", "hello"), 400, "{room}");
    }
    assert_eq!(listen(&server, "").status(), 404);
}

#[test]
fn what_is_no_message_is_refused() {
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
    assert_eq!(say(&server, "lobby", "", "a"), 400);
    assert_eq!(say(&server, "lobby", "Ada", ""), 400);
    // Of four bytes each.
    let (who, longest) = ("\u{1f600}".repeat(40), "\u{1f600}".repeat(2_000));
    assert_eq!(say(&server, "lobby", &who, &longest), 204);
    assert_eq!(say(&server, "lobby", &(who + "a"), "a"), 413);
    assert_eq!(say(&server, "lobby", "Ada", &(longest.clone() + "a")), 413);
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
