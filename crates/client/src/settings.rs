//! `Settings`: the settings of a client or of a request, for its sessions.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tidings_proto::{Comments, Decoder, InvalidMediaType, MAX_EVENT_BYTES, StreamTypes};

use crate::BufferPolicy;
use crate::attempt::BeforeConnect;
use crate::lifecycle::OnLifecycle;
use crate::reconnect_settings::{ConflictingSettings, EffectiveReconnect, ReconnectSettings};

/// The default of `max_error_body_bytes`: 64 KiB.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

/// The default of `max_response_bytes`: 16 MiB.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The settings that a request inherits from its client, and may change.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Those of the client, in the settings of a request.
    inherited_reconnect: Option<ReconnectSettings>,
    pub(crate) reconnect: ReconnectSettings,
    /// Of the jitter; random if unset.
    pub(crate) seed: Option<u64>,
    pub(crate) max_event_bytes: usize,
    pub(crate) skip_large_events: bool,
    pub(crate) comments: Comments,
    pub(crate) show_retry_events: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) on_lifecycle: Option<Hook<OnLifecycle>>,
    pub(crate) before_connect: Option<Hook<BeforeConnect>>,
    pub(crate) retry_unauthorized: u32,
    pub(crate) buffer_policy: BufferPolicy,
    pub(crate) max_error_body_bytes: usize,
    pub(crate) max_response_bytes: usize,
    /// An invalid media type is reported when a request is opened.
    pub(crate) stream_types: Result<StreamTypes, InvalidMediaType>,
    pub(crate) dedupe: bool,
    #[cfg(feature = "json")]
    pub(crate) gaps: bool,
}

/// A function of the caller's, shared by the sessions that call it.
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

/// How long the server may send nothing; `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    /// Until there is a connection.
    pub(crate) connect: Option<Duration>,
    /// From the request to the response head.
    pub(crate) response: Option<Duration>,
    /// Between two parts of the body.
    pub(crate) idle: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inherited_reconnect: None,
            reconnect: ReconnectSettings::default(),
            seed: None,
            max_event_bytes: MAX_EVENT_BYTES,
            skip_large_events: false,
            comments: Comments::default(),
            show_retry_events: false,
            timeouts: Timeouts::default(),
            on_lifecycle: None,
            before_connect: None,
            retry_unauthorized: 0,
            buffer_policy: BufferPolicy::Off,
            max_error_body_bytes: MAX_ERROR_BODY_BYTES,
            max_response_bytes: MAX_RESPONSE_BYTES,
            stream_types: Ok(StreamTypes::new()),
            dedupe: false,
            #[cfg(feature = "json")]
            gaps: false,
        }
    }
}

impl Settings {
    /// The settings of a request, before it changes any.
    pub(crate) fn inherited(&self) -> Self {
        Self {
            inherited_reconnect: Some(self.reconnect.clone()),
            reconnect: ReconnectSettings::default(),
            ..self.clone()
        }
    }

    /// The reconnection settings in effect: the client's, with the request's applied.
    pub(crate) fn effective_reconnect(&self) -> Result<EffectiveReconnect, ConflictingSettings> {
        let mut effective = EffectiveReconnect::default();
        if let Some(inherited) = &self.inherited_reconnect {
            effective = inherited.apply_to(effective)?;
        }
        self.reconnect.apply_to(effective)
    }

    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::new()
            .max_event_bytes(self.max_event_bytes)
            .skip_large_events(self.skip_large_events)
            .comments(self.comments)
            .show_retry_events(self.show_retry_events)
    }
}

