//! The publication of several events, one on each line, answered line by line.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::IntoResponse;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings::Event;
use tidings::hub::{ChannelName, PublishReceipt, Receipt};

use super::app::App;
use super::auth::Caller;
use super::problem::Problem;
use super::publish::event_name;
use super::{body, limits, name};

/// The media type of the answer.
const NDJSON: &str = "application/x-ndjson";

/// The media types of a batch.
const BATCH_TYPES: [&str; 3] = [NDJSON, "application/ndjson", "application/jsonl"];

/// The most lines of a batch, so that the answers to short ones stay small.
const MAX_LINES: usize = 10_000;

/// At most how many lines are published at once. They share a commit of the log.
const LINES_AT_ONCE: usize = 1_000;

/// A line of a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    channel: String,
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<String>,
    /// In milliseconds.
    retry: Option<u64>,
    key: Option<String>,
}

/// The answer to a line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Published {
        id: String,
        #[serde(skip_serializing_if = "is_false")]
        repeat: bool,
    },
    Problem(Problem),
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// Publishes each line in order. A line that fails does not stop the others.
pub(super) async fn publish(
    State(app): State<App>,
    caller: Caller,
    request: Request<Body>,
) -> Result<impl IntoResponse, Problem> {
    let (parts, body) = request.into_parts();
    check_type(&parts.headers)?;
    let body = body::read(&app, &parts.headers, body).await?;
    let lines: Vec<_> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !is_blank(line))
        .take(MAX_LINES + 1)
        .collect();
    if lines.len() > MAX_LINES {
        let detail = format!("a batch has at most {MAX_LINES} lines");
        return Err(Problem::too_large(detail));
    }
    caller.check_valid()?;
    check_lines(&caller, &lines)?;
    let mut answers = Vec::new();
    let mut group = Group::default();
    for line in lines {
        let line = begin(&app, line);
        if group.is_full_before(&line, app.max_unconfirmed) {
            group.publish(&mut answers).await?;
        }
        group.push(line);
    }
    group.publish(&mut answers).await?;
    Ok(([(CONTENT_TYPE, NDJSON)], answers))
}

/// Lines that are published at once, in their order.
#[derive(Default)]
struct Group {
    lines: Vec<Result<Publication, Problem>>,
    /// At most how many bytes they take in the log.
    bytes: u64,
}

impl Group {
    fn is_full_before(&self, line: &Result<Publication, Problem>, max_bytes: u64) -> bool {
        let is_too_large = self.bytes + cost(line) > max_bytes && !self.lines.is_empty();
        is_too_large || self.lines.len() == LINES_AT_ONCE
    }

    fn push(&mut self, line: Result<Publication, Problem>) {
        self.bytes += cost(&line);
        self.lines.push(line);
    }

    /// Publishes the lines, and adds an answer to each. Leaves the group empty.
    async fn publish(&mut self, answers: &mut Vec<u8>) -> Result<(), Problem> {
        self.bytes = 0;
        // The order of the first polls is that of the lines, and the hub stores them in this order.
        let publications = self.lines.drain(..).map(publish_line);
        for answer in join_all(publications).await {
            serde_json::to_writer(&mut *answers, &answer).map_err(|error| {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Problem::new(status, "internal", error.to_string())
            })?;
            answers.push(b'\n');
        }
        Ok(())
    }
}

fn cost(line: &Result<Publication, Problem>) -> u64 {
    line.as_ref().map_or(0, |line| line.cost)
}

/// Refuses the batch if the token does not allow one of its lines, before any of it is stored.
fn check_lines(caller: &Caller, lines: &[&[u8]]) -> Result<(), Problem> {
    if caller.access().is_none() {
        return Ok(());
    }
    for (at, line) in lines.iter().enumerate() {
        // A line that is wrong in another way is answered by itself.
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            continue;
        };
        if let Ok(name) = ChannelName::new(&line.channel) {
            let checked = caller.check_publish(&name);
            checked.map_err(|problem| problem.of_line(at + 1))?;
        }
    }
    Ok(())
}

/// Refuses a body that is not meant as a batch, such as that of a form on a foreign page.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    if BATCH_TYPES
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
    {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let detail = format!("a batch needs the header `Content-Type: {NDJSON}`");
    Err(Problem::new(status, "unsupported-media-type", detail))
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// The publication of a line.
struct Publication {
    receipt: PublishReceipt,
    /// At most how many bytes it takes in the log.
    cost: u64,
}

/// The publication of a line, which is not published yet.
fn begin(app: &App, line: &[u8]) -> Result<Publication, Problem> {
    let invalid = |error: serde_json::Error| {
        // The number of the line would be 1 for each.
        let text = error.to_string();
        let text = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(text, _)| text);
        Problem::invalid(
            "invalid-line",
            format!("{text}, at column {}", error.column()),
        )
    };
    let line: Line<'_> = serde_json::from_slice(line).map_err(invalid)?;
    let name = name::parse(app, &line.channel)?;
    let event = Event {
        event: line.event.as_deref().map(event_name).transpose()?,
        retry: line.retry.map(Duration::from_millis),
        ..Event::new(data(line.data).map_err(invalid)?)
    };
    let cost = limits::max_cost(&name, &event);
    let publish = app.hub.publish(name, event);
    let receipt = match line.key {
        Some(key) => publish.key(key).receipt(),
        None => publish.receipt(),
    };
    Ok(Publication { receipt, cost })
}

async fn publish_line(line: Result<Publication, Problem>) -> Answer {
    let published: Result<Receipt, Problem> = async { Ok(line?.receipt.await?) }.await;
    match published {
        Ok(receipt) => Answer::Published {
            id: receipt.position.to_string(),
            repeat: receipt.is_repeat,
        },
        Err(problem) => Answer::Problem(problem),
    }
}

/// A string is the data itself. Any other value is sent as its text, without spaces between its parts and
/// otherwise unchanged: no number is rounded, and the members of an object keep their order.
fn data(value: &RawValue) -> Result<String, serde_json::Error> {
    let text = value.get();
    if text.starts_with('"') {
        return serde_json::from_str(text);
    }
    let mut compact = String::with_capacity(text.len());
    let mut is_string = false;
    let mut is_escaped = false;
    for char in text.chars() {
        if is_string || !char.is_ascii_whitespace() {
            compact.push(char);
        }
        if char == '"' && !is_escaped {
            is_string = !is_string;
        }
        is_escaped = char == '\\' && !is_escaped;
    }
    Ok(compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let value: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(data(value).unwrap(), expected, "{json}");
    }

    #[test]
    fn a_string_is_the_data_and_any_other_value_its_compact_text() {
        check(r#""hello""#, "hello");
        check(r#""a\nb \"c\" \u00e9""#, "a\nb \"c\" é");
        check(r#""""#, "");
        check(" null ", "null");
        check(
            "12345678901234567890123.4500",
            "12345678901234567890123.4500",
        );
        check(
            r#"{ "z" : [ 1, 2 ],	"a" : "two  words, \" and \\" , "b" : "\\" }"#,
            r#"{"z":[1,2],"a":"two  words, \" and \\","b":"\\"}"#,
        );
    }
}
