//! TCP keep-alive: how soon a connection notices that its peer has vanished.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

use crate::lookup::Resolver;

/// The longest time that most systems accept.
const MAX_TIME: Duration = Duration::from_secs(32_767);
/// The most probes that most systems accept.
const MAX_PROBES: u32 = 127;

const IDLE: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;

/// A connector with the default options of every connection.
pub(crate) fn connector() -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::new());
    connector.enforce_http(false);
    connector.set_nodelay(true);
    set(&mut connector, IDLE, INTERVAL, PROBES);
    connector
}

/// Sets values that the system accepts. It refuses values out of its bounds, and the connection
/// would then have no keep-alive.
pub(crate) fn set(
    connector: &mut HttpConnector<Resolver>,
    idle: Duration,
    interval: Duration,
    probes: u32,
) {
    let time = |time: Duration| Some(time.clamp(Duration::from_secs(1), MAX_TIME));
    connector.set_keepalive(time(idle));
    connector.set_keepalive_interval(time(interval));
    connector.set_keepalive_retries(Some(probes.clamp(1, MAX_PROBES)));
}

pub(crate) fn unset(connector: &mut HttpConnector<Resolver>) {
    connector.set_keepalive(None);
    connector.set_keepalive_interval(None);
    connector.set_keepalive_retries(None);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::Uri;
    use socket2::SockRef;
    use tokio::net::TcpListener;
    use tower_service::Service;

    use super::*;

    /// Expects keep-alive to be off (`None`), or on with these two times and probes.
    async fn check(mut connector: HttpConnector<Resolver>, expected: Option<(u64, u64, u32)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        poll_fn(|cx| connector.poll_ready(cx)).await.unwrap();
        let stream = connector.call(url.parse::<Uri>().unwrap()).await.unwrap();
        let socket = SockRef::from(stream.inner());
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.keepalive().unwrap(), expected.is_some());
        if let Some((idle, interval, probes)) = expected {
            let (idle, interval) = (Duration::from_secs(idle), Duration::from_secs(interval));
            assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), probes);
        }
    }

    #[tokio::test]
    async fn keep_alive_is_on_unless_it_is_turned_off() {
        check(connector(), Some((15, 15, 3))).await;
        let mut off = connector();
        unset(&mut off);
        check(off, None).await;
    }

    #[tokio::test]
    async fn values_out_of_bounds_are_set_to_the_nearest_bound() {
        let check = async |idle, interval, probes, expected| {
            let mut connector = connector();
            set(&mut connector, idle, interval, probes);
            check(connector, Some(expected)).await;
        };
        let second = Duration::from_secs(1);
        check(60 * second, 5 * second, 9, (60, 5, 9)).await;
        check(Duration::ZERO, second / 2, 0, (1, 1, 1)).await;
        check(
            Duration::MAX,
            Duration::MAX,
            u32::MAX,
            (32_767, 32_767, 127),
        )
        .await;
    }
}
