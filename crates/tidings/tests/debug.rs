//! `Debug` of the public types: none prints a credential, a query, or an event on its way.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, header};
use axum::response::IntoResponse;
use axum::routing::get;
use http_body_util::{BodyExt, Full};
use tidings::client::{RequestBody, ResponseBody, ServiceTransport, SseClient, StreamOrResponse};
use tidings::hub::{ChannelName, Draft, Hub, Log, MemoryLog, Retention};
use tidings::hyper::DirectTransport;
use tidings::proto::{
    Decoder, EventSourceAction, EventSourceState, ResponseHead, SessionFrame, SessionState,
};
use tidings::server::{
    Drain, IoDeadline, Limits, Outgoing, Session, SessionOptions, SseRequest, StreamBody,
    StreamDeadline, StreamResponse, TrySendErrorKind,
};
use tidings::store::StoreLog;
use tidings::{Event, Reconnect};
use tidings_testkit::connection::Connection;
use tokio::time::Instant;

const SECRET: &str = "sesame";

/// Types that are the data of an event, or an error about the caller's own input. They show what they
/// are, as a `String` does.
const DATA: &[&str] = &[
    "hub::ChannelEvent",
    "hub::ChannelName",
    "hub::ChannelState",
    "hub::Draft",
    "hub::Entry",
    "hub::Page",
    "hub::PageBuilder",
    "hub::Pattern",
    "hub::Scope",
    "hub::Selection",
    "hub::StoredChannel",
    "hub::InvalidChannelName",
    "hub::InvalidPattern",
    "proto::EncodedEvents",
    "proto::Event",
    "proto::EventId",
    "proto::EventName",
    "proto::EventRef",
    "proto::FeedError",
    "proto::Gap",
    "proto::Heartbeat",
    "proto::HeartbeatEvent",
    "proto::InvalidEventId",
    "proto::InvalidEventName",
    "proto::Undecodable",
    "server::HandlerError",
    "server::SendJsonError",
];

/// Types without text of a request, a response or an event.
const WITHOUT_SECRETS: &[&str] = &[
    "axum::OverTls",
    // It shows no field: `crates/axum/tests/tls/certificates.rs` formats one with a key.
    "axum::Tls",
    "client::BufferPolicy",
    "client::ConnectError",
    "client::ConnectTimeout",
    "client::ConnectionState",
    "client::ErrorKind",
    // It shows only its name.
    "client::FinalUrl",
    // It shows the error, which is formatted below.
    "client::ReconnectionContext",
    "hub::Abilities",
    "hub::Appended",
    "hub::Bounds",
    "hub::ChannelStatus",
    "hub::EntryKind",
    "hub::Grant",
    "hub::LogError",
    "hub::LogErrorKind",
    "hub::Located",
    "hub::Loss",
    "hub::Place",
    "hub::Presence",
    "hub::PublishError",
    "hub::PublishErrorKind",
    "hub::Receipt",
    "hub::Removed",
    "hub::Retention",
    "hub::SlowReader",
    "hub::Start",
    "hub::SubscribeError",
    "hub::SubscribeErrorKind",
    "hub::TooManyKeys",
    "hyper::ConnectFailure",
    "hyper::ConnectFailureKind",
    "hyper::DirectStream",
    "hyper::InvalidCertificate",
    "hyper::InvalidProxy",
    "hyper::UnsupportedTlsConfig",
    "hyper::UnsupportedUrl",
    "hyper_server::Builder",
    // It shows only its state.
    "hyper_server::Connection",
    // It shows the error of hyper, of the socket or of the body.
    "hyper_server::Error",
    // It shows no byte of the body.
    "hyper_server::RequestBody",
    "proto::Comments",
    "proto::EntryCheck",
    "proto::Epoch",
    "proto::EventSourceFailure",
    "proto::EventTooLarge",
    "proto::FeedErrorKind",
    "proto::FeedOpened",
    "proto::GapReason",
    "proto::InvalidMediaType",
    "proto::InvalidPosition",
    "proto::Json",
    "proto::Position",
    "proto::Reconnect",
    "proto::StreamTypes",
    // Private: the reader of text in serde formats.
    "proto::TextVisitor",
    "reqwest::StreamedBody",
    "server::BrokenSession",
    "server::ConnectionLifetime",
    "server::Drained",
    "server::SendError",
    "server::SendErrorKind",
    "server::SendJsonErrorKind",
    "server::StreamDeadline",
    "server::TrySendErrorKind",
    "store::BackedUp",
    // It names entries by their numbers, and channels.
    "store::CheckReport",
    "store::Compacted",
    "store::Durability",
    "store::Exported",
    "store::Imported",
    "store::Salvaged",
    // It shows a path, and a line of an import only by its number.
    "store::StoreError",
    "store::StoreErrorKind",
    "store::StoreOptions",
];

