//! Traces: they report what happens, and contain no secret. Alone in its process, as tracing caches for the
//! whole process whether there is a subscriber.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../transports/app.rs"]
mod app;
#[allow(dead_code, reason = "the other suite uses the rest")]
#[path = "../transports/subject.rs"]
mod subject;

use tidings_testkit::traces::TraceText;

use crate::subject::{receive, subjects, within};

#[tokio::test]
async fn the_warning_of_a_wait_names_the_host_and_the_reason() {
    let log = TraceText::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let subjects = subjects().await;
    for subject in &subjects {
        // Two events and a cut, then the third event and a regular end, then 204.
        let mut session = subject.open("/feed/3").await;
        receive(subject.name, &mut session).await;
    }
    let log = log.text();
    for what in [
        "the server ended the stream; waiting to reconnect",
        "the connection is lost",
        ": waiting to reconnect",
    ] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(what)).collect();
        assert_eq!(lines.len(), subjects.len(), "{what}:\n{log}");
        for line in lines {
            assert!(line.contains("session{method=GET host="), "{line}");
        }
    }
}

#[tokio::test]
async fn no_trace_contains_a_token_or_a_query() {
    let log = TraceText::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(log.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let mut printed = String::new();
    for subject in subjects().await {
        let name = subject.name;
        for path in ["/feed/3", "/away", "/refusal", "/page", "/nowhere"] {
            let url = subject
                .url(path)
                .replace("http://", "http://us3r:pa55w0rd@");
            let request = subject.client.get(url);
            let request = request
                .bearer("t0ken")
                .header("x-key", "k3y")
                .query("access", "qu3ry")
                .on_lifecycle(|lifecycle| {
                    // Its `Debug` contains no secret either.
                    tracing::info!(target: "tidings_user", ?lifecycle, "an event of the lifecycle");
                });
            match within(name, request.open()).await {
                Ok(mut session) => {
                    receive(name, &mut session).await;
                    printed += &format!("{session:?}");
                }
                Err(error) => printed += &format!("{error:?} {error}"),
            }
        }
        // No server listens there.
        let request = subject.client.get("http://127.0.0.1:1/?access=qu3ry");
        let request = request.reconnect(tidings::Reconnect::off()).bearer("t0ken");
        if let Err(error) = within(name, request.open()).await {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                printed += &format!("{error:?} {error}\n");
                source = error.source();
            }
        }
    }
    let log = log.text();
    // Traces of other crates are not checked.
    let ours: String = log
        .lines()
        .filter(|line| line.contains("tidings"))
        .collect();
    for what in [
        "session",
        "connecting",
        "the stream is open",
        "the connection is lost",
    ] {
        assert!(ours.contains(what), "{what} is not traced:\n{log}");
    }
    // A client whose server is down is not silent at the usual level.
    for what in ["the connection is lost", "waiting to reconnect"] {
        let mut lines = log.lines().filter(|line| line.contains(what));
        assert!(
            lines.all(|line| line.contains("WARN")),
            "{what} is no warning"
        );
    }
    for secret in ["t0ken", "qu3ry", "k3y", "pa55w0rd", "c00kie"] {
        assert!(!ours.contains(secret), "{secret} is traced");
        assert!(!printed.contains(secret), "{secret} is printed: {printed}");
    }
}
