//! Values sent as events: as JSON, as a serde enum, and in another format.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use http::Request;
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::{self, DeserializeSeed};
use tidings_proto::Format;
use tidings_server::{Event, HandlerError, SendJsonErrorKind, Session, SseRequest};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    id: u32,
    first_name: &'static str,
    last_name: &'static str,
}

#[derive(Serialize)]
struct Product {
    id: u32,
    prices: Vec<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Shop {
    Customer(Customer),
    Product(Product),
    Resync,
}

const CUSTOMER: Customer = Customer {
    id: 0,
    first_name: "Jet",
    last_name: "Brains",
};

fn product() -> Product {
    Product {
        id: 0,
        prices: vec![100, 200],
    }
}

/// Checks the stream of a handler.
async fn check<F>(handler: impl FnOnce(Session) -> F, expected: &str)
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (parts, ()) = Request::new(()).into_parts();
    let body = SseRequest::new(parts).open(handler).into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
}

#[tokio::test]
async fn a_value_is_sent_as_json() {
    let send = async |session: Session| {
        session.send_json(&CUSTOMER).await?;
        session.send_json(&product()).await?;
        Ok(())
    };
    let customer = "data: {\"id\":0,\"firstName\":\"Jet\",\"lastName\":\"Brains\"}\n\n";
    let product = "data: {\"id\":0,\"prices\":[100,200]}\n\n";
    check(send, &[customer, product].concat()).await;
}

#[tokio::test]
async fn the_variant_of_an_enum_is_the_name_of_its_event() {
    let send = async |session: Session| {
        session.send_typed(&Shop::Customer(CUSTOMER)).await?;
        session
            .sender()
            .send_typed(&Shop::Product(product()))
            .await?;
        session.send_typed(&Shop::Resync).await?;
        Ok(())
    };
    let customer =
        "event: customer\ndata: {\"id\":0,\"firstName\":\"Jet\",\"lastName\":\"Brains\"}\n\n";
    let product = "event: product\ndata: {\"id\":0,\"prices\":[100,200]}\n\n";
    let resync = "event: resync\ndata:\n\n";
    check(send, &[customer, product, resync].concat()).await;
}

/// An `EventSource` discards a block without data. `EncodedEvents::count` counts the events with data.
#[test]
fn no_value_is_an_event_without_data() {
    #[derive(Serialize)]
    enum Shape {
        Unit,
        Text(&'static str),
        Nothing(()),
        Maybe(Option<u8>),
        Empty {},
        EmptyTuple(),
        List(Vec<u8>),
        Map(std::collections::BTreeMap<u8, u8>),
    }

    /// A format in which every value is the empty text.
    struct Silent;

    impl Format for Silent {
        type EncodeError = serde_json::Error;
        type DecodeError = serde_json::Error;

        fn encode<T: Serialize + ?Sized>(&self, _: &T) -> Result<String, serde_json::Error> {
            Ok(String::new())
        }

        fn decode<'de, S: DeserializeSeed<'de>>(
            &self,
            _: &'de str,
            _: S,
        ) -> Result<S::Value, serde_json::Error> {
            Err(de::Error::custom("a server only writes"))
        }
    }

    fn check(event: &Event) {
        assert_eq!(event.encode().count(), 1, "{event:?}");
    }

    for shape in [
        Shape::Unit,
        Shape::Text(""),
        Shape::Nothing(()),
        Shape::Maybe(None),
        Shape::Empty {},
        Shape::EmptyTuple(),
        Shape::List(Vec::new()),
        Shape::Map(std::collections::BTreeMap::new()),
    ] {
        check(&Event::from_typed(&shape).unwrap());
        check(&Event::from_typed_in(&shape, &Silent).unwrap());
        check(&Event::from_json(&shape).unwrap());
    }
    check(&Event::from_json(&()).unwrap());
    check(&Event::from_json("").unwrap());
    check(&Event::from_json(&None::<u8>).unwrap());
    check(&Event::new(""));
}

#[tokio::test]
async fn another_format_writes_the_data() {
    /// JSON over several lines.
    struct Pretty;

    impl Format for Pretty {
        type EncodeError = serde_json::Error;
        type DecodeError = serde_json::Error;

        fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, serde_json::Error> {
            serde_json::to_string_pretty(value)
        }

        fn decode<'de, S: DeserializeSeed<'de>>(
            &self,
            _: &'de str,
            _: S,
        ) -> Result<S::Value, serde_json::Error> {
            Err(de::Error::custom("a server only writes"))
        }
    }
    let send = async |session: Session| {
        let event = Event::from_typed_in(&Shop::Product(product()), &Pretty)?;
        session.send(event.id(7)).await?;
        Ok(())
    };
    let expected = "event: product\nid: 7\ndata: {\ndata:   \"id\": 0,\ndata:   \"prices\": [\n\
        data:     100,\ndata:     200\ndata:   ]\ndata: }\n\n";
    check(send, expected).await;
}

#[tokio::test]
async fn a_value_that_cannot_be_json_is_an_error_and_is_not_sent() {
    let send = async |session: Session| {
        let not_json = std::collections::HashMap::from([([1, 2], "a key that is a list")]);
        let error = session.send_json(&not_json).await.unwrap_err();
        assert_eq!(error.kind(), SendJsonErrorKind::Json);
        session.send_json("text").await?;
        Ok(())
    };
    check(send, "data: \"text\"\n\n").await;
}
