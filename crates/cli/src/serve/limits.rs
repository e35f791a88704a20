//! `LimitArgs`: what one client, and all clients together, can use.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{StatusCode, Version};
use axum::response::Response;
use bytesize::ByteSize;
use clap::builder::BoolishValueParser;
use tidings::Event;
use tidings::axum::headers::EVENT_STREAM;
use tidings::axum::{Limits, SessionOptions};
use tidings::hub::{ChannelName, Hub, HubBuilder, MAX_NAME_BYTES};

/// The largest `--max-body`.
const MAX_BODY: ByteSize = ByteSize::mib(64);

/// The smallest and the largest `--max-head`.
const HEADS: (ByteSize, ByteSize) = (ByteSize::kib(1), ByteSize::kib(256));

/// The most headers of a request. hyper would put more on the heap, for each request.
pub(super) const MAX_HEADERS: usize = 100;

/// The largest event as it is sent, without its ID: that of an entry in a store.
const MAX_EVENT: usize = 64 << 20;

/// How many bytes each line of the data adds to an event, at most: `data: `. An empty line is one byte of a
/// body and `data:` with a line feed in the event, so an event is at most so many times as large as its body.
const LINE_BYTES: usize = 6;

/// How many bytes an event has at most beside its type and its data: the names of its other fields, the
/// reconnection time, and the last line feeds.
const EVENT_OVERHEAD: usize = 64;

/// How many bytes an entry of the log has at most beside its event and the name of its channel.
const ENTRY_OVERHEAD: usize = 128;

/// At most how many bytes of the log an event takes.
pub(super) fn max_cost(channel: &ChannelName, event: &Event) -> u64 {
    let data = event.text();
    let lines = data.matches(['\r', '\n']).count() + 1;
    let bytes = event.event_type().len() + data.len() + LINE_BYTES * lines + EVENT_OVERHEAD;
    (channel.as_str().len() + bytes + ENTRY_OVERHEAD) as u64
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Open connections in total, or as many as the system's limit of open files allows.
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS",
        value_name = "COUNT",
        default_value_t = 20_000
    )]
    pub(super) max_connections: usize,

    /// Open connections from one address, or from one network of 64 bits for IPv6. A tenth of them is kept
    /// for publishers. Behind a proxy, all clients have its address. Over a Unix socket, they have none.
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "COUNT",
        default_value_t = 2_000
    )]
    pub(super) max_connections_per_address: usize,

    /// Connections that are kept free for publishers: subscribers get only the others.
    #[arg(
        long,
        env = "TIDINGS_KEPT_FOR_PUBLISHERS",
        value_name = "COUNT",
        default_value_t = 100
    )]
    pub(super) kept_for_publishers: usize,

    /// A subscriber over the limit of its address replaces the oldest one of that address.
    #[arg(long, env = "TIDINGS_REPLACE_OLDEST", value_parser = BoolishValueParser::new())]
    pub(super) replace_oldest: bool,

    /// The largest head of a request, from 1 KiB to 256 KiB. That of a subscriber is at most 32 KiB.
    #[arg(
        long,
        env = "TIDINGS_MAX_HEAD",
        value_name = "BYTES",
        default_value = "32KiB"
    )]
    pub(super) max_head: ByteSize,

    /// The largest body of a request. At most 64 MiB, as an event has at most 64 MiB as it is sent.
    #[arg(
        long,
        env = "TIDINGS_MAX_BODY",
        value_name = "BYTES",
        default_value = "1MiB"
    )]
    pub(super) max_body: ByteSize,

    /// The bodies that are being received, in total. A request over that is answered with 503.
    #[arg(
        long,
        env = "TIDINGS_MAX_BODIES",
        value_name = "BYTES",
        default_value = "256MiB"
    )]
    pub(super) max_bodies: ByteSize,

    /// How long a client may take to send the head of a request, and then its body.
    #[arg(long, env = "TIDINGS_REQUEST_TIME", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(super) request_time: Duration,

    /// Channels and patterns of one subscriber.
    #[arg(
        long,
        env = "TIDINGS_MAX_CHANNELS",
        value_name = "COUNT",
        default_value_t = 64
    )]
    pub(super) max_channels: usize,

    /// Ended channels without events that are remembered.
    #[arg(
        long,
        env = "TIDINGS_REMEMBERED_CHANNELS",
        value_name = "COUNT",
        default_value_t = 100_000
    )]
    pub(super) remembered_channels: u64,

    /// The longest name of a channel. At most 255.
    #[arg(long, env = "TIDINGS_MAX_NAME", value_name = "BYTES", default_value_t = MAX_NAME_BYTES)]
    pub(super) max_name: usize,

    /// How long a client may read nothing while the server has bytes for it.
    #[arg(long, env = "TIDINGS_WRITE_DEADLINE", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(super) write_deadline: Duration,

    /// How long a connection may last. Subscribers reconnect and lose nothing. [default: no limit]
    #[arg(long, env = "TIDINGS_MAX_LIFETIME", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) max_lifetime: Option<Duration>,

    /// The system allows fewer connections than were asked for.
    #[arg(skip)]
    pub(super) is_cut_to_fit: bool,
}

