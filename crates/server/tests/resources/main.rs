//! The memory, sockets, tasks and handlers of sessions, counted. The tests have a process of their own and
//! run one at a time, because they measure the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod forwarded;
mod many_clients;
mod memory;

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cap::Cap;
use http::Request;
use hyper::body::Incoming;
use tidings_server::{HandlerError, Session, SessionOptions, SseRequest};
use tidings_testkit::http_server;
use tidings_testkit::timeout::timeout;
use tokio::time::sleep;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const SOON: Duration = Duration::from_secs(120);

fn alone(test: impl Future<Output = ()>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let outcome = runtime.block_on(async { timeout(SOON, test).await });
    assert!(outcome.is_ok(), "it hangs");
}

/// Serves this handler over sockets.
async fn serve<H, F>(options: SessionOptions, handler: H) -> SocketAddr
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    http_server::serve(move |request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        let request = SseRequest::new(parts).options(options.clone());
        request.open(handler.clone())
    })
    .await
}

/// Waits until this holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("{what}: not reached");
}

/// Waits until this number has not changed for 200 ms, and returns it.
async fn at_rest(mut number: impl FnMut() -> usize) -> usize {
    let (mut last, mut same) = (number(), 0);
    while same < 20 {
        sleep(Duration::from_millis(10)).await;
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
