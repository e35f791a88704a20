//! Language model answers that survive a reload of the page: a task fills each answer, with or without
//! readers.
//!
//! * `POST /answers {"prompt"}` asks a question: 201, with the `Location` of the answer.
//! * `GET` on that location streams the answer, a token as JSON per event: from its first token, or
//!   after the last one that the reader received. After the end it is a 204. An incomplete answer ends
//!   with an event `failed`, whose data is the reason.
//! * `DELETE` on that location stops the answer: 204, also if it has already ended. Anyone with the ID
//!   may do both.
//! * `GET /` is a page.
//!
//! `UPSTREAM` is the URL of a model that speaks OpenAI's protocol. Without it, a fake model answers.
//!
//! `STORE` is the path of a file. The server then keeps the answers in it, and they survive any end of the
//! server. The next run ends an answer that is unfinished with the event `failed`. An answer that had no
//! token yet is unknown then.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, body::Bytes, routing::get, routing::post};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::{collections::VecDeque, env, error::Error, time::Duration};
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::hub::{ChannelStatus, Hub, Producer};
use tidings::server::{Drain, HandlerError, SessionOptions};
use tidings::{Event, EventName};
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle, time::sleep};

/// The hub, and the URL of the model.
type App = State<(Hub, String)>;
/// The task of each answer. At most 100: then the oldest is stopped and forgotten.
static TASKS: Mutex<VecDeque<(String, JoinHandle<()>)>> = Mutex::const_new(VecDeque::new());

async fn ask(State((hub, model)): App, body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let question: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let prompt = question["prompt"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
    let messages = json!([{ "role": "user", "content": prompt }]);
    let question = json!({ "model": "any", "messages": messages, "stream": true });
    let id = format!("{:016x}", RandomState::new().hash_one(()));
    let channel = hub.channel(format!("answers/{id}")).ok();
    // Its last words, if the task is stopped.
    let producer = channel.and_then(|channel| channel.producer(failed("stopped")).ok());
    let producer = producer.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let mut tasks = TASKS.lock().await;
    let task = tokio::spawn(async move {
        if let Err(why) = copy_answer(&model, &question, &producer).await {
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

fn failed(why: &str) -> Event {
    Event::new(why).event(EventName::from_static("failed"))
}

/// Ends the answers in the store that the last run has not finished, and knows the newest 100 again.
async fn restore(hub: &Hub) -> Result<(), Box<dyn Error>> {
    let mut stored = hub.channels(None, 1_000).await?;
    while let Some(last) = stored.last().map(|answer| answer.name.clone()) {
        let next = hub.channels(Some(&last), 1_000).await?;
        if next.is_empty() {
            break;
        }
        stored.extend(next);
    }
    for answer in &stored {
        if answer.status == ChannelStatus::Open {
            let channel = hub.channel(&answer.name)?;
            channel.publish(failed("interrupted")).await?;
            channel.end().await?;
        }
    }
    stored.sort_by_key(|answer| answer.newest.as_ref().map(|newest| newest.seq));
    let mut tasks = TASKS.lock().await;
    for answer in stored.iter().rev().take(100).rev() {
        let id = answer.name.as_str().trim_start_matches("answers/");
        tasks.push_back((id.to_owned(), tokio::spawn(async {})));
    }
    Ok(())
}

async fn copy_answer(
    model: &str,
    question: &Value,
    producer: &Producer,
) -> Result<(), HandlerError> {
    let client = tidings::client().idle_timeout(Duration::from_secs(60));
    // An answer that ends without `[DONE]` was cut, which is an error.
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

async fn follow(State((hub, _)): App, Path(id): Path<String>, request: SseRequest) -> Response {
    if !TASKS.lock().await.iter().any(|(known, _)| *known == id) {
        return StatusCode::NOT_FOUND.into_response();
    }
    // During a drain each reader receives the rest of the answer: the hub's drain ends it.
    let request = request.options(SessionOptions::new().may_finish(true));
    let answer = hub.subscribe(format!("answers/{id}")).earliest();
    request.forward(answer).await
}

async fn stop(Path(id): Path<String>) -> StatusCode {
    let tasks = TASKS.lock().await;
    let task = tasks.iter().find(|(known, _)| *known == id);
    task.inspect(|(_, task)| task.abort());
    task.map_or(StatusCode::NOT_FOUND, |_| StatusCode::NO_CONTENT)
}

async fn fake_model(request: SseRequest) -> Response {
    request.open(async |session| {
        for word in "I am a fake model, and slow, so that you can reload this page.".split(' ') {
            let chunk = json!({ "choices": [{ "delta": { "content": format!("{word} ") } }] });
            session.send_json(&chunk).await?;
            sleep(Duration::from_millis(200)).await;
        }
        Ok(session.send(Event::new("[DONE]")).await?)
    })
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let model = env::var("UPSTREAM").unwrap_or(format!("http://{address}/fake_model"));
    let hub = match env::var_os("STORE") {
        Some(path) => tidings::store::hub(path)?,
        None => Hub::in_memory(),
    };
    restore(&hub).await?;
    let app = Router::new()
        .route("/", get(Html(include_str!("answers.html"))))
        .route("/answers", post(ask))
        .route("/answers/{id}", get(follow).delete(stop))
        .route("/fake_model", post(fake_model))
        .with_state((hub.clone(), model));
    let signal = shutdown_signal();
    let shutdown = async move {
        signal.await;
        for (_, task) in TASKS.lock().await.drain(..) {
            task.abort();
            task.await.ok();
        }
        hub.drain().await;
    };
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app).drain(&drain).drain_on(shutdown);
    println!("listening on http://{address}");
    Ok(server.await?)
}
