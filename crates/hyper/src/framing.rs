//! `Framing`: where the body of a response ends, and which of the received bytes are its payload.

use std::io;

/// The most bytes of the line with a chunk's size and extensions, as in Chromium.
const MAX_SIZE_LINE: usize = 16 * 1024;

/// The most bytes of all trailers, as of a head.
const MAX_TRAILERS: usize = 256 * 1024;

/// How a body is delimited, and how far it was read.
///
/// Spec: [RFC 9112, section 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3).
#[derive(Debug)]
pub(crate) enum Framing {
    /// So many bytes follow.
    Length(u64),
    Chunked(Chunked),
    /// The body ends when the server closes.
    UntilClose,
    /// The body has ended. Bytes that follow are not read.
    Over,
}

impl Framing {
    pub(crate) fn length(length: u64) -> Self {
        match length {
            0 => Self::Over,
            length => Self::Length(length),
        }
    }

    /// In chunks, whose payloads are joined.
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunked::default())
    }

    /// In chunks, whose payloads are read one by one.
    pub(crate) fn separate_chunks() -> Self {
        Self::Chunked(Chunked {
            are_separate: true,
            ..Chunked::default()
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Moves the payload among the received bytes to their front.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Payload {
        let length = match self {
            Self::Length(left) => {
                let length = at_most(bytes.len(), *left);
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                length
            }
            Self::Chunked(chunked) => {
                let payload = chunked.read(bytes);
                if chunked.at == At::End {
                    *self = Self::Over;
                }
                return payload;
            }
            Self::UntilClose => bytes.len(),
            Self::Over => 0,
        };
        Payload {
            length,
            read: length,
            error: None,
        }
    }

    /// The server has closed.
    ///
    /// # Errors
    /// The body is incomplete.
    pub(crate) fn handle_close(&mut self) -> io::Result<()> {
        match self {
            Self::UntilClose | Self::Over => {
                *self = Self::Over;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed before the end of the body",
            )),
        }
    }
}

/// What [`Framing::read`] has found.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The payload's bytes, at the front.
    pub(crate) length: usize,
    /// The bytes that were read: all, or less if the chunks are separate or if bytes follow the body.
    pub(crate) read: usize,
    /// The bytes after the payload are no chunks.
    pub(crate) error: Option<io::Error>,
}

/// A body in chunks.
///
/// It accepts what hyper accepts. As browsers do, it also accepts a bare LF in place of CR LF: no byte can be
/// taken for another response, because a connection carries one, or is used again only if no byte follows it.
///
/// Spec: [RFC 9112, section 7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1).
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    at: At,
    /// Whether a read ends with the payload of a chunk.
    are_separate: bool,
    /// The bytes of the current chunk that have not arrived yet.
    left: u64,
    /// The read bytes of the current size line, or of the trailers.
    line: usize,
}

/// What the next byte is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Size,
    Digit,
    /// White space after a size.
    Space,
    Extension,
    /// The LF after the CR of a size line.
    SizeLf,
    Payload,
    /// The line end after a payload.
    PayloadEnd,
    PayloadLf,
    /// The first byte of a trailer, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLf,
    /// The LF that ends the body.
    LastLf,
    End,
}

