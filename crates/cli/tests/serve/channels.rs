//! `GET /channels`, and the state of one channel as JSON.

use serde_json::{Value, json};

use crate::process::Server;
use crate::raw::{Answer, get, post, request};
use crate::stream::open;

const JSON: &str = "Accept: application/json";

fn state(server: &Server, target: &str) -> Answer {
    request(server.address(), "GET", target, &[JSON], "")
}

#[tokio::test]
async fn a_channel_has_a_state() {
    let server = Server::start(&[]);
    state(&server, "/channels/a").assert_problem(404, "unknown-channel");
    let published = post(server.address(), "/channels/a", "x").json();
    let sessions = [
        open(&server, "/channels/a").await,
        open(&server, "/channels/a").await,
    ];
    let answer = state(&server, "/channels/a");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("vary"), Some("accept"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let expected = json!({
        "name": "a", "status": "open", "newest": published["id"], "subscribers": 2
    });
    assert_eq!(answer.json(), expected);
    request(server.address(), "DELETE", "/channels/a", &[], "");
    drop(sessions);
    assert_eq!(state(&server, "/channels/a").json()["status"], "ended");
    state(&server, "/channels/a//b").assert_problem(400, "invalid-name");
}

#[test]
fn the_list_of_channels_has_pages() {
    let server = Server::start(&[]);
    let names: Vec<_> = (0..7).map(|n| format!("rooms/{n}")).collect();
    for name in &names {
        post(server.address(), &format!("/channels/{name}"), "x");
    }
    for limit in 1..=8 {
        let mut found: Vec<String> = Vec::new();
        let mut target = format!("/channels?limit={limit}");
        let mut pages = 0;
        loop {
            let page = get(server.address(), &target).json();
            let channels = page["channels"].as_array().unwrap();
            assert!(!channels.is_empty() && channels.len() <= limit);
            found.extend(
                channels
                    .iter()
                    .map(|c| c["name"].as_str().unwrap().to_owned()),
            );
            assert!(channels.iter().all(|channel| channel["newest"].is_string()));
            pages += 1;
            let Some(next) = page["next"].as_str() else {
                assert_eq!(page["next"], Value::Null);
                break;
            };
            target = format!("/channels?limit={limit}&after={next}");
        }
        assert_eq!(found, names);
        assert_eq!(pages, 7_usize.div_ceil(limit));
    }
    let all = get(server.address(), "/channels").json();
    assert_eq!(all["channels"].as_array().unwrap().len(), 7);
    assert_eq!(all["next"], Value::Null);
}

#[test]
fn a_wrong_page_is_a_problem() {
    let server = Server::start(&[]);
    for limit in ["0", "1001", "", "-1", "ten"] {
        let target = format!("/channels?limit={limit}");
        get(server.address(), &target).assert_problem(400, "invalid-limit");
    }
    for after in ["", "a//b", "rooms/*", "%00"] {
        let target = format!("/channels?after={after}");
        get(server.address(), &target).assert_problem(400, "invalid-name");
    }
    assert_eq!(
        get(server.address(), "/channels?limit=1000&after=zzz").status,
        200
    );
}
