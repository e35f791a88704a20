//! Owns `RouterExt`: event streams as routes.

use axum::Router;
use axum::routing::get;

use crate::{SseHandler, sse};

/// `Router::sse`.
pub trait RouterExt<S>: Sized {
    /// Serves an event stream at this path, to GET. For another method, or beside other handlers
    /// of the path, see [`sse`].
    ///
    /// ```
    /// use axum::Router;
    /// use tidings_axum::RouterExt;
    /// use tidings_proto::Event;
    /// use tidings_server::Session;
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
