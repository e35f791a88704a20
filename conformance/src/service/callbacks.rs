//! `Callbacks`: reports the events of a stream to the harness, one after the other.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use tidings::Event;
use tokio::time::timeout;

use crate::{BoxError, chain};

/// The limit on the wait for the answer to a callback. The harness also waits 5 s for a callback.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a callback.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Message {
    Event { event: EventJson },
    Comment { comment: String },
    Error { error: String },
}

#[derive(Debug, Serialize)]
pub(crate) struct EventJson {
    #[serde(rename = "type")]
    event_type: String,
    data: String,
    id: String,
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        match (event.event_type().to_owned(), event) {
            (
                _,
                Event {
                    data: None,
                    comments: Some(comment),
                    ..
                },
            ) => Self::Comment { comment },
            (event_type, event) => Self::Event {
                event: EventJson {
                    event_type,
                    id: event.id.as_deref().unwrap_or_default().to_owned(),
                    data: event.data.unwrap_or_default(),
                },
            },
        }
    }
}

/// The callbacks of one stream. They are numbered from 1.
#[derive(Debug)]
pub(crate) struct Callbacks {
    url: String,
    made: u64,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Callbacks {
    pub(crate) fn to(url: String) -> Self {
        // Each callback has a connection of its own: the harness could close a kept one just when
        // it is used.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        Self {
            url,
            made: 0,
            client,
        }
    }

    /// Sends a callback, and waits for its answer. A callback that fails is reported on standard
    /// error and dropped.
    pub(crate) async fn post(&mut self, message: &Message) {
        self.made += 1;
        let url = format!("{}/{}", self.url, self.made);
        let posted = timeout(PATIENCE, self.send(&url, message)).await;
        if let Err(error) = posted.map_err(BoxError::from).flatten() {
            eprintln!("contract-service: {url}: {}", chain(&*error));
        }
    }

    async fn send(&self, url: &str, message: &Message) -> Result<(), BoxError> {
        let body = Full::new(serde_json::to_vec(message)?.into());
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(body)?;
        let status = self.client.request(request).await?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("answered with {status}").into())
        }
    }
}
