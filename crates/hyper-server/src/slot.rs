//! `Slot`: where the service of a connection leaves a response that may leave hyper.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Extensions, Response};
use tidings_server::StreamResponse;

use crate::terms::Terms;

/// Where the service of a connection leaves a response that may leave hyper.
///
/// The future of the service offers a response and waits. The connection polls that future as a part of
/// hyper's connection, and looks into the slot after each such poll. It either takes the socket, or declines
/// the response and polls hyper again. So nobody has to be woken.
#[derive(Debug)]
pub(crate) struct Slot<B>(Arc<Mutex<Content<B>>>);

/// A response that may leave hyper.
#[derive(Debug)]
pub(crate) struct Offer<B> {
    pub(crate) response: Response<B>,
    pub(crate) terms: Terms,
    pub(crate) reading: Reading,
}

/// While it exists, the connection reads by itself, so that nothing below it has to.
///
/// It begins with the offer: hyper flushes once more before the connection sees the offer, and an
/// `IoDeadline` may read at each flush.
#[derive(Debug)]
pub(crate) struct Reading(Option<StreamResponse>);

impl Reading {
    /// For the stream with these extensions.
    pub(crate) fn begin(extensions: &Extensions) -> Self {
        let stream = extensions.get::<StreamResponse>().cloned();
        if let Some(stream) = &stream {
            stream.set_reading(true);
        }
        Self(stream)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            stream.set_reading(false);
        }
    }
}

#[derive(Debug)]
enum Content<B> {
    Empty,
    Offered(Offer<B>),
    /// hyper writes this response.
    Declined(Response<B>),
}

impl<B> Slot<B> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Content::Empty)))
    }

    pub(crate) fn offer(&self, offer: Offer<B>) {
        *self.lock() = Content::Offered(offer);
    }

    pub(crate) fn take_offer(&self) -> Option<Offer<B>> {
        let mut content = self.lock();
        match mem::replace(&mut *content, Content::Empty) {
            Content::Offered(offer) => Some(offer),
            other => {
                *content = other;
                None
            }
        }
    }

    pub(crate) fn decline(&self, offer: Offer<B>) {
        *self.lock() = Content::Declined(offer.response);
    }

    pub(crate) fn take_declined(&self) -> Option<Response<B>> {
        let mut content = self.lock();
        match mem::replace(&mut *content, Content::Empty) {
            Content::Declined(response) => Some(response),
            other => {
                *content = other;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for Slot<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
