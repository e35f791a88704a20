//! Typed events: the wire form of each shape of a serde enum, in both directions.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Deserialize, Serialize};
use tidings_proto::{Event, EventName, Format, Gap, GapReason, Json};
use tidings_testkit::decoding::{Options, decode};
use tidings_testkit::{property, round_trip};

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Customer {
    id: u32,
    first_name: String,
    last_name: String,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Product {
    id: u32,
    prices: Vec<u32>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Shop {
    Customer(Customer),
    Product(Product),
    PriceChange {
        id: u32,
        cents: Option<u32>,
    },
    Span(u32, String),
    Empty(),
    Nothing {},
    Note(String),
    Order(Order),
    Level(Level),
    Tags(BTreeMap<String, i64>),
    Maybe(Option<Level>),
    Boxed(Box<Self>),
    Unit(()),
    Message(u8),
    Resync,
    #[serde(rename = "sold out…")]
    SoldOut,
}

/// An enum inside a payload keeps the form that JSON gives it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Order {
    Placed { by: Customer },
    Cancelled,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "level")]
enum Level {
    Low,
    High { by: i64 },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Outcome<T, E> {
    Fine(T),
    Failed { why: E },
}

fn jet() -> Customer {
    Customer {
        id: 0,
        first_name: "Jet".into(),
        last_name: "Brains".into(),
    }
}

fn event(name: &str, data: &str) -> Event {
    Event::new(data).event(EventName::new(name).unwrap())
}

/// The value becomes this event, and the event becomes this value.
fn check<T>(value: &T, name: Option<&str>, data: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let sent = Event::from_typed(value).unwrap();
    assert_eq!((sent.event.as_deref(), sent.text()), (name, data));
    round_trip::check(std::slice::from_ref(&sent));
    assert_eq!(sent.typed::<T>().unwrap(), *value);
    assert_eq!(sent.into_typed::<T>().data.unwrap().unwrap(), *value);
}

/// The event is not such a value: the error has this text, and keeps the event.
fn refuse<T: DeserializeOwned + Debug>(event: &Event, why: &str) {
    let error = event.typed::<T>().unwrap_err();
    assert_eq!(error.to_string(), why);

    let event = Event {
        retry: Some(Duration::from_secs(1)),
        comments: Some("why".into()),
        ..event.clone().id(7)
    };
    let typed = event.clone().into_typed::<T>();
    let fields = typed.clone_fields();
    let undecodable = typed.data.unwrap().unwrap_err();
    assert_eq!(
        undecodable.to_string(),
        format!("the event {:?} could not be decoded", event.event_type())
    );
    assert_eq!(undecodable.source().unwrap().to_string(), why);
    assert_eq!(*undecodable.event(), event);
    assert_eq!(
        fields,
        Event {
            data: None,
            ..event.clone()
        }
    );
    assert_eq!(undecodable.into_event(), event);
}

trait CloneFields {
    fn clone_fields(&self) -> Event;
}

impl<T> CloneFields for Event<T> {
    fn clone_fields(&self) -> Event {
        Event {
            data: None,
            event: self.event.clone(),
            id: self.id.clone(),
            retry: self.retry,
            comments: self.comments.clone(),
        }
    }
}

#[test]
fn a_variant_is_the_name_and_its_content_the_data() {
    let product = Product {
        id: 0,
        prices: vec![100, 200],
    };
    for (value, name, data) in [
        (
            Shop::Customer(jet()),
            "customer",
            r#"{"id":0,"firstName":"Jet","lastName":"Brains"}"#,
        ),
        (
            Shop::Product(product),
            "product",
            r#"{"id":0,"prices":[100,200]}"#,
        ),
        (
            Shop::PriceChange { id: 1, cents: None },
            "price_change",
            r#"{"id":1,"cents":null}"#,
        ),
        (Shop::Span(1, "a\nb".into()), "span", r#"[1,"a\nb"]"#),
        (Shop::Empty(), "empty", "[]"),
        (Shop::Nothing {}, "nothing", "{}"),
        (Shop::Note("\"".into()), "note", r#""\"""#),
        (
            Shop::Order(Order::Placed { by: jet() }),
            "order",
            r#"{"Placed":{"by":{"id":0,"firstName":"Jet","lastName":"Brains"}}}"#,
        ),
        (Shop::Order(Order::Cancelled), "order", r#""Cancelled""#),
        (
            Shop::Level(Level::High { by: -1 }),
            "level",
            r#"{"level":"High","by":-1}"#,
        ),
        (Shop::Maybe(None), "maybe", "null"),
        (Shop::Maybe(Some(Level::Low)), "maybe", r#"{"level":"Low"}"#),
        (
            Shop::Boxed(Box::new(Shop::Boxed(Box::new(Shop::Resync)))),
            "boxed",
            r#"{"boxed":"resync"}"#,
        ),
        (Shop::Unit(()), "unit", "null"),
        (Shop::Message(1), "message", "1"),
        (Shop::Resync, "resync", ""),
        (Shop::SoldOut, "sold out…", ""),
    ] {
        check(&value, Some(name), data);
    }
}

#[test]
fn a_variant_without_content_is_delivered() {
    let wire = Event::from_typed(&Shop::Resync).unwrap().to_string();
    assert_eq!(wire, "event: resync\ndata:\n\n");
    let received = decode(&[wire.as_bytes()], &Options::default());
    assert_eq!(received.events[0].typed::<Shop>().unwrap(), Shop::Resync);
}

#[test]
fn a_variant_without_content_ignores_the_data() {
    for data in ["", "null", "{}", "[DONE]", "bye\nbye"] {
        let event = event("resync", data);
        assert_eq!(event.typed::<Shop>().unwrap(), Shop::Resync, "{data:?}");
    }
}

#[test]
fn an_enum_may_be_generic_over_its_content() {
    type Reply = Outcome<Vec<Shop>, Order>;
    check(
        &Reply::Fine(vec![Shop::Resync, Shop::Message(1)]),
        Some("Fine"),
        r#"["resync",{"message":1}]"#,
    );
    check(
        &Reply::Failed {
            why: Order::Cancelled,
        },
        Some("Failed"),
        r#"{"why":"Cancelled"}"#,
    );
    check(&Ok::<u8, String>(1), Some("Ok"), "1");
}

#[test]
fn any_other_type_is_the_data_alone() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Marker;
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Wrapped(Shop);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Pair(u8, char);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(tag = "type", content = "of")]
    enum Adjacent {
        One(u8),
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(untagged)]
    enum Either {
        Number(u8),
        Text(String),
    }

    check(
        &jet(),
        None,
        r#"{"id":0,"firstName":"Jet","lastName":"Brains"}"#,
    );
    check(&Some(Shop::Message(1)), None, r#"{"message":1}"#);
    check(&None::<Shop>, None, "null");
    check(&Wrapped(Shop::Resync), None, r#""resync""#);
    check(&vec![Shop::Resync], None, r#"["resync"]"#);
    check(&(Shop::Resync, 1_u8), None, r#"["resync",1]"#);
    check(&Level::High { by: 1 }, None, r#"{"level":"High","by":1}"#);
    check(&Adjacent::One(1), None, r#"{"type":"One","of":1}"#);
    check(&Either::Number(1), None, "1");
    check(&Either::Text("a".into()), None, r#""a""#);
    check(&Pair(1, 'a'), None, r#"[1,"a"]"#);
    check(&Marker, None, "null");
    check(&(), None, "null");
    check(&true, None, "true");
    check(&i8::MIN, None, "-128");
    check(&i16::MIN, None, "-32768");
    check(&i32::MIN, None, "-2147483648");
    check(&i64::MIN, None, "-9223372036854775808");
    check(&i128::MIN, None, "-170141183460469231731687303715884105728");
    check(&u8::MAX, None, "255");
    check(&u16::MAX, None, "65535");
    check(&u32::MAX, None, "4294967295");
    check(&u64::MAX, None, "18446744073709551615");
    check(&u128::MAX, None, "340282366920938463463374607431768211455");
    check(&0.5_f32, None, "0.5");
    check(&0.5_f64, None, "0.5");
    check(&'…', None, r#""…""#);
    check(&"a\n".to_owned(), None, r#""a\n""#);
    check(
        &BTreeMap::from([("a", 1)].map(|(k, v)| (k.to_owned(), v))),
        None,
        r#"{"a":1}"#,
    );
    check(&IpAddr::from([127, 0, 0, 1]), None, r#""127.0.0.1""#);
    check(&serde_json::json!({"a": [1]}), None, r#"{"a":[1]}"#);
}

#[test]
fn any_other_type_is_read_under_any_name() {
    assert_eq!(event("product", "[1]").typed::<Vec<u8>>().unwrap(), [1]);
}

#[test]
fn transparent_wrappers_make_no_difference() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(transparent)]
    struct Transparent {
        shop: Box<Shop>,
    }
    let shop = Box::new(Shop::Message(1));
    check(&Transparent { shop }, Some("message"), "1");
    let sent = Event::from_typed(&Cow::Borrowed(&&Shop::Message(1))).unwrap();
    assert_eq!(sent, event("message", "1"));
}

#[test]
fn an_event_without_a_name_is_a_message() {
    for event in [Event::new("1"), event("", "1"), event("message", "1")] {
        assert_eq!(event.typed::<Shop>().unwrap(), Shop::Message(1));
    }
}

#[test]
fn a_gap_is_a_variant_like_any_other() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum News {
        Gap(Gap),
    }
    let gap = Gap {
        requested: None,
        resumed: "a.7.AAAA".into(),
        reason: GapReason::Slow,
        missed: Some(1),
    };
    let event = gap.to_event().unwrap();
    assert_eq!(event.typed::<News>().unwrap(), News::Gap(gap));
}

#[test]
fn a_variant_that_cannot_name_an_event_is_not_sent() {
    #[derive(Serialize)]
    enum Bad {
        #[serde(rename = "a\ndata: b")]
        Lf,
        #[serde(rename = "a\rb")]
        Cr(u8),
        #[serde(rename = "")]
        Empty { a: u8 },
    }
    for (value, variant) in [
        (Bad::Lf, r#""a\ndata: b""#),
        (Bad::Cr(1), r#""a\rb""#),
        (Bad::Empty { a: 1 }, r#""""#),
    ] {
        let error = Event::from_typed(&value).unwrap_err();
        let expected = format!(
            "the variant {variant} cannot be an event name: it must not be empty or contain CR or LF"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_value_that_json_cannot_write_is_not_sent() {
    #[derive(Serialize)]
    enum Keyed {
        Lists(BTreeMap<Vec<u8>, u8>),
    }
    let error = Event::from_typed(&Keyed::Lists([(vec![1], 1)].into())).unwrap_err();
    assert_eq!(error.to_string(), "key must be a string");
}

#[test]
fn an_undecodable_event_has_a_reason_and_is_kept_whole() {
    #[derive(Deserialize, Debug)]
    enum Few {
        #[allow(dead_code, reason = "read only")]
        A(u8),
        B,
    }
    let bad = |name, data, why| refuse::<Few>(&event(name, data), why);
    bad(
        "C\u{1b}",
        "1",
        "unknown variant `C\u{1b}`, expected `A` or `B`",
    );
    bad("a", "1", "unknown variant `a`, expected `A` or `B`");
    bad("A", "", "EOF while parsing a value at line 1 column 0");
    bad(
        "A",
        "{",
        "invalid type: map, expected u8 at line 1 column 0",
    );
    bad(
        "A",
        "256",
        "invalid value: integer `256`, expected u8 at line 1 column 3",
    );
    bad("A", "1 2", "trailing characters at line 1 column 3");
    refuse::<Few>(
        &Event::new("1"),
        "unknown variant `message`, expected `A` or `B`",
    );
    refuse::<Shop>(
        &event("span", "[1]"),
        "invalid length 1, expected tuple variant Shop::Span with 2 elements at line 1 column 3",
    );
    refuse::<Shop>(
        &event("price_change", "{}"),
        "missing field `id` at line 1 column 2",
    );
    refuse::<Vec<u8>>(
        &Event::new(""),
        "EOF while parsing a value at line 1 column 0",
    );
    assert!(matches!(event("B", "").typed().unwrap(), Few::B));
}

#[test]
fn deep_data_is_refused_and_does_not_overflow_the_stack() {
    let deep = "[".repeat(1_000_000);
    let error = event("any", &deep).typed::<serde_json::Value>();
    assert_eq!(
        error.unwrap_err().to_string(),
        "recursion limit exceeded at line 1 column 128"
    );
}

#[test]
fn an_event_without_data_stays_without() {
    let comment = Event::comment("hello").id(1);
    let typed = comment.clone().into_typed::<Shop>();
    assert_eq!(
        (typed.data.is_none(), typed.clone_fields()),
        (true, comment)
    );

    let named = Event {
        event: Some(EventName::from_static("resync")),
        ..Event::default()
    };
    assert!(named.into_typed::<Shop>().data.is_none());
}

#[test]
fn the_other_fields_are_kept() {
    let event = event("message", "1").id(7).retry(Duration::from_secs(1));
    let event = Event {
        comments: Some("why".into()),
        ..event
    };
    let typed = event.clone().into_typed::<Shop>();
    let expected = Event {
        data: None,
        ..event
    };
    assert_eq!(typed.clone_fields(), expected);
    assert_eq!(typed.data.unwrap().unwrap(), Shop::Message(1));
}

/// A documented limit.
#[test]
fn other_drops_name_and_data() {
    #[derive(Deserialize, Debug, PartialEq)]
    enum Open {
        A(u8),
        #[serde(other)]
        Other,
    }
    assert_eq!(event("A", "1").typed::<Open>().unwrap(), Open::A(1));
    let typed = event("B", "{\"lost\":1}").into_typed::<Open>();
    assert_eq!(typed.data.unwrap().unwrap(), Open::Other);
}

/// A documented limit.
#[test]
fn an_untagged_variant_drops_all_names() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Half {
        A(u8),
        #[serde(untagged)]
        Any(u8),
    }
    let sent = Event::from_typed(&Half::A(1)).unwrap();
    assert_eq!(sent, event("A", "1"));
    assert_eq!(sent.typed::<Half>().unwrap(), Half::Any(1));
}

/// A documented limit.
#[test]
fn an_enum_in_an_untagged_enum_is_sent_with_a_name_and_read_without() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(untagged)]
    enum Outer {
        Shop(Shop),
    }
    let sent = Event::from_typed(&Outer::Shop(Shop::Message(1))).unwrap();
    assert_eq!(sent, event("message", "1"));
    assert_eq!(
        sent.typed::<Outer>().unwrap_err().to_string(),
        "data did not match any variant of untagged enum Outer"
    );
}

/// A documented limit.
#[test]
fn borrowed_text_is_read_only_without_escapes() {
    #[derive(Deserialize, Debug, PartialEq)]
    enum Borrowing<'a> {
        Text(&'a str),
        #[serde(borrow)]
        Cow(Cow<'a, str>),
    }
    let plain = event("Text", r#""ab""#);
    assert_eq!(plain.typed::<Borrowing>().unwrap(), Borrowing::Text("ab"));
    let escaped = event("Text", r#""a\nb""#);
    assert_eq!(
        escaped.typed::<Borrowing>().unwrap_err().to_string(),
        "invalid type: string \"a\\nb\", expected a borrowed string at line 1 column 6"
    );
    let cow = event("Cow", r#""a\nb""#);
    assert_eq!(
        cow.typed::<Borrowing>().unwrap(),
        Borrowing::Cow("a\nb".into())
    );
}

/// A toy format: JSON in Base64, without an error type of its own and without a unit.
struct Secret;

impl Format for Secret {
    type EncodeError = serde::de::value::Error;
    type DecodeError = serde::de::value::Error;

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, Self::EncodeError> {
        match serde_json::to_string(value).map_err(serde::ser::Error::custom)? {
            unit if unit == "null" => Err(serde::ser::Error::custom("there is no unit")),
            json => Ok(STANDARD.encode(json)),
        }
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        data: &'de str,
        seed: S,
    ) -> Result<S::Value, Self::DecodeError> {
        let json = STANDARD.decode(data).map_err(serde::de::Error::custom)?;
        let mut json = serde_json::Deserializer::from_reader(json.as_slice());
        seed.deserialize(&mut json)
            .map_err(serde::de::Error::custom)
    }
}

#[test]
fn each_kind_of_variant_works_in_another_format() {
    for value in [
        Shop::Customer(jet()),
        Shop::PriceChange { id: 1, cents: None },
        Shop::Span(1, "a".into()),
        Shop::Order(Order::Cancelled),
        Shop::Resync,
    ] {
        let json = Event::from_typed(&value).unwrap();
        let sent = Event::from_typed_in(&value, &Secret).unwrap();
        let data = match value {
            Shop::Resync => String::new(),
            _ => STANDARD.encode(json.text()),
        };
        assert_eq!((&sent.event, sent.text()), (&json.event, data.as_str()));
        assert_eq!(sent.typed_in::<Shop, _>(&Secret).unwrap(), value);
        let typed = sent.into_typed_in::<Shop, _>(&Secret);
        assert_eq!(typed.data.unwrap().unwrap(), value);
    }
}

#[test]
fn the_errors_of_another_format_are_returned() {
    let error = Event::from_typed_in(&Shop::Unit(()), &Secret).unwrap_err();
    assert_eq!(error.to_string(), "there is no unit");

    let typed = event("message", "1").into_typed_in::<Shop, _>(&Secret);
    let undecodable = typed.data.unwrap().unwrap_err();
    let source = undecodable.source().unwrap();
    assert!(source.is::<serde::de::value::Error>());
    assert_eq!(source.to_string(), "Invalid input length: 1");
}

#[test]
fn json_is_the_default_format() {
    let value = Shop::Span(1, "a".into());
    assert_eq!(
        Event::from_typed_in(&value, &Json).unwrap(),
        Event::from_typed(&value).unwrap()
    );
}

fn customer() -> impl Strategy<Value = Customer> {
    any::<(u32, String, String)>().prop_map(|(id, first_name, last_name)| Customer {
        id,
        first_name,
        last_name,
    })
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![
        Just(Level::Low),
        any::<i64>().prop_map(|by| Level::High { by }),
    ]
}

fn shop() -> impl Strategy<Value = Shop> {
    let product = (any::<u32>(), vec(any::<u32>(), 0..4));
    let price = (any::<u32>(), option::of(any::<u32>()));
    let flat = prop_oneof![
        customer().prop_map(Shop::Customer),
        product.prop_map(|(id, prices)| Shop::Product(Product { id, prices })),
        price.prop_map(|(id, cents)| Shop::PriceChange { id, cents }),
        any::<(u32, String)>().prop_map(|(from, to)| Shop::Span(from, to)),
        any::<String>().prop_map(Shop::Note),
        customer().prop_map(|by| Shop::Order(Order::Placed { by })),
        level().prop_map(Shop::Level),
        btree_map(any::<String>(), any::<i64>(), 0..4).prop_map(Shop::Tags),
        option::of(level()).prop_map(Shop::Maybe),
        any::<u8>().prop_map(Shop::Message),
        prop_oneof![
            Just(Shop::Empty()),
            Just(Shop::Nothing {}),
            Just(Shop::Order(Order::Cancelled)),
            Just(Shop::Unit(())),
            Just(Shop::Resync),
            Just(Shop::SoldOut),
        ],
    ];
    flat.prop_recursive(3, 8, 1, |inner| {
        inner.prop_map(|shop| Shop::Boxed(Box::new(shop)))
    })
}

#[test]
fn a_typed_value_is_received_as_it_was_sent() {
    property::check(&vec(shop(), 0..4), |sent| {
        let events: Vec<_> = sent
            .iter()
            .map(|value| Event::from_typed(value).unwrap())
            .collect();
        round_trip::check(&events);
        let received = round_trip::received(&events)
            .into_iter()
            .map(Event::into_typed::<Shop>);
        let received: Vec<_> = received.map(|event| event.data.unwrap().unwrap()).collect();
        assert_eq!(received, sent);
    });
}

#[test]
fn any_event_is_a_value_or_is_kept_whole() {
    let names = prop_oneof![
        any::<String>().prop_map(|text| text.replace(['\r', '\n'], "")),
        Just("price_change".to_owned()),
        Just("span".to_owned()),
        Just("resync".to_owned()),
    ];
    property::check(&(names, any::<String>()), |(name, data)| {
        let received = event(&name, &data);
        match received.clone().into_typed::<Shop>().data.unwrap() {
            Ok(value) => assert_eq!(received.typed::<Shop>().unwrap(), value),
            Err(undecodable) => assert_eq!(undecodable.into_event(), received),
        }
    });
}
