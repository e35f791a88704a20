//! Owns `SseClient`: a transport, and the settings of the sessions opened over it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tidings_proto::Reconnect;

use crate::request::{IntoUrl, RequestBuilder};
use crate::settings::Settings;
use crate::transport::Transport;

/// A client of event streams. Cheap to clone; settings are changed by value.
///
/// ```
/// use tidings_client::{Reconnect, SseClient, Transport};
///
/// fn client(transport: impl Transport) -> SseClient {
///     SseClient::over(transport).reconnect(Reconnect::standard())
/// }
/// ```
#[doc(alias = "SSEConfig")]
#[derive(Clone)]
pub struct SseClient {
    transport: Arc<dyn Transport>,
    settings: Settings,
}

impl SseClient {
    /// A client over this transport that never reconnects; see [`reconnect`](Self::reconnect).
    pub fn over(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            settings: Settings::default(),
        }
    }

    /// Whether and when to connect again; [`Reconnect::off`] by default.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.settings.reconnect = reconnect;
        self
    }

    /// How long to wait before connecting again, until the server names another time; 3 s by
    /// default. Changes the policy that is set, and does nothing while that is
    /// [`Reconnect::off`].
    #[must_use]
    pub fn reconnection_time(mut self, time: Duration) -> Self {
        self.settings.reconnect = self.settings.reconnect.reconnection_time(time);
        self
    }

    /// Where the jitter of the waits comes from; a random seed for each session by default. With a
    /// seed the same failures lead to the same waits.
    #[must_use]
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// The most bytes one event may have; 16 MiB by default. A larger one ends the session with
    /// [`ErrorKind::EventTooLarge`](crate::ErrorKind::EventTooLarge).
    #[must_use]
    pub fn max_event_bytes(mut self, limit: usize) -> Self {
        self.settings.max_event_bytes = limit;
        self
    }

    /// Whether events that have comments and no data are heard; `false` by default. An event with
    /// data always has its comments.
    #[doc(alias = "showCommentEvents")]
    #[doc(alias = "showCommentLines")]
    #[must_use]
    pub fn show_comment_events(mut self, show: bool) -> Self {
        self.settings.show_comment_events = show;
        self
    }

    /// Whether events that have a `retry` and no data are heard; `false` by default.
    #[doc(alias = "showRetryEvents")]
    #[doc(alias = "showRetryDirective")]
    #[must_use]
    pub fn show_retry_events(mut self, show: bool) -> Self {
        self.settings.show_retry_events = show;
        self
    }

    /// A GET of this URL, to be [opened](RequestBuilder::open).
    #[doc(alias = "sse")]
    #[doc(alias = "sseSession")]
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(
            Arc::clone(&self.transport),
            self.settings.clone(),
            Method::GET,
            url,
        )
    }
}

impl fmt::Debug for SseClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseClient")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
