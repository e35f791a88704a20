//! Channels of Server-Sent Events: publish once, and every subscriber receives the event, in order,
//! after a reconnection too.
//!
//! A complete server, with one route for subscribers and one for publishers:
//!
//! ```no_run
//! use axum::Router;
//! use axum::http::StatusCode;
//! use axum::routing::get;
//! use tidings_axum::{SseRequest, serve};
//! use tidings_hub::{Event, Hub};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let hub = Hub::in_memory();
//!     let news = hub.clone();
//!     let subscribe = async move |request: SseRequest| request.forward(news.subscribe("news")).await;
//!     let publish = async move |text: String| match hub.publish("news", Event::new(text)).await {
//!         Ok(_) => StatusCode::NO_CONTENT,
//!         Err(_) => StatusCode::SERVICE_UNAVAILABLE,
//!     };
//!     let app = Router::new().route("/news", get(subscribe).post(publish));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     serve(listener, app).await
//! }
//! ```
//!
//! Try it: `curl -N localhost:8080/news`, and in another shell `curl -d hello localhost:8080/news`.
//!
//! In the same process, without HTTP, a subscription is a stream:
//!
//! ```
//! use tidings_hub::{Event, Hub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::in_memory();
//! let mut news = hub.subscribe("news").resume_after(None);
//! hub.publish("news", Event::new("hello")).await?;
//!
//! let events = news.next().await.unwrap()?.to_events();
//! assert_eq!(events[0].text(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! A [`SubscriptionStream`] yields [`EncodedEvents`]: one or several events at a time, which
//! [`to_events()`](EncodedEvents::to_events) returns as a `Vec<Event>`. A gap is an event named `gap`, and
//! [`Gap::from_event`] reads it.
//!
//! # The promise
//! **Gapless or told.** A subscriber of some channels receives all their events, each once and in
//! one order, even if its connection is cut, it reads slowly, old events are removed, or the server
//! restarts. If that is not possible, it first receives an event named `gap`.
//!
//! A gap reports that events of *the subscriber's own channels* are missing. A busy channel that has lost
//! old events causes no gap in a quiet channel of the same hub. The data of a gap contains where the stream
//! continues, why, and how many events are missing at most; `requested` is the position in the ID that the
//! client has sent, if the log has removed events after it:
//!
//! ```text
//! event: gap
//! id: k3Zq9sT0aB2c.1041.x_7A
//! data: {"requested":"k3Zq9sT0aB2c.17.AbC4","resumed":"k3Zq9sT0aB2c.1041.x_7A","reason":"trimmed","missed":1024}
//! ```
//!
//! | reason | meaning | the stream continues with |
//! | --- | --- | --- |
//! | `trimmed` | the [`Retention`] has removed events after the ID, or after the start of [`earliest`](Subscription::earliest) or [`from_time`](Subscription::from_time) | the oldest event that is left |
//! | `slow` | the subscriber was slower than its [`SlowReader`] policy allows | the oldest event that the policy allows |
//! | `epoch` | another log has issued the ID, for example before a restart of a hub in memory | new events |
//! | `future` | the ID is past the end of the log | new events |
//! | `unknown-id` | the ID is not a [`Position`], and neither is the text after its last comma | new events |
//!
//! A subscription with [`earliest`](Subscription::earliest), [`latest`](Subscription::latest),
//! [`last`](Subscription::last), [`from_time`](Subscription::from_time) or
//! [`snapshot`](Subscription::snapshot) continues there after a gap with any reason except `slow`.
//!
//! A hub can be wrong in one direction only: it may report a gap although nothing is missing. With
//! [`MemoryLog`], a gap with the reason `trimmed` or `slow` is wrong only after the log has
//! [forgotten](Retention::remembered_channels) channels, and only for a client whose ID is older than the
//! newest event of those. For other logs, see [`Abilities`]. Any other reason means that the hub cannot know
//! what is missing, and `missed` is `null`.
//!
//! "Each once" needs the client too: if a connection is cut, events that the server has sent but the
//! client has not read are sent again, with the same IDs. The client of `tidings` drops them with
//! `.dedupe(true)`, and `.gaps(true)` separates gaps from events. Any other client can compare IDs.
//!
//! # Limits
//! * **One log.** A hub keeps all its channels in one [`Log`], in one order. So the ID of an event
//!   is its position in the log, and one ID resumes any set of channels. The price: every node of a
//!   hub receives and encodes every event, even without subscribers. Plan for 50,000 events per
//!   second and hub. Beyond that, use several hubs with different channels; IDs of one hub mean
//!   nothing to another, and no subscription spans two.
//! * **In memory, the log ends with the process.** A client that reconnects after a restart receives a
//!   `gap` with the reason `epoch`. [A log on the disk](#which-log-to-choose) continues.
//! * **History is bounded.** A hub in memory keeps 256 MiB of events, and remembers up to 200,000 channels
//!   without events, in about 60 MB; see [`Retention`].
//! * **A pattern may search the log.** With an index of its channels, as [`MemoryLog`] has, a log reads the
//!   events of named channels in time proportional to those channels. A pattern that selects many channels
//!   may make the hub search the log.
//! * **Replays take turns.** A poll of a subscription reads at most one page of the log, and a hub reads
//!   at most 32 pages at once for all its subscribers, in the order in which they asked. So clients that
//!   resume from old IDs do not delay the others.
//! * **Snapshots that wait for slow clients take 64 MiB at most**, over all subscribers of the hub.
//! * **The hub does not track what each client has received.** There are no acknowledgements and no
//!   queues per subscriber.
//!
//! # Patterns
//! [`subscribe`](Hub::subscribe) takes one channel. [`subscribe_all`](Hub::subscribe_all) takes a list of
//! channels and [patterns](Pattern): `metrics/*` selects all channels below `metrics`, at any depth, but
//! not `metrics` itself.
//!
//! An event does not name its channel by default. With [`name_channels`](Subscription::name_channels), its
//! ID does, for clients of any kind. In the same process, [`events_after`](Subscription::events_after)
//! returns the channel beside the event. [`ChannelName::escape`] makes one segment of a name from any text,
//! such as a user ID.
//!
//! An invalid name is reported when the subscription opens: a client receives 400, and a stream returns
//! a [`SubscribeError`]:
//!
//! ```
//! use tidings_hub::{Event, Hub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::in_memory();
//! let mut metrics = hub.subscribe_all(["metrics/*"]).resume_after(None);
//! hub.publish("metrics/cpu", Event::new("17")).await?;
//! let events = metrics.next().await.unwrap()?.to_events();
//! assert_eq!(events[0].text(), "17");
//!
//! let mut refused = hub.subscribe("metrics/*").resume_after(None);
//! let error = refused.next().await.unwrap().unwrap_err();
//! assert_eq!(error.to_string(), r#"the channel name "metrics/*" is not valid"#);
//! # Ok(())
//! # }
//! ```
//!
//! # Typed events
//! A protocol can be a serde enum: the variant is the name of the event, and its content is the data, as
//! JSON. [`Event::from_typed`] makes an event to publish, and [`Event::typed`] reads one in the same
//! process. The client of `tidings` reads the same enum, with `Session::typed`. The names `gap` and
//! `closed` are reserved for the hub:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidings_hub::{Event, Gap, Hub};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! #[serde(rename_all = "snake_case")]
//! enum Metric {
//!     Cpu { percent: u8 },
//!     Restarted,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::in_memory();
//! let mut metrics = hub.subscribe("metrics").resume_after(None);
//! let cpu = Metric::Cpu { percent: 17 };
//! hub.publish("metrics", Event::from_typed(&cpu)?).await?;
//!
//! for event in metrics.next().await.unwrap()?.to_events() {
//!     if let Some(gap) = Gap::from_event(&event) {
//!         eprintln!("events are missing: {gap:?}");
//!     } else {
//!         assert_eq!(event.typed::<Metric>()?, cpu);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A chat room
//! A server forwards a [`Subscription`] into a session. A client that joins a room receives the
//! stored messages first, and a client that reconnects continues after its last message:
//!
//! ```
//! use axum::Router;
//! use axum::extract::Path;
//! use axum::http::StatusCode;
//! use axum::routing::get;
//! use tidings_axum::SseRequest;
//! use tidings_hub::{Event, Hub, PublishErrorKind};
//!
//! fn chat(hub: Hub) -> Router {
//!     let rooms = hub.clone();
//!     let listen = async move |request: SseRequest, Path(room): Path<String>| {
//!         let room = rooms.subscribe(format!("rooms/{room}")).earliest();
//!         request.forward(room).await
//!     };
//!     let say = async move |Path(room): Path<String>, text: String| {
//!         match hub.publish(format!("rooms/{room}"), Event::new(text)).await {
//!             Ok(_) => StatusCode::NO_CONTENT,
//!             Err(error) => match error.kind() {
//!                 PublishErrorKind::InvalidChannelName => StatusCode::NOT_FOUND,
//!                 _ => StatusCode::SERVICE_UNAVAILABLE,
//!             },
//!         }
//!     };
//!     Router::new().route("/rooms/{room}", get(listen).post(say))
//! }
//! # drop(chat(Hub::in_memory()));
//! ```
//!
//! [`HubBuilder::on_presence`] reports each subscriber that joins or leaves,
//! [`Channel::subscriber_count`] returns how many there are, and a [`Grant`] limits which channels a
//! client may subscribe to, and for how long. [`Channel::state`] returns whether a channel has ended and its
//! newest event; [`Hub::channels`] lists all channels, in pages.
//!
//! # A feed that resumes
//! Resuming needs no code. A client that reconnects sends the ID of its last event, in the
//! `Last-Event-ID` header or as `?last_event_id=`, and the session passes it to the subscription.
//!
//! A session also sends checkpoints: IDs without an event, when it opens and with its heartbeats. A
//! client that is cut before its first event therefore misses nothing, and a client that reconnects
//! after a quiet hour does not make the hub search that hour:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tidings_axum::{Heartbeat, SessionOptions, SseRequest};
//! use tidings_hub::Hub;
//!
//! fn feed(hub: Hub) -> Router {
//!     let listen = async move |request: SseRequest| {
//!         let options = SessionOptions::default().heartbeat(Heartbeat::default());
//!         request.options(options).forward(hub.subscribe_all(["news", "prices/*"])).await
//!     };
//!     Router::new().route("/feed", get(listen))
//! }
//! # drop(feed(Hub::in_memory()));
//! ```
//!
//! # An answer that survives a reload
//! The answer of a language model is a channel that [ends](Channel::end). The task that fills it
//! does not depend on a client's connection. A client that reloads the page, changes the device or
//! loses the network receives the rest. A client that reconnects after the end gets 204, and an
//! `EventSource` then stops reconnecting. A [`Producer`] ends the channel even if its task fails. The task
//! logs its error, because no caller receives it:
//!
//! ```
//! use tidings_hub::{Event, EventName, Hub, PublishError};
//!
//! const FAILED: EventName = EventName::from_static("failed");
//!
//! async fn answer(
//!     hub: &Hub,
//!     id: u64,
//!     mut tokens: impl Iterator<Item = String>,
//! ) -> Result<(), PublishError> {
//!     let producer = hub
//!         .channel(format!("answers/{id}"))?
//!         .producer(Event::new("interrupted").event(FAILED))?;
//!     for token in tokens.by_ref() {
//!         producer.publish(Event::new(token)).await?;
//!     }
//!     producer.finish().await?;
//!     Ok(())
//! }
//!
//! fn start(hub: Hub, id: u64, tokens: impl Iterator<Item = String> + Send + 'static) {
//!     tokio::spawn(async move {
//!         if let Err(error) = answer(&hub, id, tokens).await {
//!             eprintln!("answer {id} has failed: {error}");
//!         }
//!     });
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hub = Hub::in_memory();
//! # let mut tokens = hub.subscribe("answers/1").resume_after(None);
//! # start(hub, 1, ["a".to_owned()].into_iter());
//! # assert_eq!(tokens.next().await.unwrap()?.to_events()[0].text(), "a");
//! # Ok(())
//! # }
//! ```
//!
//! # A snapshot, then changes
//! To show the current state of something, send a snapshot first and then its changes:
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use tidings_hub::{Event, Hub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::in_memory();
//! let total = Arc::new(AtomicU64::new(40));
//!
//! let state = Arc::clone(&total);
//! let snapshot = move || {
//!     let now = state.load(Ordering::SeqCst).to_string();
//!     async move { Ok::<_, Infallible>([Event::new(now)]) }
//! };
//! let mut totals = hub.subscribe("total").snapshot(snapshot).resume_after(None);
//! let first = totals.next().await.unwrap()?.to_events();
//! assert_eq!(first[0].text(), "40");
//!
//! // Change the state first and publish second, so that every snapshot has one of the two.
//! total.store(42, Ordering::SeqCst);
//! hub.publish("total", Event::new("42")).await?;
//! let change = totals.next().await.unwrap()?.to_events();
//! assert_eq!(change[0].text(), "42");
//! # Ok(())
//! # }
//! ```
//!
//! # Slow subscribers
//! The hub keeps one copy of its events for all subscribers, and each subscription is a position in
//! them. So a thousand stalled subscribers cost a publisher nothing. A subscriber that falls behind
//! the cached events is served from the log. If it is slower than that, its [`SlowReader`] policy
//! decides: it receives a gap, is disconnected, or receives only the latest event of each key.
//!
//! # Shutdown
//! Drain the hub first, then the server. [`Hub::drain`] accepts no more events, waits until all
//! events that were being published are stored, including the last words of dropped producers, and
//! ends each subscription after its last event. A client that connects meanwhile receives the events
//! that the log still holds for it, or 204 if its channels have ended; a client that has received
//! everything is refused. Then the server's `Drain` ends the remaining sessions:
//!
//! ```
//! use axum::Router;
//! use tidings_axum::{serve, shutdown_signal};
//! use tidings_hub::Hub;
//!
//! async fn run(listener: tokio::net::TcpListener, app: Router, hub: Hub) -> std::io::Result<()> {
//!     let signal = shutdown_signal();
//!     let end = async move {
//!         signal.await;
//!         hub.drain().await;
//!     };
//!     serve(listener, app).drain_on(end).await
//! }
//! ```
//!
//! The server's drain sends the events that a session has already queued, but not those that its
//! subscription still has. If the log outlives the process, a client receives those after it has
//! reconnected. If it does not, set `may_finish` in the `SessionOptions` of the route, so that each
//! client receives all of them first.
//!
//! # Which log to choose
//! A hub delivers the events of its log, in the order of the log:
//!
//! | log | made by | after a restart | keeps by default | for |
//! | --- | --- | --- | --- | --- |
//! | [`MemoryLog`] | [`Hub::in_memory`] | is empty: clients receive a `gap` | 256 MiB | live state that a client can load again, tests |
//! | [`tidings-store`] | `tidings_store::hub("events.db")?` | has all events: clients resume | 1 GiB, 7 days, in a file | everything that must not be lost, on one machine |
//! | your own [`Log`] | [`Hub::over`] | | | several nodes that share a broker |
//!
//! The rest of this page holds for each of them: the hub does not know which log it has.
//!
//! **Durability.** A `publish` that has returned is in the log. In memory, that means until the process ends.
//! In a store, it means on the disk: no crash and no power loss removes it, unless you choose a faster
//! `Durability`. A publisher whose result is [unconfirmed](PublishErrorKind::Unconfirmed) repeats the event
//! under the same [key](Publish::key).
//!
//! **Retention.** A [`Retention`] limits the bytes, the number and the age of the events in a log, over all
//! channels: one busy channel can remove the events of the others. So use one hub for each class of channel,
//! for example one for feeds and one for answers. Each then has a retention of its own, and, in a store, a
//! file:
//!
//! ```
//! use std::time::Duration;
//! use tidings_hub::{Event, Hub, Retention};
//!
//! #[derive(Clone)]
//! struct Hubs {
//!     /// A client that was away for a day resumes.
//!     feeds: Hub,
//!     /// An answer can be read for an hour.
//!     answers: Hub,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let retention = |hours: u64| {
//!     let age = Duration::from_secs(hours * 3600);
//!     Retention::in_memory().max_age(Some(age))
//! };
//! let hubs = Hubs {
//!     feeds: Hub::builder().in_memory(retention(24)),
//!     answers: Hub::builder().in_memory(retention(1)),
//! };
//! hubs.feeds.publish("news", Event::new("hello")).await?;
//! hubs.answers.publish("answers/17", Event::new("42")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! IDs of one hub mean nothing to another, and no subscription spans two: a client of both has two streams.
//!
//! [`tidings-store`]: https://docs.rs/tidings-store
//!
//! # Several nodes
//! Implement [`Log`] to share events between nodes, and build a hub on each node with [`Hub::over`]. All
//! nodes deliver the same events in the same order, and a client may reconnect to any of them.
//!
//! A log that does not respond stops nothing for ever. Each wait for it has a limit,
//! [`log_timeout`](HubBuilder::log_timeout), and then an error. The hub asks again for an answer that may be
//! lost, and replaces a tail that delivers nothing although the log holds new entries: within 6 s if one of
//! its publishers waits, otherwise within 10 s. A log that panics is a log that fails.
//!
//! # Metrics
//! Through the `metrics` facade:
//!
//! | name | meaning |
//! | --- | --- |
//! | `tidings_hub_entries_total` | counter: entries that the log has returned |
//! | `tidings_hub_subscriptions` | gauge: open subscriptions |
//! | `tidings_hub_tape_bytes` | gauge: bytes of memory for events that are cached for subscribers |
//! | `tidings_hub_lag_entries` | histogram: how many entries a subscriber was behind when it was served from the log |
//! | `tidings_hub_gaps_total` | counter: gaps sent, by `reason` |
//! | `tidings_hub_missed_total` | counter: events that gaps have reported as missing, at most, by `reason` |
//! | `tidings_hub_disconnects_total` | counter: slow subscribers that were disconnected |
//! | `tidings_hub_lives_total` | counter: how often the hub began to follow the log: once at the start, and again each time the log turned out to have lost or changed entries |
//!
//! # Features
//! * `serde`: [`ChannelName`] and [`Pattern`] implement `Serialize` and `Deserialize`, which
//!   validates. Off by default.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod abilities;
mod admission;
mod channel;
mod channel_events;
mod channel_state;
mod clock;
mod confirm;
mod continuity;
mod directory;
mod ends;
pub mod engine;
mod entry;
mod epoch;
mod fan_out;
mod follow;
mod gather;
mod grant;
mod hub;
mod id_form;
mod interrupted;
mod latest;
mod life;
mod log;
mod log_error;
mod memory_log;
mod meters;
mod name;
mod pattern;
mod place;
mod presence;
mod producer;
mod publish;
mod publish_error;
mod publish_receipt;
mod reader;
mod reading;
mod replay;
mod resume;
mod retention;
mod shared;
mod slow_reader;
mod snapshots;
mod start;
mod subscribe_error;
mod subscriber;
mod subscription;
mod subscription_stream;
mod tape;
mod text;
mod timed_log;
mod topic;
mod turns;
mod unavailable;
mod watch;

pub use abilities::Abilities;
pub use channel::Channel;
pub use channel_events::{ChannelEvent, ChannelEvents};
pub use channel_state::{ChannelState, ChannelStatus};
pub use entry::{Draft, Entry, EntryKind};
pub use epoch::random_epoch;
pub use grant::Grant;
pub use hub::{Hub, HubBuilder};
pub use log::{
    Appended, Bounds, KEY_LIFETIME, Log, LogFuture, PAGE_BYTES, Page, Scope, StoredChannel, Tail,
};
pub use log_error::{LogError, LogErrorKind};
pub use memory_log::{MemoryLog, TooManyKeys};
pub use name::{ChannelName, InvalidChannelName, MAX_NAME_BYTES};
pub use pattern::{IntoPatterns, InvalidPattern, Pattern};
pub use place::{Located, Place, Start};
pub use presence::Presence;
pub use producer::Producer;
pub use publish::Publish;
pub use publish_error::{PublishError, PublishErrorKind};
pub use publish_receipt::{PublishReceipt, Receipt};
pub use retention::Retention;
pub use slow_reader::SlowReader;
pub use subscribe_error::{SubscribeError, SubscribeErrorKind};
pub use subscription::Subscription;
pub use subscription_stream::SubscriptionStream;
#[doc(no_inline)]
pub use tidings_proto::{
    EncodedEvents, EntryCheck, Epoch, Event, EventId, EventName, Feed, FeedError, FeedErrorKind,
    FeedOpened, Format, Gap, GapReason, IntoEventId, IntoEventName, InvalidEventId,
    InvalidEventName, InvalidPosition, Json, Position, Undecodable,
};

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
