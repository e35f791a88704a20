//! `RouterExt`: event streams as routes.

use axum::Router;
use axum::routing::get;

use crate::{SseHandler, sse};

/// Adds [`sse`](Self::sse) to axum's `Router`.
///
/// It is sealed: only `Router` implements it.
pub trait RouterExt<S>: sealed::Sealed + Sized {
    /// Serves an event stream at this path, for GET. For another method, or beside other handlers of
    /// the path, use the function [`sse`].
    ///
    /// ```
    /// use axum::Router;
    /// use tidings_axum::{Event, RouterExt, Session};
    ///
    /// let app: Router = Router::new().sse("/events", async |session: Session| {
    ///     session.send(Event::new("hello")).await?;
    ///     Ok(())
    /// });
    /// ```
    #[must_use]
    fn sse<H, T>(self, path: &str, handler: H) -> Self
    where
        H: SseHandler<T, S>,
        T: 'static;
}

impl<S> RouterExt<S> for Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    fn sse<H, T>(self, path: &str, handler: H) -> Self
    where
        H: SseHandler<T, S>,
        T: 'static,
    {
        self.route(path, get(sse(handler)))
    }
}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "code outside of this crate must not implement it"
    )]
    pub trait Sealed {}

    impl<S> Sealed for axum::Router<S> {}
}
