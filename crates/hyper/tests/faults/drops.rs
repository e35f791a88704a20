//! Sessions and waits dropped at each await: no connection leaks and no event is lost.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tidings_client::{Reconnect, SseClient};
use tidings_testkit::server::{Script, ScriptedServer, Step};

use crate::scene::{SECOND, URL, client};

/// A server that makes a session wait in every way.
fn eventful() -> ScriptedServer {
    ScriptedServer::plays([
        Script::Refuse,
        Script::answer([
            Step::wait(10),
            Step::send("HTTP/1.1 307 X\r\ncontent-length: 0\r\n"),
            Step::wait(10),
            Step::send("location: /b\r\n\r\n"),
        ]),
        Script::answer([
            Step::wait(10),
            Step::chunked_head(),
            Step::chunk("id: 1\nda"),
            Step::wait(10),
            Step::chunk("ta: a\n\n"),
            Step::wait(10),
            Step::Reset,
        ]),
        Script::answer([Step::head(), Step::wait(10), Step::send("data: b\n\n")]),
        Script::answer([
            Step::send("HTTP/1.1 404 X\r\ncontent-length: 9\r\n\r\n"),
            Step::wait(10),
            Step::send("no"),
            Step::Stall,
        ]),
    ])
}

fn with_a_hook(server: &ScriptedServer) -> SseClient {
    client(server, Reconnect::standard()).before_connect(async |attempt| {
        tokio::time::sleep(SECOND).await;
        Ok(attempt)
    })
}

/// Polls a future this many times, then drops it.
struct Polls<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.left -= 1;
        let Some(future) = &mut self.future else {
            return Poll::Ready(None);
        };
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && self.left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_dropped_at_any_await_closes_its_connection() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let mut polls = 0;
    loop {
        let server = eventful();
        let client = with_a_hook(&server);
        let whole = async {
            let mut texts = Vec::new();
            let mut session = client.get(URL).open().await?;
            while let Some(event) = session.try_next().await? {
                texts.push(event.text().to_owned());
            }
            Ok::<_, tidings_client::Error>(texts)
        };
        let limited = Polls {
            future: Some(Box::pin(whole)),
            left: polls,
        };
        let finished = limited.await;
        server.all_closed().await;
        assert_eq!(tasks(), before, "after {polls} polls");
        if let Some(result) = finished {
            let error = result.unwrap_err();
            assert_eq!(error.response().unwrap().body(), "no");
            break;
        }
        polls += 1;
    }
    assert!(polls > 15, "only {polls} polls: nothing was waited for");
}

#[tokio::test(start_paused = true)]
async fn a_wait_cancelled_at_any_await_loses_nothing() {
    let server = eventful();
    let client = with_a_hook(&server);
    let mut session = client.get(URL).open().await.unwrap();
    let mut texts = Vec::new();
    for waits in 0..100_000 {
        let next = Polls {
            future: Some(Box::pin(session.try_next())),
            left: 1,
        };
        match next.await {
            Some(Ok(Some(event))) => texts.push(event.text().to_owned()),
            Some(Ok(None)) => panic!("an end"),
            Some(Err(error)) => {
                assert_eq!(error.response().unwrap().body(), "no");
                assert!(waits > texts.len());
                assert_eq!(texts, ["a", "b"]);
                return;
            }
            None => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
        }
    }
    panic!("no end");
}
