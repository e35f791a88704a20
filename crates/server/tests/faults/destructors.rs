//! What belongs to a session and does something of its own when it is dropped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_proto::{EncodedEvents, Event, Heartbeat, MAX_QUEUED_BYTES};
use tidings_server::{Limits, Sender, SessionOptions};
use tokio::net::TcpStream;

use crate::connection::{Answer, Connection};
use crate::scene::{get, hear, read_until, serve, within};

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, in a drop");
    }
}

/// Looks at its session when it is dropped.
struct LooksWhenDropped(Sender);

impl Drop for LooksWhenDropped {
    fn drop(&mut self) {
        self.0.try_send(Event::new("from a drop")).ok();
    }
}

impl AsRef<[u8]> for LooksWhenDropped {
    fn as_ref(&self) -> &[u8] {
        b"data: shared\n\n"
    }
}

fn events_of(sender: &Sender) -> EncodedEvents {
    let bytes = Bytes::from_owner(LooksWhenDropped(sender.clone()));
    EncodedEvents::from_parts(bytes, None, 1)
}

fn heartbeat_of(sender: &Sender) -> Heartbeat {
    let looks = LooksWhenDropped(sender.clone());
    Heartbeat::default().with(move || {
        let _held = &looks;
        Event::new("beat")
    })
}

/// In a thread of its own, as a lock that is taken twice would hang it.
fn ends(what: &'static str, test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        test();
        done.send(()).ok();
    });
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    assert!(outcome.is_ok(), "{what} hangs or panics");
}

fn handed_over() -> (Connection, Sender) {
    let (connection, session) = Connection::handed_over(SessionOptions::new());
    (connection, session.sender())
}

#[test]
fn what_is_queued_may_look_at_its_session_when_it_is_dropped() {
    ends("a connection that goes", || {
        let (connection, sender) = handed_over();
        sender.try_send(events_of(&sender)).unwrap();
        drop(connection);
    });
    ends("what is gathered with others", || {
        let (_connection, sender) = handed_over();
        sender.try_send(Event::new("before")).unwrap();
        sender.try_send(events_of(&sender)).unwrap();
    });
    ends("what comes too late", || {
        let (_connection, sender) = handed_over();
        sender.close();
        assert!(sender.try_send(events_of(&sender)).is_err());
    });
    ends("what has no room", || {
        let (_connection, sender) = handed_over();
        let large = Event::new("x".repeat(MAX_QUEUED_BYTES));
        sender.try_send(large).unwrap();
        assert!(sender.try_send(events_of(&sender)).is_err());
    });
}

#[test]
fn a_heartbeat_may_look_at_its_session_when_it_is_dropped() {
    ends("a connection that goes", || {
        let (connection, session) = Connection::handed_over(SessionOptions::new());
        session.heartbeat(heartbeat_of(&session.sender()));
        drop(connection);
    });
    ends("a heartbeat that is replaced", || {
        let (mut connection, session) = Connection::handed_over(SessionOptions::new());
        session.heartbeat(heartbeat_of(&session.sender()));
        session.heartbeat(Heartbeat::default());
        session.close();
        assert_eq!(connection.run().1, Answer::End);
    });
}

#[tokio::test]
async fn a_panic_in_a_drop_leaves_a_clean_end_clean() {
    let limits = Limits::new();
    let options = SessionOptions::new().limits(&limits);
    let address = serve(options, async |session| {
        let _guard = PanicsWhenDropped;
        session.send(Event::new("hello")).await?;
        session.close();
        std::future::pending().await
    });
    let address = address.await;
    let heard = hear(get(TcpStream::connect(address).await.unwrap()).await).await;
    assert_eq!(heard.texts(), ["hello"]);
    assert!(heard.is_whole);
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test]
async fn a_panic_in_a_drop_leaves_other_streams_of_its_connection_alone() {
    let mut connection = Connection::open(SessionOptions::new(), async |session| {
        session.spawn(async {
            let _guard = PanicsWhenDropped;
            std::future::pending().await
        });
        tokio::task::yield_now().await;
        Ok(())
    });
    assert_eq!(connection.run(), (Vec::new(), Answer::End));
    let mut connection = Connection::open(SessionOptions::new(), async |_| {
        let _guard = PanicsWhenDropped;
        std::future::pending().await
    });
    assert_eq!(connection.run(), (Vec::new(), Answer::Pending));
    // As a connection does whose client is gone: it is not to be taken down with it.
    drop(connection);
}

#[tokio::test]
async fn whoever_waits_is_told_before_the_handler_is_dropped() {
    struct Asks(Sender, Arc<std::sync::Mutex<Option<bool>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.0.is_closed());
        }
    }
    let told = Arc::new(std::sync::Mutex::new(None));
    let saw = Arc::clone(&told);
    let address = serve(SessionOptions::new(), move |session| {
        let asks = Asks(session.sender(), Arc::clone(&saw));
        async move {
            let _asks = asks;
            session.send(Event::new("hello")).await?;
            std::future::pending().await
        }
    });
    let mut body = get(TcpStream::connect(address.await).await.unwrap()).await;
    read_until(&mut body, "hello").await;
    drop(body);
    let is_told = async {
        while told.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    within("the drop", is_told).await;
    assert_eq!(*told.lock().unwrap(), Some(true));
}
