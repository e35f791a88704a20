//! `Access`: the rights of a token or a ticket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tidings::hub::{ChannelName, Grant, Pattern};

use super::claims::Claims;
use super::invalid_token::InvalidToken;
use super::key_set::Signer;
use super::ticket::{Ticket, TicketKeyId};

/// The rights of a token. All requests with one token share them, so that one revocation ends all of its
/// streams.
#[derive(Debug)]
pub(crate) struct Access {
    claims: Claims,
    grant: Grant,
    signer: Signer,
    /// The key that has signed the ticket; `None` for a token.
    ticket_key: Option<TicketKeyId>,
    is_revoked: AtomicBool,
}

impl Access {
    pub(super) fn new(claims: Claims, signer: Signer) -> Self {
        let grant = Grant::new(&claims.subscribe)
            .unwrap_or_else(|_| unreachable!("the patterns are valid"))
            .expires_at(claims.expires);
        Self {
            claims,
            grant,
            signer,
            ticket_key: None,
            is_revoked: AtomicBool::new(false),
        }
    }

    /// The rights of a ticket that this key has signed.
    pub(super) fn of_ticket(ticket: Ticket, key: TicketKeyId) -> Self {
        Self {
            ticket_key: Some(key),
            ..Self::new(ticket.claims(), ticket.signer)
        }
    }

    /// The grant of its streams.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether it may publish to the channel, and end it.
    pub(crate) fn may_publish(&self, channel: &ChannelName) -> bool {
        let mut patterns = self.claims.publish.iter();
        patterns.any(|pattern| pattern.matches(channel))
    }

    /// Whether it may subscribe to all channels that the pattern selects.
    pub(crate) fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.grant.allows(pattern)
    }

    /// The channels to which it may subscribe: disjoint patterns in the order of their texts.
    pub(crate) fn subscribe(&self) -> &[Pattern] {
        &self.claims.subscribe
    }

    pub(crate) fn may_read_metrics(&self) -> bool {
        self.claims.metrics
    }

    pub(crate) fn expires(&self) -> SystemTime {
        self.claims.expires
    }

    /// Ends its streams, and refuses the requests that are being received.
    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Relaxed);
        self.grant.revoke();
    }

    /// Whether it is still valid at this time.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn check(&self, now: SystemTime) -> Result<(), InvalidToken> {
        if self.is_revoked.load(Ordering::Relaxed) {
            return Err(InvalidToken::UnknownKey);
        }
        self.check_time(now)
    }

    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), InvalidToken> {
        self.claims.check_time(now)
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    pub(super) fn ticket_key(&self) -> Option<&TicketKeyId> {
        self.ticket_key.as_ref()
    }
}
