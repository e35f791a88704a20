//! `ReconnectSettings`: the policy, numbers and strategy that a client and a request set.

use std::fmt;
use std::time::Duration;

use tidings_proto::Reconnect;

use crate::settings::Hook;
use crate::strategy::AnyStrategy;

/// The reconnection settings of one level, a client or a request. The order of the calls does not
/// matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReconnectSettings {
    pub(crate) policy: Option<Reconnect>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) reconnection_time: Option<Duration>,
    pub(crate) strategy: Option<Hook<dyn AnyStrategy>>,
}

/// The policy and the strategy in effect, once all levels are applied.
#[derive(Debug, Default)]
pub(crate) struct EffectiveReconnect {
    pub(crate) policy: Reconnect,
    /// Decides in place of the policy.
    pub(crate) strategy: Option<Hook<dyn AnyStrategy>>,
}

impl ReconnectSettings {
    /// Applies this level to the settings in effect below it. Its policy replaces the one below, with
    /// all numbers; its numbers edit the policy in effect; either replaces a strategy below.
    pub(crate) fn apply_to(
        &self,
        below: EffectiveReconnect,
    ) -> Result<EffectiveReconnect, ConflictingSettings> {
        let number = match (self.max_attempts, self.reconnection_time) {
            (Some(_), _) => Some("max_reconnection_attempts"),
            (None, Some(_)) => Some("reconnection_time"),
            (None, None) => None,
        };
        if let (Some(number), Some(_)) = (number, &self.strategy) {
            return Err(ConflictingSettings { number });
        }
        let mut policy = self.policy.clone().unwrap_or(below.policy);
        if let Some(attempts) = self.max_attempts {
            policy = policy.max_attempts(attempts);
        }
        if let Some(time) = self.reconnection_time {
            policy = policy.reconnection_time(time);
        }
        let strategy = match &self.strategy {
            Some(strategy) => Some(strategy.clone()),
            None if self.policy.is_some() || number.is_some() => None,
            None => below.strategy,
        };
        Ok(EffectiveReconnect { policy, strategy })
    }
}

/// One level sets a number for the policy, and a strategy that decides in its place.
#[derive(Debug)]
pub(crate) struct ConflictingSettings {
    number: &'static str,
}

impl fmt::Display for ConflictingSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} and reconnection_strategy are both set: the strategy decides alone, so remove one",
            self.number
        )
    }
}

impl std::error::Error for ConflictingSettings {}
