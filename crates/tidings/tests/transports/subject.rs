//! The transports under test, each with its own server.

use std::time::Duration;

use tidings::client::{ErrorKind, Session, SseClient};
use tidings::hyper::DirectTransport;
use tidings::{Reconnect, reqwest as over_reqwest};
use tidings_testkit::timeout::timeout;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::app::{Counts, app};

const SOON: Duration = Duration::from_secs(20);

/// A client over one transport, and the server that it reaches.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) client: SseClient,
    pub(crate) origin: String,
    pub(crate) counts: Counts,
    pub(crate) version: http::Version,
    server: Option<JoinHandle<()>>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

impl Subject {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) async fn open(&self, path: &str) -> Session {
        let opening = self.client.get(self.url(path)).open();
        within(self.name, opening).await.unwrap()
    }
}

/// Limits a wait, and names the transport if it takes too long.
pub(crate) async fn within<F: Future>(name: &str, future: F) -> F::Output {
    match timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("{name}: no result within {SOON:?}"),
    }
}

/// Receives until the end or an error. The limit is for the whole wait, as a stream may never end.
pub(crate) async fn receive(name: &str, session: &mut Session) -> (Vec<String>, Option<ErrorKind>) {
    let receiving = async {
        let mut texts = Vec::new();
        loop {
            match session.try_next().await {
                Ok(Some(event)) => texts.push(event.text().to_owned()),
                Ok(None) => return (texts, None),
                Err(error) => return (texts, Some(error.kind().clone())),
            }
        }
    };
    within(name, receiving).await
}

/// Serves HTTP/1.1, and HTTP/2 to a client that begins with it.
async fn serve(counts: Counts) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        axum::serve(listener, app(counts)).await.unwrap();
    });
    (origin, server)
}

pub(crate) async fn subjects() -> Vec<Subject> {
    let own = |builder: reqwest::ClientBuilder| {
        let http = builder.no_proxy().build().unwrap();
        SseClient::over(over_reqwest::transport(http))
    };
    let direct = SseClient::over(DirectTransport::new().no_proxy());
    let mut subjects = Vec::new();
    for (name, client, version) in [
        ("direct", direct, http::Version::HTTP_11),
        (
            "reqwest, ours",
            over_reqwest::client(),
            http::Version::HTTP_11,
        ),
        (
            "reqwest, the user's",
            own(reqwest::Client::builder()),
            http::Version::HTTP_11,
        ),
        (
            "reqwest, HTTP/2",
            own(reqwest::Client::builder().http2_prior_knowledge()),
            http::Version::HTTP_2,
        ),
    ] {
        let counts = Counts::default();
        let (origin, server) = serve(counts.clone()).await;
        subjects.push(Subject {
            name,
            client: quick(client),
            origin,
            counts,
            version,
            server: Some(server),
        });
    }
    let counts = Counts::default();
    subjects.push(Subject {
        name: "a router in process",
        client: quick(SseClient::over_service(app(counts.clone()))),
        origin: "http://in.process".into(),
        counts,
        version: http::Version::HTTP_11,
        server: None,
    });
    subjects
}

/// Reconnects like a browser, but sooner.
fn quick(client: SseClient) -> SseClient {
    client
        .reconnect(Reconnect::standard())
        .reconnection_time(Duration::from_millis(10))
}
