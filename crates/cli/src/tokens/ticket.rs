//! `Ticket`: a page of another origin puts it into the URL of a stream, in place of a token.
//!
//! A ticket is `PAYLOAD.MAC`, two parts of base64url. A token has three, and another key.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tidings::hub::Pattern;

use super::cache::TokenHash;
use super::claims::Claims;
use super::key::Fingerprint;
use super::key_set::Signer;
use super::scope::Scope;

/// How long a ticket is valid.
pub(crate) const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// The longest ticket, in bytes. It must fit into a URL.
pub(crate) const MAX_TICKET_BYTES: usize = 8 * 1024;

/// Makes the key of tickets another one than that of the tokens.
const LABEL: &[u8] = b"tidings ticket 1";

pub(super) type TicketId = [u8; 16];

/// Distinguishes the tokens for which tickets are made, without revealing them.
pub(super) type Holder = [u8; 16];

/// The beginning of the hash of a token.
pub(super) fn holder(hash: &TokenHash) -> Holder {
    let (holder, _) = hash.split_at(size_of::<Holder>());
    holder
        .try_into()
        .unwrap_or_else(|_| unreachable!("a hash is longer"))
}

/// The right to open one stream of these channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: TicketId,
    /// Until when the stream can be opened.
    pub(super) expires: SystemTime,
    /// Until when the stream may last: the expiry of the token.
    pub(super) until: SystemTime,
    pub(super) channels: Vec<Pattern>,
    /// The signer of the token.
    pub(super) signer: Signer,
    /// The token.
    pub(super) holder: Holder,
}

/// Why a ticket is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidTicket {
    /// It is not two parts of base64url, or is too long.
    Malformed,
    /// It is of another server, or forged.
    Signature,
    Expired,
    /// A stream was opened with it.
    Used,
    /// The key of its token is gone.
    UnknownKey,
    /// Its token has used too many tickets. It can be used later.
    TooMany,
    /// The server cannot remember that it is used. It can be used later.
    Full,
}

impl fmt::Display for InvalidTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the ticket is not valid; `POST /tickets` makes one",
            Self::Signature => "the ticket is not of this server",
            Self::Expired => "the ticket, or its token, has expired",
            Self::Used => "the ticket was used before; a ticket opens one stream",
            Self::UnknownKey => "the server has no longer the key of the ticket's token",
            Self::TooMany => "too many tickets of this token are used at once",
            Self::Full => "too many tickets are used at once",
        })
    }
}

impl std::error::Error for InvalidTicket {}

impl Ticket {
    /// A ticket for these channels, for the holder of a token that is valid until then.
    pub(super) fn new(
        channels: Vec<Pattern>,
        signer: Signer,
        holder: Holder,
        until: SystemTime,
        now: SystemTime,
    ) -> Self {
        Self {
            id: random(),
            expires: now + TICKET_LIFETIME,
            until,
            channels,
            signer,
            holder,
        }
    }

    /// Its rights.
    pub(super) fn claims(&self) -> Claims {
        Claims {
            expires: self.until,
            not_before: None,
            publish: Scope::Of(Vec::new()),
            subscribe: Scope::of(&self.channels),
            metrics: false,
        }
    }
}

/// A ticket as JSON.
#[derive(Serialize, Deserialize)]
struct Payload {
    id: String,
    /// In milliseconds since 1970.
    exp: u64,
    until: u64,
    channels: Vec<String>,
    kid: Option<String>,
    key: String,
    holder: String,
}

impl Payload {
    fn of(ticket: &Ticket) -> Self {
        Self {
            id: URL_SAFE_NO_PAD.encode(ticket.id),
            exp: millis(ticket.expires),
            until: millis(ticket.until),
            channels: ticket.channels.iter().map(ToString::to_string).collect(),
            kid: ticket.signer.key_id.clone(),
            key: URL_SAFE_NO_PAD.encode(ticket.signer.fingerprint),
            holder: URL_SAFE_NO_PAD.encode(ticket.holder),
        }
    }

    fn into_ticket(self) -> Option<Ticket> {
        let channels: Result<_, _> = self.channels.iter().map(Pattern::new).collect();
        Some(Ticket {
            id: fixed(&self.id)?,
            expires: UNIX_EPOCH + Duration::from_millis(self.exp),
            until: UNIX_EPOCH + Duration::from_millis(self.until),
            channels: channels.ok()?,
            signer: Signer {
                key_id: self.kid,
                fingerprint: fixed::<{ size_of::<Fingerprint>() }>(&self.key)?,
            },
            holder: fixed(&self.holder)?,
        })
    }
}

/// Rounded down, so that nothing is valid longer than it should be.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).unwrap_or_else(|_| unreachable!("the system has random numbers"));
    bytes
}

/// Distinguishes the keys of tickets, without revealing them.
pub(super) type TicketKeyId = [u8; 32];

/// The key that signs and verifies tickets.
#[derive(Clone)]
pub(super) struct TicketKey(hmac::Key);

/// Shows no key material.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

