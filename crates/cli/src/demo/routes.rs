//! The routes of the demo's server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tidings::axum::RouterExt;
use tidings::server::{HandlerError, Session};
use tidings::{Event, Heartbeat};
use tokio::time::sleep;

/// The number of events of `/events`.
pub(crate) const EVENTS: u64 = 6;
/// The number of events of `/heartbeat`, without the heartbeats.
pub(crate) const SLOW_EVENTS: u64 = 5;
/// The number of events of `/flaky`.
pub(crate) const FLAKY_EVENTS: u64 = 10;
/// `/flaky` cuts each connection after this many events.
pub(crate) const FLAKY_CUT: u64 = 3;

/// The time that the routes wait between two events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    events: Duration,
    /// Never zero, so that heartbeats arrive between the events.
    slow_sender: Duration,
}

impl Pace {
    pub(crate) const SHOWN: Self = Self {
        events: Duration::from_secs(1),
        slow_sender: Duration::from_millis(100),
    };
    pub(crate) const FAST: Self = Self {
        events: Duration::ZERO,
        slow_sender: Duration::from_millis(25),
    };
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Customer {
    id: u32,
    first_name: String,
    last_name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Product {
    id: u32,
    prices: Vec<u32>,
}

pub(crate) fn customer() -> Customer {
    Customer {
        id: 0,
        first_name: "Jet".into(),
        last_name: "Brains".into(),
    }
}

pub(crate) fn product() -> Product {
    Product {
        id: 0,
        prices: vec![100, 200],
    }
}

pub(crate) fn router(pace: Pace) -> Router {
    let connections = Arc::new(AtomicU64::new(0));
    Router::new()
        .sse("/events", move |session| events(session, pace))
        .sse("/heartbeat", move |session| heartbeat(session, pace))
        .sse("/json", json)
        .sse("/flaky", move |session| {
            flaky(session, Arc::clone(&connections))
        })
}

async fn events(session: Session, pace: Pace) -> Result<(), HandlerError> {
    session.heartbeat(Heartbeat::default());
    for n in next_after(&session)..EVENTS {
        session
            .send(Event::new(format!("this is SSE #{n}")).id(n))
            .await?;
        sleep(pace.events).await;
    }
    Ok(())
}

async fn heartbeat(session: Session, pace: Pace) -> Result<(), HandlerError> {
    let heartbeat = Heartbeat::every(Duration::from_millis(10)).event(Event::new("heartbeat"));
    session.heartbeat(heartbeat.always(true));
    for n in 0..SLOW_EVENTS {
        sleep(pace.slow_sender).await;
        session.send(Event::new(format!("slow #{n}"))).await?;
    }
    Ok(())
}

async fn json(session: Session) -> Result<(), HandlerError> {
    session.send_json(&customer()).await?;
    session.send_json(&product()).await?;
    Ok(())
}

async fn flaky(session: Session, connections: Arc<AtomicU64>) -> Result<(), HandlerError> {
    let connection = connections.fetch_add(1, Ordering::Relaxed);
    let first = next_after(&session);
    for n in first..FLAKY_EVENTS {
        if n - first == FLAKY_CUT {
            return Err(io::Error::other("the demo cuts its connection").into());
        }
        session.send(survivor(n, connection)).await?;
    }
    Ok(())
}

/// An event of `/flaky`. It names its connection, so that a missing cut is noticed.
pub(crate) fn survivor(n: u64, connection: u64) -> Event {
    Event::new(format!("survivor #{n} of connection #{connection}")).id(n)
}

/// The number of the event after the last one that the client received.
fn next_after(session: &Session) -> u64 {
    session
        .last_event_id()
        .and_then(|id| id.parse::<u64>().ok())
        .map_or(0, |id| id.saturating_add(1))
}