/// The settings of a client, which a request inherits and may change.
macro_rules! settings_methods {
    () => {
        /// Sets the policy that decides whether and when to reconnect. Default:
        /// [`Reconnect::off`](tidings_proto::Reconnect::off).
        ///
        /// A policy that a request sets replaces everything about reconnection that its client
        /// sets, except the jitter seed.
        pub fn reconnect(mut self, reconnect: tidings_proto::Reconnect) -> Self {
            self.settings.reconnect.policy = Some(reconnect);
            self
        }

        /// Asks this strategy whether and when to reconnect, in place of a policy. Default: none.
        ///
        /// The policy then only decides whether the first connection may fail. A client or a request
        /// that sets a strategy and also
        /// [`max_reconnection_attempts`](Self::max_reconnection_attempts) or
        /// [`reconnection_time`](Self::reconnection_time) cannot be opened: `open` returns
        /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest). A request may replace
        /// the strategy of its client by a policy, by numbers or by another strategy.
        #[doc(alias = "reconnectionStrategy")]
        pub fn reconnection_strategy(mut self, strategy: impl crate::ReconnectionStrategy) -> Self {
            let strategy = crate::settings::Hook(std::sync::Arc::new(strategy) as _);
            self.settings.reconnect.strategy = Some(strategy);
            self
        }

        /// Changes the wait before the first attempt of an outage, until the server names another
        /// by `retry`. Default: that of the policy, 3 s.
        ///
        /// Applies to the policy in effect. The order of the calls does not matter.
        #[doc(alias = "reconnectionTime")]
        pub fn reconnection_time(mut self, time: std::time::Duration) -> Self {
            self.settings.reconnect.reconnection_time = Some(time);
            self
        }

        /// Changes how many attempts one outage may have. Default: as many as the policy allows;
        /// [`Reconnect::off`](tidings_proto::Reconnect::off) allows none. After the last attempt the
        /// session fails with its error, or with
        /// [`ErrorKind::OutOfAttempts`](crate::ErrorKind::OutOfAttempts) if the server ended the stream in
        /// the regular way.
        ///
        /// Applies to the policy in effect. The order of the calls does not matter.
        #[doc(alias = "maxReconnectionAttempts")]
        pub fn max_reconnection_attempts(mut self, attempts: u32) -> Self {
            self.settings.reconnect.max_attempts = Some(attempts);
            self
        }

        /// Seeds the jitter of the waits, so that the same failures lead to the same waits. Default:
        /// a random seed for each session.
        pub fn jitter_seed(mut self, seed: u64) -> Self {
            self.settings.seed = Some(seed);
            self
        }

        /// Limits the time until there is a connection, name lookup and TLS included. Default: no
        /// limit. At the limit the attempt fails with
        /// [`ErrorKind::Connect`](crate::ErrorKind::Connect).
        ///
        /// Each request carries it as [`ConnectTimeout`](crate::ConnectTimeout). A transport that
        /// makes no connections itself, such as a `reqwest::Client` or an `axum::Router`, ignores
        /// it.
        #[doc(alias = "connectTimeoutMillis")]
        pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.connect = Some(timeout);
            self
        }

        /// Limits the time from a request to its response head, connecting included. Default: no
        /// limit. At the limit the attempt fails with
        /// [`ErrorKind::Connect`](crate::ErrorKind::Connect). A request that follows a redirect has
        /// the whole time again.
        #[doc(alias = "requestTimeoutMillis")]
        pub fn response_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.response = Some(timeout);
            self
        }

        /// Limits the time in which the server sends no byte. Default: no limit, as a quiet stream
        /// is legal. At the limit the connection fails with
        /// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted).
        ///
        /// The bytes of a comment count too. The time runs only while the session waits for the
        /// network, and begins with that wait.
        #[doc(alias = "socketTimeoutMillis")]
        pub fn idle_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeouts.idle = Some(timeout);
            self
        }

        /// Limits the bytes of one event. Default: 16 MiB. A larger event ends the session with
        /// [`ErrorKind::EventTooLarge`](crate::ErrorKind::EventTooLarge), unless the session
        /// [skips](Self::skip_large_events) it.
        pub fn max_event_bytes(mut self, limit: usize) -> Self {
            self.settings.max_event_bytes = limit;
            self
        }

        /// Whether to skip an event over [`max_event_bytes`](Self::max_event_bytes), and to report it as
        /// [`Lifecycle::Skipped`](crate::Lifecycle::Skipped), instead of ending the session.
        /// Default: `false`.
        ///
        /// The last event ID moves to the event's, so that a reconnection does not receive it again. An
        /// `id` line that is itself over the limit is not held, and the last event ID stays.
        pub fn skip_large_events(mut self, skip: bool) -> Self {
            self.settings.skip_large_events = skip;
            self
        }

        /// Limits the bytes that are read of a refusal's body, for
        /// [`Error::response`](crate::Error::response). Default: 64 KiB. A longer body is cut there.
        pub fn max_error_body_bytes(mut self, limit: usize) -> Self {
            self.settings.max_error_body_bytes = limit;
            self
        }

        /// Limits the bytes of a response that
        /// [`open_or_response`](crate::RequestBuilder::open_or_response) reads in place of a stream.
        /// Default: 16 MiB. A longer body is
        /// [`ErrorKind::ResponseTooLarge`](crate::ErrorKind::ResponseTooLarge).
        pub fn max_response_bytes(mut self, limit: usize) -> Self {
            self.settings.max_response_bytes = limit;
            self
        }

        /// Also reads a response of this media type as a stream, for a server that names a wrong one.
        /// Default: `text/event-stream` alone. Each call adds one. Parameters do not matter.
        ///
        /// The `Accept` of the request stays the same. An invalid media type is reported when a
        /// request is opened.
        ///
        /// ```
        /// # fn set(client: tidings_client::SseClient) -> tidings_client::SseClient {
        /// client.read_media_type("text/plain")
        /// # }
        /// ```
        #[doc(alias = "Content-Type")]
        #[doc(alias = "content_type")]
        pub fn read_media_type(mut self, media_type: impl AsRef<str>) -> Self {
            let types = self.settings.stream_types;
            self.settings.stream_types = types.and_then(|types| types.and(media_type));
            self
        }

        /// Whether to read a response of any media type as a stream, and one that names none. Default:
        /// `false`.
        ///
        /// An error page under status 200 is then read as a stream too, and has no events. With
        /// [`open_or_response`](crate::RequestBuilder::open_or_response), only a 204 is still a response.
        pub fn read_any_media_type(mut self, any: bool) -> Self {
            let types = self.settings.stream_types;
            self.settings.stream_types = types.map(|types| types.any(any));
            self
        }

        /// Keeps text that was read, for [`Error::buffer`](crate::Error::buffer). Default: none.
        #[doc(alias = "bufferPolicy")]
        pub fn buffer_policy(mut self, policy: crate::BufferPolicy) -> Self {
            self.settings.buffer_policy = policy;
            self
        }

        /// Calls this hook with each step of a session between its events, in order, while you poll
        /// the session. Default: none. A second call replaces the hook.
        ///
        /// ```
        /// # fn set(client: tidings_client::SseClient) -> tidings_client::SseClient {
        /// use tidings_client::Lifecycle;
        ///
        /// client.on_lifecycle(|step| match step {
        ///     Lifecycle::Open { .. } => eprintln!("connected"),
        ///     Lifecycle::Lost { error: Some(error), .. } => eprintln!("lost: {error}"),
        ///     Lifecycle::Waiting { attempt, delay } => eprintln!("attempt {attempt} in {delay:?}"),
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

        /// Awaits this hook before each attempt. It may change the headers and the URL: a token that
        /// expires, a ticket. Default: none. A second call replaces the hook.
        ///
        /// An error of the hook is a failed attempt: the policy decides whether there is another, and
        /// if not, the session fails with
        /// [`ErrorKind::BeforeConnect`](crate::ErrorKind::BeforeConnect). Redirects are followed
        /// without the hook. No timeout of the session runs while the hook does.
        ///
        /// ```
        /// # async fn fresh_token() -> std::io::Result<String> { Ok(String::new()) }
        /// # fn set(client: tidings_client::SseClient) -> tidings_client::SseClient {
        /// client.before_connect(async |mut attempt| {
        ///     attempt.set_bearer(fresh_token().await?)?;
        ///     Ok(attempt)
        /// })
        /// # }
        /// ```
        ///
        /// If the hook needs data of yours, use [`before_connect_with`](Self::before_connect_with).
        pub fn before_connect<H, F>(mut self, hook: H) -> Self
        where
            H: Fn(crate::Attempt) -> F + Send + Sync + 'static,
            F: Future<Output = Result<crate::Attempt, crate::TransportError>> + Send + 'static,
        {
            let hook = move |attempt| Box::pin(hook(attempt)) as crate::attempt::AttemptFuture;
            let hook = crate::settings::Hook(std::sync::Arc::new(hook) as _);
            self.settings.before_connect = Some(hook);
            self
        }

        /// Awaits this hook before each attempt, as [`before_connect`](Self::before_connect) does,
        /// with a clone of this state.
        ///
        /// ```
        /// # struct Tokens;
        /// # impl Tokens { async fn fresh(&self) -> std::io::Result<String> { Ok(String::new()) } }
        /// # fn set(client: tidings_client::SseClient) -> tidings_client::SseClient {
        /// use std::sync::Arc;
        ///
        /// let tokens = Arc::new(Tokens);
        /// client.before_connect_with(tokens, async |tokens, mut attempt| {
        ///     attempt.set_bearer(tokens.fresh().await?)?;
        ///     Ok(attempt)
        /// })
        /// # }
        /// ```
        pub fn before_connect_with<S, H, F>(self, state: S, hook: H) -> Self
        where
            S: Clone + Send + Sync + 'static,
            H: Fn(S, crate::Attempt) -> F + Send + Sync + 'static,
            F: Future<Output = Result<crate::Attempt, crate::TransportError>> + Send + 'static,
        {
            self.before_connect(move |attempt| hook(state.clone(), attempt))
        }

        /// Runs the `before_connect` hook and the request again when the server answers 401: at most
        /// this often in a row. Default: 0. The next 401 ends the session with
        /// [`ErrorKind::Status`](crate::ErrorKind::Status).
        ///
        /// The first retry of a row is immediate. Each further one waits as the policy says, or for
        /// the reconnection time if the policy allows no attempt; a strategy is not asked.
        ///
        /// The hook finds the refusal in [`Attempt::last_error`](crate::Attempt::last_error), and
        /// can renew its token. Such an attempt needs no policy, and a request that is otherwise
        /// sent once is sent again. A row ends when a stream opens, and when the policy decides on
        /// an attempt. Without a hook this setting does nothing.
        pub fn retry_unauthorized(mut self, times: u32) -> Self {
            self.settings.retry_unauthorized = times;
            self
        }

        /// Whether to drop events that were delivered before. Default: `false`.
        ///
        /// Only for streams of a tidings hub, whose IDs are [`Position`](crate::Position)s: after a
        /// reconnection the session drops events at or before the last delivered position, in the
        /// same epoch. Events with other IDs pass unchanged, even if the server repeats them.
        pub fn dedupe(mut self, dedupe: bool) -> Self {
            self.settings.dedupe = dedupe;
            self
        }

        /// Whether to report a hub's [`Gap`](crate::Gap) as [`Lifecycle::Gap`](crate::Lifecycle::Gap)
        /// instead of delivering the event that carries it. Default: `false`.
        ///
        /// Such an event is named `gap`, and its ID is a [`Position`](crate::Position).
        #[cfg(feature = "json")]
        pub fn gaps(mut self, gaps: bool) -> Self {
            self.settings.gaps = gaps;
            self
        }

        /// How the session delivers comments. Default:
        /// [`Comments::Attached`](crate::Comments::Attached), with the event that they precede.
        ///
        /// [`Comments::Immediate`](crate::Comments::Immediate) is for heartbeats and notes that no
        /// empty line follows, such as Mastodon's `:thump`; otherwise they wait for the next event.
        #[doc(alias = "showCommentEvents")]
        #[doc(alias = "showCommentLines")]
        #[doc(alias = "show_comment_events")]
        #[doc(alias = "comments_at_once")]
        pub fn comments(mut self, comments: crate::Comments) -> Self {
            self.settings.comments = comments;
            self
        }

        /// Whether to deliver events that have a `retry` and no data. Default: `false`.
        #[doc(alias = "showRetryEvents")]
        #[doc(alias = "showRetryDirective")]
        pub fn show_retry_events(mut self, show: bool) -> Self {
            self.settings.show_retry_events = show;
            self
        }
    };
}

pub(crate) use settings_methods;
