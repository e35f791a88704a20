//! A hand-written body over hyper that returns the events of a broadcast channel.

use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::{Body, Frame};
use hyper::server::conn::http1::Builder;
use tokio::net::TcpListener;
use tokio::time::{Instant, Interval, interval_at};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::server::on_hyper;
use crate::server::serving::Stage;

pub async fn on_hyper(listener: TcpListener, stage: Stage<Bytes>) {
    let answer = move |_| ready(answer(&stage));
    on_hyper::serve(listener, Builder::new(), |stream| stream, answer).await;
}

fn answer(stage: &Stage<Bytes>) -> Response<HandWritten> {
    let heartbeat = |period| interval_at(Instant::now() + period, period);
    let mut response = Response::new(HandWritten {
        events: BroadcastStream::new(stage.events.subscribe()),
        heartbeat: stage.heartbeat.map(heartbeat),
    });
    let headers = response.headers_mut();
    let stream = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, stream);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct HandWritten {
    /// A boxed future that waits for the next event; its allocation is reused.
    events: BroadcastStream<Bytes>,
    heartbeat: Option<Interval>,
}

impl Body for HandWritten {
    type Data = Bytes;
    type Error = BroadcastStreamRecvError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BroadcastStreamRecvError>>> {
        if let Poll::Ready(event) = Pin::new(&mut self.events).poll_next(cx) {
            return Poll::Ready(event.map(|event| event.map(Frame::data)));
        }
        if let Some(heartbeat) = &mut self.heartbeat
            && heartbeat.poll_tick(cx).is_ready()
        {
            let heartbeat = Bytes::from_static(b":heartbeat\n\n");
            return Poll::Ready(Some(Ok(Frame::data(heartbeat))));
        }
        Poll::Pending
    }
}
