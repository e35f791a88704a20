//! `Lines`: the lines of an input, each of bounded length.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};

/// The longest line, in bytes: far more than a server accepts by default.
const MAX_LINE: usize = 16 << 20;

/// Reads lines, the last one also if nothing ends it.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    limit: usize,
    number: u64,
}

impl Lines<BufReader<Stdin>> {
    pub(super) fn of_stdin() -> Self {
        Self::new(BufReader::new(tokio::io::stdin()), MAX_LINE)
    }
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    fn new(input: R, limit: usize) -> Self {
        Self {
            input,
            limit,
            number: 0,
        }
    }

    /// The number of the line that was read last; the first is 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end, `\n` or `\r\n`.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut line = Vec::new();
        // With its end, and one byte that shows that it is too long.
        let limit = self.limit as u64 + 3;
        let mut input = (&mut self.input).take(limit);
        if input.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        }
        if line.len() > self.limit {
            let (number, limit) = (self.number, self.limit);
            let error = format!("line {number} of the input has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(Some(line.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(input: &str, expected: &[&str]) {
        let mut lines = Lines::new(input.as_bytes(), 5);
        for line in expected {
            assert_eq!(lines.next().await.unwrap().unwrap(), line, "{input:?}");
        }
        assert_eq!(lines.next().await.unwrap(), None, "{input:?}");
        assert_eq!(lines.number(), expected.len() as u64, "{input:?}");
    }

    #[tokio::test]
    async fn each_line_is_read_without_its_end() {
        check("", &[]).await;
        check("a", &["a"]).await;
        check("a\nb\r\n", &["a", "b"]).await;
        check("\n\n", &["", ""]).await;
        check("a\r", &["a\r"]).await;
        check("12345\r\n12345", &["12345", "12345"]).await;
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_an_error() {
        for input in ["123456", "123456\n", "1234567890\n"] {
            let error = Lines::new(input.as_bytes(), 5).next().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "line 1 of the input has more than 5 bytes"
            );
        }
    }
}
