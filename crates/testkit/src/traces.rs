//! `TraceText`: the text that a tracing subscriber writes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Keeps the text that a `tracing_subscriber::fmt` subscriber writes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct TraceText(Arc<Mutex<Vec<u8>>>);

impl TraceText {
    /// All text written so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for TraceText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for TraceText {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
