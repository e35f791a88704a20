//! Hostile frames of HTTP/2, over TLS and without: each client is cut, and others are served.

use std::time::Duration;

use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{Client, Report, SOON, Server};
use crate::frames::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, Io, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, get,
};
use crate::trust::{Authority, connect};

/// Runs an attack over TLS and without. A client beside it is served before, during and after.
async fn attack(
    set: impl Fn(tidings_axum::Serve) -> tidings_axum::Serve,
    run: impl AsyncFn(&mut Server, Attacker),
) {
    for over_tls in [false, true] {
        let authority = Authority::new("a");
        let mut server = Server::start(|serve| {
            let serve = set(serve.http2(true));
            if over_tls {
                serve.tls(&authority.tls())
            } else {
                serve
            }
        })
        .await;
        let authority = over_tls.then_some(&authority);
        let mut live = live_client(&server, authority).await;
        let attacker = Attacker::connect(server.address, authority).await;
        run(&mut server, attacker).await;
        live.write_all(b"still open").await.unwrap();
        let mut echoed = [0; 10];
        timeout(SOON, live.read_exact(&mut echoed))
            .await
            .unwrap()
            .unwrap();
        live_client(&server, authority).await;
        assert!(!server.ended.is_finished());
    }
}

/// A connection to `/echo`.
async fn live_client(server: &Server, authority: Option<&Authority>) -> Box<dyn Io> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let io: Box<dyn Io> = match authority {
        Some(authority) => Box::new(connect(&authority.client(&[]), socket).await.unwrap()),
        None => Box::new(socket),
    };
    let mut client = Client::over(io, "/echo").await;
    client.read_until("101 Switching Protocols").await;
    client.stream
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    attack(
        |serve| serve,
        async |_, mut attacker| {
            let mut burst = Vec::new();
            for number in 0..1000 {
                let stream = 2 * number + 1;
                burst.extend(frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    stream,
                    &get("/quiet"),
                ));
                burst.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
            }
            attacker.write(&burst).await;
            assert_eq!(attacker.read_goaway().await, Some(ENHANCE_YOUR_CALM));
        },
    )
    .await;
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    attack(
        |serve| serve,
        async |_, mut attacker| {
            attacker
                .write(&frame(HEADERS, END_STREAM, 1, &get("/quiet")))
                .await;
            // Empty frames, and frames of one field.
            for field in [&b""[..], b"\0\x01a\x01b"] {
                let continued = frame(CONTINUATION, 0, 1, field).repeat(1000);
                let written = attacker.write_without_end(&continued).await;
                assert!(written < 16 << 20, "{written}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn pings_and_settings_of_a_client_that_does_not_read_are_not_collected() {
    let deadline = Duration::from_millis(500);
    attack(
        |serve| serve.write_deadline(deadline),
        async |_, mut attacker| {
            let frames = [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])];
            let written = attacker
                .write_without_end(&frames.concat().repeat(1000))
                .await;
            // What the buffers of both sockets hold, and no more.
            assert!(written < 64 << 20, "{written}");
        },
    )
    .await;
}

#[tokio::test]
async fn wrong_frames_on_many_streams_end_the_connection() {
    attack(
        |serve| serve,
        async |_, mut attacker| {
            let mut burst = Vec::new();
            for number in 0..3000 {
                let stream = 2 * number + 1;
                burst.extend(frame(HEADERS, END_HEADERS, stream, &get("/quiet")));
                // A window that overflows is an error of the stream.
                burst.extend(frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]));
            }
            attacker.write(&burst).await;
            assert_eq!(attacker.read_goaway().await, Some(ENHANCE_YOUR_CALM));
        },
    )
    .await;
}

#[tokio::test]
async fn a_client_with_huge_windows_that_does_not_read_is_cut() {
    let deadline = Duration::from_millis(500);
    attack(
        |serve| serve.write_deadline(deadline),
        async |server, mut attacker| {
            attacker.open_windows().await;
            for number in 0..20 {
                attacker.get(2 * number + 1, "/flood").await;
            }
            server.expect_reports(&Report::Dropped, 20).await;
        },
    )
    .await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    attack(
        |serve| serve,
        async |server, mut attacker| {
            for number in 0..300 {
                attacker.get(2 * number + 1, "/slow/60000").await;
            }
            server.expect_reports(&Report::Started, 200).await;
            let mut refused = 0;
            while refused < 100 {
                let mut head = [0; 9];
                timeout(SOON, attacker.io.read_exact(&mut head))
                    .await
                    .unwrap()
                    .unwrap();
                let length = usize::from(head[2]);
                let mut payload = vec![0; length];
                timeout(SOON, attacker.io.read_exact(&mut payload))
                    .await
                    .unwrap()
                    .unwrap();
                refused += usize::from(head[3] == RST_STREAM);
                assert_ne!(head[3], DATA);
            }
            assert!(server.reports.try_recv().is_err());
        },
    )
    .await;
}
