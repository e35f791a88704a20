//! `DecodedBody`: a response body that is decoded as it arrives.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tidings_client::{ResponseBody, TransportError};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// The most bytes that are decoded at a time. A chunk that decodes to a gigabyte is returned in
/// pieces of this size, and the session's limit on an event ends it.
const PIECE_BYTES: usize = 16 * 1024;

/// The binary logarithm of the largest window, 8 MiB.
///
/// Spec: [RFC 9659](https://www.rfc-editor.org/rfc/rfc9659#section-3).
const ZSTD_WINDOW_LOG: u32 = 23;

/// The first bits of a stream with a window of up to 1 GiB: an extension that the standard does not
/// define, but that the decoder accepts.
///
/// Spec: [RFC 7932](https://www.rfc-editor.org/rfc/rfc7932#section-9.1).
const BROTLI_LARGE_WINDOW: u8 = 0b001_0001;
const BROTLI_WINDOW_MASK: u8 = 0b111_1111;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip,
    Brotli,
    Zstd,
}

impl Codec {
    /// The codec of a coding by its registered name.
    pub(crate) fn named(coding: &str) -> Option<Self> {
        match coding {
            "gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Returns all text that the bytes received so far decode to.
pub(crate) struct DecodedBody {
    body: ResponseBody,
    codec: Codec,
    decoder: Decoder,
    piece: Box<[u8]>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No byte has arrived yet.
    Empty,
    Decoding,
    /// The encoded stream is complete. The body ends when the connection says so too.
    Whole,
    Over,
}

impl DecodedBody {
    pub(crate) fn new(codec: Codec, body: ResponseBody) -> Self {
        Self {
            body,
            codec,
            decoder: Decoder::new(codec),
            piece: vec![0; PIECE_BYTES].into(),
            stage: Stage::Empty,
        }
    }

    /// The next piece; `None` if more of the body must arrive first.
    fn decode(&mut self, cx: &mut Context<'_>) -> io::Result<Option<Bytes>> {
        let mut piece = ReadBuf::new(&mut self.piece);
        match self.decoder.poll_read(cx, &mut piece) {
            Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                self.stage = Stage::Whole;
                let rest = mem::take(&mut self.decoder.input().chunk);
                self.take(rest).map(|()| None)
            }
            Poll::Ready(Ok(())) => Ok(Some(Bytes::copy_from_slice(piece.filled()))),
            Poll::Ready(Err(error)) => Err(error),
            // The decoder waits only for its input.
            Poll::Pending => Ok(None),
        }
    }

    fn take(&mut self, chunk: Bytes) -> io::Result<()> {
        let Some(first) = chunk.first() else {
            return Ok(());
        };
        match self.stage {
            Stage::Empty => {
                let window = first & BROTLI_WINDOW_MASK;
                if self.codec == Codec::Brotli && window == BROTLI_LARGE_WINDOW {
                    return Err(io::Error::other(
                        "the stream has a large window, which is not supported",
                    ));
                }
                self.stage = Stage::Decoding;
            }
            Stage::Decoding => {}
            Stage::Whole | Stage::Over => {
                return Err(io::Error::other(
                    "bytes follow the end of the encoded stream",
                ));
            }
        }
        self.decoder.input().chunk = chunk;
        Ok(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        loop {
            if self.stage == Stage::Decoding
                && let Some(piece) = self.decode(cx).map_err(MalformedEncoding)?
            {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.decoder.input().is_last {
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? {
                Some(frame) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.take(chunk).map_err(MalformedEncoding)?;
                        let piece = match self.stage {
                            Stage::Decoding => self.decode(cx).map_err(MalformedEncoding)?,
                            _ => None,
                        };
                        // Also an empty piece: bytes have arrived, which counts as life, and other
                        // tasks must get their turn.
                        return Poll::Ready(Ok(Some(piece.unwrap_or_default())));
                    }
                }
                None => self.decoder.input().is_last = true,
            }
        }
    }
}

impl Body for DecodedBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let this = self.get_mut();
        if this.stage == Stage::Over {
            return Poll::Ready(None);
        }
        let piece = ready!(this.poll_piece(cx)).transpose();
        if !matches!(piece, Some(Ok(_))) {
            this.stage = Stage::Over;
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}

enum Decoder {
    Gzip(Box<GzipDecoder<Input>>),
    Brotli(Box<BrotliDecoder<Input>>),
    Zstd(Box<ZstdDecoder<Input>>),
}

impl Decoder {
    fn new(codec: Codec) -> Self {
        let input = Input::default();
        match codec {
            Codec::Gzip => {
                let mut decoder = GzipDecoder::new(input);
                decoder.multiple_members(true);
                Self::Gzip(Box::new(decoder))
            }
            // A brotli body is one stream: the format has no members.
            Codec::Brotli => Self::Brotli(Box::new(BrotliDecoder::new(input))),
            Codec::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(input, &[window]);
                decoder.multiple_members(true);
                Self::Zstd(Box::new(decoder))
            }
        }
    }

    fn input(&mut self) -> &mut Input {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, piece: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Gzip(decoder) => Pin::new(decoder).poll_read(cx, piece),
            Self::Brotli(decoder) => Pin::new(decoder).poll_read(cx, piece),
            Self::Zstd(decoder) => Pin::new(decoder).poll_read(cx, piece),
        }
    }
}

/// The chunk of the body that is being decoded. The decoder reads the chunk and not the body, so
/// that an error of the body does not overtake the text that was decoded before it.
#[derive(Default)]
struct Input {
    chunk: Bytes,
    is_last: bool,
}

impl AsyncBufRead for Input {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.chunk.is_empty() && !this.is_last {
            return Poll::Pending;
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().chunk.advance(amount);
    }
}

/// The decoders require this trait, but use only [`AsyncBufRead`].
impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = chunk.len().min(buffer.remaining());
        buffer.put_slice(&chunk[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug)]
struct MalformedEncoding(io::Error);

impl fmt::Display for MalformedEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server sent a body that is not in the content encoding that it names")
    }
}

impl StdError for MalformedEncoding {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
