//! `Access`: the rights of a token or a ticket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tidings::hub::{ChannelName, Grant, Pattern};

use super::claims::Claims;
use super::invalid_token::InvalidToken;
use super::key_set::Signer;
use super::ticket::{Holder, Ticket, TicketKeyId};

/// What a pattern takes beside its text, in bytes: in the claims and in the grant, each with an allocation.
const PATTERN_BYTES: usize = 2 * (size_of::<Pattern>() + 32);

/// The rights of a token. All requests with one token share them, so that one revocation ends all of its
/// streams.
#[derive(Debug)]
pub(crate) struct Access {
    claims: Claims,
    grant: Grant,
    signer: Signer,
    holder: Holder,
    /// The key that has signed the ticket; `None` for a token.
    ticket_key: Option<TicketKeyId>,
    is_revoked: AtomicBool,
}

impl Access {
    pub(super) fn new(claims: Claims, signer: Signer, holder: Holder) -> Self {
        let grant = claims.subscribe.grant().expires_at(claims.expires);
        Self {
            claims,
            grant,
            signer,
            holder,
            ticket_key: None,
            is_revoked: AtomicBool::new(false),
        }
    }

    /// The rights of a ticket that this key has signed.
    pub(super) fn of_ticket(ticket: Ticket, key: TicketKeyId) -> Self {
        Self {
            ticket_key: Some(key),
            ..Self::new(ticket.claims(), ticket.signer, ticket.holder)
        }
    }

    /// The grant of its streams.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether it may publish to the channel, and end it.
    pub(crate) fn may_publish(&self, channel: &ChannelName) -> bool {
        self.claims.publish.allows(channel)
    }

    /// Whether it may subscribe to all channels that the pattern selects.
    pub(crate) fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.claims.subscribe.covers(pattern)
    }

    /// The channels to which it may subscribe: disjoint patterns in the order of their texts; `None` for all.
    pub(crate) fn subscribe(&self) -> Option<&[Pattern]> {
        self.claims.subscribe.patterns()
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
        self.check_time(now)?;
        // The grant has expired before the token if the clock was set back meanwhile.
        if self.grant.is_valid() {
            Ok(())
        } else {
            Err(InvalidToken::Expired)
        }
    }

    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), InvalidToken> {
        self.claims.check_time(now)
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Its token, or that of its ticket.
    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    pub(super) fn ticket_key(&self) -> Option<&TicketKeyId> {
        self.ticket_key.as_ref()
    }

    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let scopes = [&self.claims.publish, &self.claims.subscribe];
        let patterns = scopes.into_iter().filter_map(|scope| scope.patterns());
        let texts = patterns.flatten().map(|pattern| pattern.as_str().len());
        let key_id = self.signer.key_id.as_ref().map_or(0, String::len);
        texts.fold(size_of::<Self>() + key_id, |bytes, text| {
            bytes + PATTERN_BYTES + 2 * text
        })
    }
}
