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
    pub(crate) fn check_subscribe(&self, pattern: &Pattern) -> Result<(), Problem> {
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
        self.0.as_deref().map(Access::subscribe)
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
