//! `Offering`: a service whose streams are offered to the connection before hyper sees them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;

use crate::RequestBody;
use crate::request_body::ReadProgress;
use crate::slot::{Offer, Reading, Slot};
use crate::terms::{Terms, is_open_stream};

/// A service whose streams are offered to the connection before hyper sees them.
#[derive(Debug)]
pub(crate) struct Offering<S, B> {
    pub(crate) service: S,
    slot: Slot<B>,
}

impl<S, B> Offering<S, B> {
    pub(crate) fn new(service: S, slot: Slot<B>) -> Self {
        Self { service, slot }
    }
}

impl<S, B> Service<Request<Incoming>> for Offering<S, B>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answer<S::Future, B>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(body);
        let offering = Terms::of(&parts).map(|terms| OfferTerms {
            terms,
            progress: body.progress(),
        });
        Answer {
            answering: Some(self.service.call(Request::from_parts(parts, body))),
            offering,
            slot: self.slot.clone(),
        }
    }
}

pin_project! {
    /// The answer to one request. It waits after it has offered its response.
    pub(crate) struct Answer<F, B> {
        // `None` after it has returned a response, which is then offered.
        #[pin]
        answering: Option<F>,
        // `None` if the answer must stay with hyper.
        offering: Option<OfferTerms>,
        slot: Slot<B>,
    }
}

/// The parts of an offer that come from the request.
struct OfferTerms {
    terms: Terms,
    progress: ReadProgress,
}

impl<F, B, E> Future for Answer<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(answering) = this.answering.as_mut().as_pin_mut() else {
            return match this.slot.take_declined() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            };
        };
        let response = ready!(answering.poll(cx))?;
        this.answering.set(None);
        let offering = this.offering.take();
        let offering = offering.filter(|offering| offering.progress.is_at_end());
        let Some(OfferTerms { terms, .. }) = offering.filter(|_| is_open_stream(&response)) else {
            return Poll::Ready(Ok(response));
        };
        this.slot.offer(Offer {
            reading: Reading::begin(response.extensions()),
            response,
            terms,
        });
        Poll::Pending
    }
}
