//! Owns `Settings`: what a client, or a request, sets for its sessions.

use std::time::Duration;

use tidings_proto::{Comments, Decoder, MAX_EVENT_BYTES, Reconnect};

/// What a request takes over from its client, and may change.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) reconnect: Reconnect,
    pub(crate) max_reconnection_attempts: Option<u32>,
    pub(crate) reconnection_time: Option<Duration>,
    /// Of the jitter; random if unset.
    pub(crate) seed: Option<u64>,
    pub(crate) max_event_bytes: usize,
    pub(crate) show_comment_events: bool,
    pub(crate) show_retry_events: bool,
    pub(crate) timeouts: Timeouts,
}

/// How long the server may be silent; `None` is for ever.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    /// Until there is a connection.
    pub(crate) connect: Option<Duration>,
    /// From the request to the head of its response.
    pub(crate) response: Option<Duration>,
    /// While its body is awaited.
    pub(crate) idle: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reconnect: Reconnect::off(),
            max_reconnection_attempts: None,
            reconnection_time: None,
            seed: None,
            max_event_bytes: MAX_EVENT_BYTES,
            show_comment_events: false,
            show_retry_events: false,
            timeouts: Timeouts::default(),
        }
    }
}

impl Settings {
    /// The policy with the numbers that were set beside it.
    pub(crate) fn policy(&self) -> Reconnect {
        let mut policy = self.reconnect.clone();
        if let Some(attempts) = self.max_reconnection_attempts {
            policy = policy.max_attempts(attempts);
        }
        if let Some(time) = self.reconnection_time {
            policy = policy.reconnection_time(time);
        }
        policy
    }

    pub(crate) fn decoder(&self) -> Decoder {
        let comments = if self.show_comment_events {
            Comments::Show
        } else {
            Comments::Keep
        };
        Decoder::new()
            .max_event_bytes(self.max_event_bytes)
            .comments(comments)
            .show_retry_events(self.show_retry_events)
    }
}

/// The settings of a client, which a request takes over and may change.
macro_rules! settings_methods {
    () => {
        /// Whether and when to connect again; [`Reconnect::off`](tidings_proto::Reconnect::off) by
        /// default.
        pub fn reconnect(mut self, reconnect: tidings_proto::Reconnect) -> Self {
            self.settings.reconnect = reconnect;
            self
        }

        /// How long to wait before connecting again, until the server names another time; that of
        /// the policy by default, 3 s. Goes with any policy, and does nothing while that is
        /// [`Reconnect::off`](tidings_proto::Reconnect::off).
        #[doc(alias = "reconnectionTime")]
        pub fn reconnection_time(mut self, time: std::time::Duration) -> Self {
            self.settings.reconnection_time = Some(time);
            self
        }

        /// How often to try to connect again in one outage; as often as the policy says by default,
        /// and that is never. Goes with any policy.
        #[doc(alias = "maxReconnectionAttempts")]
        pub fn max_reconnection_attempts(mut self, attempts: u32) -> Self {
            self.settings.max_reconnection_attempts = Some(attempts);
            self
        }

        /// Where the jitter of the waits comes from; a random seed for each session by default. With a
        /// seed the same failures lead to the same waits.
        pub fn jitter_seed(mut self, seed: u64) -> Self {
            self.settings.seed = Some(seed);
            self
        }

        /// How long it may take until there is a connection, name lookup and TLS included; for ever
        /// by default. Longer is a network error.
        ///
        /// It is passed on with each request, as [`ConnectTimeout`](crate::ConnectTimeout). A
        /// transport without connections of its own, as a `reqwest::Client` or an
        /// `axum::Router`, takes no notice.
        pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.connect = Some(timeout);
            self
        }

        /// How long a request may take until the head of its response, connecting included; for
        /// ever by default. Longer is a network error. A redirect is followed by a request with a
        /// time of its own.
        pub fn response_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.response = Some(timeout);
            self
        }

        /// How long the server may send nothing; for ever by default, as a quiet stream is legal.
        /// Longer is a network error.
        ///
        /// Any byte counts, those of comments too. The time runs only while the session waits for
        /// the network, and begins when it does.
        pub fn idle_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.idle = Some(timeout);
            self
        }

        /// The most bytes one event may have; 16 MiB by default. A larger one ends the session with
        /// [`ErrorKind::EventTooLarge`](crate::ErrorKind::EventTooLarge).
        pub fn max_event_bytes(mut self, limit: usize) -> Self {
            self.settings.max_event_bytes = limit;
            self
        }

        /// Whether events that have comments and no data are heard; `false` by default. An event with
        /// data always has its comments.
        #[doc(alias = "showCommentEvents")]
        #[doc(alias = "showCommentLines")]
        pub fn show_comment_events(mut self, show: bool) -> Self {
            self.settings.show_comment_events = show;
            self
        }

        /// Whether events that have a `retry` and no data are heard; `false` by default.
        #[doc(alias = "showRetryEvents")]
        #[doc(alias = "showRetryDirective")]
        pub fn show_retry_events(mut self, show: bool) -> Self {
            self.settings.show_retry_events = show;
            self
        }
    };
}

pub(crate) use settings_methods;
