//! `HeadScanner`: the search for the end of a response's head.

/// The length of `HTTP/1.1 200`, the part of a status line that ends with the status.
const STATUS_END: usize = 12;

/// Finds the end of a response's head where hyper's parser finds it: at the first empty line. Empty lines
/// before the head are skipped, and a line may end with a bare LF. An interim head (1xx, except 101) is
/// followed by another head.
///
/// It checks nothing else, as hyper refuses a malformed head.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    /// The beginning of the status line.
    status: [u8; STATUS_END],
    status_len: usize,
    /// Which line is being read.
    line: Line,
    is_within_line: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Status,
    Header,
}

/// What the scanned bytes contain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// No end. This many bytes were scanned: all, or all except a CR that may begin an empty line. That
    /// CR must be scanned again, with the byte that follows it.
    Part(usize),
    /// The head ends before this offset, with an empty line.
    End(usize),
}

impl HeadScanner {
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            if !self.is_within_line {
                let line_end = match rest {
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    [b'\r'] => return Scanned::Part(offset),
                    _ => 0,
                };
                if line_end > 0 {
                    if self.is_end() {
                        return Scanned::End(offset + line_end);
                    }
                    rest = &rest[line_end..];
                    continue;
                }
                self.is_within_line = true;
            }
            rest = self.scan_line(rest);
        }
        Scanned::Part(bytes.len())
    }

    /// Scans to the end of the line, and returns the bytes after it.
    fn scan_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let line_feed = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(line_feed.map_or(bytes.len(), |at| at + 1));
        if self.line == Line::Status {
            let free = &mut self.status[self.status_len..];
            let added = free.len().min(line.len());
            free[..added].copy_from_slice(&line[..added]);
            self.status_len += added;
        }
        if line_feed.is_some() {
            self.is_within_line = false;
            self.line = Line::Header;
        }
        rest
    }

    /// Whether an empty line ends the final head here. Prepares for the next head after an interim one.
    fn is_end(&mut self) -> bool {
        if self.line == Line::Status {
            return false;
        }
        let is_interim = match self.status {
            [.., b'1', b'0', b'1'] => false,
            [.., b'1', b'0'..=b'9', b'0'..=b'9'] => true,
            _ => false,
        };
        if is_interim {
            *self = Self::default();
        }
        !is_interim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans the bytes in two parts, cut at each offset. `|` marks the end of the head in `marked`.
    fn check(marked: &str) {
        let end = marked.find('|');
        let bytes = marked.replace('|', "");
        let bytes = bytes.as_bytes();
        for cut in 0..=bytes.len() {
            let mut scanner = HeadScanner::default();
            let found = match scanner.scan(&bytes[..cut]) {
                Scanned::End(at) => Some(at),
                Scanned::Part(len) => {
                    assert!(
                        len == cut || bytes[len..cut] == *b"\r",
                        "{marked:?} at {cut}"
                    );
                    match scanner.scan(&bytes[len..]) {
                        Scanned::End(at) => Some(len + at),
                        Scanned::Part(_) => None,
                    }
                }
            };
            assert_eq!(found, end, "{marked:?} cut at {cut}");
        }
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        check("HTTP/1.1 200 OK\r\n\r\n|data");
        check("HTTP/1.1 200 OK\n\n|data");
        check("HTTP/1.1 200 OK\r\n\n|data");
        check("HTTP/1.1 200 OK\n\r\n|\r\n\r\n");
        check("HTTP/1.1 200\r\na: b\r\n\r\n|\n\n");
        check("\r\n\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n|");
        check("HTTP/1.1 200 OK\r\na: b\r\n \r\n\t\n\r\n|data");
        check("HTTP/1.1 200 OK\r\na: b\r\n");
        check("HTTP/1.1 200 OK\r\na: b\r\n\r");
        check("");
    }

    #[test]
    fn a_cr_ends_no_line() {
        check("HTTP/1.1 200 OK\r\r\n\r\n|");
        check("HTTP/1.1 200 OK\r\n\ra\r\n\r\n|");
        check("\r\rHTTP/1.1 200 OK\r\n\r\n|");
    }

    #[test]
    fn an_interim_head_is_followed_by_another() {
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n|data");
        check("HTTP/1.1 103 Early Hints\na: b\n\n\r\nHTTP/1.0 100\n\nHTTP/1.1 200 OK\r\n\r\n|data");
        check("HTTP/1.1 100 Continue\r\n\r\n");
        check("HTTP/1.1 101 Switching Protocols\r\n\r\n|data");
        check("HTTP/1.1 1\r\n\r\n|data");
        check("HTTP/1.1 200 100\r\n100: 100\r\n\r\n|data");
    }
}
