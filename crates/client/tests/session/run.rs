//! `run` and `run_with_retry`.

use std::cell::Cell;
use std::time::Duration;

use tidings_client::{Error, ErrorKind, Reconnect};
use tokio::time::sleep;

use crate::scripted::{Part, Script, Server, parts, status, stream};

#[tokio::test]
async fn a_block_has_the_session_and_returns_its_value() {
    let server = Server::plays([stream("data: a\n\ndata: b\n\n")]);
    let mut texts = String::new();
    let request = server.client(Reconnect::off()).get("http://test/");
    let read = request.run(async |session| {
        while let Some(event) = session.try_next().await? {
            texts += event.text();
        }
        Ok(session.response().unwrap().status)
    });
    assert_eq!(read.await.unwrap(), 200);
    assert_eq!(texts, "ab");
}

#[tokio::test]
async fn a_session_is_closed_when_its_block_returns() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\n"), Part::Stall])]);
    let request = server.client(Reconnect::off()).get("http://test/");
    let first = request.run(async |session| session.try_next().await);
    assert_eq!(first.await.unwrap().unwrap().text(), "a");
    let open = server.open_bodies.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(open, 0);
}

#[tokio::test]
async fn a_connection_that_fails_is_the_error_of_a_run() {
    let server = Server::plays([Script::Refuse]);
    let request = server.client(Reconnect::off()).get("http://test/");
    let error = request.run(async |_| Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connect);
}

#[tokio::test(start_paused = true)]
async fn each_call_starts_from_the_beginning() {
    let server = Server::plays([
        Script::Refuse,
        parts(&[Part::Bytes(b"id: 1\ndata: a\n\n"), Part::Cut]),
        status(503),
        stream("data: b\n\ndata: [DONE]\n\n"),
    ]);
    let client = server.client(Reconnect::off());
    let request = client.post("http://test/").body("prompt").last_event_id(7);
    let request = request.until(|event| event.text() == "[DONE]");
    let second = Duration::from_secs(1);
    let answer = request.run_with_retry(3, second, async |mut session| {
        let mut answer = String::new();
        while let Some(event) = session.try_next().await? {
            answer += event.text();
        }
        Ok(answer)
    });
    assert_eq!(answer.await.unwrap(), "b");
    assert_eq!(server.header("last-event-id"), [["7"]; 4]);
    assert_eq!(server.waits(), [second; 3]);
    for (request, _) in server.requests.lock().unwrap().iter() {
        assert_eq!(request.body(), "prompt");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_limited_and_only_repeated_if_that_may_help() {
    for (script, calls) in [(Script::Refuse, 3), (status(404), 1)] {
        let server = Server::plays([script.clone(), script.clone(), script]);
        let request = server.client(Reconnect::off()).get("http://test/");
        let result = request.run_with_retry(2, Duration::ZERO, async |_| Ok(()));
        result.await.unwrap_err();
        assert_eq!(server.requests(), calls);
    }
    let client = Server::default().client(Reconnect::off());
    let request = client.get("no url");
    let result = request.run_with_retry(2, Duration::ZERO, async |_| Ok(()));
    assert_eq!(result.await.unwrap_err().kind(), &ErrorKind::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn other_work_of_a_block_ends_with_it() {
    let server = Server::plays([parts(&[
        Part::Wait(2500),
        Part::Bytes(b"data: a\n\n"),
        Part::Stall,
    ])]);
    let ticks = Cell::new(0);
    let request = server.client(Reconnect::off()).get("http://test/");
    let first = request.run(async |session| {
        let ticking = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                ticks.set(ticks.get() + 1);
            }
        };
        tokio::select! {
            event = session.try_next() => event,
            () = ticking => Ok(None),
        }
    });
    assert_eq!(first.await.unwrap().unwrap().text(), "a");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ticks.get(), 2);
}

#[tokio::test]
async fn both_can_be_spawned() {
    let server = Server::plays([stream("data: a\n\n"), stream("data: b\n\n")]);
    let client = server.client(Reconnect::off());
    let run = client.get("http://test/").run(async |session| {
        let event = session.try_next().await?;
        Ok(event.map(|event| event.text().to_owned()))
    });
    let read: Result<Option<String>, Error> = tokio::spawn(run).await.unwrap();
    assert_eq!(read.unwrap().unwrap(), "a");
    let prefix = String::from("read ");
    let request = client.get("http://test/");
    let run = request.run_with_retry(1, Duration::ZERO, async move |mut session| {
        let event = session.try_next().await?;
        Ok(event.map(|event| format!("{prefix}{}", event.text())))
    });
    let read = tokio::spawn(run).await.unwrap();
    assert_eq!(read.unwrap().unwrap(), "read b");
}

#[tokio::test]
async fn a_block_may_return_its_own_error() {
    let server = Server::plays([stream("data: 7\n\n")]);
    let client = server.client(Reconnect::off());
    let own = client.get("http://test/").run(async |_| {
        let error = "enough".parse::<u32>().map_err(Error::other);
        error.map(|_| ())
    });
    let error = own.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (&ErrorKind::Other, false)
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn an_error_that_leaves_the_block_has_the_last_event_id_of_its_session() {
    const STREAM: &str = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";
    let server = Server::plays(vec![stream(STREAM); 5]);
    let client = server.client(Reconnect::off());
    let request = || client.get("http://test/").last_event_id("0");
    let id = |error: &Error| error.last_event_id().map(|id| id.as_str().to_owned());
    let parse = |event: tidings_client::Event| event.text().parse::<u32>().map_err(Error::other);

    let result: Result<u32, Error> = request()
        .run(async |session| {
            session.try_next().await?;
            parse(session.try_next().await?.unwrap())
        })
        .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Other);
    assert_eq!(id(&error).as_deref(), Some("2"));

    let result: Result<u32, Error> = request()
        .run_with_retry(3, Duration::ZERO, async |mut session| {
            parse(session.try_next().await?.unwrap())
        })
        .await;
    assert_eq!(id(&result.unwrap_err()).as_deref(), Some("1"));

    // Before the first event, it is the ID of the request.
    let result: Result<(), Error> = request().run(async |_| Err(Error::other("early"))).await;
    assert_eq!(id(&result.unwrap_err()).as_deref(), Some("0"));

    // An error of another session has the ID of the session that it ends.
    let other = Server::plays([parts(&[Part::Bytes(b"id: x\ndata: a\n\n"), Part::Cut])]);
    let result: Result<(), Error> = request()
        .run(async |session| {
            session.try_next().await?;
            let mut other = other.open(Reconnect::off()).await?;
            while other.try_next().await?.is_some() {}
            Ok(())
        })
        .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Interrupted);
    assert_eq!(id(&error).as_deref(), Some("1"));

    // A session that outlives its block.
    let kept = Cell::new(None);
    let result: Result<(), Error> = request()
        .run_with_retry(3, Duration::ZERO, async |session| {
            kept.set(Some(session));
            Err(Error::other("kept"))
        })
        .await;
    assert_eq!(id(&result.unwrap_err()), None);
}
