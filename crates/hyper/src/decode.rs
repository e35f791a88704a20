//! Owns `DecodedBody`: a body that is decoded as it arrives.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes};
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::response::Parts;
use http_body::{Body, Frame};
use tidings_client::{ResponseBody, TransportError};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// What comes out at a time, at most: a chunk that decodes to a gigabyte comes in pieces, and the
/// session's limit on an event ends it.
const PIECE_BYTES: usize = 16 * 1024;

/// The binary logarithm of the largest window, 8 MiB.
///
/// Spec: [RFC 9659](https://www.rfc-editor.org/rfc/rfc9659#section-3).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How the first byte of a stream for windows up to 1 GiB begins, which the standard knows nothing
/// of and the decoder would take.
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

/// The response with its body decoded, and a head that tells of what is handed on.
pub(crate) fn decoded(codec: Codec, mut head: Parts, body: ResponseBody) -> Response<ResponseBody> {
    head.headers.remove(CONTENT_ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, ResponseBody::new(DecodedBody::new(codec, body)))
}

/// Hands out whatever can be decoded of what has come.
struct DecodedBody {
    body: ResponseBody,
    codec: Codec,
    decoder: Decoder,
    piece: Box<[u8]>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing has come yet.
    Empty,
    Decoding,
    /// What was encoded is whole. The body goes on until it says so too.
    Whole,
    Over,
}

impl DecodedBody {
    fn new(codec: Codec, body: ResponseBody) -> Self {
        Self {
            body,
            codec,
            decoder: Decoder::new(codec),
            piece: vec![0; PIECE_BYTES].into(),
            stage: Stage::Empty,
        }
    }

    /// The next piece; `None` if there is none before more of the body comes.
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
            // It waits for nothing but its input.
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
                    return Err(io::Error::other("the window is over the limit"));
                }
                self.stage = Stage::Decoding;
            }
            Stage::Decoding => {}
            Stage::Whole | Stage::Over => {
                return Err(io::Error::other("there is more behind its end"));
            }
        }
        self.decoder.input().chunk = chunk;
        Ok(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        loop {
            if self.stage == Stage::Decoding
                && let Some(piece) = self.decode(cx).map_err(Undecodable)?
            {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.decoder.input().is_last {
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? {
                Some(frame) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.take(chunk).map_err(Undecodable)?;
                        let piece = match self.stage {
                            Stage::Decoding => self.decode(cx).map_err(Undecodable)?,
                            _ => None,
                        };
                        // Also where nothing comes out: bytes have come, and others have their turn.
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
            // Its format knows of one stream only.
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

/// The chunk of the body that is being decoded. The decoder reads it and not the body, so that an
/// error of the body does not overtake what was decoded before it.
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

/// The decoders ask for it, and use [`AsyncBufRead`] alone.
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
struct Undecodable(io::Error);

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server sent a body that is not in the encoding it names")
    }
}

impl StdError for Undecodable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
