//! `llm_tokens`: the protocol of chat completions.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

const PATH: &str = "POST /v1/chat/completions";

fn start() -> Server {
    Server::start(env!("CARGO_BIN_EXE_llm_tokens"), 0)
}

fn ask(address: SocketAddr, stream: &Value) -> Client {
    let messages = json!([{ "role": "user", "content": "Who are you?" }]);
    let question = json!({ "model": "made-up", "messages": messages, "stream": stream });
    // A wrong type and no `Accept`, as many clients send it.
    let headers = "Content-Type: text/plain\r\n";
    Client::send(address, PATH, headers, question.to_string().as_bytes())
}

#[test]
fn an_answer_is_sent_token_by_token_and_ends_with_done() {
    let server = start();
    let mut client = ask(server.address(), &json!(true));
    assert_eq!(client.status(), 200);
    assert_eq!(client.header("content-type"), Some("text/event-stream"));
    let mut chunks: Vec<Value> = Vec::new();
    while let Some(block) = client.block() {
        let data = block.strip_prefix("data: ").expect("only data");
        if data == "[DONE]" {
            assert_eq!(client.block(), None, "an event after [DONE]");
            break;
        }
        chunks.push(serde_json::from_str(data).expect("JSON"));
    }
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["model"], "made-up");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert!(chunk["id"].is_string() && chunk["created"].as_u64() > Some(1_700_000_000));
        assert_eq!(chunk["choices"][0]["index"], 0);
    }
    let (last, before) = chunks.split_last().expect("chunks");
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(before[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        before
            .iter()
            .all(|chunk| chunk["choices"][0]["finish_reason"].is_null())
    );
    let tokens: String = before
        .iter()
        .map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .expect("a token")
        })
        .collect();
    assert!(
        before.len() > 10 && tokens.starts_with("I am a fake model"),
        "{tokens:?}"
    );
}

#[test]
fn an_answer_without_stream_is_sent_whole() {
    let server = start();
    for stream in [json!(false), json!(null)] {
        let client = ask(server.address(), &stream);
        assert_eq!(client.status(), 200);
        assert_eq!(client.header("content-type"), Some("application/json"));
        let answer: Value = serde_json::from_str(&client.body()).expect("JSON");
        assert_eq!(answer["object"], "chat.completion");
        let choice = &answer["choices"][0];
        assert_eq!(choice["message"]["role"], "assistant");
        assert!(
            choice["message"]["content"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert_eq!(choice["finish_reason"], "stop");
    }
}

#[test]
fn an_invalid_question_is_a_400_before_the_stream_opens() {
    let server = start();
    let bodies: &[&[u8]] = &[
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"hello\"",
        b"\xff",
        br#"{"model": "m", "stream": true}"#,
        br#"{"model": "m", "messages": null, "stream": true}"#,
        br#"{"model": "m", "messages": "hello", "stream": true}"#,
        br#"{"model": "m", "messages": {}, "stream": true}"#,
        br#"{"model": "m", "messages": [], "stream": true}"#,
        br#"{"model": "m", "messages": ["hello"], "stream": true}"#,
        br#"{"model": "m", "messages": [{"role": "user"}], "stream": true}"#,
        br#"{"model": "m", "messages": [{"role": "user", "content": 5}], "stream": true}"#,
        br#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": "yes"}"#,
        br#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": true"#,
        br#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": true} x"#,
        br#"{"model": 5, "messages": [{"role": "user", "content": "a"}], "stream": true}"#,
        br#"{"messages": [{"role": "user", "content": "a"}], "stream": true}"#,
        br#"["m", [["user", "a"]], true]"#,
        br#"{"model": "m", "messages": [["user", "a"]], "stream": true}"#,
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(body);
        for headers in [
            "",
            "Content-Type: application/json\r\nAccept: text/event-stream\r\n",
        ] {
            let client = Client::send(server.address(), PATH, headers, body);
            assert_eq!(client.status(), 400, "{shown}");
            assert_eq!(client.header("content-type"), Some("application/json"));
            let answer: Value = serde_json::from_str(&client.body()).expect("JSON");
            assert_eq!(answer["error"]["type"], "invalid_request_error");
            let message = answer["error"]["message"].as_str();
            assert!(
                message.is_some_and(|message| !message.is_empty()),
                "{shown}"
            );
        }
    }
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert_eq!(
        Client::send(server.address(), PATH, "", &deep).status(),
        400
    );
}

#[test]
fn only_post_is_allowed() {
    let server = start();
    assert_eq!(
        Client::get(server.address(), "/v1/chat/completions").status(),
        405
    );
}
