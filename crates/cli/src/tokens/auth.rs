//! `Auth`: the check of tokens and tickets, by keys that can be replaced.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use tidings::hub::Pattern;

use super::MAX_TOKEN_BYTES;
use super::access::Access;
use super::cache::Cache;
use super::invalid_token::InvalidToken;
use super::key::sha256;
use super::key_set::KeySet;
use super::opened::Opened;
use super::ticket::{InvalidTicket, MAX_TICKET_BYTES, Ticket, TicketKey, TicketKeyId, holder};
use super::used_tickets::UsedTickets;
use super::verify::verify;

/// Checks tokens and tickets by keys that can be replaced.
#[derive(Debug)]
pub(crate) struct Auth {
    /// The audience that `aud` must name. `None`: the token must have none.
    audience: Option<String>,
    state: Mutex<State>,
    /// Signs tickets while the set has no secret. Its tickets stay valid when the set receives one.
    own_ticket_key: TicketKey,
}

#[derive(Debug)]
struct State {
    keys: Arc<KeySet>,
    /// The keys of tickets, derived from the secrets of the set, in its order. The last one signs: a key that
    /// will be removed is before its successor, so the streams of new tickets outlast it.
    ticket_keys: Arc<[TicketKey]>,
    cache: Cache,
    used: UsedTickets,
    opened: Opened,
}

/// Why no ticket was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoTicket {
    /// The token is no longer valid.
    Invalid(InvalidToken),
    /// The token does not allow to subscribe to all these channels.
    NotGranted(Pattern),
    /// The ticket would be too long for a URL.
    TooLong,
    /// The token uses too many tickets at once, so this one would be refused.
    TooMany,
}

impl Auth {
    pub(crate) fn new(keys: KeySet, audience: Option<String>) -> Self {
        let state = State {
            ticket_keys: ticket_keys(&keys, audience.as_deref()),
            keys: Arc::new(keys),
            cache: Cache::default(),
            used: UsedTickets::default(),
            opened: Opened::default(),
        };
        Self {
            audience,
            state: Mutex::new(state),
            own_ticket_key: TicketKey::random(),
        }
    }

    /// The rights of this token.
    ///
    /// # Errors
    /// Why the token is refused.
    pub(crate) fn authenticate(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Arc<Access>, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong);
        }
        let hash = sha256(digest(&SHA256, token.as_bytes()));
        loop {
            let mut state = self.lock();
            state.cache.remove_surplus(now);
            if let Some(access) = state.cache.get(&hash) {
                access.check_time(now)?;
                // Otherwise the clock was set back, and the token has a new grant for the time that is left.
                if access.grant().is_valid() {
                    return Ok(access);
                }
                state.cache.remove(&hash);
            }
            let keys = Arc::clone(&state.keys);
            drop(state);
            let verified = verify(token, &keys, self.audience.as_deref())?;
            verified.claims.check_time(now)?;
            let mut state = self.lock();
            // Otherwise the keys were replaced meanwhile, and the new ones may lack that of the token.
            if Arc::ptr_eq(&keys, &state.keys) {
                let access = Access::new(verified.claims, verified.signer, holder(&hash));
                return Ok(state.cache.insert(hash, access, now));
            }
        }
    }

    /// A ticket that opens one stream of these channels, or of some of them.
    ///
    /// # Errors
    /// [`NoTicket`] if the token is no longer valid or does not allow all of these channels, if it has used
    /// too many tickets, or if the ticket is too long.
    pub(crate) fn issue_ticket(
        &self,
        access: &Access,
        channels: Vec<Pattern>,
        now: SystemTime,
    ) -> Result<String, NoTicket> {
        access.check(now).map_err(NoTicket::Invalid)?;
        let denied = channels
            .iter()
            .find(|channel| !access.may_subscribe(channel));
        if let Some(denied) = denied {
            return Err(NoTicket::NotGranted(denied.clone()));
        }
        let ticket = Ticket::new(
            channels,
            access.signer().clone(),
            *access.holder(),
            access.expires(),
            now,
        );
        let mut state = self.lock();
        // Refused here too, because a page cannot see why its stream is refused.
        if !state.used.accepts(access.holder(), now) {
            return Err(NoTicket::TooMany);
        }
        let ticket_keys = Arc::clone(&state.ticket_keys);
        drop(state);
        let signing = ticket_keys.last().unwrap_or(&self.own_ticket_key);
        let text = signing.sign(&ticket);
        if text.len() > MAX_TICKET_BYTES {
            return Err(NoTicket::TooLong);
        }
        Ok(text)
    }

    /// Uses the ticket, and returns its rights. A second use is refused.
    ///
    /// # Errors
    /// Why the ticket is refused.
    pub(crate) fn redeem(&self, text: &str, now: SystemTime) -> Result<Arc<Access>, InvalidTicket> {
        loop {
            let ticket_keys = Arc::clone(&self.lock().ticket_keys);
            let (ticket, ticket_key) = self.verify_ticket(text, &ticket_keys, now)?;
            let mut state = self.lock();
            // Otherwise the keys were replaced meanwhile, and the new ones may lack that of the ticket.
            if !Arc::ptr_eq(&ticket_keys, &state.ticket_keys) {
                continue;
            }
            if !state.keys.accepts(&ticket.signer) {
                return Err(InvalidTicket::UnknownKey);
            }
            state
                .used
                .mark(ticket.id, ticket.expires, ticket.holder, now)?;
            let access = Access::of_ticket(ticket, ticket_key);
            // Its stream ends when the key of its token is gone, or that of the ticket.
            return Ok(state.opened.insert(access));
        }
    }

    /// The ticket of this text, and the key that has signed it: one of these, or the server's own.
    fn verify_ticket(
        &self,
        text: &str,
        keys: &[TicketKey],
        now: SystemTime,
    ) -> Result<(Ticket, TicketKeyId), InvalidTicket> {
        let keys = keys.iter().rev().chain([&self.own_ticket_key]);
        for key in keys {
            match key.verify(text, now) {
                Err(InvalidTicket::Signature) => {}
                verified => return verified.map(|ticket| (ticket, key.id())),
            }
        }
        Err(InvalidTicket::Signature)
    }

    /// Replaces the keys. Tokens of keys that are gone are refused from now on, and their streams end; all
    /// others go on.
    pub(crate) fn replace(&self, keys: KeySet) {
        let ticket_keys = ticket_keys(&keys, self.audience.as_deref());
        // A secret can sign tickets in the name of every key, so the streams of its tickets end with it.
        let accepted = ticket_keys.iter().chain([&self.own_ticket_key]);
        let ids: HashSet<_> = accepted.map(TicketKey::id).collect();
        let is_accepted = |access: &Access| {
            keys.accepts(access.signer()) && access.ticket_key().is_none_or(|key| ids.contains(key))
        };
        let mut state = self.lock();
        state.cache.revoke_unless(is_accepted);
        state.opened.revoke_unless(is_accepted);
        state.ticket_keys = ticket_keys;
        state.keys = Arc::new(keys);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of tickets of these secrets, in the order of the set.
fn ticket_keys(keys: &KeySet, audience: Option<&str>) -> Arc<[TicketKey]> {
    keys.secrets()
        .map(|secret| TicketKey::derive(secret, audience))
        .collect()
}

#[cfg(test)]
mod tests;
