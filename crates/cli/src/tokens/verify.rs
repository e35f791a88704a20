//! The check of a token: its key, its algorithm, its signature, its claims, in this order.

use std::collections::HashSet;
use std::time::SystemTime;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};

use super::MAX_TOKEN_BYTES;
use super::claims::{Claims, RawClaims};
use super::invalid_token::InvalidToken;
use super::key::Key;
use super::key_set::{KeySet, NoKey, Signer};

/// A token whose signature and claims are valid.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Claims,
    pub(super) signer: Signer,
}

/// Checks a token for this audience, except for its times.
pub(super) fn verify(
    token: &str,
    keys: &KeySet,
    audience: Option<&str>,
) -> Result<Verified, InvalidToken> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(InvalidToken::TooLong);
    }
    let header = decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::Json(_) => InvalidToken::Header,
        _ => InvalidToken::Malformed,
    })?;
    let key = keys.find(header.kid.as_deref());
    let key = key.map_err(|missing| match missing {
        NoKey::Unnamed => InvalidToken::NoKeyId,
        NoKey::Unknown => InvalidToken::UnknownKey,
    })?;
    let decoded = decode::<RawClaims>(token, key.verifying(), &validation(key));
    let decoded = decoded.map_err(|error| match error.kind() {
        ErrorKind::InvalidAlgorithm => InvalidToken::Algorithm(key.algorithm()),
        ErrorKind::InvalidSignature => InvalidToken::Signature,
        ErrorKind::Json(_) => InvalidToken::Claims,
        // An extension that must be understood (`crit`), or a payload that is not encoded (`b64`).
        ErrorKind::InvalidToken => InvalidToken::Header,
        _ => InvalidToken::Malformed,
    })?;
    Ok(Verified {
        claims: decoded.claims.check(audience)?,
        signer: Signer {
            key_id: header.kid,
            fingerprint: *key.fingerprint(),
        },
    })
}

/// Checks only the algorithm and the signature: `RawClaims` checks the claims, with the time of the caller.
fn validation(key: &Key) -> Validation {
    let mut validation = Validation::new(key.algorithm().of_jwt());
    validation.required_spec_claims = HashSet::new();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

impl Claims {
    /// Whether the token is valid at this time. No leeway: the clocks of issuer and server must agree.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), InvalidToken> {
        if self.expires <= now {
            return Err(InvalidToken::Expired);
        }
        if self.not_before.is_some_and(|from| from > now) {
            return Err(InvalidToken::NotYetValid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
