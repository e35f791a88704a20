//! The least that a server does for a subscription: a body that returns the bytes it reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::{Body, Frame};
use hyper::server::conn::http1::Builder;
use tidings_hub::{Hub, Subscription};
use tidings_proto::{Feed, FeedError};
use tokio::net::TcpListener;

use crate::hub::events::CHANNEL;
use crate::server::on_hyper;

pub async fn serve(listener: TcpListener, hub: Hub) {
    let answer = move |_| std::future::ready(answer(&hub));
    on_hyper::serve(listener, Builder::new(), |stream| stream, answer).await;
}

fn answer(hub: &Hub) -> Response<TapeBody> {
    let mut response = Response::new(TapeBody(hub.subscribe(CHANNEL)));
    let headers = response.headers_mut();
    let stream = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, stream);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct TapeBody(Subscription);

impl Body for TapeBody {
    type Data = Bytes;
    type Error = FeedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FeedError>>> {
        let events = ready!(self.0.poll_events(cx));
        Poll::Ready(events.map(|events| Ok(Frame::data(events?.into_bytes()))))
    }
}
