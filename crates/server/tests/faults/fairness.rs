//! Fairness within a session: between its sends, its spawned futures and its timer.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tidings_server::{
    Event, Heartbeat, MAX_QUEUED_BYTES, SendError, SendErrorKind, Sender, SessionOptions,
};
use tidings_testkit::connection::{Polled, poll_once};
use tokio::net::TcpStream;
use tokio::time::advance;

use crate::harness::{get, handed_over, read_until, receive, receive_all, serve, within};

/// An event that fills the queue exactly.
fn full() -> Event {
    let framing = Event::new("").encode().len() + 1;
    let event = Event::new("x".repeat(MAX_QUEUED_BYTES - framing));
    assert_eq!(event.encode().len(), MAX_QUEUED_BYTES);
    event
}

#[tokio::test]
async fn an_unpolled_send_keeps_only_its_own_room() {
    let (mut connection, session) = handed_over(SessionOptions::new());
    session.try_send(full()).unwrap();
    let mut forgotten = pin!(session.send(Event::new("forgotten")));
    assert!(poll_once(forgotten.as_mut()).is_pending());
    let mut next = pin!(session.send(Event::new("next")));
    assert!(poll_once(next.as_mut()).is_pending());
    connection.read();
    // The first send keeps only the room it needs.
    assert!(matches!(poll_once(next.as_mut()), Poll::Ready(Ok(()))));
    assert_eq!(connection.read().0, b"data: next\n\n");
    // The first send was not ready, so it may leave after the second.
    assert!(matches!(poll_once(forgotten.as_mut()), Poll::Ready(Ok(()))));
    assert_eq!(connection.read().0, b"data: forgotten\n\n");
    session.try_send(full()).unwrap();
}

