//! A server of OpenAI's protocol, `POST /v1/chat/completions`: token by token if the request sets `stream`,
//! otherwise whole. The model is fake.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{error::Error, time::Duration, time::SystemTime};
use tidings::Event;
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::server::{Drain, HandlerError, Session, SessionOptions};

const ANSWER: &str =
    "I am a fake model, and I answer word by word, in as many pieces as a real model would.";

struct Question {
    model: String,
    is_streamed: bool,
}

impl Question {
    fn read(body: &[u8]) -> Result<Self, String> {
        let question: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let is_message = |message: &Value| {
            let content = &message["content"];
            message["role"].is_string() && (content.is_string() || content.is_array())
        };
        let messages = question["messages"].as_array();
        if !messages.is_some_and(|all| !all.is_empty() && all.iter().all(is_message)) {
            return Err("messages must be an array of messages, and not empty".into());
        }
        let stream = &question["stream"];
        Ok(Self {
            model: question["model"]
                .as_str()
                .ok_or("model must be a string")?
                .into(),
            is_streamed: match stream {
                Value::Null => false,
                _ => stream.as_bool().ok_or("stream must be a boolean")?,
            },
        })
    }
}

/// Reads the body as JSON, whatever its content type, and before the stream opens: afterwards a request
/// can no longer be refused.
async fn complete(request: SseRequest, body: Bytes) -> Response {
    match Question::read(&body) {
        Ok(asked) if asked.is_streamed => {
            // At a shutdown, an answer that has begun is still sent to its end.
            let options = SessionOptions::new().may_finish(true);
            let answer = async move |session| stream(asked.model, session).await;
            request.options(options).open(answer)
        }
        Ok(asked) => {
            let message = json!({ "role": "assistant", "content": ANSWER });
            let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
            Json(Completion::new(asked.model).json("chat.completion", &choice)).into_response()
        }
        Err(message) => {
            let error = json!({ "message": message, "type": "invalid_request_error" });
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
        }
    }
}

async fn stream(model: String, session: Session) -> Result<(), HandlerError> {
    let completion = Completion::new(model);
    let send = async |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
        let chunk = completion.json("chat.completion.chunk", &choice);
        session.send_json(&chunk).await
    };
    send(json!({ "role": "assistant", "content": "" }), None).await?;
    for token in ANSWER.split_inclusive(' ') {
        tokio::time::sleep(Duration::from_millis(25)).await;
        send(json!({ "content": token }), None).await?;
    }
    send(json!({}), Some("stop")).await?;
    session.send(Event::new("[DONE]")).await?;
    Ok(())
}

/// The fields that all chunks of an answer share.
struct Completion {
    id: u64,
    created: u64,
    model: String,
}

impl Completion {
    #[allow(
        clippy::disallowed_methods,
        reason = "the protocol has a field for the time"
    )]
    fn new(model: String) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            id: LAST.fetch_add(1, Relaxed),
            created: now.as_secs(),
            model,
        }
    }

    fn json(&self, object: &str, choice: &Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.id),
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        })
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/v1/chat/completions", post(complete));
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    // An answer takes half a second. Set a deadline that your answers meet.
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app)
        .drain(&drain)
        .drain_on(shutdown_signal());
    // Printed after `shutdown_signal` has begun to listen.
    println!("listening on http://{address}");
    Ok(server.await?)
}
