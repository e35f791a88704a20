//! `Error`: why a connection failed.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::http_service::BoxError;

/// Why a connection failed. The cause is its [`source`](StdError::source).
#[derive(Debug)]
pub struct Error(ErrorKind);

#[derive(Debug)]
enum ErrorKind {
    Http(hyper::Error),
    Read(io::Error),
    Write(io::Error),
    Body(BoxError),
}

impl Error {
    pub(crate) fn http(error: hyper::Error) -> Self {
        Self(ErrorKind::Http(error))
    }

    pub(crate) fn read(error: io::Error) -> Self {
        Self(ErrorKind::Read(error))
    }

    pub(crate) fn write(error: io::Error) -> Self {
        Self(ErrorKind::Write(error))
    }

    pub(crate) fn body(error: BoxError) -> Self {
        Self(ErrorKind::Body(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ErrorKind::Http(_) => "an exchange over HTTP/1 failed",
            ErrorKind::Read(_) => "the client left during a stream",
            ErrorKind::Write(_) => "a stream could not be written",
            ErrorKind::Body(_) => "the body of a stream failed",
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match &self.0 {
            ErrorKind::Http(error) => error,
            ErrorKind::Read(error) | ErrorKind::Write(error) => error,
            ErrorKind::Body(error) => &**error,
        })
    }
}
