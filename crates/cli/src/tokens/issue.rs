//! `tidings token`: makes a token.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jsonwebtoken::{Header, encode};
use serde::Serialize;
use tidings::hub::Pattern;

use super::MAX_TOKEN_BYTES;
use super::key::Key;
use super::key_file::load;
use super::scope::ALL;
use crate::output::{Plain, print, report};

/// The longest life of a token: 100 years.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Prints a token for `tidings serve --token-key`.
///
/// The token has the rights that the flags name, and no others. At least one of `--subscribe`, `--publish`
/// and `--metrics` is needed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file of the key that signs, as `tidings key` makes it; or a JWK set, or a PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The `kid` of the key. Only needed if the file has several keys that can sign, or for a PEM.
    #[arg(long, value_name = "ID")]
    kid: Option<String>,

    /// A channel to which the holder may subscribe, or a pattern, such as `news/*`, or `*` for all channels.
    /// May be repeated.
    #[arg(long, value_name = "CHANNELS", value_parser = parse_channels)]
    subscribe: Vec<String>,

    /// A channel to which the holder may publish, and which it may end, or a pattern, or `*` for all
    /// channels. May be repeated.
    #[arg(long, value_name = "CHANNELS", value_parser = parse_channels)]
    publish: Vec<String>,

    /// Allows the holder to read the metrics.
    #[arg(long)]
    metrics: bool,

    /// The audience, for a server with `--token-audience`.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,

    /// How long the token is valid, in whole seconds.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
}

fn parse_channels(text: &str) -> Result<String, String> {
    if text != ALL {
        Pattern::new(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(1) || ttl > MAX_TTL {
        return Err("expected a time from 1s to 36500days".into());
    }
    Ok(ttl)
}

/// The claims of a new token.
#[derive(Debug, Serialize)]
struct NewClaims<'a> {
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    subscribe: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    publish: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    metrics: bool,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "each command takes its arguments"
)]
pub(crate) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    if args.subscribe.is_empty() && args.publish.is_empty() && !args.metrics {
        let message = "a token without --subscribe, --publish or --metrics allows nothing\n";
        clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, message).exit();
    }
    let loaded = load(&args.key)?;
    if let Some(warning) = &loaded.warning {
        report(Plain(warning));
    }
    let shown = args.key.display();
    let key = loaded.keys.to_sign(args.kid.as_deref());
    let key = key.map_err(|error| format!("{shown}: {error}"))?;
    let token = sign(key, &args, Timestamp::now().try_into()?)?;
    print(token)?;
    Ok(())
}

fn sign(key: &Key, args: &Args, now: SystemTime) -> Result<String, Box<dyn Error>> {
    let signing = key
        .signing()
        .ok_or("the key is public, and signs nothing")?;
    let iat = now.duration_since(UNIX_EPOCH)?.as_secs();
    let claims = NewClaims {
        iat,
        exp: iat + args.ttl.as_secs(),
        aud: args.audience.as_deref(),
        subscribe: &args.subscribe,
        publish: &args.publish,
        metrics: args.metrics,
    };
    let header = Header {
        kid: key.id().map(str::to_owned).or_else(|| args.kid.clone()),
        ..Header::new(key.algorithm().of_jwt())
    };
    let token = encode(&header, &claims, signing)?;
    let bytes = token.len();
    if bytes > MAX_TOKEN_BYTES {
        return Err(format!(
            "the token would have {bytes} bytes, and a server accepts {MAX_TOKEN_BYTES}; use patterns"
        )
        .into());
    }
    Ok(token)
}