impl TicketKey {
    /// The same key in each process that has this secret and this audience: a token of one audience must not
    /// become a ticket for another.
    pub(super) fn derive(secret: &[u8], audience: Option<&str>) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, secret));
        context.update(LABEL);
        if let Some(audience) = audience {
            context.update(&[0]);
            context.update(audience.as_bytes());
        }
        Self(hmac::Key::new(HMAC_SHA256, context.sign().as_ref()))
    }

    pub(super) fn id(&self) -> TicketKeyId {
        let id = hmac::sign(&self.0, b"id").as_ref().try_into();
        id.unwrap_or_else(|_| unreachable!("an HMAC of SHA-256 has 32 bytes"))
    }

    /// A key of this process alone.
    pub(super) fn random() -> Self {
        Self(hmac::Key::new(HMAC_SHA256, &random::<32>()))
    }

    /// The text of the ticket.
    pub(super) fn sign(&self, ticket: &Ticket) -> String {
        let json = serde_json::to_vec(&Payload::of(ticket));
        let json = json.unwrap_or_else(|_| unreachable!("a payload is JSON"));
        let payload = URL_SAFE_NO_PAD.encode(json);
        let mac = hmac::sign(&self.0, payload.as_bytes());
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
    }

    /// The ticket of this text, if this key has signed it and it is valid now.
    pub(super) fn verify(&self, text: &str, now: SystemTime) -> Result<Ticket, InvalidTicket> {
        let parts = text
            .split_once('.')
            .filter(|(_, mac)| text.len() <= MAX_TICKET_BYTES && !mac.contains('.'));
        let (payload, mac) = parts.ok_or(InvalidTicket::Malformed)?;
        let mac = URL_SAFE_NO_PAD.decode(mac);
        let mac = mac.map_err(|_| InvalidTicket::Malformed)?;
        hmac::verify(&self.0, payload.as_bytes(), &mac).map_err(|_| InvalidTicket::Signature)?;
        let json = URL_SAFE_NO_PAD.decode(payload).ok();
        let payload: Option<Payload> = json.and_then(|json| serde_json::from_slice(&json).ok());
        let ticket = payload.and_then(Payload::into_ticket);
        let ticket = ticket.ok_or(InvalidTicket::Malformed)?;
        if ticket.expires.min(ticket.until) <= now {
            return Err(InvalidTicket::Expired);
        }
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn ticket(lifetime: u64) -> Ticket {
        let channels = ["a", "b/*"].map(Pattern::from_static).to_vec();
        let signer = Signer {
            key_id: Some("k".into()),
            fingerprint: [7; 32],
        };
        Ticket::new(
            channels,
            signer,
            [8; 16],
            now() + Duration::from_secs(lifetime),
            now(),
        )
    }

    #[track_caller]
    fn check(text: &str, seconds: f64, expected: Result<(), InvalidTicket>) {
        let read =
            TicketKey::derive(SECRET, None).verify(text, now() + Duration::from_secs_f64(seconds));
        assert_eq!(read.map(drop), expected, "{text} {seconds}");
    }

    #[test]
    fn a_ticket_is_read_back_for_30_seconds_and_not_longer_than_its_token() {
        let key = TicketKey::derive(SECRET, None);
        let long = ticket(3_600);
        let text = key.sign(&long);
        assert_eq!(key.verify(&text, now()), Ok(long));
        check(&text, 29.9, Ok(()));
        check(&text, 30.0, Err(InvalidTicket::Expired));
        check(&text, 31.0, Err(InvalidTicket::Expired));
        let short = key.sign(&ticket(5));
        check(&short, 4.9, Ok(()));
        check(&short, 5.0, Err(InvalidTicket::Expired));
    }

    #[test]
    fn two_tickets_differ() {
        assert_ne!(ticket(60).id, ticket(60).id);
    }

    #[test]
    fn a_changed_ticket_is_refused_at_every_byte() {
        let text = TicketKey::derive(SECRET, None).sign(&ticket(60));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let read = TicketKey::derive(SECRET, None).verify(&changed, now());
            assert!(read.is_err(), "{at}");
        }
        for end in 0..text.len() {
            assert!(
                TicketKey::derive(SECRET, None)
                    .verify(&text[..end], now())
                    .is_err()
            );
        }
    }

    #[test]
    fn a_ticket_of_another_key_is_refused() {
        let other = TicketKey::derive(b"another secret of 32 or more bytes", None);
        check(&other.sign(&ticket(60)), 0.0, Err(InvalidTicket::Signature));
        let random = TicketKey::random().sign(&ticket(60));
        check(&random, 0.0, Err(InvalidTicket::Signature));
        // The secret itself, as a token is signed.
        let bare = TicketKey(hmac::Key::new(HMAC_SHA256, SECRET)).sign(&ticket(60));
        check(&bare, 0.0, Err(InvalidTicket::Signature));
    }

    #[test]
    fn nonsense_is_no_ticket() {
        let long = "A".repeat(MAX_TICKET_BYTES) + ".AAAA";
        for text in ["", "a", "a.b.c", "a.=", "é.é", &long] {
            check(text, 0.0, Err(InvalidTicket::Malformed));
        }
        check(".", 0.0, Err(InvalidTicket::Signature));
        let key = TicketKey::derive(SECRET, None);
        for json in [
            "",
            "{}",
            "[]",
            r#"{"id":"","exp":1,"until":1,"channels":[],"kid":null,"key":"","holder":""}"#,
        ] {
            let payload = URL_SAFE_NO_PAD.encode(json);
            let mac = hmac::sign(&key.0, payload.as_bytes());
            let text = format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()));
            check(&text, 0.0, Err(InvalidTicket::Malformed));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", TicketKey::derive(SECRET, None));
        assert_eq!(shown, "TicketKey(..)");
    }
}
