//! `Params`: the parameters of a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Method, Uri};
use serde::Deserialize;
use tidings::client::{Comments, IntoUrl as _, RequestBuilder};
use tidings::{EventId, Reconnect};

use crate::BoxError;

/// The parameters of a stream, with a valid URL, method and headers.
#[derive(Debug, Deserialize)]
#[serde(try_from = "JsonParams")]
pub(crate) struct Params {
    method: Method,
    stream_url: Uri,
    headers: HeaderMap,
    body: String,
    pub(crate) last_event_id: Option<EventId>,
    initial_delay: Option<Duration>,
    read_timeout: Option<Duration>,
    /// Without a trailing slash.
    pub(crate) callback_url: String,
}

/// The parameters as the harness sends them, with `null` for an unset one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonParams {
    stream_url: String,
    callback_url: String,
    initial_delay_ms: Option<u64>,
    read_timeout_ms: Option<u64>,
    last_event_id: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    method: Option<String>,
    body: Option<String>,
}

impl Params {
    /// The request, resumed after this event.
    pub(crate) fn request(&self, last_event_id: Option<EventId>) -> RequestBuilder {
        let client = tidings::client();
        let request = client.request(self.method.clone(), self.stream_url.clone());
        // Comments are reported as they arrive, and a refusal without its body.
        let mut request = request
            .reconnect(Reconnect::standard())
            .may_be_repeated(true)
            .comments(Comments::Immediate)
            .max_error_body_bytes(0)
            .body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(time) = self.initial_delay {
            request = request.reconnection_time(time);
        }
        if let Some(time) = self.read_timeout {
            // The limit applies to the head and to each silence after it.
            request = request.response_timeout(time).idle_timeout(time);
        }
        match last_event_id {
            Some(id) => request.last_event_id(id),
            None => request,
        }
    }
}

impl TryFrom<JsonParams> for Params {
    type Error = BoxError;

    fn try_from(json: JsonParams) -> Result<Self, BoxError> {
        let mut headers = HeaderMap::new();
        for (name, value) in json.headers.unwrap_or_default() {
            headers.insert(name.parse::<HeaderName>()?, value.try_into()?);
        }
        let method = given(json.method).map_or(Ok(Method::GET), |method| method.parse())?;
        let callback_url = json.callback_url.trim_end_matches('/');
        if callback_url.parse::<Uri>()?.scheme_str() != Some("http") {
            return Err("callbackUrl must be an http URL".into());
        }
        Ok(Self {
            method,
            stream_url: json.stream_url.into_url()?,
            headers,
            body: json.body.unwrap_or_default(),
            last_event_id: given(json.last_event_id).map(EventId::new).transpose()?,
            initial_delay: json.initial_delay_ms.map(Duration::from_millis),
            read_timeout: json
                .read_timeout_ms
                .filter(|&millis| millis > 0)
                .map(Duration::from_millis),
            callback_url: callback_url.to_owned(),
        })
    }
}

/// An empty text counts as unset.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
