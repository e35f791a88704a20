//! Requests for a hub that cannot serve them now, and for a channel that is over.

use std::time::Duration;

use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use tidings::hub::Hub;
use tidings::server::{SessionBody, SessionOptions, SseRequest};
use tidings::{Event, Heartbeat};
use tokio::time::Instant;

use crate::app::within_an_hour;
use crate::waiting_log::WaitingLog;

/// A hub whose log never answers.
fn silent_hub() -> Hub {
    Hub::over(WaitingLog::new(Duration::MAX))
}

fn request(method: Method, last_event_id: &str) -> SseRequest {
    let request = Request::builder()
        .method(method)
        .header("accept", "text/event-stream")
        .header("last-event-id", last_event_id);
    SseRequest::new(request.body(()).unwrap().into_parts().0)
}

async fn text(response: Response<SessionBody>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

/// Whether the stream is a reconnection time and nothing else.
fn is_only_retry(sent: &str) -> bool {
    sent.starts_with("retry: ") && sent.matches('\n').count() == 2
}

#[tokio::test(start_paused = true)]
async fn a_hub_whose_log_is_silent_asks_an_event_source_to_come_back_and_refuses_others() {
    let hub = silent_hub();
    within_an_hour(async {
        let began = Instant::now();
        let get = request(Method::GET, "")
            .forward(hub.subscribe("news"))
            .await;
        assert_eq!(get.status(), 200);
        let sent = text(get).await;
        assert!(is_only_retry(&sent), "{sent}");
        assert_eq!(began.elapsed(), Duration::from_secs(10));

        let began = Instant::now();
        let post = request(Method::POST, "")
            .forward(hub.subscribe("news"))
            .await;
        assert_eq!(post.status(), 503);
        assert!(post.headers().contains_key("retry-after"));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_whose_log_is_silent_holds_an_event_source_with_heartbeats() {
    let hub = silent_hub();
    within_an_hour(async {
        let began = Instant::now();
        let options = SessionOptions::new().heartbeat(Heartbeat::every(Duration::from_secs(4)));
        let get = request(Method::GET, "").options(options);
        let held = get.forward(hub.subscribe("news")).await;
        assert_eq!(held.status(), 200);
        assert_eq!(began.elapsed(), Duration::from_secs(4));
        let sent = text(held).await;
        let last = sent.strip_prefix(": heartbeat\n\n").unwrap();
        assert!(is_only_retry(last), "{sent}");
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_hub_answers_204_for_a_channel_that_is_over_and_asks_others_to_come_back() {
    let hub = Hub::in_memory();
    hub.publish("over", Event::new("a")).await.unwrap();
    let end = hub.channel("over").unwrap().end().await.unwrap();
    hub.publish("open", Event::new("b")).await.unwrap();
    hub.drain().await;
    let end = end.to_string();
    let over = request(Method::GET, &end).forward(hub.subscribe("over"));
    assert_eq!(over.await.status(), 204);
    let open = request(Method::GET, "").forward(hub.subscribe("open"));
    let sent = text(open.await).await;
    assert!(is_only_retry(&sent), "{sent}");
}
