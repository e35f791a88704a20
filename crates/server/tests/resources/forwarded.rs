//! The memory of idle clients of a feed.

use std::task::{Context, Poll};

use http::Request;
use tidings_server::{
    EncodedEvents, EventId, Feed, FeedError, FeedOpened, Heartbeat, SessionOptions, SseRequest,
};
use tidings_testkit::connection::Connection;

use crate::{ALLOCATED, alone};

const CLIENTS: usize = 1_000;

/// A feed that never has an event.
struct Idle;

impl Feed for Idle {
    fn resume(&mut self, _: Option<&str>) {}

    fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        Poll::Ready(Ok(FeedOpened::Stream))
    }

    fn poll_events(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        Poll::Pending
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        None
    }
}

/// The heap bytes of an idle client, without those of its connection.
async fn cost(options: SessionOptions) -> usize {
    let mut clients = Vec::with_capacity(CLIENTS);
    let before = ALLOCATED.allocated();
    for _ in 0..CLIENTS {
        let (parts, ()) = Request::new(()).into_parts();
        let request = SseRequest::new(parts).options(options.clone());
        let body = request.forward(Idle).await.into_body();
        let mut connection = Connection::after_head(body);
        connection.run();
        clients.push(connection);
    }
    (ALLOCATED.allocated() - before) / CLIENTS
}

#[test]
fn an_idle_client_costs_under_a_kilobyte_and_its_heartbeat_under_a_quarter() {
    alone(async {
        let without = cost(SessionOptions::new().heartbeat(Heartbeat::off())).await;
        let with = cost(SessionOptions::new()).await;
        eprintln!("an idle client: {without} B, with a heartbeat {with} B");
        assert!(with - without < 256, "{with} and {without}");
        assert!(with < 1024, "{with}");
    });
}
