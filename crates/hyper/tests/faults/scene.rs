//! A client over pipes to a scripted server, and the events that it receives.

use std::time::Duration;

use tidings_client::{ErrorKind, Reconnect, Session, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::server::ScriptedServer;

pub(crate) const URL: &str = "http://test/events";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A client whose connections are pipes to this server.
pub(crate) fn client(server: &ScriptedServer, reconnect: Reconnect) -> SseClient {
    let server = server.clone();
    let transport = DirectTransport::over(move |_| {
        let connected = server.connect();
        async move { connected }
    });
    SseClient::over(transport).reconnect(reconnect)
}

/// All events until the end or the error. Checks that nothing follows.
pub(crate) async fn collect(session: &mut Session) -> (Vec<String>, Option<ErrorKind>) {
    let mut texts = Vec::new();
    let error = loop {
        match session.try_next().await {
            Ok(Some(event)) => texts.push(event.text().to_owned()),
            Ok(None) => break None,
            Err(error) => break Some(error.kind().clone()),
        }
    };
    for _ in 0..3 {
        assert!(session.next().await.is_none(), "an item after the end");
    }
    (texts, error)
}

/// Opens a session and collects its events; an error of `open` counts as its error.
pub(crate) async fn open_and_collect(client: &SseClient) -> (Vec<String>, Option<ErrorKind>) {
    match client.get(URL).open().await {
        Ok(mut session) => collect(&mut session).await,
        Err(error) => (Vec::new(), Some(error.kind().clone())),
    }
}

/// The time between each request and the one before it.
pub(crate) fn waits(server: &ScriptedServer) -> Vec<Duration> {
    let requests = server.requests();
    requests
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect()
}