/// The types that were formatted, as `crate::Type`.
#[derive(Default)]
struct Formatted(BTreeSet<String>);

impl Formatted {
    fn check<T: Debug>(&mut self, value: &T) {
        let name = type_name::<T>().split('<').next().unwrap();
        let name = name.strip_prefix("tidings_").unwrap();
        let (module, last) = (name.split("::").next(), name.rsplit("::").next());
        let name = format!("{}::{}", module.unwrap(), last.unwrap());
        let bytes = format!("{:?}", SECRET.as_bytes());
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            let shown = text.contains(SECRET) || text.contains(bytes.trim_matches(['[', ']']));
            assert!(!shown, "{name} shows a secret: {text}");
        }
        self.0.insert(name);
    }
}

/// The public types of these crates, as `crate::Type`, by their sources.
fn public_types() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeSet::new();
    for name in [
        "axum",
        "client",
        "hub",
        "hyper",
        "hyper-server",
        "proto",
        "reqwest",
        "server",
        "store",
    ] {
        let mut sources = String::new();
        read(&crates.join(name).join("src"), &mut sources);
        let name = name.replace('-', "_");
        for line in sources.lines() {
            let item = ["pub struct ", "pub enum ", "pub union "]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            if let Some(item) = item {
                let end = item.find(|char: char| !char.is_alphanumeric());
                found.insert(format!("{name}::{}", &item[..end.unwrap_or(item.len())]));
            }
        }
    }
    assert!(found.len() > 100, "{found:?}");
    found
}

fn read(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else {
            sources.push_str(&fs::read_to_string(path).unwrap());
            sources.push('\n');
        }
    }
}

/// A new public type must be formatted below, or be listed above.
#[tokio::test]
async fn no_public_type_prints_a_secret() {
    let mut formatted = Formatted::default();
    of_proto(&mut formatted);
    of_server(&mut formatted).await;
    of_client(&mut formatted).await;
    of_hub(&mut formatted).await;
    of_store(&mut formatted).await;
    let listed = DATA.iter().chain(WITHOUT_SECRETS).map(ToString::to_string);
    let covered: BTreeSet<_> = formatted.0.into_iter().chain(listed).collect();
    let public = public_types();
    let missing: Vec<_> = public.difference(&covered).collect();
    assert!(
        missing.is_empty(),
        "neither formatted nor listed: {missing:?}"
    );
    let gone: Vec<_> = covered.difference(&public).collect();
    assert!(gone.is_empty(), "no public type: {gone:?}");
}

