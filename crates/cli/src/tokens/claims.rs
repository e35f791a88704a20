//! `Claims`: the claims of a token, checked and parsed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use tidings::hub::Pattern;

use super::invalid_token::InvalidToken;
use super::scope::{ALL, Scope};

/// The latest time of a claim: the end of the year 9999, in seconds since 1970.
const MAX_TIME: u64 = 253_402_300_799;

/// The claims as they are in a token. Unknown ones are ignored, and one that comes twice is an error.
#[derive(Debug, Deserialize)]
pub(super) struct RawClaims {
    exp: Option<Value>,
    nbf: Option<Value>,
    aud: Option<Value>,
    publish: Option<Value>,
    subscribe: Option<Value>,
    metrics: Option<Value>,
}

/// The rights of a token, and their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) expires: SystemTime,
    pub(super) not_before: Option<SystemTime>,
    pub(super) publish: Scope,
    pub(super) subscribe: Scope,
    pub(super) metrics: bool,
}

impl RawClaims {
    /// The claims, if each is valid and the token is for this audience.
    pub(super) fn check(&self, audience: Option<&str>) -> Result<Claims, InvalidToken> {
        let expires = self.exp.as_ref().ok_or(InvalidToken::NoExpiry)?;
        let not_before = self.nbf.as_ref().map(|time| parse_time("nbf", time));
        self.check_audience(audience)?;
        Ok(Claims {
            expires: parse_time("exp", expires)?,
            not_before: not_before.transpose()?,
            publish: parse_scope("publish", self.publish.as_ref())?,
            subscribe: parse_scope("subscribe", self.subscribe.as_ref())?,
            metrics: match &self.metrics {
                None => false,
                Some(Value::Bool(allowed)) => *allowed,
                Some(_) => return Err(InvalidToken::Type("metrics")),
            },
        })
    }

    /// A server refuses a token that names only other audiences (RFC 7519, section 4.1.3).
    fn check_audience(&self, expected: Option<&str>) -> Result<(), InvalidToken> {
        let names = match &self.aud {
            None if expected.is_none() => return Ok(()),
            None => &[],
            Some(Value::Array(names)) => names.as_slice(),
            Some(name) => std::slice::from_ref(name),
        };
        let is_ours = |name: &Value| name.as_str().is_some_and(|name| Some(name) == expected);
        if names.iter().any(is_ours) {
            Ok(())
        } else {
            Err(InvalidToken::Audience)
        }
    }
}

/// A time in seconds since 1970, which may have a fraction.
fn parse_time(claim: &'static str, value: &Value) -> Result<SystemTime, InvalidToken> {
    let invalid = || InvalidToken::Time(claim);
    let seconds = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            let seconds = value.as_f64().ok_or_else(invalid)?;
            Duration::try_from_secs_f64(seconds).map_err(|_| invalid())?
        }
    };
    if seconds.as_secs() > MAX_TIME {
        return Err(invalid());
    }
    Ok(UNIX_EPOCH + seconds)
}

fn parse_scope(claim: &'static str, value: Option<&Value>) -> Result<Scope, InvalidToken> {
    let texts = match value {
        None => &[],
        Some(Value::Array(texts)) => texts.as_slice(),
        Some(_) => return Err(InvalidToken::Type(claim)),
    };
    let (mut patterns, mut is_all) = (Vec::new(), false);
    for text in texts {
        match text.as_str() {
            Some(ALL) => is_all = true,
            Some(text) => patterns.push(
                Pattern::new(text)
                    .map_err(|error| InvalidToken::Pattern(claim, error.to_string()))?,
            ),
            None => return Err(InvalidToken::Type(claim)),
        }
    }
    Ok(if is_all {
        Scope::All
    } else {
        Scope::of(&patterns)
    })
}
