//! The steps that a session reports between its events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_client::{ConnectionState, Error, Lifecycle, Reconnect, Session, SseClient};
use tokio::time::Instant;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

/// The reported steps, a word or two each.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<String>>>);

impl Steps {
    fn by(&self, client: SseClient) -> SseClient {
        let steps = Arc::clone(&self.0);
        client.on_lifecycle(move |step| {
            let text = match step {
                Lifecycle::Connecting { attempt } => format!("connecting {attempt}"),
                Lifecycle::NotResumable { id } => format!("not resumable {:?}", id.as_str()),
                Lifecycle::Open { response } => format!("open {}", response.status.as_u16()),
                Lifecycle::Lost { error, unfinished } => {
                    let within = if unfinished { " within an event" } else { "" };
                    format!("lost {:?}{within}", error.map(Error::kind))
                }
                Lifecycle::Waiting { attempt, delay } => format!("waiting {attempt} {delay:?}"),
                #[cfg(feature = "json")]
                Lifecycle::Gap(gap) => format!("gap {:?} {}", gap.reason, gap.resumed),
                Lifecycle::Skipped { size, id, .. } => format!("skipped {size} {id:?}"),
                Lifecycle::Failed { error } => format!("failed {:?}", error.kind()),
                Lifecycle::Ended => "ended".into(),
                _ => panic!("unknown: {step:?}"),
            };
            steps.lock().unwrap().push(text);
        })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn open(server: &Server, steps: &Steps, reconnect: Reconnect) -> Result<Session, Error> {
    let client = steps.by(server.client(reconnect));
    client.get("http://test/").open().await
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_step_by_step() {
    let server = Server::plays([
        Script::Refuse,
        stream("data: a\n\n"),
        parts(&[Part::Bytes(b":\n"), Part::Cut]),
        status(204),
    ]);
    let steps = Steps::default();
    let mut session = open(&server, &steps, Reconnect::standard()).await.unwrap();
    let opening = [
        "connecting 0",
        "lost Some(Connect)",
        "waiting 1 3s",
        "connecting 1",
        "open 200",
    ];
    assert_eq!(steps.take(), opening);
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let rest = [
        "lost None",
        "waiting 1 3s",
        "connecting 1",
        "open 200",
        "lost Some(Interrupted)",
        "waiting 1 3s",
        "connecting 1",
        "ended",
    ];
    assert_eq!(steps.take(), rest);
}

#[tokio::test(start_paused = true)]
async fn an_end_within_an_event_is_reported() {
    let lost = async |reconnect, scripts: Vec<Script>| {
        let server = Server::plays(scripts);
        let steps = Steps::default();
        let mut session = open(&server, &steps, reconnect).await.unwrap();
        assert_eq!(read_all(&mut session).await.0, ["a"]);
        let mut steps = steps.take();
        steps.retain(|step| !step.starts_with("connecting") && !step.starts_with("waiting"));
        steps
    };
    let unfinished = "data: a\n\ndata: b\n";
    let steps = lost(Reconnect::off(), vec![stream(unfinished)]).await;
    assert_eq!(steps, ["open 200", "lost None within an event", "ended"]);
    let steps = lost(Reconnect::off(), vec![stream("data: a\n\n: b\n")]).await;
    assert_eq!(steps, ["open 200", "lost None", "ended"]);

    let cut = parts(&[Part::Bytes(unfinished.as_bytes()), Part::Cut]);
    let steps = lost(Reconnect::standard(), vec![cut, status(204)]).await;
    let expected = [
        "open 200",
        "lost Some(Interrupted) within an event",
        "ended",
    ];
    assert_eq!(steps, expected);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_once_and_last() {
    let server = Server::plays([status(404)]);
    let steps = Steps::default();
    let error = open(&server, &steps, Reconnect::standard()).await;
    assert!(error.is_err());
    assert_eq!(
        steps.take(),
        [
            "connecting 0",
            "lost Some(Status(404))",
            "failed Status(404)"
        ]
    );

    let server = Server::plays([parts(&[Part::Cut])]);
    let mut session = open(&server, &steps, Reconnect::off()).await.unwrap();
    read_all(&mut session).await;
    read_all(&mut session).await;
    let cut = [
        "connecting 0",
        "open 200",
        "lost Some(Interrupted)",
        "failed Interrupted",
    ];
    assert_eq!(steps.take(), cut);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_no_header_can_carry_is_reported_as_not_resumable() {
    let server = Server::plays([
        stream("id: a\u{1b}b\ndata: a\n\n"),
        Script::Redirect(307, "http://other/"),
        stream("id:  \ndata: b\n\n"),
        stream(format!("id: {}\ndata: c\n\n", "7".repeat(8 * 1024 + 1)).leak()),
        stream("id: 8\n\n"),
        status(204),
    ]);
    let steps = Steps::default();
    let mut session = open(&server, &steps, Reconnect::standard()).await.unwrap();
    read_all(&mut session).await;
    let steps = steps.take();
    let not_resumable: Vec<&String> = steps
        .iter()
        .filter(|text| text.starts_with("not"))
        .collect();
    let long = format!("not resumable {:?}", "7".repeat(8 * 1024 + 1));
    assert_eq!(
        not_resumable,
        [r#"not resumable "a\u{1b}b""#, r#"not resumable " ""#, &long]
    );
    let sent: [&[&str]; 6] = [&[], &[], &[], &[], &[], &["8"]];
    assert_eq!(server.header("last-event-id"), sent);
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_gap_is_reported_if_asked_for_and_otherwise_an_event() {
    const STREAM: &str = "id: e.7.AAAA\nevent: gap\ndata: {\"requested\":\"e.1.BBBB\",\
         \"resumed\":\"e.7.AAAA\",\"reason\":\"trimmed\",\"missed\":5}\n\n\
         id: e.8.CCCC\ndata: a\n\nid: 9\nevent: gap\ndata: mind\n\n";
    let steps = Steps::default();
    let server = Server::plays([stream(STREAM), stream(STREAM)]);
    let client = steps.by(server.client(Reconnect::off()));

    let request = client.get("http://test/").gaps(true);
    let mut session = request.open().await.unwrap();
    let event = session.try_next().await.unwrap().unwrap();
    assert_eq!(event.text(), "a");
    let texts = ["connecting 0", "open 200", "gap Trimmed e.7.AAAA"];
    assert_eq!(steps.take(), texts);
    assert_eq!(read_all(&mut session).await.0, ["mind"]);

    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await.0.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_state_is_that_of_the_last_poll() {
    let server = Server::plays([stream("data: a\n\n"), Script::Hang]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.state(), ConnectionState::Open);
    session.try_next().await.unwrap();
    let soon = Duration::from_millis(1);
    tidings_testkit::timeout::timeout(soon, session.try_next())
        .await
        .unwrap_err();
    let waiting = session.state();
    let ConnectionState::Waiting { attempt: 1, until } = waiting else {
        panic!("{waiting:?}")
    };
    let left = Instant::from_std(until) - Instant::now();
    assert!(left <= Duration::from_secs(3) && left >= Duration::from_secs(2));
    assert!(session.last_error().is_none());
    let later = Duration::from_secs(10);
    tidings_testkit::timeout::timeout(later, session.try_next())
        .await
        .unwrap_err();
    assert_eq!(session.state(), ConnectionState::Connecting { attempt: 1 });
    session.close();
    assert_eq!(session.state(), ConnectionState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_known_until_another_connection_is_open() {
    let server = Server::plays([
        parts(&[Part::Cut]),
        parts(&[Part::Bytes(b"data: a\n\n"), Part::Stall]),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let soon = Duration::from_millis(1);
    tidings_testkit::timeout::timeout(soon, session.try_next())
        .await
        .unwrap_err();
    assert!(session.last_error().is_some());
    session.try_next().await.unwrap();
    assert!(session.last_error().is_none());
}
