//! Owns `Settings`: what a client, or a request, sets for its sessions.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tidings_proto::{Comments, Decoder, MAX_EVENT_BYTES, Reconnect};

use crate::BufferPolicy;
use crate::attempt::BeforeConnect;
use crate::lifecycle::OnLifecycle;
use crate::strategy::AnyStrategy;

/// The most of a refusal's body that its error carries, unless the caller says else: 64 KiB.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

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
    pub(crate) comments_at_once: bool,
    pub(crate) show_retry_events: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) strategy: Option<Hook<dyn AnyStrategy>>,
    pub(crate) on_lifecycle: Option<Hook<OnLifecycle>>,
    pub(crate) before_connect: Option<Hook<BeforeConnect>>,
    pub(crate) buffer_policy: BufferPolicy,
    pub(crate) max_error_body_bytes: usize,
    pub(crate) dedupe: bool,
    #[cfg(feature = "json")]
    pub(crate) gaps: bool,
}

/// What a caller wants done, shared by the sessions that do it.
pub(crate) struct Hook<T: ?Sized>(pub(crate) Arc<T>);

impl<T: ?Sized> Clone for Hook<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Hook<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> fmt::Debug for Hook<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
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
            comments_at_once: false,
            show_retry_events: false,
            timeouts: Timeouts::default(),
            strategy: None,
            on_lifecycle: None,
            before_connect: None,
            buffer_policy: BufferPolicy::Off,
            max_error_body_bytes: MAX_ERROR_BODY_BYTES,
            dedupe: false,
            #[cfg(feature = "json")]
            gaps: false,
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
        let comments = match (self.comments_at_once, self.show_comment_events) {
            (true, _) => Comments::Immediate,
            (false, true) => Comments::Shown,
            (false, false) => Comments::Attached,
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

        /// Asks this strategy whether and when to connect again, in place of the policy and the
        /// numbers beside it; none by default.
        #[doc(alias = "reconnectionStrategy")]
        pub fn reconnection_strategy(mut self, strategy: impl crate::ReconnectionStrategy) -> Self {
            let strategy = crate::settings::Hook(std::sync::Arc::new(strategy) as _);
            self.settings.strategy = Some(strategy);
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
        #[doc(alias = "connectTimeoutMillis")]
        pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.connect = Some(timeout);
            self
        }

        /// How long a request may take until the head of its response, connecting included; for
        /// ever by default. Longer is a network error. A redirect is followed by a request with a
        /// time of its own.
        #[doc(alias = "requestTimeoutMillis")]
        pub fn response_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.response = Some(timeout);
            self
        }

        /// How long the server may send nothing; for ever by default, as a quiet stream is legal.
        /// Longer is a network error.
        ///
        /// Any byte counts, those of comments too. The time runs only while the session waits for
        /// the network, and begins when it does.
        #[doc(alias = "socketTimeoutMillis")]
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

        /// The most bytes of a refusal's body that are read, for
        /// [`Error::response`](crate::Error::response); 64 KiB by default.
        pub fn max_error_body_bytes(mut self, limit: usize) -> Self {
            self.settings.max_error_body_bytes = limit;
            self
        }

        /// What is kept of what is read, for [`Error::buffer`](crate::Error::buffer); nothing by
        /// default.
        #[doc(alias = "bufferPolicy")]
        pub fn buffer_policy(mut self, policy: crate::BufferPolicy) -> Self {
            self.settings.buffer_policy = policy;
            self
        }

        /// Tells this hook what becomes of a session between its events, in order, while the
        /// session is polled. There is one; none by default.
        ///
        /// ```
        /// # fn set(client: tidings_client::SseClient) -> tidings_client::SseClient {
        /// use tidings_client::Lifecycle;
        ///
        /// client.on_lifecycle(|lifecycle| match lifecycle {
        ///     Lifecycle::Waiting { attempt, delay } => eprintln!("attempt {attempt} in {delay:?}"),
        ///     Lifecycle::Open { .. } => eprintln!("connected"),
        ///     _ => {}
        /// })
        /// # }
        /// ```
        pub fn on_lifecycle(
            mut self,
            hook: impl Fn(crate::Lifecycle<'_>) + Send + Sync + 'static,
        ) -> Self {
            let hook = crate::settings::Hook(std::sync::Arc::new(hook) as _);
            self.settings.on_lifecycle = Some(hook);
            self
        }

        /// Awaits this hook before each attempt, to change its headers or its URL: a token that
        /// expires, a ticket. There is one; none by default. Redirects are followed without it.
        ///
        /// Its error ends the session as
        /// [`ErrorKind::BeforeConnect`](crate::ErrorKind::BeforeConnect): what may be tried again
        /// is tried again in it. No timeout of the session counts while it runs.
        ///
        /// ```
        /// # async fn fresh_token() -> std::io::Result<String> { Ok(String::new()) }
        /// # fn set(client: tidings_client::SseClient) -> tidings_client::SseClient {
        /// client.before_connect(|mut attempt| async {
        ///     attempt.set_bearer(fresh_token().await?)?;
        ///     Ok(attempt)
        /// })
        /// # }
        /// ```
        pub fn before_connect<H, F>(mut self, hook: H) -> Self
        where
            H: Fn(crate::Attempt) -> F + Send + Sync + 'static,
            F: Future<Output = Result<crate::Attempt, crate::TransportError>> + Send + 'static,
        {
            let hook = move |attempt| Box::pin(hook(attempt)) as crate::attempt::Changing;
            let hook = crate::settings::Hook(std::sync::Arc::new(hook) as _);
            self.settings.before_connect = Some(hook);
            self
        }

        /// Whether an event that was heard already is dropped; `false` by default.
        ///
        /// It is for hubs, whose ids are [`Position`](tidings_proto::Position)s: dropped is what
        /// stands at or before the last event heard, in the same epoch, as a reconnection may
        /// repeat it. Events with other ids always pass.
        pub fn dedupe(mut self, dedupe: bool) -> Self {
            self.settings.dedupe = dedupe;
            self
        }

        /// Whether a hub's [`Gap`](tidings_proto::Gap) is told as
        /// [`Lifecycle::Gap`](crate::Lifecycle::Gap) and not handed out as the event that it comes
        /// as: one named `gap` whose id is a [`Position`](tidings_proto::Position). `false` by
        /// default.
        #[cfg(feature = "json")]
        pub fn gaps(mut self, gaps: bool) -> Self {
            self.settings.gaps = gaps;
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

        /// Whether each comment is heard as soon as its line ends, as an event of its own that has
        /// nothing else; `false` by default. No event then has the comments of its block, and
        /// [`show_comment_events`](Self::show_comment_events) says nothing.
        ///
        /// It is for heartbeats and notes that no empty line follows, such as Mastodon's `:thump`:
        /// without it they wait for the next event.
        pub fn comments_at_once(mut self, at_once: bool) -> Self {
            self.settings.comments_at_once = at_once;
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
