//! Head and body of a stream, byte for byte beside those that hyper writes.

use http::{HeaderName, HeaderValue, Response};
use proptest::prelude::*;
use tokio::runtime;

use crate::support::{
    Script, Step, Writer, builder, by, frame, mark, serve, stream, talk, text, without_dates,
};

/// The result of one exchange, for its client.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sent: String,
    is_closed: bool,
}

async fn see(writer: Writer, request: &[u8], answer: impl Fn() -> Response<Script>) -> Seen {
    let driven = serve(
        &builder(),
        |_| by(writer, answer()),
        async |io| talk(io, request).await,
    )
    .await;
    // A stream that never waits may begin and end in one poll, where nobody sees it.
    if writer == Writer::Hyper || answer().body().waits() {
        assert_eq!(driven.has_streamed, writer == Writer::Ours);
    }
    let (sent, is_closed) = driven.client;
    let sent = without_dates(&sent);
    Seen {
        // One character a byte.
        sent: sent.iter().map(|byte| char::from(*byte)).collect(),
        is_closed,
    }
}

async fn check(request: &str, answer: impl Fn() -> Response<Script>) -> String {
    let ours = see(Writer::Ours, request.as_bytes(), &answer).await;
    let of_hyper = see(Writer::Hyper, request.as_bytes(), &answer).await;
    assert_eq!(ours, of_hyper, "{request:?}");
    ours.sent
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: x, CLOSE\r\nconnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: \u{e9}, close\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nconnection: close\r\n\r\n",
    "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.0\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
];

const HEADERS: &[&[(&str, &str)]] = &[
    &[],
    &[("content-type", "text/event-stream")],
    &[("connection", "close")],
    &[("connection", "keep-alive")],
    &[("connection", "x"), ("connection", "y, Close")],
    &[
        ("connection", "x"),
        ("a", "1"),
        ("connection", "Keep-Alive"),
        ("a", "2"),
    ],
    &[("connection", "")],
    &[("connection", "\u{e9}, close")],
    &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")],
    &[("date", "then"), ("date", "now")],
    &[("x-empty", ""), ("x-after", "1")],
    &[
        ("set-cookie", "a=1"),
        ("b", "2"),
        ("set-cookie", "c=3"),
        ("set-cookie", ""),
    ],
    &[("x-text", "\u{ff}\u{80}\t~")],
    &[("keep-alive", "timeout=5")],
    &[
        ("server", "s"),
        ("te", "x"),
        ("expect", "y"),
        ("content-encoding", "gzip"),
    ],
];

fn with_headers(headers: &[(impl AsRef<str>, impl AsRef<str>)]) -> Response<Script> {
    let mut response = stream([frame("data: 1\n\n"), Step::Yield, frame("data: 2\n\n")]);
    for (name, value) in headers {
        // One byte a character.
        let value: Vec<u8> = value
            .as_ref()
            .chars()
            .map(|c| u8::try_from(c).unwrap())
            .collect();
        let name = HeaderName::from_bytes(name.as_ref().as_bytes()).unwrap();
        let value = HeaderValue::from_bytes(&value).unwrap();
        response.headers_mut().append(name, value);
    }
    response
}

#[tokio::test(start_paused = true)]
async fn heads_are_those_of_hyper() {
    for request in REQUESTS {
        for headers in HEADERS {
            check(request, || with_headers(headers)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_exchange_is_what_the_standard_says() {
    let sent = check(REQUESTS[0], || with_headers(HEADERS[1])).await;
    assert_eq!(
        sent,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\ndate: DATE\r\n\r\n\
         9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    );
    let sent = check(REQUESTS[8], || with_headers(HEADERS[1])).await;
    assert_eq!(
        sent,
        "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\ndate: DATE\r\n\r\n\
         data: 1\n\ndata: 2\n\n"
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_are_those_of_hyper() {
    let sizes = [
        1, 9, 10, 15, 16, 255, 256, 4095, 4096, 4097, 10_000, 200_000,
    ];
    let large = |size: usize| frame(vec![b'x'; size]);
    for request in [REQUESTS[0], REQUESTS[8]] {
        for size in sizes {
            check(request, || stream([large(size)])).await;
            check(request, || {
                stream([large(size), Step::Yield, large(size), frame("1")])
            })
            .await;
            check(request, || stream([frame("1"), large(size), large(size)])).await;
        }
        check(request, || stream((0..500).map(|n| frame(n.to_string())))).await;
        check(request, || stream((0..50).map(|_| large(1000)))).await;
        // Empty frames are no chunks, as such a chunk would end the body.
        check(request, || {
            stream([frame(""), frame("1"), frame(""), Step::Yield, frame("")])
        })
        .await;
        // A body without frames, and one that knows that it has ended.
        check(request, || stream([Step::Yield])).await;
        check(request, || {
            let mut script = Script::new([Step::Yield, frame("1")]);
            script.knows_its_end = true;
            mark(Response::new(script))
        })
        .await;
        // Trailers that no head has announced.
        check(request, || stream([frame("1"), Step::Trailers, frame("2")])).await;
    }
}

fn header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        3 => Just("connection".to_owned()),
        1 => Just("date".to_owned()),
        1 => Just("trailers".to_owned()),
        4 => "[a-z][a-z0-9-]{0,3}",
    ];
    let value = prop_oneof![
        3 => prop::collection::vec(
            prop_oneof![
                Just("close".to_owned()),
                Just("Keep-Alive".to_owned()),
                Just("x".to_owned()),
                Just(" ".to_owned()),
            ],
            0..3
        )
        .prop_map(|options| options.join(",").trim().to_owned()),
        2 => "[!-~\u{80}-\u{ff}]([ -~\u{80}-\u{ff}\t]{0,8}[!-~\u{80}-\u{ff}])?",
    ];
    (name, value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_head_and_any_frames_are_those_of_hyper(
        request in prop::sample::select(REQUESTS),
        // Names that keep a response with hyper have more letters.
        headers in prop::collection::vec(header(), 0..6),
        frames in prop::collection::vec(prop::option::of(0..9_000_usize), 0..8),
    ) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let answer = || {
            let mut response = with_headers(&headers);
            *response.body_mut() = Script::new(frames.iter().map(|size| match size {
                Some(size) => frame(vec![b'y'; *size]),
                None => Step::Yield,
            }));
            response
        };
        runtime.block_on(check(request, answer));
    }
}

#[test]
fn a_date_of_another_form_is_seen() {
    let seen = without_dates(b"a\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ndate: x\r\n");
    assert_eq!(text(&seen), "a\r\ndate: DATE\r\ndate: x\r\n");
}
