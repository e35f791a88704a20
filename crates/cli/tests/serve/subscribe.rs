//! `GET /channels/{name}` and `GET /events`.

use tidings::EventId;
use tidings::client::Session;
use tidings::proto::Position;

use crate::process::Server;
use crate::raw::{get, post, request};
use crate::stream::{assert_end, client, next, open, open_request, texts};

/// Publishes the numbers 1 to `count`, and returns their IDs.
fn publish(server: &Server, channel: &str, count: usize) -> Vec<String> {
    let target = format!("/channels/{channel}");
    let published = (1..=count).map(|n| post(server.address(), &target, n.to_string()));
    let ids = published.map(|answer| answer.json()["id"].as_str().unwrap().to_owned());
    ids.collect()
}

async fn open_with_id(server: &Server, path: &str, id: &str) -> Session {
    let id = EventId::new(id).unwrap();
    open_request(client().get(server.url(path)).last_event_id(id)).await
}

#[tokio::test]
async fn a_subscriber_without_an_id_begins_where_the_query_says() {
    let server = Server::start(&[]);
    let ids = publish(&server, "news", 5);
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    for (query, expected) in [
        ("".to_owned(), &["new"][..]),
        ("?from=latest".to_owned(), &["new"]),
        (
            "?from=earliest".to_owned(),
            &["1", "2", "3", "4", "5", "new"],
        ),
        ("?last=2".to_owned(), &["4", "5", "new"]),
        ("?last=1000".to_owned(), &["1", "2", "3", "4", "5", "new"]),
        (format!("?from={}", ids[2]), &["4", "5", "new"]),
        (format!("?from={}.news", ids[3]), &["5", "new"]),
        (format!("?from={before}"), &["1", "2", "3", "4", "5", "new"]),
        ("?from=2100-01-01T00:00:00Z".to_owned(), &["new"]),
    ] {
        let mut session = open(&server, &format!("/channels/news{query}")).await;
        let mut all = open(
            &server,
            &format!("/events{query}{}channel=news", join(&query)),
        )
        .await;
        let mut expected = expected.to_vec();
        expected.pop();
        assert_eq!(
            texts(&mut session, expected.len()).await,
            expected,
            "{query}"
        );
        assert_eq!(texts(&mut all, expected.len()).await, expected, "{query}");
    }
    let mut sessions = [
        open(&server, "/channels/news").await,
        open(&server, "/channels/news?last=1").await,
        open(&server, "/channels/news?from=2100-01-01T00:00:00Z").await,
    ];
    post(server.address(), "/channels/news", "new");
    assert_eq!(texts(&mut sessions[0], 1).await, ["new"]);
    assert_eq!(texts(&mut sessions[1], 2).await, ["5", "new"]);
    assert_eq!(texts(&mut sessions[2], 1).await, ["new"]);
}

fn join(query: &str) -> &'static str {
    if query.is_empty() { "?" } else { "&" }
}

#[tokio::test]
async fn an_id_wins_over_the_start_in_the_url() {
    let server = Server::start(&[]);
    let ids = publish(&server, "news", 10);
    // What an `EventSource` does: the same URL at each reconnection, and its last ID.
    let mut session = open(&server, "/channels/news?last=5").await;
    assert_eq!(texts(&mut session, 5).await, ["6", "7", "8", "9", "10"]);
    let mut session = open_with_id(&server, "/channels/news?last=5", &ids[7]).await;
    assert_eq!(texts(&mut session, 2).await, ["9", "10"]);
    let mut session = open_with_id(&server, "/channels/news?from=earliest", &ids[8]).await;
    assert_eq!(texts(&mut session, 1).await, ["10"]);
    let path = format!("/channels/news?from={}", ids[0]);
    let mut session = open_with_id(&server, &path, &ids[8]).await;
    assert_eq!(texts(&mut session, 1).await, ["10"]);
    // The ID that the stream gave is exact, so nothing is between it and a new event.
    for name in ["last_event_id", "lastEventId", "Last-Event-ID"] {
        let path = format!("/channels/news?last=5&{name}={}", ids[8]);
        let mut session = open(&server, &path).await;
        assert_eq!(texts(&mut session, 1).await, ["10"]);
        // The header is newer.
        let mut session = open_with_id(&server, &path, &ids[6]).await;
        assert_eq!(texts(&mut session, 3).await, ["8", "9", "10"]);
    }
    // A start that is not valid is not used.
    let mut session = open_with_id(&server, "/channels/news?last=many", &ids[8]).await;
    assert_eq!(texts(&mut session, 1).await, ["10"]);
}