impl LimitArgs {
    /// Refuses limits with which the server could not work.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            ("--max-connections", self.max_connections),
            (
                "--max-connections-per-address",
                self.max_connections_per_address,
            ),
            ("--max-channels", self.max_channels),
            ("--max-name", self.max_name),
        ];
        if let Some((flag, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(format!("{flag} must be at least 1"));
        }
        if self.kept_for_publishers >= self.max_connections {
            return Err(format!(
                "--kept-for-publishers {} leaves none of the --max-connections {} for subscribers",
                self.kept_for_publishers, self.max_connections
            ));
        }
        if self.max_name > MAX_NAME_BYTES {
            return Err(format!(
                "--max-name {} is over the maximum of {MAX_NAME_BYTES}",
                self.max_name
            ));
        }
        let (least, most) = HEADS;
        if !(least..=most).contains(&self.max_head) {
            return Err(format!(
                "--max-head must be from {least} to {most}, not {}",
                self.max_head
            ));
        }
        if self.max_body == ByteSize::b(0) || self.max_body > MAX_BODY {
            return Err(format!(
                "--max-body must be from 1 byte to {MAX_BODY}, not {}",
                self.max_body
            ));
        }
        // The buffer of a body may be twice as large.
        if self.max_bodies.as_u64() / 2 < self.max_body.as_u64() {
            return Err(format!(
                "--max-bodies {} must be at least twice --max-body {}",
                self.max_bodies, self.max_body
            ));
        }
        let times = [
            ("--request-time", Some(self.request_time)),
            ("--write-deadline", Some(self.write_deadline)),
            ("--max-lifetime", self.max_lifetime),
        ];
        let too_short = |time: &Option<Duration>| time.is_some_and(|time| time.is_zero());
        match times.iter().find(|(_, time)| too_short(time)) {
            Some((flag, _)) => Err(format!("{flag} must be more than 0s")),
            None => Ok(()),
        }
    }

    /// Reduces the connections to what the system allows. Otherwise clients over that would wait for an
    /// answer.
    pub(super) fn fit(&mut self, allowed: usize) {
        if allowed >= self.max_connections {
            return;
        }
        self.is_cut_to_fit = true;
        self.max_connections = allowed;
        self.kept_for_publishers = self.kept_for_publishers.min(allowed / 2);
    }

    pub(super) fn max_body_bytes(&self) -> usize {
        self.max_body.as_u64().try_into().unwrap_or(usize::MAX)
    }

    pub(super) fn max_bodies_bytes(&self) -> usize {
        self.max_bodies.as_u64().try_into().unwrap_or(usize::MAX)
    }

    pub(super) fn max_head_bytes(&self) -> usize {
        self.max_head.as_u64().try_into().unwrap_or(usize::MAX)
    }

    /// The largest event, so large that each body within the limit is accepted, with the type in its head.
    fn max_event_bytes(&self) -> usize {
        let data = self.max_body_bytes().saturating_mul(LINE_BYTES);
        let rest = LINE_BYTES + self.max_head_bytes() + EVENT_OVERHEAD;
        data.saturating_add(rest).min(MAX_EVENT)
    }

    /// A builder of a hub with these limits.
    pub(super) fn hub(&self) -> HubBuilder {
        Hub::builder()
            .max_event_bytes(self.max_event_bytes())
            .max_channels(self.max_channels)
    }

    /// The options of each subscriber's session, under limits that all of them share.
    ///
    /// There are fewer sessions than connections, so that publishers find a free connection, and so that the
    /// newest session of an address can replace its oldest.
    pub(super) fn session(&self) -> SessionOptions {
        let limits = Limits::new()
            .max_sessions(self.max_connections - self.kept_for_publishers)
            .max_sessions_per_key(self.max_sessions_per_address(), peer_key)
            .replace_oldest(self.replace_oldest)
            // A page's `EventSource` would give up for ever after a refusal.
            .come_back_later(true);
        SessionOptions::new().limits(&limits)
    }

    fn max_sessions_per_address(&self) -> usize {
        let connections = self.max_connections_per_address;
        let kept = (connections / 10).max(1);
        (connections - kept).max(1)
    }
}

