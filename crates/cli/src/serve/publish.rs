//! The publication of one event.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, StatusCode};
use serde::Serialize;
use tidings::hub::{Publish, Receipt};
use tidings::{Event, EventName};

use super::app::App;
use super::auth::Caller;
use super::name::Name;
use super::problem::Problem;
use super::{body, query};

/// The headers that replace the parameters `event` and `retry`.
const EVENT_NAME: &str = "event-name";
const EVENT_RETRY: &str = "event-retry";

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The answer to a publication, or to an end.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    pub(super) id: String,
}

/// Publishes the body.
pub(super) async fn publish(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    request: Request<Body>,
) -> Result<(StatusCode, Json<Published>), Problem> {
    caller.check_publish(&name)?;
    let (parts, body) = request.into_parts();
    let fields = Fields::of(&parts)?;
    let data = body::read_text(&app, &parts.headers, body).await?;
    caller.check_valid()?;
    let publish = app.hub.publish(name, fields.event(data));
    let receipt = fields.with_key(publish).receipt().await?;
    Ok(answer(&receipt))
}

/// A repeat is not created again.
fn answer(receipt: &Receipt) -> (StatusCode, Json<Published>) {
    let status = if receipt.is_repeat {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let id = receipt.position.to_string();
    (status, Json(Published { id }))
}

/// What a request with an event says beside its data.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) name: Option<EventName>,
    pub(super) retry: Option<Duration>,
    pub(super) key: Option<String>,
}

impl Fields {
    pub(super) fn of(parts: &Parts) -> Result<Self, Problem> {
        let name = field(parts, "event", EVENT_NAME)?;
        let retry = field(parts, "retry", EVENT_RETRY)?;
        Ok(Self {
            name: name.map(|name| event_name(&name)).transpose()?,
            retry: retry.map(|retry| parse_retry(&retry)).transpose()?,
            key: idempotency_key(&parts.headers)?,
        })
    }

    pub(super) fn event(&self, data: String) -> Event {
        Event {
            event: self.name.clone(),
            retry: self.retry,
            ..Event::new(data)
        }
    }

    pub(super) fn with_key(&self, publish: Publish) -> Publish {
        match &self.key {
            Some(key) => publish.key(key),
            None => publish,
        }
    }
}

/// A field of the event by its parameter, or without that by its header.
fn field<'a>(
    parts: &'a Parts,
    parameter: &'static str,
    header: &'static str,
) -> Result<Option<Cow<'a, str>>, Problem> {
    if let Some(value) = query::last(parts.uri.query(), parameter) {
        return Ok(Some(value));
    }
    let value = only_line(&parts.headers, header, "invalid-event")?;
    Ok(value.map(Cow::Borrowed))
}

/// The value of a header, which may come only once.
fn only_line<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    code: &'static str,
) -> Result<Option<&'a str>, Problem> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        let detail = format!("the header {name} comes several times");
        return Err(Problem::invalid(code, detail));
    }
    let text = std::str::from_utf8(line.as_bytes());
    let text = text.map_err(|_| Problem::invalid(code, format!("the header {name} is not UTF-8")));
    text.map(Some)
}

pub(super) fn event_name(text: &str) -> Result<EventName, Problem> {
    EventName::new(text).map_err(|error| Problem::invalid("invalid-event", error.to_string()))
}

fn parse_retry(text: &str) -> Result<Duration, Problem> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = text.parse().ok().filter(|_| is_number).ok_or_else(|| {
        let detail = "`retry` is a number of milliseconds";
        Problem::invalid("invalid-event", detail)
    })?;
    Ok(Duration::from_millis(millis))
}

/// The key of the header `Idempotency-Key`: a string of structured fields, `"…"`, or the bare text.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(line) = only_line(headers, IDEMPOTENCY_KEY, "invalid-key")? else {
        return Ok(None);
    };
    let Some(quoted) = line.strip_prefix('"') else {
        return Ok(Some(line.to_owned()));
    };
    let key = unquote(quoted);
    let invalid = || {
        let detail = "the idempotency key begins with a quote, but is not a quoted string";
        Problem::invalid("invalid-key", detail)
    };
    key.map(Some).ok_or_else(invalid)
}

/// The text of a string of structured fields (RFC 9651), after its first quote.
fn unquote(quoted: &str) -> Option<String> {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(chars.next().filter(|char| matches!(char, '"' | '\\'))?),
            char => text.push(char),
        }
    }
    // Parameters, which have no meaning here, may follow.
    let rest = chars.as_str();
    (rest.is_empty() || rest.starts_with(';')).then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(lines: &[&'static str], expected: Result<Option<&str>, ()>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static(line));
        }
        let key = idempotency_key(&headers);
        let key = key.as_ref().map(Option::as_deref).map_err(|problem| {
            assert_eq!((problem.status, problem.code), (400, "invalid-key"));
        });
        assert_eq!(key, expected, "{lines:?}");
    }

    #[test]
    fn a_key_is_a_quoted_string_or_bare() {
        check(&[], Ok(None));
        check(&["order-17"], Ok(Some("order-17")));
        check(&["a\"b"], Ok(Some("a\"b")));
        check(&["\"order-17\""], Ok(Some("order-17")));
        check(&["\"order-17\";a=1"], Ok(Some("order-17")));
        check(&[r#""a\"b\\c""#], Ok(Some(r#"a"b\c"#)));
        check(&["\"\""], Ok(Some("")));
        check(&[""], Ok(Some("")));
        for line in ["\"", "\"a", "\"a\"b", r#""a\b""#, r#""a\"#] {
            check(&[line], Err(()));
        }
        check(&["a", "a"], Err(()));
    }

    #[test]
    fn a_reconnection_time_is_a_number_of_milliseconds() {
        assert_eq!(parse_retry("0"), Ok(Duration::ZERO));
        assert_eq!(parse_retry("3000"), Ok(Duration::from_secs(3)));
        for text in ["", "-1", "+1", "1.5", "1s", "99999999999999999999"] {
            assert_eq!(parse_retry(text).unwrap_err().code, "invalid-event");
        }
    }
}
