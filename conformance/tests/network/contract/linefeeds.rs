//! Each kind of line end, in streams cut at many places.

use serde_json::Value;

use super::{Service, message};

#[tokio::test]
async fn each_line_end_counts_once_wherever_chunks_are_cut() {
    // Each `/` stands for a line end.
    let cases: [(&str, &[&str]); 6] = [
        ("data: event 1//", &["event 1"]),
        (
            "data: event 1//data: event 2 line 1/data: event 2 line 2//",
            &["event 1", "event 2 line 1\nevent 2 line 2"],
        ),
        ("data:/data: line2/data: line3//", &["\nline2\nline3"]),
        ("data: line1/data:/data: line3//", &["line1\n\nline3"]),
        ("data: event 1///data: event 2//", &["event 1", "event 2"]),
        ("data: event 1////data: event 2//", &["event 1", "event 2"]),
    ];
    let service = Service::start().await;
    for end in ["\n", "\r\n", "\r"] {
        for (text, expected) in cases {
            let text = text.replace('/', end);
            let expected: Vec<Value> = expected.iter().map(|data| message(data)).collect();
            for size in [text.len(), 1, 2] {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                service.check(&chunks, &expected).await;
            }
        }
    }
}

#[tokio::test]
async fn a_crlf_may_be_cut_in_two() {
    let chunks = [
        "data: Hello\r",
        "\ndata: World\r",
        "\n\r\ndata: OK\r",
        "\n",
        "\r",
        "\n",
    ];
    let expected = [message("Hello\nWorld"), message("OK")];
    Service::start().await.check(&chunks, &expected).await;
}
