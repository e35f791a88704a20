//! Events with unusual contents: line ends and NUL, nothing, and 10 MB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_server::{Event, EventId, EventName, SessionOptions};
use tidings_testkit::connection::Polled;

use crate::harness::{handed_over, receive_all};

/// Texts that would make other fields, events or responses if a line end were sent as it is.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\n\r",
    "\n\n",
    "\r\r",
    "\0",
    "a\0b",
    "a\nid: 666",
    "a\rid: 666",
    "a\r\nid: 666\r\n\r\n",
    "a\n\ndata: injected\n\n",
    "a\r\rdata: injected\r\r",
    "\nevent: injected",
    "\nretry: 1",
    "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ": injected",
    "data: injected",
    "\u{FEFF}",
    "\u{2028}\u{2029}\u{85}\u{B}\u{C}",
    "ends in a cr\r",
    "\u{10FFFF}",
];

/// The text as a client receives it: each line end becomes LF.
fn received_of(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn is_one_line(text: &str) -> bool {
    !text.contains(['\r', '\n'])
}

#[tokio::test]
async fn no_field_injects_a_line() {
    for hostile in HOSTILE {
        let name = EventName::new(hostile).ok();
        assert_eq!(name.is_some(), is_one_line(hostile), "{hostile:?}");
        let id = EventId::new(hostile).ok();
        let may_be_id = is_one_line(hostile) && !hostile.contains('\0');
        assert_eq!(id.is_some(), may_be_id, "{hostile:?}");
        let sent = Event {
            data: Some((*hostile).to_owned()),
            event: name.clone(),
            id: id.clone(),
            retry: Some(Duration::from_millis(1234)),
            comments: Some((*hostile).to_owned()),
        };
        let sending = sent.clone();
        let received = receive_all(SessionOptions::new(), move |session| {
            let sent = sending.clone();
            async move {
                session.comment(hostile.to_string()).await?;
                session.send(sent).await?;
                session.send(Event::new("after")).await?;
                Ok(())
            }
        });
        let received = received.await;
        assert!(received.is_whole);
        let comment = Event::comment(received_of(hostile));
        let event = Event {
            data: Some(received_of(hostile)),
            comments: Some(received_of(hostile)),
            ..sent
        };
        let after = Event {
            id: id.clone(),
            ..Event::new("after")
        };
        assert_eq!(received.events(), [comment, event, after], "{hostile:?}");
    }
}

#[tokio::test]
async fn empty_data_is_an_event_and_an_event_without_fields_is_not_sent() {
    let received = receive_all(SessionOptions::new(), async |session| {
        session.send(Event::new("")).await?;
        session.send(Event::default()).await?;
        session.comment("").await?;
        session.try_send(Event::default())?;
        session.send(Event::new("end")).await?;
        Ok(())
    });
    let received = received.await;
    assert_eq!(received.texts(), ["", "", "end"], "the second is a comment");
    assert_eq!(received.events()[1], Event::comment(""));
    assert_eq!(received.events().len(), 3);
}

#[tokio::test]
async fn a_stream_may_consist_of_comments() {
    let received = receive_all(SessionOptions::new(), async |session| {
        for n in 0..1000 {
            session.comment(format!("{n}\n{n}")).await?;
        }
        Ok(())
    });
    let events = received.await.events();
    let expected = (0..1000).map(|n| Event::comment(format!("{n}\n{n}")));
    assert!(events.into_iter().eq(expected));
}

#[tokio::test]
async fn an_event_without_fields_does_not_wake_the_body() {
    let (mut connection, session) = handed_over(SessionOptions::new());
    let wakes = connection.wakes();
    session.send(Event::default()).await.unwrap();
    session.try_send(Event::default()).unwrap();
    assert_eq!(connection.wakes(), wakes);
    assert_eq!(connection.read(), (Vec::new(), Polled::Pending));
    session.close();
    assert!(session.send(Event::default()).await.is_err());
    assert!(session.try_send(Event::default()).is_err());
}

#[tokio::test]
async fn ten_megabytes_arrive_whole_in_one_event_and_in_many_lines() {
    let lines = "0123456789\n".repeat(10_000_000 / 11);
    for text in ["x".repeat(10_000_000), lines] {
        let (expected, sent) = (text.clone(), AtomicUsize::new(0));
        let (text, sent) = (Arc::new(text), Arc::new(sent));
        let counter = Arc::clone(&sent);
        let received = receive_all(SessionOptions::new(), move |session| {
            let (text, counter) = (Arc::clone(&text), Arc::clone(&counter));
            async move {
                session.send(Event::new("before")).await?;
                session.send(Event::new(text.as_str())).await?;
                session.send(Event::new("after")).await?;
                counter.store(3, Ordering::SeqCst);
                Ok(())
            }
        });
        let texts = received.await.texts();
        assert_eq!(texts.len(), 3);
        assert!(texts[1] == expected && texts[2] == "after");
        assert_eq!(sent.load(Ordering::SeqCst), 3);
    }
}
