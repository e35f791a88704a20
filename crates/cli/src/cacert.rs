//! `--cacert`: root certificates that `publish` and `listen` trust beside those of the system.

use std::fmt;
use std::fs;
use std::str::FromStr;

use tidings::hyper::DirectTransport;

/// The bytes of a file with root certificates.
#[derive(Clone)]
pub(crate) struct CaCertificates(Vec<u8>);

impl CaCertificates {
    pub(crate) fn trusted_by(&self, transport: DirectTransport) -> DirectTransport {
        let trusting = transport.add_root_certificate(&self.0);
        trusting.unwrap_or_else(|_| unreachable!("they were accepted when the flag was read"))
    }
}

impl FromStr for CaCertificates {
    type Err = String;

    /// Reads the file at this path.
    fn from_str(path: &str) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| format!("cannot read the file: {error}"))?;
        match DirectTransport::new().add_root_certificate(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(error) => Err(crate::chain(&error)),
        }
    }
}

impl fmt::Debug for CaCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaCertificates").finish_non_exhaustive()
    }
}
