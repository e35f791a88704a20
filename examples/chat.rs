//! Chat rooms and a page for them.
//!
//! * `POST /rooms/{room} {"who", "text"}` posts a message.
//! * `GET /rooms/{room}` streams the past messages of the room, then the new ones.
//! * `GET /` is the page.
//!
//! The server keeps the last 10,000 messages of all rooms together. The number of members is not a
//! message: it is an event `presence` without an ID, which is not kept.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, Response};
use axum::{Router, routing::get};
use serde::{Deserialize, Serialize};
use std::{error::Error, time::Duration};
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::hub::{Channel, Hub, Retention};
use tidings::server::{Drain, HandlerError, Session, SessionOptions};
use tidings::{Event, EventName, Heartbeat};
use tokio::sync::watch;

/// In characters of up to four bytes.
const MAX_WHO: usize = 40;
const MAX_TEXT: usize = 2_000;
const MAX_BODY_BYTES: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Message {
    who: String,
    text: String,
}

#[derive(Clone)]
struct Chat {
    hub: Hub,
    /// Changes when a member of any room connects or disconnects.
    changes: watch::Receiver<()>,
}

impl Chat {
    fn open() -> Self {
        let (changed, changes) = watch::channel(());
        let hub = Hub::builder()
            .on_presence(move |_| changed.send_replace(()))
            .in_memory(Retention::in_memory().max_events(Some(10_000)));
        Self { hub, changes }
    }

    /// The channel of a room. A name that is not valid, such as `*`, is refused before the stream opens.
    fn room(&self, name: &str) -> Result<Channel, StatusCode> {
        let room = self.hub.channel(format!("rooms/{name}"));
        room.map_err(|_| StatusCode::BAD_REQUEST)
    }
}

async fn post(
    State(chat): State<Chat>,
    Path(room): Path<String>,
    body: Bytes,
) -> Result<StatusCode, StatusCode> {
    let room = chat.room(&room)?;
    let message: Message = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    for (text, max) in [(&message.who, MAX_WHO), (&message.text, MAX_TEXT)] {
        match text.chars().count() {
            0 => return Err(StatusCode::BAD_REQUEST),
            count if count > max => return Err(StatusCode::PAYLOAD_TOO_LARGE),
            _ => {}
        }
    }
    let event = Event::from_json(&message).map_err(|_| StatusCode::BAD_REQUEST)?;
    let published = room.publish(event).await;
    published.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn listen(
    State(chat): State<Chat>,
    Path(room): Path<String>,
    request: SseRequest,
) -> Result<Response, StatusCode> {
    let room = chat.room(&room)?;
    let options = SessionOptions::new().heartbeat(Heartbeat::default());
    Ok(request.options(options).open(async move |session| {
        session.spawn(session.forward(room.subscribe().earliest()));
        send_presence(&room, chat.changes, &session).await
    }))
}

async fn send_presence(
    room: &Channel,
    mut changes: watch::Receiver<()>,
    session: &Session,
) -> Result<(), HandlerError> {
    const PRESENCE: EventName = EventName::from_static("presence");
    let mut sent = None;
    loop {
        let count = room.subscriber_count();
        if sent.replace(count) != Some(count) {
            let event = Event::new(count.to_string()).event(PRESENCE);
            session.send(event).await?;
        }
        // Ready at once if there was a change meanwhile.
        changes.changed().await?;
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/", get(Html(include_str!("chat.html"))))
        .route("/rooms/{room}", get(listen).post(post))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Chat::open());
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app)
        .drain(&drain)
        .drain_on(shutdown_signal());
    // Printed after `shutdown_signal` has begun to listen.
    println!("listening on http://{address}");
    Ok(server.await?)
}
