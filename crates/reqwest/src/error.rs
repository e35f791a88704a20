//! Errors of reqwest without their URLs.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

use tidings_client::TransportError;

/// The error without any URL: a query may contain a token, and errors are written to logs.
pub(crate) fn without_urls(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let is_timeout = error.is_timeout();
    // A cause that is itself an error of reqwest keeps its URL, and cannot be changed.
    let mut causes = successors(error.source(), |cause| (*cause).source());
    let names_one = |cause: &(dyn StdError + 'static)| {
        let cause = cause.downcast_ref::<reqwest::Error>();
        cause.is_some_and(|cause| cause.url().is_some())
    };
    let error = if causes.any(names_one) {
        error.to_string().into()
    } else {
        TransportError::from(error)
    };
    // `tidings_client::Error::is_timeout` looks for this kind.
    if is_timeout {
        io::Error::new(io::ErrorKind::TimedOut, error).into()
    } else {
        error
    }
}
