//! `DELETE /channels/{name}`.

use crate::process::Server;
use crate::raw::{get, post, request};
use crate::stream::{assert_end, next, open, texts};

#[tokio::test]
async fn an_end_follows_its_last_words() {
    let server = Server::start(&[]);
    let address = server.address();
    let mut session = open(&server, "/channels/a").await;
    post(address, "/channels/a", "x");
    let end = request(address, "DELETE", "/channels/a?event=done", &[], "bye");
    assert_eq!(end.status, 200, "{end:?}");
    assert_eq!(texts(&mut session, 1).await, ["x"]);
    let words = next(&mut session).await;
    assert_eq!((words.text(), words.event_type()), ("bye", "done"));
    assert_end(&mut session).await;
    let id = end.json()["id"].as_str().unwrap().to_owned();
    let seq = |id: &str| -> u64 { id.split('.').nth(1).unwrap().parse().unwrap() };
    assert_eq!(seq(&id), seq(&words.id.unwrap()) + 1);
    let again = request(address, "DELETE", "/channels/a", &[], "bye");
    again.assert_problem(409, "channel-ended");
}

#[test]
fn a_channel_that_is_not_known_does_not_end() {
    let server = Server::start(&[]);
    let address = server.address();
    let end = request(address, "DELETE", "/channels/a", &[], "bye");
    end.assert_problem(404, "unknown-channel");
    let list = get(address, "/channels");
    assert_eq!(list.json()["channels"].as_array().unwrap().len(), 0);
}

#[test]
fn wrong_last_words_leave_the_channel_open() {
    let server = Server::start(&[]);
    let address = server.address();
    post(address, "/channels/a", "x");
    let delete = |target, body: &[u8]| request(address, "DELETE", target, &[], body);
    delete("/channels/a", b"\xff").assert_problem(400, "invalid-body");
    delete("/channels/a?event=gap", b"x").assert_problem(400, "reserved-name");
    delete("/channels/a//b", b"").assert_problem(400, "invalid-name");
    assert_eq!(post(address, "/channels/a", "y").status, 201);
}
