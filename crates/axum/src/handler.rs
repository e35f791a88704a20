//! Owns `sse`: an async function of extractors and a session as an axum handler.

use std::future::Future;
use std::pin::Pin;

use axum::extract::{FromRequestParts, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use tidings_server::{HandlerError, Session};

use crate::SseRequest;

/// Makes a route's handler of a session's: for any method, beside other routes.
///
/// The function takes up to eight extractors of the request's head, then the [`Session`].
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
    Sse(handler)
}

/// What [`sse`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Sse<H>(H);

impl<H, T, S> Handler<T, S> for Sse<H>
where
    H: SseHandler<T, S>,
    S: Send + Sync + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(self.0.call(request, state))
    }
}

/// An async function of extractors and a [`Session`]; see [`sse`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of an event stream",
    note = "it takes extractors of the request's head, then a `Session`, and is an async function \
            that returns `Result<(), HandlerError>`"
)]
pub trait SseHandler<T, S>: Clone + Send + Sync + 'static {
    /// Answers the request: with the stream, or with what an extractor rejected it with.
    fn call(self, request: Request, state: S) -> impl Future<Output = Response> + Send + 'static;
}

macro_rules! impl_sse_handler {
    ($($extractor:ident)*) => {
        impl<H, F, S, $($extractor,)*> SseHandler<($($extractor,)* Session,), S> for H
        where
            H: FnOnce($($extractor,)* Session) -> F + Clone + Send + Sync + 'static,
            F: Future<Output = Result<(), HandlerError>> + Send + 'static,
            S: Send + Sync + 'static,
            $($extractor: FromRequestParts<S> + Send + 'static,)*
        {
            #[allow(non_snake_case, reason = "a type's name serves its value")]
            #[allow(unused_mut, unused_variables, reason = "unused without extractors")]
            async fn call(self, request: Request, state: S) -> Response {
                let (mut parts, _body) = request.into_parts();
                $(
                    let $extractor = match $extractor::from_request_parts(&mut parts, &state).await {
                        Ok(extracted) => extracted,
                        Err(rejection) => return rejection.into_response(),
                    };
                )*
                SseRequest::from(parts).open(move |session| self($($extractor,)* session))
            }
        }
    };
}

impl_sse_handler!();
impl_sse_handler!(E1);
impl_sse_handler!(E1 E2);
impl_sse_handler!(E1 E2 E3);
impl_sse_handler!(E1 E2 E3 E4);
impl_sse_handler!(E1 E2 E3 E4 E5);
impl_sse_handler!(E1 E2 E3 E4 E5 E6);
impl_sse_handler!(E1 E2 E3 E4 E5 E6 E7);
impl_sse_handler!(E1 E2 E3 E4 E5 E6 E7 E8);