fn of_proto(formatted: &mut Formatted) {
    let mut session = SessionState::new();
    session.handle_events(Event::new(SECRET).encode());
    session.handle_events(Event::new(SECRET).encode());
    formatted.check(&session);
    formatted.check(&SessionFrame::Data(SECRET.into()));
    let mut decoder = Decoder::new();
    let chunk = format!("event: {SECRET}\ndata: {SECRET}\n\ndata: {SECRET}\n: {SECRET}");
    formatted.check(&decoder.decode(chunk.as_bytes()));
    decoder.decode(chunk.as_bytes()).for_each(drop);
    formatted.check(&decoder);
    let now = Instant::now().into_std();
    let mut state = EventSourceState::new(Reconnect::standard(), Decoder::new(), 1);
    drop(state.poll_action());
    let head = ResponseHead::new(200).content_type(Some("text/event-stream"));
    state.handle_response(head, now, SystemTime::UNIX_EPOCH);
    state.handle_chunk(chunk.into());
    formatted.check(&state);
    let url = format!("/?token={SECRET}");
    formatted.check(&ResponseHead::new(302).location(Some(&url)));
    formatted.check(&EventSourceAction::Redirect {
        status: 302,
        location: url,
        last_event_id: None,
    });
}

/// A request with a secret wherever it may have one.
fn request() -> Request<()> {
    let (token, cookie) = (format!("Bearer {SECRET}"), format!("session={SECRET}"));
    Request::get(format!("http://user:{SECRET}@test/events?ticket={SECRET}"))
        .header(header::AUTHORIZATION, token)
        .header(header::COOKIE, cookie)
        .header("x-api-key", SECRET)
        .extension(SECRET)
        .body(())
        .unwrap()
}

async fn of_server(formatted: &mut Formatted) {
    let limits = Limits::new().max_sessions_per_key(9, |_| Some(SECRET.to_owned()));
    let drain = Drain::new();
    let options = SessionOptions::new().limits(&limits).drain(&drain);
    formatted.check(&options);
    let parts = request().into_parts().0;
    formatted.check(&tidings::axum::SseRequest::from(parts.clone()));
    let request = SseRequest::new(parts).options(options);
    formatted.check(&request);
    let kept = Arc::new(Mutex::new(None::<Session>));
    let keep = Arc::clone(&kept);
    let response = request.open(async move |session: Session| {
        // The parsed request is kept from here on.
        assert_eq!(session.request().method, "GET");
        session.send(Event::new(SECRET)).await?;
        *keep.lock().unwrap() = Some(session);
        std::future::pending().await
    });
    let mut connection = Connection::after_head(response.into_body());
    connection.poll();
    let session = kept.lock().unwrap().take().unwrap();
    session.try_send(Event::new(SECRET)).unwrap();
    formatted.check(&session);
    formatted.check(&session.sender());
    formatted.check(&drain);
    formatted.check(&limits);
    let full = session
        .try_send(Event::new(SECRET.repeat(20_000)))
        .unwrap_err();
    assert_eq!(full.kind(), TrySendErrorKind::Full);
    formatted.check(&full);
    let parts = self::request().into_parts().0;
    let body = SseRequest::new(parts).open(async |_| Ok(())).into_body();
    formatted.check(&body);
    let mut counted = StreamBody::new(Full::new(Bytes::from(SECRET)));
    formatted.check(&StreamBody::new(body));
    let bytes = counted.frame().await.unwrap().unwrap().into_data().unwrap();
    formatted.check(&bytes);
    formatted.check(&StreamDeadline::new().run(async {
        drop(SECRET.to_owned());
    }));
    formatted.check(&IoDeadline::new(tokio::io::empty()));
    formatted.check(&Outgoing::default());
    formatted.check(&StreamResponse::default());
    formatted.check(&tidings::axum::sse(SECRET));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serve = tidings::axum::serve(listener, Router::new());
    formatted.check(&serve);
    let key = format!("-----BEGIN PRIVATE KEY-----{SECRET}");
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    let error = tidings::axum::Tls::from_pem(certificate.as_bytes(), key.as_bytes());
    formatted.check(&error.unwrap_err());
    formatted.check(&serve.into_future());
}

