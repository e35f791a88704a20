//! Endless redirects, and redirects to another origin and back.

use tidings_client::{ErrorKind, Reconnect};
use tidings_testkit::server::{Script, ScriptedServer};

use crate::scene::{SECOND, URL, client, collect, open_and_collect, waits};

#[tokio::test(start_paused = true)]
async fn endless_redirects_are_an_error() {
    let endless = || ScriptedServer::directed(|_| Script::status(302, "location: /again\r\n"));
    let server = endless();
    let outcome = open_and_collect(&client(&server, Reconnect::off())).await;
    assert_eq!(outcome, (vec![], Some(ErrorKind::Connect)));
    assert_eq!(server.connections(), 21);

    let server = endless();
    let client = client(&server, Reconnect::standard());
    let result = tidings_testkit::timeout::timeout(7 * SECOND, client.get(URL).open()).await;
    assert!(result.is_err(), "it keeps trying");
    let waits = waits(&server);
    assert!(waits[20] >= 3 * SECOND, "{:?}", waits[20]);
    let hops = waits.iter().enumerate().filter(|(at, _)| at % 21 != 20);
    assert!(hops.into_iter().all(|(_, wait)| wait.is_zero()));
}

#[tokio::test(start_paused = true)]
async fn twenty_redirects_are_followed() {
    let server = ScriptedServer::directed(|connection| match connection {
        0..20 => Script::status(307, "location: /again\r\n"),
        20 => Script::stream("data: a\n\n"),
        _ => Script::status(204, ""),
    });
    let outcome = open_and_collect(&client(&server, Reconnect::standard())).await;
    assert_eq!(outcome, (vec!["a".into()], None));
    // The reconnection goes to the final URL.
    assert_eq!(server.requests().last().unwrap().target(), "/again");
}

#[tokio::test(start_paused = true)]
async fn credentials_are_sent_only_to_their_origin() {
    const SECRETS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-key"];
    let server = ScriptedServer::plays([
        Script::status(307, "location: http://other.test/there\r\n"),
        Script::stream("id: 1\ndata: a\n\n"),
        Script::status(307, "location: http://test/back\r\n"),
        Script::stream("data: b\n\n"),
        Script::status(204, ""),
    ]);
    let mut key = http::HeaderValue::from_static("secret");
    key.set_sensitive(true);
    let request = client(&server, Reconnect::standard())
        .get(URL)
        .bearer("secret")
        .header("cookie", "secret")
        .header("proxy-authorization", "secret")
        .header("x-key", key)
        .header("x-public", "yes");
    let mut session = request.open().await.unwrap();
    assert_eq!(
        collect(&mut session).await,
        (vec!["a".into(), "b".into()], None)
    );
    let requests = server.requests();
    let hosts: Vec<&str> = requests
        .iter()
        .map(|request| request.header("host")[0])
        .collect();
    assert_eq!(hosts, ["test", "other.test", "other.test", "test", "test"]);
    for request in &requests {
        let secrets = SECRETS.map(|name| request.header(name).len());
        let expected = if request.header("host") == ["test"] {
            [1; 4]
        } else {
            [0; 4]
        };
        assert_eq!(secrets, expected, "{}", request.head);
        assert_eq!(request.header("x-public"), ["yes"]);
        assert!(request.header("referer").is_empty());
    }
}
