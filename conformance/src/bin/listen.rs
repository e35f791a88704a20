//! `listen URL`: a client in its strictest standard mode, and what becomes of it as lines of JSON.

use std::env;
use std::io::{self, Write};
use std::process::{ExitCode, exit};
use std::time::Duration;

use serde::Serialize;
use tidings::client::{Error, Lifecycle, RequestBuilder};
use tidings::{EventId, Reconnect};
use tidings_conformance::{BoxError, chain};

const USAGE: &str = "\
Usage: listen URL

Hears the event stream there as the standard says, and prints a line of JSON for each thing that
becomes of it; the last is {\"t\":\"error\",\"fatal\":true}.

  SSE_INITIAL_DELAY_MS  the reconnection time until the server names another; 3000 by default
  SSE_LAST_EVENT_ID     the event to resume after";

#[derive(Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
enum Line<'a> {
    Open,
    Event {
        event: &'a str,
        data: &'a str,
        id: &'a str,
    },
    Error {
        fatal: bool,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let request = match asked_for() {
        Ok(request) => request,
        Err(error) => {
            eprintln!("listen: {}\n{USAGE}", chain(&*error));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = hear(request).await {
        eprintln!("listen: {}", chain(&error));
    }
    // However it ended: there will be no other connection.
    say(&Line::Error { fatal: true });
    ExitCode::SUCCESS
}

fn asked_for() -> Result<RequestBuilder, BoxError> {
    let mut arguments = env::args().skip(1);
    let (Some(url), None) = (arguments.next(), arguments.next()) else {
        return Err("one URL is expected".into());
    };
    let request = tidings::client().get(url).reconnect(Reconnect::standard());
    // A refusal is one at its head, however long its body takes.
    let mut request = request.max_error_body_bytes(0).on_lifecycle(tell);
    if let Some(millis) = variable("SSE_INITIAL_DELAY_MS")? {
        request = request.reconnection_time(Duration::from_millis(millis.parse()?));
    }
    if let Some(id) = variable("SSE_LAST_EVENT_ID")? {
        request = request.last_event_id(EventId::new(id)?);
    }
    Ok(request)
}

/// What the environment says; nothing is as good as unset.
fn variable(name: &str) -> Result<Option<String>, BoxError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}

async fn hear(request: RequestBuilder) -> Result<(), Error> {
    let mut session = request.open().await?;
    while let Some(event) = session.try_next().await? {
        say(&Line::Event {
            event: event.event_type(),
            data: event.text(),
            id: event.id.as_deref().unwrap_or_default(),
        });
    }
    Ok(())
}

fn tell(lifecycle: Lifecycle<'_>) {
    match lifecycle {
        Lifecycle::Open { .. } => say(&Line::Open),
        Lifecycle::Waiting { .. } => say(&Line::Error { fatal: false }),
        // The end is told by whoever takes the events.
        _ => {}
    }
}

fn say(line: &Line<'_>) {
    if write_line(line).is_err() {
        // Whoever read this has had enough of it.
        exit(1);
    }
}

fn write_line(line: &Line<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}
