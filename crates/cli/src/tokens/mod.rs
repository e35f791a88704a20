//! Tokens: the keys that sign them, their rights, and the tickets that replace them in a URL.
//!
//! Nothing here knows HTTP, and the time is an argument.

mod access;
mod algorithm;
mod auth;
mod cache;
mod claims;
mod invalid_token;
mod issue;
mod jwk;
mod key;
mod key_file;
mod key_set;
mod make_key;
mod opened;
mod pem;
mod scope;
#[cfg(test)]
pub(crate) mod testing;
mod ticket;
mod used_tickets;
mod verify;

pub(crate) use access::Access;
pub(crate) use auth::{Auth, NoTicket};
pub(crate) use invalid_token::InvalidToken;
pub(crate) use issue::Args as TokenArgs;
pub(crate) use issue::run as issue_token;
pub(crate) use key_file::load as load_keys;
pub(crate) use make_key::Args as KeyArgs;
pub(crate) use make_key::run as make_key;
pub(crate) use ticket::{InvalidTicket, TICKET_LIFETIME};

/// The longest token, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;