/// The address of a client, as its connections are counted.
pub(super) fn address_key(peer: &SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        // One client has all addresses of its network.
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).to_string()
        }
    }
}

/// Closes the connection after a stream, and after the refusal of one. A subscriber that kept it open, and
/// idle, would take the room of publishers.
///
/// Over HTTP/2 a connection is shared by many streams, and a header cannot close it.
pub(super) fn close_after_streams(mut response: Response, version: Version) -> Response {
    if version == Version::HTTP_2 {
        return response;
    }
    let is_without_stream = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    if is_without_stream || is_stream(&response) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(EVENT_STREAM.as_bytes()))
}

fn peer_key(request: &Parts) -> Option<String> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| address_key(peer))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn limits(flags: &str) -> LimitArgs {
        let flags = std::iter::once("test").chain(flags.split_whitespace());
        Flags::try_parse_from(flags).unwrap().limits
    }

    #[test]
    fn limits_that_cannot_work_are_refused() {
        limits("").check().unwrap();
        for flags in [
            "--max-connections 0",
            "--max-connections 100",
            "--kept-for-publishers 20000",
            "--max-connections-per-address 0",
            "--max-channels 0",
            "--max-name 0",
            "--max-name 256",
            "--max-head 1023B",
            "--max-head 257KiB",
            "--max-body 0",
            "--max-body 65MiB",
            "--request-time 0s",
            "--write-deadline 0s",
            "--max-lifetime 0s",
        ] {
            let refused = limits(flags).check().unwrap_err();
            let (flag, _) = flags.split_once(' ').unwrap();
            assert!(refused.contains(flag), "{flags}: {refused}");
        }
    }

    #[test]
    fn fewer_open_files_leave_room_for_publishers_all_the_same() {
        for (allowed, fits) in [
            (30_000, (20_000, 100)),
            (500, (500, 100)),
            (40, (40, 20)),
            (1, (1, 0)),
        ] {
            let mut limits = limits("");
            limits.fit(allowed);
            assert_eq!((limits.max_connections, limits.kept_for_publishers), fits);
            limits.check().unwrap();
        }
    }

    #[test]
    fn an_address_has_fewer_sessions_than_connections() {
        for (connections, sessions) in [(1, 1), (2, 1), (10, 9), (100, 90), (2000, 1800)] {
            let limits = limits(&format!("--max-connections-per-address {connections}"));
            assert_eq!(limits.max_sessions_per_address(), sessions, "{connections}");
        }
    }

    #[test]
    fn the_addresses_of_one_client_count_together() {
        for (peer, key) in [
            ("10.0.0.1:5", "10.0.0.1"),
            ("[::ffff:10.0.0.1]:5", "10.0.0.1"),
            ("[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::"),
            ("[2001:db8:1:2::9]:5", "2001:db8:1:2::"),
        ] {
            assert_eq!(address_key(&peer.parse().unwrap()), key);
        }
    }
}