impl Chunked {
    fn read(&mut self, bytes: &mut [u8]) -> Payload {
        let mut payload = Payload {
            length: 0,
            read: 0,
            error: None,
        };
        while payload.read < bytes.len() && self.at != At::End {
            let rest = &bytes[payload.read..];
            if self.at == At::Payload {
                let length = at_most(rest.len(), self.left);
                payload.push(bytes, 0, length);
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::PayloadEnd;
                    if self.are_separate {
                        break;
                    }
                }
            } else if self.at == At::Size
                && !self.are_separate
                && let Some((before, length, after)) = whole_chunk(rest)
            {
                payload.push(bytes, before, length);
                payload.read += after;
            } else {
                match self.step(rest[0]) {
                    Ok(at) => self.at = at,
                    Err(error) => {
                        payload.error = Some(error);
                        payload.read = bytes.len();
                        break;
                    }
                }
                payload.read += 1;
            }
        }
        payload
    }

    fn step(&mut self, byte: u8) -> io::Result<At> {
        self.count()?;
        if let At::Size | At::Digit = self.at
            && let Some(digit) = hex_digit(byte)
        {
            self.push_digit(digit)?;
            return Ok(At::Digit);
        }
        Ok(match (self.at, byte) {
            (At::Digit | At::Space, b' ' | b'\t') => At::Space,
            (At::Digit | At::Space, b';') => At::Extension,
            (At::Digit | At::Space | At::Extension, b'\r') => At::SizeLf,
            (At::Digit | At::Space | At::Extension | At::SizeLf, b'\n') => self.begin_chunk(),
            (At::Extension, _) => At::Extension,
            (At::PayloadEnd, b'\r') => At::PayloadLf,
            (At::PayloadEnd | At::PayloadLf, b'\n') => {
                self.line = 0;
                At::Size
            }
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::TrailerStart | At::LastLf, b'\n') => At::End,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Trailer | At::TrailerLf, b'\n') => At::TrailerStart,
            (At::TrailerStart | At::Trailer, _) => At::Trailer,
            (At::Size, _) => return Err(malformed("a chunk begins without a size")),
            (At::Digit | At::Space | At::SizeLf, _) => {
                return Err(malformed("the line with the size of a chunk is malformed"));
            }
            (At::PayloadEnd | At::PayloadLf, _) => {
                return Err(malformed("a chunk is longer than its size"));
            }
            (At::TrailerLf | At::LastLf, _) => {
                return Err(malformed("a line of the trailers is malformed"));
            }
            (At::Payload | At::End, _) => unreachable!("no line is read there"),
        })
    }

    /// Counts a byte outside of the payloads.
    fn count(&mut self) -> io::Result<()> {
        self.line += 1;
        let (limit, error) = match self.at {
            At::TrailerStart | At::Trailer | At::TrailerLf | At::LastLf => {
                (MAX_TRAILERS, "the trailers are larger than 256 KiB")
            }
            _ => (
                MAX_SIZE_LINE,
                "the line with the size of a chunk is longer than 16 KiB",
            ),
        };
        if self.line > limit {
            return Err(malformed(error));
        }
        Ok(())
    }

    fn push_digit(&mut self, digit: u8) -> io::Result<()> {
        let shifted = self.left.checked_mul(16);
        let shifted = shifted.ok_or_else(|| malformed("the size of a chunk is over 64 bits"))?;
        self.left = shifted + u64::from(digit);
        Ok(())
    }

    /// The size is complete.
    fn begin_chunk(&mut self) -> At {
        self.line = 0;
        if self.left == 0 {
            At::TrailerStart
        } else {
            At::Payload
        }
    }
}

impl Payload {
    /// Adds bytes of the payload, `before` bytes after those that were read.
    fn push(&mut self, bytes: &mut [u8], before: usize, length: usize) {
        let start = self.read + before;
        bytes.copy_within(start..start + length, self.length);
        self.length += length;
        self.read = start + length;
    }
}

/// The bytes before the payload of a chunk that has arrived whole, of the payload, and after it. `None`
/// if it is not whole, or not in the usual form: up to four digits, no extension, CR LF.
///
/// It takes a seventh off the CPU time of an event, where each event is a chunk.
fn whole_chunk(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    let digits = bytes.iter().take(4).map_while(|&byte| hex_digit(byte));
    let (digits, size) = digits.fold((0, 0), |(digits, size), digit| {
        (digits + 1, size * 16 + usize::from(digit))
    });
    let after_size = bytes[digits..].strip_prefix(b"\r\n")?;
    let after_payload = after_size.get(size..)?;
    // The last chunk has no payload.
    let is_whole = size > 0 && after_payload.starts_with(b"\r\n");
    is_whole.then_some((digits + 2, size, 2))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn at_most(length: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(length, |limit| length.min(limit))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
