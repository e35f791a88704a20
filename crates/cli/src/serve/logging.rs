//! The log of the server, on its standard error. A thread writes it, so that no request and no signal waits
//! for a reader of the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic;
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use metrics::counter;
use tokio::time::{Instant, interval};
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

/// The longest part of a path in the log, in characters.
const MAX_PATH: usize = 300;

/// How many lines may wait for the thread. Later ones are lost, and counted.
const MAX_WAITING: usize = 10_000;

/// How often the log says how many lines it has lost, if there are new ones.
const LOSS_REPORTS: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the thread that writes.
const END_TIME: Duration = Duration::from_millis(1_200);

/// The thread that writes, until [`finish`] ends it.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// How many lines were lost.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// How much the server logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogLevel {
    /// What ends the server or a connection against its will.
    Error,
    /// Requests that the server failed to answer, too.
    Warn,
    /// How the server starts and ends, too.
    Info,
    /// Each request and each failed connection, too.
    Debug,
}

/// The log, which is written to its end when this is dropped.
#[derive(Debug)]
pub(super) struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        finish();
    }
}

/// Logs from now on: text on a terminal, otherwise a JSON object a line.
pub(super) fn start(level: LogLevel) -> Log {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let writer = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_WAITING)
        .lossy(true)
        .thread_name("log");
    let (writer, guard) = writer.finish(io::stderr());
    let lost = writer.error_counter();
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer);
    let started = if io::stderr().is_terminal() {
        // Without colours, so that `NO_COLOR` needs no exception.
        builder.with_ansi(false).with_target(false).try_init()
    } else {
        let builder = builder.json().flatten_event(true);
        builder
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    // A process has one log. A second start in it keeps the first.
    if started.is_ok() {
        *WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
        LOST.get_or_init(|| lost);
        log_panics();
        tokio::spawn(report_losses());
    }
    Log(())
}

/// Writes the lines that wait, for at most about a second, as nobody may read them. Later lines are lost.
pub(super) fn finish() {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (done, is_done) = mpsc::channel::<()>();
    // If too many lines wait, the end of the writer prints on the standard output, which can wait for a
    // reader too, or panic.
    let ends = thread::Builder::new().spawn(move || {
        drop(writer);
        drop(done);
    });
    if ends.is_ok() {
        is_done.recv_timeout(END_TIME).unwrap_or_default();
    }
}

/// How many lines were lost, because nobody read the log.
pub(super) fn lost_lines() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

async fn report_losses() {
    let mut ticks = interval(LOSS_REPORTS);
    let mut reported = 0;
    loop {
        ticks.tick().await;
        let lost = lost_lines();
        if lost > reported {
            let lines = lost - reported;
            tracing::warn!(lines, "lines of the log are lost, as it was not read");
            // If this line is lost too, the next one counts it.
            reported = lost;
        }
    }
}

/// A panic is a line of the log. The standard library would write it itself, and wait for a reader.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| backtrace.to_string());
        let thread = thread::current();
        let thread = thread.name();
        tracing::error!(thread, %panic, backtrace, "the server has a defect");
    }));
}

/// A request, until it is logged with its response.
pub(super) struct RequestLog {
    method: Method,
    target: Uri,
    start: Instant,
}

impl RequestLog {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            target: request.uri().clone(),
            start: Instant::now(),
        }
    }

    /// Counts the request, and logs it by its path alone: a query or a header may hold a secret.
    pub(super) fn write(self, status: StatusCode) {
        count(status);
        let Self { method, target, .. } = self;
        let status_code = status.as_u16();
        let ms = self.start.elapsed().as_millis();
        if status.is_server_error() {
            tracing::warn!(%method, path = printable(target.path()), status = status_code, ms, "a request failed");
        } else {
            tracing::debug!(%method, path = printable(target.path()), status = status_code, ms, "a request");
        }
    }
}

/// The label is a literal in each case, so that no key is built for a request.
fn count(status: StatusCode) {
    let requests = match status.as_u16() {
        ..200 => counter!("tidings_serve_requests_total", "status" => "1xx"),
        200..300 => counter!("tidings_serve_requests_total", "status" => "2xx"),
        300..400 => counter!("tidings_serve_requests_total", "status" => "3xx"),
        400..500 => counter!("tidings_serve_requests_total", "status" => "4xx"),
        500.. => counter!("tidings_serve_requests_total", "status" => "5xx"),
    };
    requests.increment(1);
}

/// A path without control characters, of a length that a log can carry.
fn printable(path: &str) -> String {
    let mut text: String = path
        .chars()
        .take(MAX_PATH)
        .flat_map(char::escape_debug)
        .collect();
    if path.chars().nth(MAX_PATH).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_log_is_short_and_printable() {
        assert_eq!(printable("/channels/größe"), "/channels/größe");
        assert_eq!(printable("/\u{1b}[2J\n"), "/\\u{1b}[2J\\n");
        assert_eq!(printable(&"x".repeat(300)), "x".repeat(300));
        assert_eq!(printable(&"x".repeat(9000)), "x".repeat(300) + "…");
    }
}
