//! The counter on hyper, without a router: one function answers each request, and streams leave hyper.

use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, error::Error, pin::pin, time::Duration};
use tidings::Event;
use tidings::axum::shutdown_signal;
use tidings::hyper_server::{Builder, RequestBody};
use tidings::server::{Drain, HandlerError, IoDeadline, Session, SessionBody, SseRequest};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

async fn count(session: Session) -> Result<(), HandlerError> {
    let last = session.last_event_id().and_then(|id| id.parse().ok());
    let mut next = last.map_or(0, |last: u64| last.wrapping_add(1));
    loop {
        session.send(Event::new(next.to_string()).id(next)).await?;
        sleep(Duration::from_millis(200)).await;
        next = next.wrapping_add(1);
    }
}

fn answer(request: Request<RequestBody>) -> Response<Either<SessionBody, Empty<Bytes>>> {
    if request.uri().path() == "/events" {
        let (parts, _body) = request.into_parts();
        return SseRequest::new(parts).open(count).map(Either::Left);
    }
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn serve_connection(stream: TcpStream, drain: Drain) {
    let stream = IoDeadline::new(stream).drain(&drain);
    let outgoing = stream.outgoing().clone();
    let service = service_fn(async |mut request: Request<RequestBody>| {
        request.extensions_mut().insert(drain.clone());
        request.extensions_mut().insert(outgoing.clone());
        Ok::<_, Infallible>(answer(request))
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = drain.started() => connection.graceful_shutdown(),
    }
    connection.await.ok();
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let mut shutdown = pin!(shutdown_signal());
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, drain.clone()))),
                // One connection failed, or there are too many.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(listener);
    drain.start();
    drain.finished().await;
    Ok(())
}
