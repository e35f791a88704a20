//! A session behaves the same over every transport.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use tidings::Reconnect;
use tidings::client::{ErrorKind, FinalUrl};

use crate::subject::{receive, subjects, within};

#[tokio::test]
async fn a_session_resumes_after_a_cut() {
    for subject in subjects().await {
        let name = subject.name;
        let mut session = subject.open("/feed/7").await;
        let response = session.response().unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.version, subject.version, "{name}");
        let all: Vec<String> = (1..=7).map(|n: u32| n.to_string()).collect();
        assert_eq!(receive(name, &mut session).await, (all, None), "{name}");
        assert_eq!(session.last_event_id().unwrap(), "7");
        let connections = subject.counts.connections.load(Ordering::SeqCst);
        assert_eq!(connections, 5, "{name}");
    }
}

#[tokio::test]
async fn without_a_policy_a_cut_is_an_error_and_attempts_are_counted() {
    for subject in subjects().await {
        let name = subject.name;
        let cut = (vec!["1".into(), "2".into()], Some(ErrorKind::Interrupted));
        let request = subject.client.get(subject.url("/feed/7"));
        let opening = request.reconnect(Reconnect::off()).open();
        let mut session = within(name, opening).await.unwrap();
        assert_eq!(receive(name, &mut session).await, cut, "{name}");

        let request = subject.client.get(subject.url("/feed/7"));
        let request = request
            .reconnect(Reconnect::off())
            .max_reconnection_attempts(1)
            .reconnection_time(Duration::from_millis(10));
        let mut session = within(name, request.open()).await.unwrap();
        assert_eq!(receive(name, &mut session).await.0.len(), 7, "{name}");
    }
}

#[tokio::test]
async fn a_prompt_is_sent_once_and_answered_to_its_end() {
    for subject in subjects().await {
        let name = subject.name;
        let request = subject.client.post(subject.url("/answer"));
        let request = request
            .body("why is the sky blue")
            .until(|event| event.text() == "[DONE]");
        let mut session = within(name, request.open()).await.unwrap();
        let words = ["why", "is", "the", "sky", "blue"].map(str::to_owned);
        assert_eq!(receive(name, &mut session).await, (words.to_vec(), None));
    }
}

#[tokio::test]
async fn a_post_may_be_answered_by_another_success() {
    for subject in subjects().await {
        let name = subject.name;
        let opening = subject.client.post(subject.url("/created")).open();
        let mut session = within(name, opening).await.unwrap();
        assert_eq!(session.response().unwrap().status, 201, "{name}");
        let length = (vec!["0".into()], None);
        assert_eq!(receive(name, &mut session).await, length, "{name}");

        let opening = subject.client.get(subject.url("/created")).open();
        let error = within(name, opening).await.unwrap_err();
        let created = http::StatusCode::CREATED;
        assert_eq!(error.kind(), &ErrorKind::Status(created), "{name}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_and_kept() {
    for subject in subjects().await {
        let name = subject.name;
        let mut session = subject.open("/away").await;
        assert_eq!(session.url().path(), "/feed/2", "{name}");
        let both = vec!["1".into(), "2".into()];
        assert_eq!(receive(name, &mut session).await, (both, None), "{name}");
        let followed = session.response().unwrap().extensions.get::<FinalUrl>();
        assert!(followed.is_none(), "the last request was not redirected");
        assert_eq!(subject.counts.connections.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_body() {
    for subject in subjects().await {
        let name = subject.name;
        let opening = subject.client.get(subject.url("/refusal")).open();
        let error = within(name, opening).await.unwrap_err();
        assert_eq!(
            error.kind(),
            &ErrorKind::Status(http::StatusCode::TOO_MANY_REQUESTS)
        );
        let refusal = error.response().unwrap();
        assert_eq!(refusal.body(), "slow down", "{name}");
        assert_eq!(refusal.headers()["retry-after"], "1");
        assert!(error.is_retryable());

        let opening = subject.client.get(subject.url("/page")).open();
        let error = within(name, opening).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ContentType(Some(_))));
        assert_eq!(error.response().unwrap().body(), "<html>");
    }
}

#[tokio::test]
async fn a_request_has_each_header_once_as_it_was_set() {
    for subject in subjects().await {
        let name = subject.name;
        let request = subject.client.get(subject.url("/headers?a=b"));
        let request = request
            .bearer("token")
            .header("x-mine", "1")
            .header("accept", "*/*")
            .header("last-event-id", "41")
            .last_event_id(42)
            .query("c", "d e");
        let mut session = within(name, request.open()).await.unwrap();
        let event = within(name, session.try_next()).await.unwrap().unwrap();
        let lines: Vec<&str> = event.text().lines().collect();
        let expected = [
            "accept=*/*",
            "authorization=Bearer token",
            "cache-control=no-cache",
            "last-event-id=42",
            "x-mine=1",
            "a=b&c=d%20e",
        ];
        assert_eq!(lines, expected, "{name}");
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_handler() {
    for subject in subjects().await {
        let name = subject.name;
        let running = &subject.counts.running;
        let mut session = subject.open("/endless").await;
        within(name, session.try_next()).await.unwrap();
        assert_eq!(running.load(Ordering::SeqCst), 1, "{name}");
        drop(session);
        let gone = async {
            while running.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        within(name, gone).await;
    }
}

#[tokio::test]
async fn a_session_reconnects_after_a_silent_connection() {
    for subject in subjects().await {
        let name = subject.name;
        let idle = Duration::from_millis(100);
        let request = subject.client.get(subject.url("/endless"));
        let opening = request.idle_timeout(idle).open();
        let mut session = within(name, opening).await.unwrap();
        for _ in 0..3 {
            let event = within(name, session.try_next()).await.unwrap().unwrap();
            assert_eq!(event.text(), "first", "{name}");
        }
    }
}

#[tokio::test]
async fn events_are_decoded_as_their_type() {
    #[derive(Deserialize)]
    struct Number(u32);
    for subject in subjects().await {
        let name = subject.name;
        let mut numbers = subject.open("/feed/3").await.typed::<Number>();
        let mut sum = 0;
        while let Some(event) = within(name, numbers.try_next()).await.unwrap() {
            sum += event.data.unwrap().unwrap().0;
        }
        assert_eq!(sum, 6, "{name}");
    }
}
