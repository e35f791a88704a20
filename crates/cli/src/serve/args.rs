//! `Args`: the flags of `tidings serve`. Each may also be given by an environment variable.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;

use super::auth;
use super::https::TlsArgs;
use super::limits::LimitArgs;
use super::listen::{self, Https, Listen, SocketMode};
use super::log::LogArgs;
use super::logging::LogLevel;
use super::origin::{CorsOrigin, HostName};
use crate::tokens::Auth;

/// Runs a server of event channels: publish with POST, subscribe with GET.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen: `ADDRESS:PORT`, with port 0 for a free one, or `unix:PATH`.
    #[arg(long, env = "TIDINGS_LISTEN", default_value = "127.0.0.1:8080")]
    pub(super) listen: Listen,

    /// The permissions of the Unix socket. With 0600, only programs of the same user connect.
    #[arg(
        long,
        env = "TIDINGS_SOCKET_MODE",
        value_name = "MODE",
        default_value = "0600"
    )]
    pub(super) socket_mode: SocketMode,

    #[command(flatten)]
    pub(super) log: LogArgs,

    /// Fills some channels, so that there is something to receive.
    #[arg(long, env = "TIDINGS_DEMO", value_parser = BoolishValueParser::new())]
    pub(super) demo: bool,

    /// Requires tokens that a key in this file has signed: a JWK, a JWK set, or a PEM.
    #[arg(long, env = "TIDINGS_TOKEN_KEY", value_name = "FILE")]
    pub(super) token_key: Option<PathBuf>,

    /// The audience that each token must name, in its claim `aud`. Without this flag, tokens that name one
    /// are refused.
    #[arg(
        long,
        env = "TIDINGS_TOKEN_AUDIENCE",
        value_name = "NAME",
        requires = "token_key"
    )]
    pub(super) token_audience: Option<String>,

    #[command(flatten)]
    pub(super) tls: TlsArgs,

    /// Checks the flags and the files that they name, prints what the server would do, and ends: with exit
    /// code 0, or with 2 if the server would not start. Binds no address, and writes nothing.
    #[arg(long, env = "TIDINGS_CHECK_CONFIG", value_parser = BoolishValueParser::new())]
    pub(super) check_config: bool,

    /// Listens on an address that other machines reach, although everyone there may publish and subscribe.
    #[arg(long, env = "TIDINGS_INSECURE", value_parser = BoolishValueParser::new())]
    pub(super) insecure: bool,

    /// A name by which clients reach the server, besides `localhost` and its address. May be repeated.
    #[arg(long, env = "TIDINGS_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(super) host: Vec<HostName>,

    /// An origin whose pages may use the server, such as `https://shop.example`; on the site of the server, also
    /// with the cookie that holds a token. May be repeated.
    #[arg(
        long,
        env = "TIDINGS_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub(super) cors_origin: Vec<CorsOrigin>,

    #[command(flatten)]
    pub(super) limits: LimitArgs,

    /// How long the server waits for its connections when it is asked to end, by SIGTERM or Ctrl-C. A second
    /// signal ends it at once.
    #[arg(long, env = "TIDINGS_DRAIN", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) drain: Duration,

    /// How much is logged on standard error: as text on a terminal, otherwise as JSON.
    #[arg(
        long,
        env = "TIDINGS_LOG_LEVEL",
        value_name = "LEVEL",
        value_enum,
        default_value_t = LogLevel::Info
    )]
    pub(super) log_level: LogLevel,
}

impl Args {
    /// Refuses flags that cannot be used together, or only with `--insecure`.
    pub(super) fn check(&self) -> Result<(), String> {
        self.refuse_strangers()?;
        self.refuse_tls_on_a_socket()?;
        self.limits.check()
    }

    /// Refuses HTTPS on a Unix socket: no client speaks it there.
    fn refuse_tls_on_a_socket(&self) -> Result<(), String> {
        match (&self.listen, self.tls.files()) {
            (Listen::Unix(_), Some(_)) => Err(
                "a Unix socket needs no TLS: leave out --tls-cert and --tls-key, or listen on an address"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    /// The check of tokens; `None` without keys.
    pub(super) fn auth(&self) -> Result<Option<Auth>, String> {
        let open = |path: &PathBuf| auth::open(path, self.token_audience.as_deref());
        self.token_key.as_ref().map(open).transpose()
    }

    /// Whether other machines send their tokens in clear text, unless a proxy speaks TLS for the server.
    pub(super) fn exposes_tokens(&self) -> bool {
        self.token_key.is_some() && self.tls.files().is_none() && !self.listen.is_local()
    }

    /// What the server prints when it listens there.
    pub(super) fn greeting(&self, bound: &Listen) -> String {
        let files = self.tls.files();
        let https = files.as_ref().map(|files| Https {
            certificate: files.certificate(),
            name: self.host.first().map(HostName::as_str),
        });
        listen::greeting(bound, self.token_key.is_some(), https)
    }

    /// Refuses an address that other machines reach.
    fn refuse_strangers(&self) -> Result<(), String> {
        if self.insecure || self.token_key.is_some() || self.listen.is_local() {
            return Ok(());
        }
        Err(format!(
            "{} can be reached from other machines, and everyone there could publish and subscribe; \
             listen on a loopback address or a Unix socket, require tokens with --token-key, or accept it with --insecure",
            self.listen
        ))
    }
}
