//! `Resolver`: the lookup of a host name, with an error type of its own.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiFuture, GaiResolver, Name};
use tower_service::Service;

/// Looks names up as the platform does, on tokio's blocking threads.
#[derive(Clone)]
pub(crate) struct Resolver(GaiResolver);

impl Resolver {
    pub(crate) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = LookupError;
    type Future = Lookup;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        self.0.poll_ready(cx).map_err(LookupError)
    }

    fn call(&mut self, name: Name) -> Lookup {
        Lookup(self.0.call(name))
    }
}

pub(crate) struct Lookup(GaiFuture);

impl Future for Lookup {
    type Output = Result<GaiAddrs, LookupError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0)
            .poll(cx)
            .map_err(LookupError)
    }
}

/// The error of a lookup, with the text of the platform's. hyper-util's connector does not report
/// which of its steps failed; this type distinguishes the lookup from the TCP connection.
#[derive(Debug)]
pub(crate) struct LookupError(io::Error);

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for LookupError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
