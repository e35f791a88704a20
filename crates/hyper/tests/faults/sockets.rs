//! Faults over real sockets in real time, where these can differ from pipes.

use std::time::Duration;

use tidings_client::{ErrorKind, Reconnect, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::server::{Script, ScriptedServer, Step};
use tidings_testkit::timeout::timeout;
use tokio::net::TcpListener;

use crate::scene::collect;

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

fn client() -> SseClient {
    let transport = DirectTransport::new().no_proxy();
    SseClient::over(transport).idle_timeout(3 * SHORT)
}

async fn outcome(client: &SseClient, url: &str) -> (Vec<String>, Option<ErrorKind>) {
    let reading = async {
        match client.get(url).open().await {
            Ok(mut session) => collect(&mut session).await,
            Err(error) => (Vec::new(), Some(error.kind().clone())),
        }
    };
    timeout(SOON, reading).await.unwrap()
}

#[tokio::test]
async fn each_fault_is_one_error() {
    for (script, texts) in [
        (Script::Refuse, vec![]),
        (Script::answer([Step::Reset]), vec![]),
        (
            Script::answer([Step::send("HTTP/1.1 200 O"), Step::Reset]),
            vec![],
        ),
        (Script::answer([Step::send("garbage\r\n\r\n")]), vec![]),
        (
            Script::answer([Step::chunked_head(), Step::send("ff\r\ndata: a\n\n")]),
            vec!["a".to_owned()],
        ),
        (
            Script::answer([Step::head(), Step::send("data: a\n\n"), Step::Stall]),
            vec!["a".to_owned()],
        ),
    ] {
        let server = ScriptedServer::plays([script]);
        let listening = server.listen().await.unwrap();
        let url = format!("http://{}/", listening.address);
        let kind = if texts.is_empty() {
            ErrorKind::Connect
        } else {
            ErrorKind::Interrupted
        };
        assert_eq!(outcome(&client(), &url).await, (texts, Some(kind)));
    }
}

#[tokio::test]
async fn a_port_without_a_listener_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(
        outcome(&client(), &url).await,
        (vec![], Some(ErrorKind::Connect))
    );
}

#[tokio::test]
async fn a_broken_stream_is_resumed() {
    let server = ScriptedServer::plays([
        Script::stream("retry: 200\nid: 1\ndata: a\n\n"),
        Script::Refuse,
        Script::answer([Step::head(), Step::send("id: 2\ndata: b\n\n"), Step::Stall]),
        Script::answer([Step::chunked_head(), Step::send("5\r\ndata")]),
        Script::stream("id: 3\ndata: c\n\n"),
        Script::status(204, ""),
    ]);
    let listening = server.listen().await.unwrap();
    let url = format!("http://{}/", listening.address);
    let reconnect = Reconnect::standard().max_delay(2 * SHORT);
    let texts = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(
        outcome(&client().reconnect(reconnect), &url).await,
        (texts, None)
    );
    let ids: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.header("last-event-id").join("+"))
        .collect();
    assert_eq!(ids, ["", "1", "2", "2", "3"]);
}
