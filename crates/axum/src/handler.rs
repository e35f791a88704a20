//! Owns `sse`: an async function of extractors and a session as an axum handler.

use std::future::Future;
use std::pin::Pin;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use tidings_server::{HandlerError, Session, SessionOptions};

use crate::SseRequest;

/// Makes a route's handler of a session's: for any method, beside other routes.
///
/// The function takes up to eight extractors, of which the last may take the request's body, then
/// the [`Session`].
///
/// ```
/// use axum::Router;
/// use axum::extract::Path;
/// use axum::routing::post;
/// use tidings_axum::sse;
/// use tidings_proto::Event;
/// use tidings_server::Session;
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

/// What [`sse`] returns.
#[derive(Debug, Clone)]
pub struct Sse<H> {
    handler: H,
    options: SessionOptions,
}

impl<H> Sse<H> {
    /// What the sessions of this route are to be like.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use tidings_axum::sse;
    /// use tidings_proto::{Event, Heartbeat};
    /// use tidings_server::{Session, SessionOptions};
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
    message = "`{Self}` is no handler of an event stream",
    note = "it takes extractors, then a `Session`, and is an async function that returns \
            `Result<(), HandlerError>`; its future is `Send`, and what it captures is its own"
)]
pub trait SseHandler<T, S>: Clone + Send + Sync + 'static {
    /// Answers the request: with the stream, or with what an extractor rejected it with.
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

// `M` tells apart who takes the whole request and who takes its head only, as in axum's own handlers.
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
            #[allow(non_snake_case, reason = "a type's name serves its value")]
            #[allow(unused_mut, reason = "changed by extractors of the head alone")]
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
