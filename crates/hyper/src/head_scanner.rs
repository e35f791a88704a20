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
    at: At,
    /// The beginning of the status line.
    status: [u8; STATUS_END],
    status_len: usize,
    is_after_status_line: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    /// After a CR at the start of a line.
    LineStartCr,
    WithinLine,
}

impl HeadScanner {
    /// The offset after the final head, if these bytes contain its end.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = bytes.iter().position(|&byte| self.is_end(byte))?;
        Some(end + 1)
    }

    /// Whether the final head ends with this byte.
    fn is_end(&mut self, byte: u8) -> bool {
        let is_empty_line = self.at != At::WithinLine;
        self.at = match (self.at, byte) {
            (_, b'\n') => At::LineStart,
            (At::LineStart, b'\r') => At::LineStartCr,
            _ => At::WithinLine,
        };
        match self.at {
            At::LineStart if is_empty_line => return self.end_head(),
            At::LineStart => self.is_after_status_line = true,
            At::LineStartCr => {}
            At::WithinLine if self.is_after_status_line => {}
            At::WithinLine => {
                if let Some(free) = self.status.get_mut(self.status_len) {
                    *free = byte;
                    self.status_len += 1;
                }
            }
        }
        false
    }

    /// An empty line: whether it ends the final head. After an interim head another one begins.
    fn end_head(&mut self) -> bool {
        let is_interim = match self.status {
            [.., b'1', b'0', b'1'] => false,
            [.., b'1', b'0'..=b'9', b'0'..=b'9'] => true,
            _ => false,
        };
        let is_final = self.is_after_status_line && !is_interim;
        *self = Self::default();
        is_final
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans the bytes in two parts, cut at each offset. `|` marks the end of the head in `marked`.
    fn check(marked: &str) {
        let end = marked.find('|');
        let bytes = marked.replace('|', "");
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.as_bytes().split_at(cut);
            let mut scanner = HeadScanner::default();
            let found = scanner.end(first);
            let found = found.or_else(|| Some(cut + scanner.end(second)?));
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
