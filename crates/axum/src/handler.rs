//! `sse`: an async function of extractors and a session as an axum handler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use tidings_server::{HandlerError, Session, SessionOptions};

use crate::SseRequest;

/// Turns a session's handler into a route's handler, for any method.
///
/// The function takes up to eight extractors, then the [`Session`]. The last extractor may take the
/// request's body.
///
/// ```
/// use axum::Router;
/// use axum::extract::Path;
/// use axum::routing::post;
/// use tidings_axum::{Event, Session, sse};
///
/// let app: Router = Router::new().route(
///     "/count/{to}",
///     post(sse(async |Path(to): Path<u32>, session: Session| {
///         for n in 0..to {
///             session.send(Event::new(n.to_string()).id(n)).await?;
///         }
///         Ok(())
///     })),
/// );
/// ```
pub fn sse<H>(handler: H) -> Sse<H> {
    Sse {
        handler,
        options: SessionOptions::default(),
    }
}

/// A handler of an axum route that opens a session; [`sse`] returns it.
#[derive(Clone)]
pub struct Sse<H> {
    handler: H,
    options: SessionOptions,
}

impl<H> Sse<H> {
    /// Sets the options of this route's sessions. Default: `SessionOptions::new()`.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use tidings_axum::{Event, Heartbeat, Session, SessionOptions, sse};
    ///
    /// let events = sse(async |session: Session| {
    ///     session.send(Event::new("hello")).await?;
    ///     Ok(())
    /// });
    /// let options = SessionOptions::new().heartbeat(Heartbeat::default());
    /// let app: Router = Router::new().route("/events", get(events.options(options)));
    /// ```
    #[must_use]
    pub fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }
}

// Shows no handler, which is a closure in most programs, and may hold the caller's data.
impl<H> fmt::Debug for Sse<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<H, T, S> Handler<T, S> for Sse<H>
where
    H: SseHandler<T, S>,
    S: Send + Sync + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(self.handler.call(request, state, self.options))
    }
}

/// An async function of extractors and a [`Session`]; see [`sse`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of an event stream",
    note = "a handler is an async function that takes extractors, then a `Session`, and returns \
            `Result<(), HandlerError>`; its future must be `Send`, and it must own what it captures"
)]
pub trait SseHandler<T, S>: Clone + Send + Sync + 'static {
    /// Answers the request with the stream, or with the rejection of an extractor.
    fn call(
        self,
        request: Request,
        state: S,
        options: SessionOptions,
    ) -> impl Future<Output = Response> + Send + 'static;
}

impl<H, F, S> SseHandler<(Session,), S> for H
where
    H: FnOnce(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    S: Send + Sync + 'static,
{
    async fn call(self, request: Request, _: S, options: SessionOptions) -> Response {
        let (parts, _body) = request.into_parts();
        SseRequest::from(parts).options(options).open(self)
    }
}

// As in axum's own handlers, `M` differs between a last extractor that takes the whole request and one that
// takes only its head.
macro_rules! impl_sse_handler {
    ($($extractor:ident)* / $last:ident) => {
        impl<H, F, S, M, $($extractor,)* $last> SseHandler<(M, $($extractor,)* $last, Session,), S> for H
        where
            H: FnOnce($($extractor,)* $last, Session) -> F + Clone + Send + Sync + 'static,
            F: Future<Output = Result<(), HandlerError>> + Send + 'static,
            S: Send + Sync + 'static,
            $($extractor: FromRequestParts<S> + Send + 'static,)*
            $last: FromRequest<S, M> + Send + 'static,
            M: 'static,
        {
            #[allow(non_snake_case, reason = "a type parameter's name is also the name of its value")]
            #[allow(unused_mut, reason = "only extractors of the head change it")]
            async fn call(self, request: Request, state: S, options: SessionOptions) -> Response {
                let (mut parts, body) = request.into_parts();
                $(
                    let $extractor = match $extractor::from_request_parts(&mut parts, &state).await {
                        Ok(extracted) => extracted,
                        Err(rejection) => return rejection.into_response(),
                    };
                )*
                let whole = Request::from_parts(parts.clone(), body);
                let $last = match $last::from_request(whole, &state).await {
                    Ok(extracted) => extracted,
                    Err(rejection) => return rejection.into_response(),
                };
                SseRequest::from(parts)
                    .options(options)
                    .open(move |session| self($($extractor,)* $last, session))
            }
        }
    };
}

impl_sse_handler!(/ E1);
impl_sse_handler!(E1 / E2);
impl_sse_handler!(E1 E2 / E3);
impl_sse_handler!(E1 E2 E3 / E4);
impl_sse_handler!(E1 E2 E3 E4 / E5);
impl_sse_handler!(E1 E2 E3 E4 E5 / E6);
impl_sse_handler!(E1 E2 E3 E4 E5 E6 / E7);
impl_sse_handler!(E1 E2 E3 E4 E5 E6 E7 / E8);
