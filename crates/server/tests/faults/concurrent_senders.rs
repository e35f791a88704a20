//! Many tasks that send into one session.

use tidings_server::{Event, Sender, SessionOptions};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{get, receive, receive_all, serve, within};

const TASKS: usize = 16;
const EVENTS: usize = 1_000;

/// A text of several lines, sometimes larger than the queue of a session.
fn text_of(task: usize, n: usize) -> String {
    let line = char::from(b'a' + u8::try_from(task).unwrap()).to_string();
    let length = if n % 200 == 7 { 30_000 } else { (n * 37) % 400 };
    let line = line.repeat(length);
    format!("{task} {n}\n{line}\n\n{line}\r\n{line}")
}

/// The text as a client receives it: line ends become LF.
fn received_of(task: usize, n: usize) -> String {
    text_of(task, n).replace("\r\n", "\n")
}

async fn send_all(task: usize, sender: Sender) {
    for n in 0..EVENTS {
        sender.send(Event::new(text_of(task, n))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_from_sixteen_tasks_are_whole_and_in_the_order_of_each() {
    let received = receive_all(SessionOptions::new(), async |session| {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn(send_all(task, session.sender()));
        }
        tasks.join_all().await;
        Ok(())
    });
    let received = within("sixteen tasks", received).await;
    assert!(received.is_whole);
    let mut next = [0; TASKS];
    for text in received.texts() {
        let task: usize = text.split(' ').next().unwrap().parse().unwrap();
        assert!(
            text == received_of(task, next[task]),
            "{task} {}",
            next[task]
        );
        next[task] += 1;
    }
    assert_eq!(next, [EVENTS; TASKS]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flush_and_every_wait_for_the_end_completes() {
    let received = receive_all(SessionOptions::new(), async |session| {
        let mut flushes = JoinSet::new();
        let mut ends = JoinSet::new();
        for task in 0..TASKS {
            let sender = session.sender();
            flushes.spawn(async move {
                for n in 0..50 {
                    sender.send(Event::new(received_of(task, n))).await.unwrap();
                    sender.flush().await.unwrap();
                }
            });
            let sender = session.sender();
            ends.spawn(async move {
                sender.closed().await;
                assert!(sender.send(Event::new("too late")).await.is_err());
            });
        }
        flushes.join_all().await;
        session.close();
        ends.join_all().await;
        Ok(())
    });
    let received = within("flushes", received).await;
    assert!(received.is_whole);
    assert_eq!(received.texts().len(), TASKS * 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn try_send_queues_an_event_or_refuses_it() {
    let address = serve(SessionOptions::new(), async |session| {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let sender = session.sender();
            tasks.spawn(async move {
                let mut sent = 0;
                for n in 0..EVENTS {
                    let event = Event::new(received_of(task, n)).id(n);
                    sent += usize::from(sender.try_send(event).is_ok());
                    tokio::task::yield_now().await;
                }
                sent
            });
        }
        let sent: usize = tasks.join_all().await.iter().sum();
        session.send(Event::new(format!("sent {sent}"))).await?;
        Ok(())
    });
    let body = get(TcpStream::connect(address.await).await.unwrap()).await;
    let texts = receive(body).await.texts();
    let (last, sent) = texts.split_last().unwrap();
    assert_eq!(*last, format!("sent {}", sent.len()));
    // Each event is intact, and the events of each task are in order.
    let mut next = [0; TASKS];
    for text in sent {
        let mut words = text.split([' ', '\n']);
        let mut number = || words.next().unwrap().parse::<usize>().unwrap();
        let (task, n) = (number(), number());
        assert!(
            *text == received_of(task, n) && n >= next[task],
            "{task} {n}"
        );
        next[task] = n + 1;
    }
}
