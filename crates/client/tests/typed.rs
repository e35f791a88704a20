//! Typed sessions, over a transport that answers once.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::VecDeque;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde::ser::Serialize;
use tidings_client::{
    Comments, Error, ErrorKind, Event, EventName, Format, Json, ResponseBody, ResponseFuture,
    Session, SseClient, Transport, TypedSession, Undecodable,
};

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Shop {
    Customer(Customer),
    Product(Product),
    Resync,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Customer {
    id: u32,
    first_name: String,
    last_name: String,
}

#[derive(Deserialize, Debug, PartialEq)]
struct Product {
    id: u32,
    prices: Vec<u32>,
}

fn jet() -> Shop {
    Shop::Customer(Customer {
        id: 0,
        first_name: "Jet".into(),
        last_name: "Brains".into(),
    })
}

fn product() -> Shop {
    Shop::Product(Product {
        id: 0,
        prices: vec![100, 200],
    })
}

const JET: &str =
    "event: customer\ndata: {\"id\":0,\"firstName\":\"Jet\",\"lastName\":\"Brains\"}\n\n";
const PRODUCT: &str = "event: product\ndata: {\"id\":0,\"prices\":[100,200]}\n\n";
const RESYNC: &str = "event: resync\ndata\n\n";
const UNKNOWN: &str = ": new\nevent: weather\nid: 7\nretry: 5\ndata: {\"rain\":true}\n\n";
const NO_JSON: &str = "event: product\nid: 8\ndata: five\n\n";
const OTHER_SHAPE: &str = "event: product\nid: 9\ndata: {\"id\":\"a\"}\n\n";

/// Answers once, with this body.
#[derive(Clone)]
struct Server {
    parts: VecDeque<Part>,
    /// Has one owner for the server, and one for each open body.
    connections: Arc<()>,
}

#[derive(Clone)]
enum Part {
    Text(&'static str),
    /// Is pending once, and wakes its task at once.
    Pause,
    Cut,
    /// Sends nothing more, and does not end.
    Stall,
}

impl Server {
    fn sends(parts: impl IntoIterator<Item = Part>) -> Self {
        Self {
            parts: parts.into_iter().collect(),
            connections: Arc::new(()),
        }
    }

    async fn open(self) -> Session {
        let client = SseClient::over(self).comments(Comments::Shown);
        client.get("http://test/events").open().await.unwrap()
    }
}

impl Transport for Server {
    fn connect(&self, _request: Request<Bytes>) -> ResponseFuture {
        let response = Response::builder().header("content-type", "text/event-stream");
        let response = response.body(ResponseBody::new(self.clone())).unwrap();
        Box::pin(async { Ok(response) })
    }
}

impl Body for Server {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.parts.pop_front() {
            None => Poll::Ready(None),
            Some(Part::Text(text)) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
            Some(Part::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Part::Cut) => Poll::Ready(Some(Err(io::Error::other("cut")))),
            Some(Part::Stall) => Poll::Pending,
        }
    }
}

/// A session whose server sends these texts, one per chunk, and then ends.
async fn session_of(texts: &[&'static str]) -> Session {
    let parts = texts.iter().map(|text| Part::Text(text));
    Server::sends(parts).open().await
}

type Item<T> = Option<Result<Event<Result<T, Undecodable>>, Error>>;

/// The value of an item that is a value.
fn value<T>(read: Item<T>) -> T {
    read.unwrap().unwrap().data.unwrap().unwrap()
}

/// The event of an item that is undecodable, and the cause.
fn undecodable<T>(read: Item<T>) -> (Event, String) {
    let Some(Err(undecodable)) = read.unwrap().unwrap().data else {
        panic!("it could be read");
    };
    let cause = undecodable.source().unwrap().to_string();
    (undecodable.into_event(), cause)
}

#[tokio::test]
async fn the_name_chooses_the_variant() {
    let mut shop = session_of(&[JET, PRODUCT, RESYNC]).await.typed::<Shop>();
    assert_eq!(value(shop.next().await), jet());
    assert_eq!(value(shop.next().await), product());
    assert_eq!(value(shop.next().await), Shop::Resync);
    for _ in 0..2 {
        assert!(shop.try_next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn the_name_may_choose_a_type_by_hand() {
    let mut session = session_of(&[JET, PRODUCT]).await;
    let mut read = Vec::new();
    while let Some(event) = session.try_next().await.unwrap() {
        read.push(match event.event_type() {
            "customer" => Shop::Customer(event.json().unwrap()),
            _ => Shop::Product(event.json::<Product>().unwrap()),
        });
    }
    assert_eq!(read, [jet(), product()]);
}

#[tokio::test]
async fn the_other_fields_are_kept() {
    let mut numbers = session_of(&[": c\nid: 7\nretry: 5\ndata: 1\n\n"])
        .await
        .typed();
    let event = numbers.try_next().await.unwrap().unwrap();
    assert_eq!(
        event.map(Result::unwrap),
        Event {
            comments: Some("c".into()),
            ..Event::of(1_u8)
        }
        .id(7)
        .retry(Duration::from_millis(5))
    );
    assert_eq!(numbers.session().last_event_id().unwrap(), "7");
}

#[tokio::test]
async fn an_undecodable_event_is_kept_and_the_session_continues() {
    let mut shop = session_of(&[UNKNOWN, NO_JSON, OTHER_SHAPE, PRODUCT])
        .await
        .typed::<Shop>();

    let (event, cause) = undecodable(shop.next().await);
    let weather = Event::new("{\"rain\":true}")
        .event(EventName::from_static("weather"))
        .id(7)
        .retry(Duration::from_millis(5));
    let weather = Event {
        comments: Some("new".into()),
        ..weather
    };
    assert_eq!(event, weather);
    assert_eq!(
        cause,
        "unknown variant `weather`, expected one of `customer`, `product`, `resync`"
    );

    let (event, cause) = undecodable(shop.next().await);
    assert_eq!((event.text(), event.id.as_deref()), ("five", Some("8")));
    assert_eq!(cause, "expected ident at line 1 column 2");

    let (event, cause) = undecodable(shop.next().await);
    assert_eq!(
        (event.event_type(), event.text()),
        ("product", r#"{"id":"a"}"#)
    );
    assert_eq!(
        cause,
        "invalid type: string \"a\", expected u32 at line 1 column 9"
    );

    assert_eq!(value(shop.next().await), product());
}

#[tokio::test]
async fn an_event_without_data_has_none() {
    for strict in [false, true] {
        let session = session_of(&[": hello\n\n", RESYNC]).await;
        let mut shop = session.typed::<Shop>().strict(strict);
        let event = shop.try_next().await.unwrap().unwrap();
        assert!(event.data.is_none());
        assert_eq!(event.comments.as_deref(), Some("hello"));
        assert_eq!(value(shop.next().await), Shop::Resync);
    }
}

#[tokio::test]
async fn strict_fails_once_and_closes_the_connection() {
    let server = Server::sends([
        Part::Text(RESYNC),
        Part::Text(UNKNOWN),
        Part::Text(RESYNC),
        Part::Stall,
    ]);
    let connections = Arc::clone(&server.connections);
    let mut shop = server.open().await.typed::<Shop>().strict(true);
    assert_eq!(value(shop.next().await), Shop::Resync);
    assert_eq!(Arc::strong_count(&connections), 3);

    let error = shop.try_next().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Undecodable);
    assert_eq!(
        error.to_string(),
        "the server sent an event that is not of the expected type"
    );
    let source = error.source().unwrap();
    assert_eq!(
        source.to_string(),
        "the event \"weather\" could not be decoded"
    );
    let undecodable = source.downcast_ref::<Undecodable>().unwrap();
    assert_eq!(undecodable.event().text(), "{\"rain\":true}");

    assert_eq!(Arc::strong_count(&connections), 2);
    for _ in 0..2 {
        assert!(shop.next().await.is_none());
    }
    assert!(shop.session_mut().next().await.is_none());
}

#[tokio::test]
async fn the_error_of_the_session_comes_once() {
    for strict in [false, true] {
        let session = Server::sends([Part::Text(RESYNC), Part::Cut]).open().await;
        let mut shop = session.typed::<Shop>().strict(strict);
        assert_eq!(value(shop.next().await), Shop::Resync);
        let error = shop.next().await.unwrap().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Interrupted);
        assert!(shop.next().await.is_none());
    }
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let mut parts = Vec::new();
    for text in [JET, PRODUCT, RESYNC] {
        let (start, end) = text.split_at(9);
        parts.extend([Part::Text(start), Part::Pause, Part::Text(end), Part::Pause]);
    }
    let mut shop = Server::sends(parts).open().await.typed::<Shop>();
    let mut read = Vec::new();
    loop {
        tokio::select! {
            biased;
            item = shop.next() => match item {
                Some(item) => read.push(value(Some(item))),
                None => break,
            },
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(read, [jet(), product(), Shop::Resync]);
}

#[tokio::test]
async fn a_borrowed_session_is_typed_for_a_while() {
    let mut session = session_of(&[JET, PRODUCT, "data: 7\n\n"]).await;
    let mut shop = session.typed_mut::<Shop>();
    assert_eq!(
        shop.try_next()
            .await
            .unwrap()
            .unwrap()
            .data
            .unwrap()
            .unwrap(),
        jet()
    );
    assert_eq!(shop.session().url(), "http://test/events");
    let mut strict = shop.into_session().typed_mut::<Shop>().strict(true);
    let event = strict.try_next().await.unwrap().unwrap();
    assert_eq!(event.data.unwrap().unwrap(), product());
    let event = session.try_next().await.unwrap().unwrap();
    assert_eq!(event.text(), "7");
}

#[tokio::test]
async fn undecodable_data_ends_a_block_with_a_json_error() {
    let server = Server::sends([Part::Text("data: 7\n\ndata: seven\n\n")]);
    let mut sum = 0;
    let request = SseClient::over(server).get("http://test/");
    let summed = request.run(async |session| {
        while let Some(event) = session.try_next().await? {
            sum += event.json::<u32>()?;
        }
        Ok(())
    });
    assert_eq!(summed.await.unwrap_err().kind(), &ErrorKind::Json);
    assert_eq!(sum, 7);
}

#[tokio::test]
async fn an_untyped_session_continues_where_the_typed_one_was() {
    let mut shop = session_of(&[JET, PRODUCT, RESYNC]).await.typed::<Shop>();
    assert_eq!(value(shop.next().await), jet());
    let untyped = shop.session_mut().try_next().await.unwrap().unwrap();
    assert_eq!(untyped.event_type(), "product");
    let mut session = shop.into_session();
    let untyped = session.try_next().await.unwrap().unwrap();
    assert_eq!(untyped.event_type(), "resync");
}

/// JSON with single quotes.
struct SingleQuoted;

impl Format for SingleQuoted {
    type EncodeError = serde_json::Error;
    type DecodeError = serde_json::Error;

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, serde_json::Error> {
        Ok(Json.encode(value)?.replace('"', "'"))
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        data: &'de str,
        seed: S,
    ) -> Result<S::Value, serde_json::Error> {
        let json = data.replace('\'', "\"");
        seed.deserialize(&mut serde_json::Deserializer::from_reader(json.as_bytes()))
    }
}

#[tokio::test]
async fn another_format_reads_the_data() {
    let texts = [
        "event: product\ndata: {'id':0,'prices':[100,200]}\n\n",
        RESYNC,
        UNKNOWN,
    ];
    let session = session_of(&texts).await;
    let mut shop = session.typed::<Shop>().strict(true).format(SingleQuoted);
    assert_eq!(value(shop.next().await), product());
    assert_eq!(value(shop.next().await), Shop::Resync);
    let error = shop.next().await.unwrap().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Undecodable, "it is still strict");
}

#[test]
fn a_typed_session_is_a_stream_that_any_task_can_own() {
    #[derive(Deserialize)]
    struct BoundToAThread {
        #[serde(skip)]
        _count: std::rc::Rc<()>,
    }

    fn is_owned<S: Stream + Send + Unpin + 'static>() {}
    is_owned::<TypedSession<Shop>>();
    is_owned::<TypedSession<Shop, SingleQuoted>>();
    is_owned::<TypedSession<BoundToAThread>>();
}
