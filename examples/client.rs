//! A client that prints the events of a stream, and resumes after a cut: `client [URL]`. Default: the
//! URL of the example `server`. End it with Ctrl-C.

use tidings::Reconnect;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
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