async fn of_client(formatted: &mut Formatted) {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::SET_COOKIE, SECRET),
    ];
    let text = format!("data: {SECRET}\n\ndata: {SECRET}");
    let refusal = || {
        (
            http::StatusCode::FORBIDDEN,
            [(header::SET_COOKIE, SECRET)],
            SECRET,
        )
    };
    let app = Router::new()
        .route("/", get(async move || (headers, text).into_response()))
        .route("/refused", get(async move || refusal()))
        .route(
            "/json",
            get(async || ([(header::SET_COOKIE, SECRET)], SECRET)),
        );
    let seen = Arc::new(Mutex::new(Formatted::default()));
    let (of_attempts, of_lifecycle) = (Arc::clone(&seen), Arc::clone(&seen));
    let client = SseClient::over_service(app)
        .bearer(SECRET)
        .header("x-api-key", SECRET)
        .on_lifecycle(move |lifecycle| of_lifecycle.lock().unwrap().check(&lifecycle))
        .before_connect(move |attempt| {
            of_attempts.lock().unwrap().check(&attempt);
            std::future::ready(Ok(attempt))
        });
    formatted.check(&client);
    let url = |path: &str| format!("http://user:{SECRET}@test/{path}?token={SECRET}");
    let request = client.get(url("")).body(SECRET);
    formatted.check(&request);
    let mut session = client.get(url("")).open().await.unwrap();
    formatted.check(&session);
    session.try_next().await.unwrap();
    formatted.check(&session);
    formatted.check(&session.typed::<u32>());
    formatted.check(&client.get(url("refused")).open().await.unwrap_err());
    let answer = client.get(url("json")).open_or_response().await.unwrap();
    assert!(matches!(answer, StreamOrResponse::Response(_)));
    formatted.check(&answer);
    formatted.check(&RequestBody::from(Bytes::from(SECRET)));
    formatted.check(&ResponseBody::new(Full::new(Bytes::from(SECRET))));
    formatted.check(&ServiceTransport::new(SECRET));
    let transport = DirectTransport::new().proxy(&format!("http://user:{SECRET}@proxy:1"));
    formatted.check(&transport.unwrap());
    formatted.check(&tidings::reqwest::transport(reqwest::Client::new()));
    formatted.0.append(&mut seen.lock().unwrap().0);
}

async fn of_hub(formatted: &mut Formatted) {
    let builder = Hub::builder();
    formatted.check(&builder);
    formatted.check(&MemoryLog::new(Retention::in_memory()));
    let hub = builder.in_memory(Retention::in_memory());
    let channel = hub.channel("news").unwrap();
    let mut subscription = hub.subscribe("news");
    formatted.check(&subscription);
    tidings::hub::Feed::resume(&mut subscription, Some(SECRET));
    formatted.check(&subscription);
    let mut stream = hub.subscribe("news").resume_after(None);
    let publish = channel.publish(Event::new(SECRET));
    formatted.check(&publish);
    let publish = publish.receipt();
    formatted.check(&publish);
    publish.await.unwrap();
    formatted.check(&stream);
    stream.next().await.unwrap().unwrap();
    formatted.check(&stream);
    let mut events = hub.subscribe("news").earliest().events_after(None);
    formatted.check(&events);
    events.next().await.unwrap().unwrap();
    formatted.check(&events);
    let mut producer = channel.producer(Event::new(SECRET)).unwrap();
    producer.set_last_words(Event::new(SECRET)).unwrap();
    formatted.check(&producer);
    formatted.check(&channel);
    formatted.check(&hub);
}

async fn of_store(formatted: &mut Formatted) {
    let folder = std::env::temp_dir().join(format!("tidings-debug-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let log = StoreLog::open(folder.join("events.db")).unwrap();
    let draft = Draft::event(ChannelName::new(SECRET).unwrap(), SECRET);
    log.append(draft.key(SECRET)).await.unwrap();
    formatted.check(&log);
    log.close().await.unwrap();
    formatted.check(&log);
    fs::remove_dir_all(&folder).unwrap();
}
