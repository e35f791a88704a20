//! `tidings publish`: an event, or the lines of standard input, into a channel.

mod kept_stream;
mod lines;
mod publisher;

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use tidings::hub::KEY_LIFETIME;

use crate::output::{Plain, print_if_read};
use crate::target::Target;
use lines::Lines;
use publisher::Publisher;

/// Publishes an event, or each line of standard input, and prints the ID of each.
///
/// An event that the server does not confirm is sent again with the same idempotency key, so it is stored
/// once. The next line is sent after the confirmation of the one before, so the order is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,

    /// The data of the event. Without it, each line of standard input is an event; an empty one too. Write
    /// data that begins with a hyphen and is no number after `--`.
    #[arg(allow_negative_numbers = true)]
    data: Option<String>,

    /// The type of each event. [default: message]
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,

    /// The idempotency key: while the server remembers it, a second event with it is not stored.
    /// [default: a random one for each event]
    #[arg(long, requires = "data", value_parser = parse_key)]
    key: Option<String>,

    /// How long an event is sent again if the server cannot be reached, is overloaded or fails. At most 2m,
    /// as the server forgets the key of a stored event then.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// The longest key that a server accepts, in bytes.
const MAX_KEY: usize = 255;

/// A key is sent in a header, as a string between quotation marks.
fn parse_key(key: &str) -> Result<String, &'static str> {
    let is_key =
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_key
        .then(|| key.to_owned())
        .ok_or("expected 1 to 255 letters, digits and signs of ASCII")
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time > KEY_LIFETIME {
        let most = humantime::format_duration(KEY_LIFETIME);
        return Err(format!(
            "expected at most {most}: the server forgets the key of a stored event then"
        ));
    }
    Ok(time)
}

/// A key that no other publisher has: it has the randomness of the system.
fn random_key() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}

pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::new(&args.target, args.event, args.timeout)?;
    let random = random_key();
    if let Some(data) = args.data {
        let key = args.key.unwrap_or(random);
        let id = publisher.publish(&key, Bytes::from(data)).await?;
        print_if_read(Plain(&id))?;
        return Ok(());
    }
    let mut lines = Lines::of_stdin();
    while let Some(line) = lines.next().await? {
        let number = lines.number();
        let key = format!("{random}-{number}");
        let published = publisher.publish(&key, line).await;
        let id = published.map_err(|error| format!("line {number}: {error}"))?;
        print_if_read(Plain(&id))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_not_longer_than_a_key_is_remembered() {
        assert_eq!(parse_timeout("2m"), Ok(KEY_LIFETIME));
        assert!(parse_timeout("121s").is_err());
        assert!(parse_timeout("soon").is_err());
    }

    #[test]
    fn a_key_is_text_that_a_header_can_carry() {
        assert_eq!(parse_key("order 17 \"a\""), Ok("order 17 \"a\"".into()));
        let longest = "a".repeat(MAX_KEY);
        assert_eq!(parse_key(&longest).as_ref(), Ok(&longest));
        for key in ["", "größe", "a\nb", &format!("{longest}a")] {
            assert!(parse_key(key).is_err(), "{key}");
        }
    }

    #[test]
    fn a_random_key_has_128_bits_and_is_new() {
        assert_eq!(random_key().len(), 32);
        assert_ne!(random_key(), random_key());
    }
}
