//! `listen URL`: a client that follows the standard strictly, and prints its events as lines of JSON.

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

Reads the event stream at URL as the standard describes, and prints a line of JSON for each open,
event and lost connection. The last line is {\"t\":\"error\",\"fatal\":true}.

  SSE_INITIAL_DELAY_MS  the reconnection time until the server sends another. Default: 3000.
  SSE_LAST_EVENT_ID     the ID of the event to resume after";

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
    let request = match request() {
        Ok(request) => request,
        Err(error) => {
            eprintln!("listen: {}\n{USAGE}", chain(&*error));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = read(request).await {
        eprintln!("listen: {}", chain(&error));
    }
    // No other connection follows, however the session ended.
    print(&Line::Error { fatal: true });
    ExitCode::SUCCESS
}

fn request() -> Result<RequestBuilder, BoxError> {
    let mut arguments = env::args().skip(1);
    let (Some(url), None) = (arguments.next(), arguments.next()) else {
        return Err("expected one URL".into());
    };
    // The standard allows longer waits after failed attempts, but does not demand them.
    let policy = Reconnect::standard().multiplier(1);
    let request = tidings::client().get(url).reconnect(policy);
    // A refusal is reported at its head, and does not wait for its body.
    let mut request = request.max_error_body_bytes(0).on_lifecycle(report);
    if let Some(millis) = variable("SSE_INITIAL_DELAY_MS")? {
        request = request.reconnection_time(Duration::from_millis(millis.parse()?));
    }
    if let Some(id) = variable("SSE_LAST_EVENT_ID")? {
        request = request.last_event_id(EventId::new(id)?);
    }
    Ok(request)
}

/// The value of an environment variable. An empty one counts as unset.
fn variable(name: &str) -> Result<Option<String>, BoxError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}

async fn read(request: RequestBuilder) -> Result<(), Error> {
    let mut session = request.open().await?;
    while let Some(event) = session.try_next().await? {
        print(&Line::Event {
            event: event.event_type(),
            data: event.text(),
            id: event.id.as_deref().unwrap_or_default(),
        });
    }
    Ok(())
}

fn report(lifecycle: Lifecycle<'_>) {
    match lifecycle {
        Lifecycle::Open { .. } => print(&Line::Open),
        Lifecycle::Waiting { .. } => print(&Line::Error { fatal: false }),
        // `main` prints the end.
        _ => {}
    }
}

fn print(line: &Line<'_>) {
    if write_line(line).is_err() {
        // The reader of the output has closed it.
        exit(1);
    }
}

fn write_line(line: &Line<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}
