//! Channels for Server-Sent Events: publish once, and every subscriber hears it, in order, from where
//! it left off, or is told what it lost.
//!
//! ```
//! use tidings_hub::{Event, Hub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::in_memory();
//! let mut news = hub.subscribe("news");
//! hub.publish("news", Event::new("hello")).await?;
//!
//! let heard = news.next().await.unwrap()?.to_events();
//! assert_eq!(heard[0].text(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # The promise
//! **Gapless or told.** Whoever subscribes to some channels hears all their events, each once and in one
//! order, whatever happens in between: its connection is cut, it reads slowly, the history is trimmed, the
//! server starts anew. Where that cannot be, it hears an event `gap` before anything else, which says what
//! was asked for, where the stream goes on, why, and how many events may be missing:
//!
//! ```text
//! event: gap
//! id: k3Zq9sT0aB2c.1041.x_7A
//! data: {"requested":"k3Zq9sT0aB2c.17.AbC4","resumed":"k3Zq9sT0aB2c.1041.x_7A","reason":"trimmed","missed":1024}
//! ```
//!
//! | reason | what it means | where it goes on |
//! | --- | --- | --- |
//! | `trimmed` | retention has removed what follows the id | the oldest event that is left |
//! | `slow` | the subscriber was slower than its [`SlowReader`] allows | the oldest event that is left to it |
//! | `epoch` | the log is not the one that handed the id out, as after a restart of a hub in memory | what is published from now on |
//! | `future` | the id lies past the end of the log | as `epoch` |
//! | `unknown-id` | the id is not a [`Position`](tidings_proto::Position) | as `epoch` |
//!
//! A subscription that says [`earliest`](Subscription::earliest), [`latest`](Subscription::latest) or
//! [`snapshot`](Subscription::snapshot) goes on there, whatever the reason. "Each once" is the work of both
//! ends: what a cut connection had sent and the client had not read is sent again under the same id. The
//! client of `tidings` leaves out what it has heard with `.dedupe(true)`, and with `.gaps(true)` tells a gap
//! apart from the events; so does whoever compares ids.
//!
//! # Its limits
//! * **One log, and its wall.** All channels of a hub are kept in one [`Log`], in one order: that is why the
//!   id of an event is its place, and one id resumes any set of channels. The price is that every node of a
//!   hub receives and encodes every event, whether somebody wants it there or not. Plan 50,000 events a
//!   second for a hub. Beyond that use several hubs, each with channels of its own; the ids of one mean
//!   nothing to another, and no subscription spans two.
//! * **In memory it ends with the process.** Who comes back after a restart hears `gap` with `epoch`.
//! * **History is bounded.** A hub in memory keeps 256 MiB and 1,000,000 events ([`Retention`]).
//! * **It knows nothing of who heard what.** There are no acknowledgements and no queues of subscribers.
//!
//! # A chat room
//! A server forwards a [`Subscription`], which is a [`Feed`](tidings_proto::Feed), into a session; neither
//! knows the other. Who joins hears what is left of the conversation, and who lost the network goes on where
//! it was:
//!
//! ```
//! use axum::Router;
//! use axum::extract::Path;
//! use axum::http::StatusCode;
//! use axum::routing::get;
//! use tidings_axum::SseRequest;
//! use tidings_hub::{Error, Event, Hub};
//!
//! fn chat(hub: Hub) -> Router {
//!     let listen = hub.clone();
//!     let listen = async move |request: SseRequest, Path(room): Path<String>| {
//!         let room = listen.subscribe(format!("rooms/{room}")).earliest();
//!         request.forward(room).await
//!     };
//!     let say = async move |Path(room): Path<String>, text: String| {
//!         match hub.publish(format!("rooms/{room}"), Event::new(text)).await {
//!             Ok(_) => StatusCode::NO_CONTENT,
//!             Err(Error::Name(_)) => StatusCode::NOT_FOUND,
//!             Err(_) => StatusCode::SERVICE_UNAVAILABLE,
//!         }
//!     };
//!     Router::new().route("/rooms/{room}", get(listen).post(say))
//! }
//! # drop(chat(Hub::in_memory()));
//! ```
//!
//! [`HubBuilder::on_presence`] says who comes and goes, [`Channel::subscriber_count`] how many are there, and a
//! [`Grant`] what somebody may hear, and until when.
//!
//! # A resumable feed
//! Nothing is to be done for it: the client sends the last id that it heard, in `Last-Event-ID` or
//! `?last_event_id=`, and the session hands it to the subscription. Over a quiet channel a session
//! sends a checkpoint, an id without an event, when it opens and with its heartbeats: so who is cut before
//! its first event misses none, and who comes back after an hour of silence does not make the hub look
//! through that hour:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tidings_axum::SseRequest;
//! use tidings_hub::Hub;
//! use tidings_proto::Heartbeat;
//! use tidings_server::SessionOptions;
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
//! What a language model says is a channel that [ends](Channel::end). The task that fills it depends on no
//! reader's connection; who reloads the page, changes the device or loses the network hears the rest, and who
//! comes back after the end gets 204, upon which an `EventSource` comes back no more. A
//! [`Producer`] ends the channel whatever becomes of its task:
//!
//! ```
//! use tidings_hub::{Error, Event, EventName, Hub};
//!
//! const FAILED: EventName = EventName::from_static("failed");
//!
//! async fn answer(hub: &Hub, id: u64, mut tokens: impl Iterator<Item = String>) -> Result<(), Error> {
//!     let producer = hub
//!         .channel(format!("answers/{id}"))?
//!         .producer(Event::new("interrupted").event(FAILED))?;
//!     for token in tokens.by_ref() {
//!         producer.publish(Event::new(token)).await?;
//!     }
//!     producer.finish().await?;
//!     Ok(())
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # answer(&Hub::in_memory(), 1, ["a".to_owned()].into_iter()).await
//! # }
//! ```
//!
//! # Snapshot, then changes
//! Who shows how things stand wants that first, and then what changes:
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
//! let mut subscription = hub.subscribe("total").snapshot(move || {
//!     let now = state.load(Ordering::SeqCst).to_string();
//!     async move { Ok::<_, Infallible>([Event::new(now)]) }
//! });
//! let snapshot = subscription.next().await.unwrap()?;
//! assert_eq!(snapshot.to_events()[0].text(), "40");
//!
//! // First the change, then its event: so that no snapshot misses both.
//! total.store(42, Ordering::SeqCst);
//! hub.publish("total", Event::new("42")).await?;
//! let change = subscription.next().await.unwrap()?;
//! assert_eq!(change.to_events()[0].text(), "42");
//! # Ok(())
//! # }
//! ```
//!
//! # Slow readers
//! A subscription is a cursor. What it has not heard yet is kept by the hub for all, not for it, so that a
//! thousand stalled readers cost a publisher nothing. One that falls behind what is held ready is served from
//! the log, and what becomes of one that is slower than that is said by a [`SlowReader`]: it is told the gap,
//! is sent away, or hears the latest event of each key.
//!
//! # The end of a process
//! First the hub, then the server. [`Hub::drain`] takes no event any more, waits until what was begun is
//! kept, the last words of dropped producers among it, and ends each subscription behind all that it was
//! to hear; then the server's `Drain` ends what is left:
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
//! The server's drain hands out what a session has queued, and not what its feed still has. A client that
//! comes back to a log that outlives the process hears the rest there. Where the log ends with the process, a
//! route whose `SessionOptions` say `may_finish` lets its readers hear all of it first.
//!
//! # Several nodes, or the disk
//! A [`Hub`] orders nothing itself: its log does. Whatever implements [`Log`] can stand under it.
//!
//! # What is counted
//! Through the `metrics` facade:
//!
//! | name | what |
//! | --- | --- |
//! | `tidings_hub_entries_total` | counter: entries that came back from the log |
//! | `tidings_hub_subscriptions` | gauge: subscriptions that are open |
//! | `tidings_hub_tape_bytes` | gauge: bytes held ready for subscribers |
//! | `tidings_hub_lag_entries` | histogram: how far behind a subscriber was that was served from the log |
//! | `tidings_hub_gaps_total` | counter: gaps told, by `reason` |
//! | `tidings_hub_missed_total` | counter: what gaps said is missing at most, by `reason` |
//! | `tidings_hub_disconnects_total` | counter: slow subscribers sent away |
//! | `tidings_hub_lives_total` | counter: how often the log was not what it was, and once at the start |

mod admission;
mod channel;
mod confirm;
mod directory;
mod ends;
mod entry;
mod error;
mod fan_out;
mod follow;
mod gather;
mod grant;
mod hub;
mod interrupted;
mod life;
mod log;
mod memory_log;
mod meters;
mod name;
mod presence;
mod producer;
mod publish;
mod reader;
mod replay;
mod resume;
mod retention;
mod shared;
mod slow_reader;
mod start;
mod subscription;
mod tape;
mod topic;

pub use channel::Channel;
pub use entry::{Draft, Entry, EntryKind};
pub use error::Error;
pub use grant::Grant;
pub use hub::{Hub, HubBuilder};
pub use log::{Appended, Bounds, KEY_LIFETIME, Log, LogError, LogFuture, PAGE_BYTES, Page, Tail};
pub use memory_log::{MemoryLog, TooManyKeys};
pub use name::{ChannelName, InvalidName, MAX_NAME_BYTES, Pattern};
pub use presence::Presence;
pub use producer::Producer;
pub use publish::Publish;
pub use retention::Retention;
pub use slow_reader::SlowReader;
pub use subscription::Subscription;
pub use tidings_proto::{Event, EventName};
