//! The requests of publishers and subscribers, in the form of each product.

use std::fmt::Write;

use crate::serve::program::Product;

impl Product {
    /// The publication of an event.
    pub fn publication(self, channel: &str, data: &str) -> String {
        let length = data.len();
        let target = match self {
            Self::Tidings => format!("/channels/{channel}"),
            Self::Nchan { .. } => format!("/publish?channel={channel}"),
        };
        format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\nuser-agent: tidings-bench\r\n\
             content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{data}"
        )
    }

    /// A subscription, which begins with the oldest event or after the one with this ID.
    pub fn subscription(self, channel: &str, after: Option<&str>) -> String {
        let target = match self {
            Self::Tidings => format!("/channels/{channel}?from=earliest"),
            Self::Nchan { .. } => format!("/subscribe?channel={channel}"),
        };
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\nuser-agent: tidings-bench\r\n\
             accept: text/event-stream\r\ncache-control: no-store\r\n"
        );
        if let Some(id) = after {
            write!(request, "last-event-id: {id}\r\n").expect("a string takes all text");
        }
        request + "\r\n"
    }
}

/// The publication of several events, a line each, which only tidings has.
pub fn batch(events: impl IntoIterator<Item = (String, String)>) -> String {
    let mut body = String::new();
    for (channel, data) in events {
        let line = serde_json::json!({"channel": channel, "data": data});
        writeln!(body, "{line}").expect("a string takes all text");
    }
    let length = body.len();
    format!(
        "POST /channels HTTP/1.1\r\nhost: localhost\r\nuser-agent: tidings-bench\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}
