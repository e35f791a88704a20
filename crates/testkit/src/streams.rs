//! Sample streams in the shape of real producers, and a summary of the events in each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tidings_proto::Comments;

use crate::decoding::{Decoded, Options, decode};

/// A recorded stream.
#[derive(Debug)]
pub struct Sample {
    /// The file's name.
    pub name: String,
    /// The stream.
    pub bytes: Vec<u8>,
    /// The summary that a correct decoder arrives at.
    pub expected: Summary,
}

/// A summary of a stream's events, with a digest instead of their text.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// The stream's length.
    pub bytes: usize,
    /// Distinguishes a damaged file from a wrong decoder.
    pub sha256_of_file: String,
    /// The number of events.
    pub events: usize,
    /// The number of events of each type.
    pub by_event: BTreeMap<String, usize>,
    /// The number of comment lines.
    pub comments: usize,
    /// The length of the longest data.
    pub longest_data_bytes: usize,
    /// The last event ID at the end; empty if there is none.
    pub final_last_event_id: String,
    /// The reconnection time at the end; `None` without a `retry`.
    pub final_retry_ms: Option<u64>,
    /// SHA-256 over type, data and last event ID of each event: a big-endian `u32` of the length,
    /// then the text.
    pub digest: String,
}

/// All samples.
///
/// # Panics
/// If a file is missing.
#[must_use]
pub fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("streams");
    let expected = fs::read(folder.join("expected.json")).expect("streams/expected.json");
    let expected: BTreeMap<String, Summary> =
        serde_json::from_slice(&expected).expect("a summary for each file");
    expected
        .into_iter()
        .map(|(name, expected)| Sample {
            bytes: fs::read(folder.join(&name)).expect(&name),
            name,
            expected,
        })
        .collect()
}

impl Summary {
    /// Decodes a stream and summarises its events.
    #[must_use]
    pub fn of(chunks: &[&[u8]]) -> Self {
        let stream = chunks.concat();
        let options = Options {
            comments: Comments::Immediate,
            ..Options::default()
        };
        let Decoded {
            events,
            last_event_id,
            reconnection_time,
            ..
        } = decode(chunks, &options);

        let (comments, events): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| event.data.is_none());
        let mut by_event = BTreeMap::new();
        let mut digest = Sha256::new();
        for event in &events {
            *by_event.entry(event.event_type().to_owned()).or_default() += 1;
            for text in [
                event.event_type(),
                event.text(),
                event.id.as_deref().unwrap_or_default(),
            ] {
                let length = u32::try_from(text.len()).expect("samples are small");
                digest.update(length.to_be_bytes());
                digest.update(text);
            }
        }
        Self {
            bytes: stream.len(),
            sha256_of_file: hex(&Sha256::digest(&stream)),
            events: events.len(),
            by_event,
            comments: comments.len(),
            longest_data_bytes: events
                .iter()
                .map(|event| event.text().len())
                .max()
                .unwrap_or(0),
            final_last_event_id: last_event_id.unwrap_or_default(),
            final_retry_ms: reconnection_time
                .map(|time| time.as_millis().try_into().expect("samples are sane")),
            digest: hex(&digest.finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string grows");
        hex
    })
}
