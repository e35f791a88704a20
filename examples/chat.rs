//! Chat rooms, and a page for them: `POST /rooms/{room} {"who", "text"}` says something, `GET /rooms/{room}`
//! streams what was said there before and what is said from then on, and `GET /` is the page.
//!
//! The last 10,000 messages are kept, of all rooms. How many are there is no message, but how things stand:
//! an event `presence` without an id, that nobody hears again.

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

/// In characters, of which each may be four bytes.
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
    /// Somebody has come or gone, in whichever room.
    moves: watch::Receiver<()>,
}

impl Chat {
    fn open() -> Self {
        let (moved, moves) = watch::channel(());
        let hub = Hub::builder()
            .on_presence(move |_| moved.send_replace(()))
            .in_memory(Retention::in_memory().max_events(10_000));
        Self { hub, moves }
    }

    /// By a name and not by a pattern, or `*` would be a room that hears all others.
    fn room(&self, name: &str) -> Result<Channel, StatusCode> {
        let room = self.hub.channel(format!("rooms/{name}"));
        room.map_err(|_| StatusCode::BAD_REQUEST)
    }
}

async fn say(
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

async fn hear(
    State(chat): State<Chat>,
    Path(room): Path<String>,
    request: SseRequest,
) -> Result<Response, StatusCode> {
    let room = chat.room(&room)?;
    let options = SessionOptions::new().heartbeat(Heartbeat::default());
    Ok(request.options(options).open(async move |session| {
        session.spawn(session.forward(room.subscribe().earliest()));
        tell_presence(&room, chat.moves, &session).await
    }))
}

async fn tell_presence(
    room: &Channel,
    mut moves: watch::Receiver<()>,
    session: &Session,
) -> Result<(), HandlerError> {
    const PRESENCE: EventName = EventName::from_static("presence");
    let mut told = None;
    loop {
        let count = room.subscriber_count();
        if told.replace(count) != Some(count) {
            let event = Event::new(count.to_string()).event(PRESENCE);
            session.send(event).await?;
        }
        // What has changed meanwhile is seen at once.
        moves.changed().await?;
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/", get(Html(include_str!("chat.html"))))
        .route("/rooms/{room}", get(hear).post(say))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Chat::open());
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app)
        .drain(&drain)
        .drain_on(shutdown_signal());
    // Now that it would hear of its end.
    println!("listening on http://{address}");
    Ok(server.await?)
}
