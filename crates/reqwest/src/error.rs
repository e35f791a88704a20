//! Owns what is left of an error of reqwest once its URLs are taken out.

use std::error::Error as StdError;
use std::iter::successors;

use tidings_client::TransportError;

/// The error, without any URL: queries hold tokens, and errors end in logs.
pub(crate) fn without_urls(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    // An error of reqwest's within one keeps its URL, and cannot be changed.
    let mut causes = successors(error.source(), |cause| (*cause).source());
    let names_one = |cause: &(dyn StdError + 'static)| {
        let cause = cause.downcast_ref::<reqwest::Error>();
        cause.is_some_and(|cause| cause.url().is_some())
    };
    if causes.any(names_one) {
        error.to_string().into()
    } else {
        error.into()
    }
}
