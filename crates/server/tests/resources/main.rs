//! What sessions cost and leave behind, counted: memory, sockets, tasks, handlers. In a process of
//! its own, and one test at a time, as all of it is counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod crowds;
mod memory;

use std::alloc::System;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cap::Cap;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_server::{HandlerError, Session, SessionOptions, SseRequest};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

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

/// Answers requests on any number of connections with this handler.
async fn serve<H, F>(options: SessionOptions, handler: H) -> SocketAddr
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (options, handler) = (options.clone(), handler.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (parts, _) = request.into_parts();
                let request = SseRequest::new(parts).options(options.clone());
                let response = request.open(handler.clone());
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // That a client goes is an error here.
            tokio::spawn(async { drop(connection.await) });
        }
    });
    address
}

/// Waits until this is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("{what} never was");
}

/// Waits until this number has not changed for a while, and returns it.
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
