//! The driver's side of the network: responses, chunks, errors and timeouts.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use tidings_proto::headers::content_codings;
use tidings_proto::{EventId, EventSourceFailure, ResponseHead, parse_retry_after};
use tokio::time::Instant;

use super::{Connection, Driver};
use crate::Error;
use crate::attempt::Attempt;
use crate::error::TimedOut;
use crate::head::{joined, location};
use crate::lifecycle::Lifecycle;
use crate::refusal::Refusal;
use crate::response_reader::{Progress, ResponseReader};
use crate::timer::after;
use crate::transport::{ConnectError, FinalUrl, ResponseBody, TransportError};

impl Driver {
    /// Waits for the network, the hook, the strategy or the next attempt, and updates the state
    /// machine.
    pub(super) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.connection {
            Connection::Open(body) => {
                if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
                    self.timer.clear();
                    self.handle_frame(frame);
                    return Poll::Ready(Ok(()));
                }
                let timed_out = ready!(self.poll_timeout(cx, "data", self.settings.timeouts.idle));
                self.handle_interruption(timed_out);
                Poll::Ready(Ok(()))
            }
            Connection::Connecting(connecting) => {
                if let Poll::Ready(response) = connecting.as_mut().poll(cx) {
                    self.timer.clear();
                    return Poll::Ready(self.handle_connected(response));
                }
                let timeout = self.settings.timeouts.response;
                let timed_out = ready!(self.poll_timeout(cx, "response head", timeout));
                self.handle_failed_attempt(Error::connect(self.server(), timed_out));
                Poll::Ready(Ok(()))
            }
            Connection::Response(reader) => {
                if let Poll::Ready(progress) = reader.poll_read(cx) {
                    self.timer.clear();
                    return Poll::Ready(self.handle_progress(progress));
                }
                let timed_out = ready!(self.poll_timeout(cx, "data", self.settings.timeouts.idle));
                Poll::Ready(self.handle_progress(Progress::Broken(timed_out)))
            }
            Connection::Preparing(changing, last_event_id) => {
                let attempt = ready!(changing.as_mut().poll(cx));
                let last_event_id = last_event_id.take();
                Poll::Ready(self.handle_attempt(attempt, last_event_id.as_ref()))
            }
            Connection::Deciding(deciding) => {
                let delay = ready!(deciding.as_mut().poll(cx));
                self.connection = Connection::Closed;
                self.state.handle_decision(delay, now());
                self.report_waiting();
                Poll::Ready(Ok(()))
            }
            Connection::Closed => self.poll_reconnection(cx).map(Ok),
            Connection::Refused(_) => {
                unreachable!("the body of a refusal is read before anything else")
            }
        }
    }

    /// Ready with an error once the network has been silent for this long.
    fn poll_timeout(
        &mut self,
        cx: &mut Context<'_>,
        waited_for: &'static str,
        timeout: Option<Duration>,
    ) -> Poll<TransportError> {
        let Some(timeout) = timeout else {
            return Poll::Pending;
        };
        ready!(self.timer.poll(cx, || after(timeout)));
        self.timer.clear();
        let timed_out = TimedOut {
            waited_for,
            timeout,
        };
        Poll::Ready(timed_out.into_source())
    }

    /// Waits until the state machine wants to reconnect.
    fn poll_reconnection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.state.poll_timeout() else {
            unreachable!(
                "a closed connection has an action or a next attempt, or the end was reported"
            );
        };
        // A wait that is over needs no timer, which may be a millisecond late.
        if until > now() {
            ready!(self.timer.poll(cx, || until.into()));
        }
        self.timer.clear();
        self.state.handle_timeout(now());
        Poll::Ready(())
    }

    fn handle_attempt(
        &mut self,
        attempt: Result<Attempt, TransportError>,
        last_event_id: Option<&EventId>,
    ) -> Result<(), Error> {
        match attempt {
            Ok(attempt) => match self.template.change(attempt) {
                Ok(()) => self.connect(last_event_id),
                Err(error) => return Err(self.fail(Error::invalid_request(error))),
            },
            Err(error) => {
                self.connection = Connection::Closed;
                self.state.handle_request_error(now());
                self.error = Some(Error::before_connect(error));
                self.report_lost();
            }
        }
        Ok(())
    }

    fn handle_connected(
        &mut self,
        response: Result<Response<ResponseBody>, ConnectError>,
    ) -> Result<(), Error> {
        match response {
            Ok(response) => return self.handle_response(response),
            Err(ConnectError::Network(error)) => {
                self.handle_failed_attempt(Error::connect(self.server(), error));
            }
            Err(ConnectError::InvalidRequest(error)) => {
                return Err(self.fail(if self.template.is_redirected() {
                    Error::invalid_redirect(error)
                } else {
                    Error::invalid_request(error)
                }));
            }
        }
        Ok(())
    }

    fn handle_response(&mut self, response: Response<ResponseBody>) -> Result<(), Error> {
        let (mut head, body) = response.into_parts();
        detach(&mut head);
        if let Some(FinalUrl(url)) = head.extensions.get()
            && let Err(error) = self.template.follow(url.clone())
        {
            return Err(self.fail(Error::invalid_redirect(error.into())));
        }
        if self.is_accepted(&head) {
            let coding = self.undecoded(&head);
            if let Some(coding) = coding.and_then(|value| content_codings(&value).last()) {
                return Err(self.fail(Error::content_encoding(self.server(), coding)));
            }
            let limit = self.settings.max_response_bytes;
            self.response = Some(head.clone());
            self.connection = Connection::Response(ResponseReader::new(head, body, limit));
            Ok(())
        } else {
            self.handle_stream_or_refusal(head, body)
        }
    }

    /// Whether the response is for the caller although it is no stream. A response of that media type
    /// may never end, so it is none, unless its status forbids a body.
    fn is_accepted(&self, head: &Parts) -> bool {
        let may_be_stream = head.status != StatusCode::NO_CONTENT
            && self
                .state
                .is_stream_type(joined(head, CONTENT_TYPE).as_deref());
        self.accepts_responses && head.status.is_success() && !may_be_stream
    }

    /// The `Content-Encoding` that the transport left on the body, unless the caller asked for it.
    fn undecoded(&self, head: &Parts) -> Option<String> {
        let value = joined(head, CONTENT_ENCODING)?.into_owned();
        (!self.template.sets_accept_encoding()).then_some(value)
    }

    fn handle_stream_or_refusal(&mut self, head: Parts, body: ResponseBody) -> Result<(), Error> {
        let (content_type, content_encoding) = (joined(&head, CONTENT_TYPE), self.undecoded(&head));
        let location = match location(&head) {
            Ok(location) => location,
            Err(error) if head.status.is_redirection() => {
                return Err(self.fail(Error::invalid_redirect(error.into())));
            }
            Err(_) => None,
        };
        let retry_after_header = header(&head, RETRY_AFTER);
        let response_head = ResponseHead::new(head.status.as_u16())
            .content_type(content_type.as_deref())
            .content_encoding(content_encoding.as_deref())
            .location(location.as_deref())
            .retry_after(retry_after_header.as_deref());
        self.state
            .handle_response(response_head, now(), wall_time());
        self.connection = Connection::Closed;
        if self.state.is_open() {
            self.connection = Connection::Open(body);
            self.template.handle_open();
            self.error = None;
            self.accepts_responses = false;
            if let Some(buffer) = &mut self.buffer {
                buffer.clear();
            }
            self.report(Lifecycle::Open { response: &head });
        } else if let Some(failure) = self.state.failure() {
            self.error = Some(match failure {
                EventSourceFailure::Status(_) => {
                    Error::status(self.server(), head.status, retry_after(&head))
                }
                EventSourceFailure::ContentType(found) => {
                    Error::content_type(self.server(), found.clone())
                }
                EventSourceFailure::ContentEncoding(coding) => {
                    Error::content_encoding(self.server(), coding)
                }
                EventSourceFailure::TooManyRedirects => {
                    Error::connect(self.server(), "too many redirects".into())
                }
                other => unreachable!("a response head is no cause of {other:?}"),
            });
            let refusal = Refusal::new(body, self.settings.max_error_body_bytes);
            self.connection = Connection::Refused(refusal);
        }
        self.response = Some(head);
        Ok(())
    }

    /// The body of a refusal is read, as far as it arrived.
    pub(super) fn handle_refusal(&mut self, text: String) {
        let (Some(error), Some(head)) = (&mut self.error, &self.response) else {
            unreachable!("a refusal has an error and a head until its body is read");
        };
        error.set_response(Response::from_parts(head.clone(), text));
        self.connection = Connection::Closed;
        self.report_lost();
    }

    fn handle_frame(&mut self, frame: Option<Result<Frame<Bytes>, TransportError>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    if let Some(buffer) = &mut self.buffer {
                        buffer.push(&chunk);
                    }
                    self.state.handle_chunk(chunk);
                }
            }
            Some(Err(error)) => self.handle_interruption(error),
            None => {
                self.connection = Connection::Closed;
                self.state.handle_end(now());
                self.report_lost();
            }
        }
    }

    fn handle_progress(&mut self, progress: Progress) -> Result<(), Error> {
        match progress {
            Progress::Part => Ok(()),
            Progress::Whole(response) => {
                self.accepted_response = Some(response);
                self.close();
                self.report(Lifecycle::Ended);
                Ok(())
            }
            Progress::TooLarge => Err(self.fail(Error::response_too_large(self.server()))),
            Progress::Broken(source) => {
                let error = Error::interrupted(self.server(), source);
                Err(self.fail(error))
            }
        }
    }

    fn handle_interruption(&mut self, source: TransportError) {
        self.handle_failed_attempt(Error::interrupted(self.server(), source));
    }

    /// The connection broke, or an attempt failed, with this error.
    fn handle_failed_attempt(&mut self, error: Error) {
        self.connection = Connection::Closed;
        self.state.handle_network_error(now());
        // Events received before may be over the limit, which then is the error.
        self.error = Some(match self.state.failure() {
            Some(EventSourceFailure::EventTooLarge(source)) => {
                Error::event_too_large(self.server(), source.clone())
            }
            Some(EventSourceFailure::Connect | EventSourceFailure::Interrupted) => error,
            other => unreachable!("a network error is no cause of {other:?}"),
        });
        self.report_lost();
    }
}

fn header(head: &Parts, name: http::HeaderName) -> Option<std::borrow::Cow<'_, str>> {
    let value = head.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

fn retry_after(head: &Parts) -> Option<Duration> {
    parse_retry_after(&header(head, RETRY_AFTER)?, wall_time())
}

/// Copies header values that are slices of the transport's read buffer. A session keeps the head, so
/// the transport could not reuse that buffer, and a quiet session would hold two.
fn detach(head: &mut Parts) {
    for value in head.headers.values_mut() {
        let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) else {
            unreachable!("the bytes of a header value make a header value");
        };
        copy.set_sensitive(value.is_sensitive());
        *value = copy;
    }
}

pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[allow(
    clippy::disallowed_methods,
    reason = "tokio has no wall clock, and a date in a Retry-After is compared with it"
)]
fn wall_time() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
