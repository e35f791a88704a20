//! Answers that survive a reload: each is filled by a task that waits for no reader, whatever becomes of them.
//!
//! `POST /answers {"prompt"}` asks: 201 with its `Location`. `GET` streams it from its first token, or from where
//! its reader left off, a token as JSON an event; once it was heard to its end it is a 204, and what is not whole
//! ends with an event `failed` that says why. `DELETE` stops it: 204, also where it is over. Who knows an id may
//! do both. `GET /` is a page. `UPSTREAM` is the URL of a model of OpenAI's protocol; without it one is made up.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, body::Bytes, routing::get, routing::post};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::{collections::VecDeque, env, error::Error, sync::LazyLock, time::Duration};
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::hub::{Hub, Producer};
use tidings::server::{Drain, HandlerError, SessionOptions};
use tidings::{Event, EventName, Heartbeat};
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle, time::sleep};

static HUB: LazyLock<Hub> = LazyLock::new(Hub::in_memory);
/// Of each answer that is known: the oldest of more than 100 is stopped and forgotten.
static TASKS: Mutex<VecDeque<(String, JoinHandle<()>)>> = Mutex::const_new(VecDeque::new());

async fn ask(State(model): State<String>, body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let asked: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let prompt = asked["prompt"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
    let messages = json!([{ "role": "user", "content": prompt }]);
    let question = json!({ "model": "any", "messages": messages, "stream": true });
    let id = format!("{:016x}", RandomState::new().hash_one(()));
    let failed = |why: &str| Event::new(why).event(EventName::from_static("failed"));
    let channel = HUB.channel(format!("answers/{id}")).ok();
    // What it says if its task is stopped.
    let producer = channel.and_then(|channel| channel.producer(failed("stopped")).ok());
    let producer = producer.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let mut tasks = TASKS.lock().await;
    let task = tokio::spawn(async move {
        if let Err(why) = hear(&model, &question, &producer).await {
            producer.publish(failed(&why.to_string())).await.ok();
        }
        producer.finish().await.ok();
    });
    tasks.push_back((id.clone(), task));
    if tasks.len() > 100 {
        tasks.pop_front().inspect(|(_, oldest)| oldest.abort());
    }
    Ok((StatusCode::CREATED, [(LOCATION, format!("/answers/{id}"))]))
}

async fn hear(model: &str, question: &Value, producer: &Producer) -> Result<(), HandlerError> {
    let client = tidings::client().idle_timeout(Duration::from_secs(60));
    // Without its `[DONE]` an answer was cut, and that is an error.
    let request = client.post(model).json(question);
    let request = request.until(|event| event.text() == "[DONE]");
    let mut chunks = request.open().await?;
    while let Some(chunk) = chunks.try_next().await? {
        let chunk: Value = chunk.json()?;
        if let Some(token) = chunk["choices"][0]["delta"]["content"].as_str() {
            producer.publish(Event::from_json(token)?).await?;
        }
    }
    Ok(())
}

async fn follow(Path(id): Path<String>, request: SseRequest) -> Response {
    if !TASKS.lock().await.iter().any(|(known, _)| *known == id) {
        return StatusCode::NOT_FOUND.into_response();
    }
    // When the server drains, each reader hears it out: the hub's drain has ended it.
    let options = SessionOptions::new().heartbeat(Heartbeat::default());
    let request = request.options(options.may_finish(true));
    let answer = HUB.subscribe(format!("answers/{id}")).earliest();
    request.forward(answer).await
}

async fn stop(Path(id): Path<String>) -> StatusCode {
    let tasks = TASKS.lock().await;
    let task = tasks.iter().find(|(known, _)| *known == id);
    task.inspect(|(_, task)| task.abort());
    task.map_or(StatusCode::NOT_FOUND, |_| StatusCode::NO_CONTENT)
}

async fn made_up(request: SseRequest) -> Response {
    request.open(async |session| {
        for word in "I am made up, and slow, so that you can load this page again.".split(' ') {
            let chunk = json!({ "choices": [{ "delta": { "content": format!("{word} ") } }] });
            session.send_json(&chunk).await?;
            sleep(Duration::from_millis(200)).await;
        }
        Ok(session.send(Event::new("[DONE]")).await?)
    })
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let model = env::var("UPSTREAM").unwrap_or(format!("http://{address}/made_up"));
    let app = Router::new()
        .route("/", get(Html(include_str!("answers.html"))))
        .route("/answers", post(ask))
        .route("/answers/{id}", get(follow).delete(stop))
        .route("/made_up", post(made_up))
        .with_state(model);
    let signal = shutdown_signal();
    let end = async {
        signal.await;
        for (_, task) in TASKS.lock().await.drain(..) {
            task.abort();
            task.await.ok();
        }
        HUB.drain().await;
    };
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app).drain(&drain).drain_on(end);
    println!("listening on http://{address}");
    Ok(server.await?)
}
