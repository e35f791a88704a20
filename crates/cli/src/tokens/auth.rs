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
use super::ticket::{InvalidTicket, MAX_TICKET_BYTES, Ticket, TicketKey, holder};
use super::used_tickets::UsedTickets;
use super::verify::verify;

/// Checks tokens and tickets by keys that can be replaced.
#[derive(Debug)]
pub(crate) struct Auth {
    /// The audience that `aud` must name. `None`: the token must have none.
    audience: Option<String>,
    state: Mutex<State>,
    /// Signs tickets while the keys have no secret.
    own_ticket_key: TicketKey,
}

#[derive(Debug)]
struct State {
    keys: Arc<KeySet>,
    ticket_key: TicketKey,
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
        let own_ticket_key = TicketKey::random();
        let ticket_key = ticket_keys(&keys, audience.as_deref()).next();
        let state = State {
            ticket_key: ticket_key.unwrap_or_else(|| own_ticket_key.clone()),
            keys: Arc::new(keys),
            cache: Cache::default(),
            used: UsedTickets::default(),
            opened: Opened::default(),
        };
        Self {
            audience,
            state: Mutex::new(state),
            own_ticket_key,
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
                return Ok(state.cache.insert(hash, access));
            }
        }
    }

    /// A ticket that opens one stream of these channels, or of some of them.
    ///
    /// # Errors
    /// [`NoTicket`] if the holder may not subscribe to all of them, if they are too many, or if the tickets
    /// are.
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
        // A page cannot see why a stream is refused, so it learns it here.
        if !state.used.accepts(access.holder(), now) {
            return Err(NoTicket::TooMany);
        }
        let text = state.ticket_key.sign(&ticket);
        drop(state);
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
        let mut state = self.lock();
        let ticket = state.ticket_key.verify(text, now)?;
        if !state.keys.accepts(&ticket.signer) {
            return Err(InvalidTicket::UnknownKey);
        }
        state
            .used
            .mark(ticket.id, ticket.expires, ticket.holder, now)?;
        let access = Access::of_ticket(ticket, state.ticket_key.id());
        // Its stream ends when the key of its token is gone.
        Ok(state.opened.insert(access))
    }

    /// Replaces the keys. Tokens of keys that are gone are refused from now on, and their streams end; all
    /// others go on.
    pub(crate) fn replace(&self, keys: KeySet) {
        let own = &self.own_ticket_key;
        let ticket_keys: Vec<_> = ticket_keys(&keys, self.audience.as_deref()).collect();
        // Whoever has a secret can make tickets in the name of every key, so their streams end with it.
        let mut ids: HashSet<_> = ticket_keys.iter().map(TicketKey::id).collect();
        ids.insert(own.id());
        let is_accepted = |access: &Access| {
            keys.accepts(access.signer()) && access.ticket_key().is_none_or(|key| ids.contains(key))
        };
        let mut state = self.lock();
        state.cache.revoke_unless(is_accepted);
        state.opened.revoke_unless(is_accepted);
        state.ticket_key = ticket_keys.first().unwrap_or(own).clone();
        state.keys = Arc::new(keys);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of tickets of these secrets. The first one signs.
fn ticket_keys(keys: &KeySet, audience: Option<&str>) -> impl Iterator<Item = TicketKey> {
    keys.secrets()
        .map(move |secret| TicketKey::derive(secret, audience))
}

#[cfg(test)]
mod tests;