#[tokio::test]
async fn an_id_of_another_log_leads_to_a_gap_however_it_is_given() {
    let server = Server::start(&[]);
    publish(&server, "news", 3);
    let foreign = "k3Zq9.2.x_7A";
    let path = format!("/channels/news?from={foreign}");
    let mut by_query = open(&server, &path).await;
    let mut by_header = open_with_id(&server, "/channels/news", foreign).await;
    for session in [&mut by_query, &mut by_header] {
        assert_eq!(next(session).await.event_type(), "gap");
    }
    // An ID of another channel in the same log is a position as any other.
    let ids = publish(&server, "other", 1);
    post(server.address(), "/channels/news", "4");
    let path = format!("/channels/news?from={}", ids[0]);
    let mut session = open(&server, &path).await;
    assert_eq!(texts(&mut session, 1).await, ["4"]);
}

#[tokio::test]
async fn one_stream_of_several_channels_names_them_in_its_ids() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/events?channel=a&channel=rooms/*&channel=a").await;
    for channel in ["a", "b", "rooms", "rooms/7", "rooms/7/x"] {
        post(server.address(), &format!("/channels/{channel}"), channel);
    }
    let mut last = None;
    for expected in ["a", "rooms/7", "rooms/7/x"] {
        let event = next(&mut session).await;
        assert_eq!(event.text(), expected);
        let id = event.id.unwrap();
        assert_eq!(Position::channel_in(&id), Some(expected));
        last = Some(id);
    }
    post(server.address(), "/channels/a", "more");
    let last = last.unwrap();
    let path = "/events?channel=a&channel=rooms%2F*";
    let mut session = open_with_id(&server, path, &last).await;
    assert_eq!(texts(&mut session, 1).await, ["more"]);
}

#[tokio::test]
async fn a_channel_that_has_ended_is_no_stream_after_its_last_event() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/a").await;
    let ids = publish(&server, "a", 2);
    assert_eq!(
        request(server.address(), "DELETE", "/channels/a", &[], "").status,
        200
    );
    assert_eq!(texts(&mut session, 2).await, ["1", "2"]);
    assert_end(&mut session).await;
    let line = format!("Last-Event-ID: {}", ids[1]);
    let again = request(server.address(), "GET", "/channels/a", &[&line], "");
    assert_eq!(again.status, 204);
    let mut session = open_with_id(&server, "/channels/a", &ids[0]).await;
    assert_eq!(texts(&mut session, 1).await, ["2"]);
    assert_end(&mut session).await;
}

#[test]
fn each_wrong_subscription_is_a_problem() {
    let server = Server::start(&["--max-channels", "2"]);
    let check = |target: &str, code| get(server.address(), target).assert_problem(400, code);
    check("/channels/a?from=yesterday", "invalid-start");
    check("/channels/a?last=0", "invalid-start");
    check("/channels/a?last=5&from=earliest", "invalid-start");
    check("/events?channel=a&from=x", "invalid-start");
    check("/channels/a/*", "invalid-name");
    check("/events", "invalid-channels");
    check("/events?channels=a", "invalid-channels");
    check("/events?channel=a&channel=b&channel=c", "invalid-channels");
    check("/events?channel=", "invalid-name");
    check("/events?channel=*", "invalid-name");
    check("/events?channel=a&channel=b/*/c", "invalid-name");
}

#[test]
fn the_head_of_a_stream_forbids_to_store_it_and_names_what_it_depends_on() {
    let server = Server::start(&[]);
    let head = request(server.address(), "HEAD", "/channels/a", &[], "");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let cache_control = head.header("cache-control").unwrap();
    assert!(cache_control.contains("no-store"), "{head:?}");
    assert_eq!(head.header("vary"), Some("accept"));
}
