//! The cost of a session after the server has sent a large last event ID.

use std::time::{Duration, Instant};

use tidings_client::{Reconnect, Session, SseClient};

use crate::scripted::{Part, Server, parts};

const MIB: usize = 1024 * 1024;

/// The maximum factor by which a chunk costs more after a large ID than after one of 10 bytes.
const MAX_RATIO: f64 = 3.0;

const ROUNDS: usize = 20;
const EVENTS_IN_A_ROUND: usize = 100;

/// A session over a stream that begins with this ID. Each event, and a comment before it, arrives in a
/// chunk of its own.
async fn open(id: String, set: impl Fn(SseClient) -> SseClient) -> Session {
    let first = format!("id: {id}\n\n").leak();
    let mut body = vec![Part::Bytes(first.as_bytes())];
    for _ in 0..=ROUNDS * EVENTS_IN_A_ROUND {
        body.push(Part::Bytes(b": ping\n\n"));
        body.push(Part::Bytes(b"data: a\n\n"));
    }
    let client = set(Server::plays([parts(&body)]).client(Reconnect::off()));
    let mut session = client.get("http://test/").open().await.unwrap();
    // The first event copies the ID, and the ones after it share that copy.
    let event = session.try_next().await.unwrap().unwrap();
    assert_eq!(event.id.unwrap().len(), id.len());
    session
}

#[allow(clippy::disallowed_methods, reason = "it is the time that counts")]
async fn time_a_round(session: &mut Session) -> Duration {
    let begin = Instant::now();
    for _ in 0..EVENTS_IN_A_ROUND {
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    }
    begin.elapsed()
}

async fn check(what: &str, set: impl Fn(SseClient) -> SseClient) {
    let longest = 16 * MIB - "id: ".len();
    let mut small = open("7".repeat(10), &set).await;
    let mut large = open("7".repeat(longest), &set).await;
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        for (shortest, session) in shortest.iter_mut().zip([&mut small, &mut large]) {
            *shortest = time_a_round(session).await.min(*shortest);
        }
    }
    let ratio = shortest[1].as_secs_f64() / shortest[0].as_secs_f64();
    assert!(ratio < MAX_RATIO, "{what}: {ratio:.1} times, {shortest:?}");
}

#[tokio::test]
async fn a_chunk_after_a_large_id_costs_no_more_than_after_a_small_one() {
    check("plain", |client| client).await;
    check("dedupe", |client| client.dedupe(true)).await;
    #[cfg(feature = "json")]
    check("gaps", |client| client.gaps(true)).await;
    #[cfg(feature = "json")]
    check("both", |client| client.dedupe(true).gaps(true)).await;
}
