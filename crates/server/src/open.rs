//! Owns how a session begins: a request, a handler and what they share become a response.

use std::future::Future;
use std::sync::Arc;

use http::Response;

use crate::response::response;
use crate::shared::Shared;
use crate::{HandlerError, Session, SessionBody, SseRequest};

impl SseRequest {
    /// Opens the stream: its head leaves at once, then the handler runs as the body is read.
    ///
    /// The handler is one future for one client. It costs no task: the connection polls it, and
    /// drops it when the client is gone. When it returns, the stream ends; when it fails or
    /// panics, what it sent still leaves, and then the response is cut.
    #[must_use]
    pub fn open<H, F>(self, handler: H) -> Response<SessionBody>
    where
        H: FnOnce(Session) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let version = self.parts().version;
        let shared = Arc::new(Shared::default());
        let handler = handler(Session::new(self, Arc::clone(&shared)));
        response(version, SessionBody::new(shared, Box::pin(handler)))
    }
}