#[tokio::test]
async fn an_unpolled_send_of_the_whole_queue_blocks_others_until_it_is_dropped() {
    let (mut connection, session) = handed_over(SessionOptions::new());
    session.try_send(Event::new("first")).unwrap();
    let mut next = pin!(session.send(Event::new("next")));
    {
        let mut forgotten = pin!(session.send(full()));
        assert!(poll_once(forgotten.as_mut()).is_pending());
        assert!(poll_once(next.as_mut()).is_pending());
        connection.read();
        assert!(poll_once(next.as_mut()).is_pending());
        assert!(session.try_send(Event::new("now")).is_err());
        // A flush needs no room.
        let mut flush = pin!(session.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        connection.read();
        assert!(matches!(poll_once(flush.as_mut()), Poll::Ready(Ok(()))));
    }
    assert!(matches!(poll_once(next.as_mut()), Poll::Ready(Ok(()))));
    assert_eq!(connection.read().0, b"data: next\n\n");
}

#[tokio::test]
async fn a_flush_after_the_disconnect_reports_whether_all_was_written() {
    let (mut connection, session) = handed_over(SessionOptions::new());
    session.try_send(Event::new("received")).unwrap();
    connection.read();
    let mut flush = pin!(session.flush());
    assert!(poll_once(flush.as_mut()).is_pending());
    connection.read();
    drop(connection);
    assert!(matches!(poll_once(flush.as_mut()), Poll::Ready(Ok(()))));
    session.flush().await.unwrap();

    let (connection, session) = handed_over(SessionOptions::new());
    session.try_send(Event::new("lost")).unwrap();
    drop(connection);
    for _ in 0..2 {
        assert_eq!(
            session.flush().await.unwrap_err().kind(),
            SendErrorKind::Closed
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unpolled_send_does_not_keep_its_session_open() {
    let second = Duration::from_secs(1);
    let options = SessionOptions::new()
        .heartbeat(Heartbeat::every(second / 10))
        .max_lifetime(second);
    let (mut connection, session) = handed_over(options);
    session.try_send(Event::new("first")).unwrap();
    let mut forgotten = pin!(session.send(full()));
    assert!(poll_once(forgotten.as_mut()).is_pending());
    connection.read();
    let mut next = pin!(session.send(Event::new("next")));
    assert!(poll_once(next.as_mut()).is_pending());
    advance(second + second / 10).await;
    assert!(connection.is_woken());
    assert_eq!(connection.read().1, Polled::End);
    for send in [forgotten.as_mut(), next.as_mut()] {
        let Poll::Ready(Err(error)) = poll_once(send) else {
            panic!("the send waits, or was sent")
        };
        assert_eq!(error.kind(), SendErrorKind::Closed);
    }
}

#[tokio::test]
async fn ten_thousand_futures_run_beside_a_handler() {
    const FUTURES: usize = 10_000;
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let received = receive_all(SessionOptions::new(), move |session| {
        let counter = Arc::clone(&counter);
        async move {
            for n in 0..FUTURES {
                let (sender, counter) = (session.sender(), Arc::clone(&counter));
                session.spawn(async move {
                    sender.send(Event::new(n.to_string())).await?;
                    tokio::task::yield_now().await;
                    if counter.fetch_add(1, Ordering::SeqCst) + 1 == FUTURES {
                        sender.close();
                    }
                    Ok(())
                });
            }
            pending().await
        }
    });
    let received = within("10,000 futures", received).await;
    assert!(received.is_whole);
    let mut numbers: Vec<usize> = received
        .texts()
        .iter()
        .map(|n| n.parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..FUTURES));
}

#[tokio::test]
async fn a_spawned_future_may_spawn() {
    fn spawn(session: &Arc<tidings_server::Session>, generation: usize) {
        let parent = Arc::clone(session);
        session.spawn(async move {
            parent.send(Event::new(generation.to_string())).await?;
            if generation < 1000 {
                spawn(&parent, generation + 1);
            } else {
                parent.close();
            }
            Ok(())
        });
    }
    let received = receive_all(SessionOptions::new(), async |session| {
        spawn(&Arc::new(session), 0);
        pending().await
    });
    let texts = received.await.texts();
    assert!(texts.into_iter().eq((0..=1000).map(|n| n.to_string())));
}

/// Wakes itself without end.
async fn spin() {
    poll_fn::<(), _>(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Always uses up tokio's cooperative budget.
async fn use_up() {
    loop {
        tokio::task::coop::consume_budget().await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Greed {
    HandlerSpins,
    SpawnedSpins,
    HandlerUsesUp,
    SpawnedUsesUp,
    HandlerSends,
}

async fn endless_sends(sender: Sender) -> Result<(), SendError> {
    loop {
        sender.send(Event::new("more")).await?;
    }
}

#[tokio::test]
async fn an_endless_future_starves_neither_the_timer_nor_other_sessions() {
    for greed in [
        Greed::HandlerSpins,
        Greed::SpawnedSpins,
        Greed::HandlerUsesUp,
        Greed::SpawnedUsesUp,
        Greed::HandlerSends,
    ] {
        let other = serve(SessionOptions::new(), async |session| {
            session.send(Event::new("other")).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            session.send(Event::new("still there")).await?;
            pending().await
        });
        let mut other = get(TcpStream::connect(other.await).await.unwrap()).await;
        read_until(&mut other, "other").await;
        let options = SessionOptions::new()
            .heartbeat(Heartbeat::every(Duration::from_millis(5)).always(true))
            .max_lifetime(Duration::from_secs(1));
        let greedy = serve(options, move |session| async move {
            match greed {
                Greed::HandlerSpins => spin().await,
                Greed::HandlerUsesUp => use_up().await,
                Greed::HandlerSends => endless_sends(session.sender()).await?,
                Greed::SpawnedSpins => session.spawn(async {
                    spin().await;
                    Ok(())
                }),
                Greed::SpawnedUsesUp => session.spawn(async {
                    use_up().await;
                    Ok(())
                }),
            }
            pending().await
        });
        let greedy = get(TcpStream::connect(greedy.await).await.unwrap()).await;
        let received = within("the lifetime", receive(greedy)).await;
        assert!(received.is_whole, "{greed:?}");
        let beats = received
            .bytes
            .windows(12)
            .filter(|text| text == b": heartbeat\n");
        // If the queue is always full, every heartbeat may be skipped.
        let least = usize::from(!matches!(greed, Greed::HandlerSends));
        assert!(beats.count() >= least, "{greed:?}");
        read_until(&mut other, "still there").await;
    }
}
