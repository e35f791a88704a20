//! A language model's answer to a POST, token by token. Server and client in one program; the model is fake.

use axum::{Router, extract::Json, response::Response, routing::post};
use serde_json::{Value, json};
use std::{error::Error, io::Write, time::Duration};
use tidings::Event;
use tidings::axum::{SseRequest, serve};
use tokio::net::TcpListener;
use tokio::time::sleep;

async fn model(request: SseRequest, Json(question): Json<Value>) -> Response {
    request.open(async move |session| {
        let name = question["messages"][0]["content"].as_str().unwrap_or("you");
        for token in ["Good ", "day, ", name, "."] {
            let chunk = json!({ "choices": [{ "delta": { "content": token } }] });
            session.send_json(&chunk).await?;
            sleep(Duration::from_millis(50)).await;
        }
        session.send(Event::new("[DONE]")).await?;
        Ok(())
    })
}

#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn ask(url: String) -> Result<(), Box<dyn Error>> {
    let prompt = json!({ "stream": true, "messages": [{ "role": "user", "content": "Ada" }] });
    let request = tidings::client().post(url).bearer("secret").json(&prompt);
    // An answer that ends without `[DONE]` was cut, which is an error.
    let mut chunks = request
        .until(|event| event.text() == "[DONE]")
        .open()
        .await?;
    while let Some(event) = chunks.try_next().await? {
        let chunk: Value = event.json()?;
        let token = chunk["choices"][0]["delta"]["content"].as_str();
        print!("{}", token.unwrap_or_default());
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1/chat/completions", listener.local_addr()?);
    let app = Router::new().route("/v1/chat/completions", post(model));
    tokio::select! {
        answered = ask(url) => answered,
        served = serve(listener, app) => Ok(served?),
    }
}
