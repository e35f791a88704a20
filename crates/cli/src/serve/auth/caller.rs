//! `Caller`: the rights of the sender of a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tidings::hub::{ChannelName, Pattern, Subscription};

use super::super::app::App;
use super::super::problem::Problem;
use super::{gate, now};
use crate::tokens::Access;

/// The rights of the sender of a request: those of its token, or, without keys, all.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<Arc<Access>>);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match (&app.auth, parts.extensions.get()) {
            (None, _) => Ok(Self(None)),
            (Some(_), Some(access)) => Ok(Self(Some(Arc::clone(access)))),
            // A route that the gate does not guard.
            (Some(_), None) => Err(gate::missing()),
        }
    }
}

impl Caller {
    /// Refuses to publish to the channel, or to end it.
    pub(crate) fn check_publish(&self, channel: &ChannelName) -> Result<(), Problem> {
        match &self.0 {
            Some(access) if !access.may_publish(channel) => Err(Problem::not_granted(format!(
                "the token does not allow to publish to {channel}; its claim `publish` must name it"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a request whose token has expired, or whose key is gone, while its body was received.
    pub(crate) fn check_valid(&self) -> Result<(), Problem> {
        match &self.0 {
            Some(access) => access.check(now()).map_err(|error| gate::invalid(&error)),
            None => Ok(()),
        }
    }

    /// Refuses to subscribe to a channel that the pattern selects.
    ///
    /// A token that has lapsed since the request arrived is refused as such: another one helps.
    pub(crate) fn check_subscribe(&self, pattern: &Pattern) -> Result<(), Problem> {
        self.check_valid()?;
        match &self.0 {
            Some(access) if !access.may_subscribe(pattern) => Err(not_subscribed(pattern)),
            _ => Ok(()),
        }
    }

    /// Refuses to read the metrics.
    pub(crate) fn check_metrics(&self) -> Result<(), Problem> {
        match &self.0 {
            Some(access) if !access.may_read_metrics() => Err(Problem::not_granted(
                "the token does not allow to read the metrics; its claim `metrics` must be true",
            )),
            _ => Ok(()),
        }
    }

    /// The channels that it may list: those of these disjoint patterns, or all.
    pub(crate) fn listed(&self) -> Option<&[Pattern]> {
        self.0.as_deref().and_then(Access::subscribe)
    }

    /// The subscription, which ends with the token.
    pub(crate) fn limit(&self, subscription: Subscription) -> Subscription {
        match &self.0 {
            Some(access) => subscription.grant(access.grant()),
            None => subscription,
        }
    }

    /// Its token or ticket; `None` without keys.
    pub(crate) fn access(&self) -> Option<&Arc<Access>> {
        self.0.as_ref()
    }
}

pub(super) fn not_subscribed(pattern: &Pattern) -> Problem {
    Problem::not_granted(format!(
        "the token does not allow to subscribe to {pattern}; its claim `subscribe` must name it"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;
    use crate::tokens::testing::{secret_key, set, token};
    use crate::tokens::{Auth, InvalidToken};

    /// The rights of a token for the channel `a` that expires in an hour.
    fn caller(auth: &Auth) -> Caller {
        let expires = now() + Duration::from_secs(3_600);
        let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let claims = json!({"exp": expires.as_secs(), "subscribe": ["a"]});
        let access = auth.authenticate(&token(&secret_key(None), &claims), now());
        Caller(Some(access.unwrap()))
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "a table of tests")]
    fn check(caller: &Caller, channel: &'static str, expected: Result<(), Problem>) {
        assert_eq!(
            caller.check_subscribe(&Pattern::from_static(channel)),
            expected
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_lapses_during_its_request_is_refused_as_such() {
        let auth = Auth::new(set([secret_key(None)]), None);
        let lapsed = caller(&auth);
        check(&lapsed, "a", Ok(()));
        let other = not_subscribed(&Pattern::from_static("b"));
        assert_eq!((other.status, other.code), (403, "insufficient-scope"));
        check(&lapsed, "b", Err(other));
        // An hour on the clock of the grant, and none on the wall.
        tokio::time::advance(Duration::from_secs(3_600)).await;
        check(&lapsed, "a", Err(gate::invalid(&InvalidToken::Expired)));
        let revoked = caller(&auth);
        check(&revoked, "a", Ok(()));
        auth.replace(set([secret_key(Some("other"))]));
        check(&revoked, "a", Ok(()));
        let other = crate::tokens::testing::other_key();
        auth.replace(set([other]));
        check(&revoked, "a", Err(gate::invalid(&InvalidToken::UnknownKey)));
    }
}
