//! Values of the caller whose drop panics, or uses the session they belong to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_server::{
    EncodedEvents, Event, Heartbeat, Limits, MAX_QUEUED_BYTES, Sender, SessionBody, SessionOptions,
};
use tidings_testkit::connection::{Connection, Polled};
use tokio::net::TcpStream;

use crate::harness::{get, handed_over, open, read_until, receive, serve, within};

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, in a drop");
    }
}

/// Sends into its session when it is dropped.
struct SendsWhenDropped(Sender);

impl Drop for SendsWhenDropped {
    fn drop(&mut self) {
        drop(self.0.try_send(Event::new("from a drop")));
    }
}

impl AsRef<[u8]> for SendsWhenDropped {
    fn as_ref(&self) -> &[u8] {
        b"data: shared\n\n"
    }
}

fn events_of(sender: &Sender) -> EncodedEvents {
    let bytes = Bytes::from_owner(SendsWhenDropped(sender.clone()));
    EncodedEvents::from_parts(bytes, None, 1)
}

fn heartbeat_of(sender: &Sender) -> Heartbeat {
    let sends = SendsWhenDropped(sender.clone());
    Heartbeat::default().with(move || {
        let _held = &sends;
        Event::new("beat")
    })
}

/// Runs the test in a thread of its own, which a lock that is taken twice would hang.
fn check_ends(what: &'static str, test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    assert!(outcome.is_ok(), "{what} hangs or panics");
}

fn with_sender() -> (Connection<SessionBody>, Sender) {
    let (connection, session) = handed_over(SessionOptions::new());
    (connection, session.sender())
}

#[test]
fn queued_events_may_use_their_session_in_their_drop() {
    check_ends("a disconnect", || {
        let (connection, sender) = with_sender();
        sender.try_send(events_of(&sender)).unwrap();
        drop(connection);
    });
    check_ends("gathering with other events", || {
        let (_connection, sender) = with_sender();
        sender.try_send(Event::new("before")).unwrap();
        sender.try_send(events_of(&sender)).unwrap();
    });
    check_ends("a send after the end", || {
        let (_connection, sender) = with_sender();
        sender.close();
        assert!(sender.try_send(events_of(&sender)).is_err());
    });
    check_ends("a send without room", || {
        let (_connection, sender) = with_sender();
        let large = Event::new("x".repeat(MAX_QUEUED_BYTES));
        sender.try_send(large).unwrap();
        assert!(sender.try_send(events_of(&sender)).is_err());
    });
}

#[test]
fn a_heartbeat_may_use_its_session_in_its_drop() {
    check_ends("a disconnect", || {
        let (connection, session) = handed_over(SessionOptions::new());
        session.heartbeat(heartbeat_of(&session.sender()));
        drop(connection);
    });
    check_ends("replacing a heartbeat", || {
        let (mut connection, session) = handed_over(SessionOptions::new());
        session.heartbeat(heartbeat_of(&session.sender()));
        session.heartbeat(Heartbeat::default());
        session.close();
        assert_eq!(connection.read().1, Polled::End);
    });
}

#[tokio::test]
async fn a_panic_in_a_drop_does_not_cut_a_closed_stream() {
    let limits = Limits::new();
    let options = SessionOptions::new().limits(&limits);
    let address = serve(options, async |session| {
        let _guard = PanicsWhenDropped;
        session.send(Event::new("hello")).await?;
        session.close();
        std::future::pending().await
    });
    let address = address.await;
    let received = receive(get(TcpStream::connect(address).await.unwrap()).await).await;
    assert_eq!(received.texts(), ["hello"]);
    assert!(received.is_whole);
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test]
async fn a_panic_in_a_drop_does_not_reach_the_connection() {
    let mut connection = open(SessionOptions::new(), async |session| {
        session.spawn(async {
            let _guard = PanicsWhenDropped;
            std::future::pending().await
        });
        tokio::task::yield_now().await;
        Ok(())
    });
    assert_eq!(connection.read(), (Vec::new(), Polled::End));
    let mut connection = open(SessionOptions::new(), async |_| {
        let _guard = PanicsWhenDropped;
        std::future::pending().await
    });
    assert_eq!(connection.read(), (Vec::new(), Polled::Pending));
    // As the connection does when its client has disconnected. The panic must not reach it.
    drop(connection);
}

#[tokio::test]
async fn a_panic_in_the_drop_of_a_future_that_never_ran_does_not_reach_the_connection() {
    let mut connection = open(SessionOptions::new(), async |session| {
        session.send(Event::new("hello")).await?;
        let guard = PanicsWhenDropped;
        session.spawn(async move {
            let _guard = guard;
            Ok(())
        });
        Ok(())
    });
    let (received, polled) = connection.read();
    assert_eq!(received, b"data: hello\n\n");
    assert_eq!(polled, Polled::End);
}

#[tokio::test]
async fn a_session_is_closed_before_its_handler_is_dropped() {
    struct Asks(Sender, Arc<std::sync::Mutex<Option<bool>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.0.is_closed());
        }
    }
    let seen = Arc::new(std::sync::Mutex::new(None));
    let sees = Arc::clone(&seen);
    let address = serve(SessionOptions::new(), move |session| {
        let asks = Asks(session.sender(), Arc::clone(&sees));
        async move {
            let _asks = asks;
            session.send(Event::new("hello")).await?;
            std::future::pending().await
        }
    });
    let mut body = get(TcpStream::connect(address.await).await.unwrap()).await;
    read_until(&mut body, "hello").await;
    drop(body);
    let is_dropped = async {
        while seen.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    within("the drop", is_dropped).await;
    assert_eq!(*seen.lock().unwrap(), Some(true));
}
