//! The log of the server, on its standard error.

use std::io::{self, IsTerminal};
use tokio::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tracing::Level;

/// The longest part of a path in the log, in characters.
const MAX_PATH: usize = 300;

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

/// Logs from now on: text on a terminal, otherwise a JSON object a line.
pub(super) fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr);
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
    started.ok();
}

/// Logs each request of these routes, by its path alone: a query or a header may hold a secret.
pub(super) fn requests(routes: Router) -> Router {
    routes.layer(from_fn(log_request))
}

async fn log_request(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let target = request.uri().clone();
    let start = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    metrics::counter!("tidings_serve_requests_total", "status" => class(status.as_u16()))
        .increment(1);
    let ms = start.elapsed().as_millis();
    if status.is_server_error() {
        tracing::warn!(%method, path = printable(target.path()), status = status.as_u16(), ms, "a request failed");
    } else {
        tracing::debug!(%method, path = printable(target.path()), status = status.as_u16(), ms, "a request");
    }
    response
}

fn class(status: u16) -> &'static str {
    match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
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
