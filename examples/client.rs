//! Hears a stream, and goes on where it stopped when it is cut, until it is interrupted:
//! `client [URL]`, by default that of the example server.

use tidings::Reconnect;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or("http://127.0.0.1:8080/events".into());
    let client = tidings::client().reconnect(Reconnect::standard());
    let mut session = client.get(url).open().await?;
    while let Some(event) = session.try_next().await? {
        println!("{}: {}", event.event_type(), event.text());
    }
    Ok(())
}
