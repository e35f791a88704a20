//! A drain that starts while many tasks send.

use std::time::Duration;

use tidings_server::{Drain, Drained, Event, Heartbeat, SendErrorKind, SessionOptions};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Received, get, read_until, receive, serve, within};

const CLIENTS: usize = 16;
const TASKS: usize = 4;

fn text_of(task: usize, n: usize) -> String {
    format!("{task} {n}\n{}", "z".repeat(n % 100))
}

/// The whole events of each task in order, then the `retry:` field, then nothing.
fn check(received: &Received) {
    assert!(received.is_whole);
    let events = received.events();
    let (last, sent) = events.split_last().unwrap();
    let retry = last.retry.unwrap();
    let range = Duration::from_millis(100)..=Duration::from_millis(200);
    assert!(range.contains(&retry) && last.data.is_none(), "{last:?}");
    let mut next = [0; TASKS];
    for event in sent.iter().filter(|event| event.data.is_some()) {
        assert_eq!(event.retry, None);
        let task: usize = event.text()[..1].parse().unwrap();
        assert!(event.text() == text_of(task, next[task]), "{task}");
        next[task] += 1;
    }
    assert!(next.iter().all(|sent| *sent > 0), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_ends_each_stream_after_whole_events_and_a_retry() {
    let drain = Drain::new()
        .deadline(Duration::from_secs(30))
        .retry(Duration::from_millis(100)..=Duration::from_millis(200));
    let options = SessionOptions::new()
        .drain(&drain)
        .heartbeat(Heartbeat::every(Duration::from_millis(1)).always(true));
    let address = serve(options, async |session| {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let sender = session.sender();
            tasks.spawn(async move {
                for n in 0.. {
                    let sent = sender.send(Event::new(text_of(task, n))).await;
                    if let Err(error) = sent {
                        assert_eq!(error.kind(), SendErrorKind::Closed);
                        return sender.flush().await.is_ok();
                    }
                }
                false
            });
        }
        tasks.join_all().await;
        Ok(())
    });
    let address = address.await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut body = get(TcpStream::connect(address).await.unwrap()).await;
        let mut first = Vec::new();
        for task in 0..TASKS {
            let text = format!("data: {task} ");
            if !String::from_utf8_lossy(&first).contains(&text) {
                first.extend(read_until(&mut body, &text).await);
            }
        }
        clients.spawn(async move {
            let mut received = receive(body).await;
            received.bytes.splice(0..0, first);
            received
        });
    }
    drain.start();
    let received = within("the clients", clients.join_all()).await;
    received.iter().for_each(check);
    assert_eq!(within("the drain", drain.finished()).await, Drained::Clean);
    assert_eq!(drain.open_sessions(), 0);
}
