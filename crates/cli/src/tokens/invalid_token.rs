//! `InvalidToken`: why a token is refused.

use std::fmt;

use super::MAX_TOKEN_BYTES;
use super::algorithm::Algorithm;

/// Why a token is refused. Its text names the claim, and never contains the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvalidToken {
    TooLong,
    /// Not three parts of base64url.
    Malformed,
    /// The header is not JSON, or names an algorithm that nobody accepts, such as `none`.
    Header,
    /// The token names no key, and each of several keys has an ID.
    NoKeyId,
    UnknownKey,
    /// The token names another algorithm than that of its key.
    Algorithm(Algorithm),
    Signature,
    /// The claims are no JSON object, or one of them comes twice, or is a list in place of a time.
    Claims,
    NoExpiry,
    Expired,
    NotYetValid,
    /// This claim, `exp` or `nbf`, is no time.
    Time(&'static str),
    /// This claim has another type than it must have.
    Type(&'static str),
    /// A text in this claim is no pattern.
    Pattern(&'static str, String),
    /// The token is for another server.
    Audience,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the token has more than {MAX_TOKEN_BYTES} bytes"),
            Self::Malformed => f.write_str("the token is no JWT: three parts of base64url"),
            Self::Header => f.write_str(
                "the header of the token is not valid; `alg` must be HS256, ES256 or EdDSA",
            ),
            Self::NoKeyId => f.write_str("the token has no `kid`, and each of the server's keys has one"),
            Self::UnknownKey => f.write_str("the server has no key of the token's `kid`"),
            Self::Algorithm(expected) => write!(f, "the key of the token is for {expected} only"),
            Self::Signature => f.write_str("the signature of the token is wrong"),
            Self::Claims => f.write_str(
                "the claims of the token are no JSON object in which each claim comes once and has its type",
            ),
            Self::NoExpiry => f.write_str("the token has no claim `exp`"),
            Self::Expired => f.write_str("the token has expired (`exp`)"),
            Self::NotYetValid => f.write_str("the token is not valid yet (`nbf`)"),
            Self::Time(claim) => {
                write!(f, "the claim `{claim}` is no time, in seconds since 1970")
            }
            Self::Type("metrics") => f.write_str("the claim `metrics` is not true or false"),
            Self::Type(claim) => {
                write!(
                    f,
                    "the claim `{claim}` is no list of channel names and patterns"
                )
            }
            Self::Pattern(claim, error) => write!(f, "the claim `{claim}`: {error}"),
            Self::Audience => f.write_str("the token is for another audience (`aud`)"),
        }
    }
}

impl std::error::Error for InvalidToken {}
