//! A client in synchronous code: a thread with its own small runtime waits for events, and stops on demand.

use axum::Router;
use std::sync::mpsc::{Sender, channel};
use std::{error::Error, thread};
use tidings::axum::{Event, RouterExt, Session, serve};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

type AnyError = Box<dyn Error + Send + Sync>;

/// Sends the text of each event to `texts`, until the stream ends or `stop` is sent or dropped.
fn receive(
    url: &str,
    texts: &Sender<String>,
    mut stop: oneshot::Receiver<()>,
) -> Result<(), AnyError> {
    let runtime = runtime()?;
    let mut session = runtime.block_on(tidings::client().get(url).open())?;
    loop {
        // Between two calls nothing runs: the session reads only while you wait for it.
        let event = runtime.block_on(async {
            tokio::select! {
                event = session.try_next() => event,
                _ = &mut stop => Ok(None),
            }
        })?;
        let Some(event) = event else { return Ok(()) };
        texts.send(event.text().to_owned())?;
    }
}

/// A runtime without threads of its own: it runs in `block_on`.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Three events, then silence.
fn serve_events(address: &Sender<String>) -> Result<(), AnyError> {
    let app = Router::new().sse("/events", async |session: Session| {
        for n in 0..3 {
            session
                .send(Event::new(format!("this is SSE #{n}")))
                .await?;
        }
        std::future::pending().await
    });
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        address.send(format!("http://{}/events", listener.local_addr()?))?;
        Ok(serve(listener, app).await?)
    })
}

#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
fn main() -> Result<(), AnyError> {
    let (address, addresses) = channel();
    thread::spawn(move || serve_events(&address));
    let url = addresses.recv()?;

    let (sender, texts) = channel();
    let (stop, stopped) = oneshot::channel();
    let receiver = thread::spawn(move || receive(&url, &sender, stopped));
    for text in texts.iter().take(3) {
        println!("{text}");
    }
    // The thread waits for a fourth event: stop it.
    drop(stop);
    receiver.join().map_err(|_| "the receiver panicked")??;
    println!("stopped");
    Ok(())
}
