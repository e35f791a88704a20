//! `Encoder`: compresses one stream so that each frame can be decoded as soon as it arrives.

use std::fmt;
use std::io;

use bytes::Bytes;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, ZstdEncoder};
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::coding::Coding;

/// The most that one step compresses: 64 KiB. So a huge event does not block other streams, and is
/// not in memory twice.
const PIECE_BYTES: usize = 64 * 1024;

/// The size of the buffer that the compression libraries write to.
const SCRATCH_BYTES: usize = 4 * 1024;

// Tuned for flushed frames of a few hundred bytes on thousands of connections. Tables and windows far
// smaller than the libraries' defaults cost a few percent of the ratio and save most of the memory.
// Two defaults are traps. zstd at level 3 allocates tables of 830 KiB for any window. brotli from
// quality 5 on allocates tables of 33 MiB with a window of 64 KiB or less.
const ZSTD_LEVEL: i32 = 3;
const ZSTD_WINDOW_LOG: u32 = 15;
const ZSTD_TABLE_LOG: u32 = 13;
const GZIP_LEVEL: u32 = 4;
const GZIP_WINDOW_LOG: u8 = 14;
const BROTLI_QUALITY: i32 = 3;
const BROTLI_WINDOW_LOG: i32 = 14;
const BROTLI_BLOCK_LOG: i32 = 16;

/// Compresses one stream: frames in, pieces out.
///
/// All frames share one state. It is flushed after each frame, so that a client that has all pieces of
/// a frame can decode the whole frame.
#[derive(Debug)]
pub(crate) struct Encoder {
    coding: Coding,
    /// `None` before the first frame, so that a stream without events costs no memory.
    codec: Option<Codec>,
    /// The part of the frame that is not compressed yet.
    rest: Bytes,
    is_ended: bool,
    is_over: bool,
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            coding,
            codec: None,
            rest: Bytes::new(),
            is_ended: false,
            is_over: false,
        }
    }

    /// Starts the next frame. The previous one must be compressed entirely.
    pub(crate) fn handle_data(&mut self, bytes: Bytes) {
        assert!(
            self.rest.is_empty(),
            "the previous frame is not compressed yet"
        );
        self.rest = bytes;
    }

    /// Ends the coding after the current frame. Not called for a stream that is cut: the missing end
    /// shows the client that the stream is incomplete.
    pub(crate) fn handle_end(&mut self) {
        self.is_ended = true;
    }

    /// Whether there is a piece, unless the rest of the frame compresses to no bytes.
    pub(crate) fn has_piece(&self) -> bool {
        !self.rest.is_empty() || (self.is_ended && !self.is_over)
    }

    /// Whether the end of the coding was returned.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next piece, never empty; `None` if there is none.
    pub(crate) fn poll_piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::new();
        while piece.is_empty() && self.has_piece() {
            self.encode_into(&mut piece)?;
        }
        // Without spare capacity, because a piece may wait in the connection's queue.
        Ok((!piece.is_empty()).then(|| Bytes::from(piece.into_boxed_slice())))
    }

    fn encode_into(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let codec = self.codec.get_or_insert_with(|| Codec::new(self.coding));
        if self.rest.is_empty() {
            codec.write(piece, |codec, output| codec.finish(output))?;
            self.is_over = true;
            self.codec = None;
            return Ok(());
        }
        let input = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let mut input = PartialBuffer::new(&*input);
        codec.write(piece, |codec, output| {
            codec.encode(&mut input, output)?;
            Ok(input.unwritten().is_empty())
        })?;
        if self.rest.is_empty() {
            codec.write(piece, |codec, output| codec.flush(output))?;
        }
        Ok(())
    }
}

/// The state of a coding.
struct Codec(Box<dyn EncodeV2 + Send>);

impl Codec {
    fn new(coding: Coding) -> Self {
        Self(match coding {
            Coding::Gzip => Box::new(GzipEncoder::new()),
            Coding::Zstd => {
                let limits = [
                    CParameter::window_log(ZSTD_WINDOW_LOG),
                    CParameter::hash_log(ZSTD_TABLE_LOG),
                    CParameter::chain_log(ZSTD_TABLE_LOG),
                ];
                Box::new(ZstdEncoder::new_with_params(ZSTD_LEVEL, &limits))
            }
            Coding::Brotli => {
                let limits = EncoderParams::default()
                    .quality(Level::Precise(BROTLI_QUALITY))
                    .window_size(BROTLI_WINDOW_LOG)
                    .block_size(BROTLI_BLOCK_LOG);
                Box::new(BrotliEncoder::new(limits))
            }
        })
    }

    /// Appends the output of `step` to the piece, until `step` returns `true`.
    fn write(
        &mut self,
        piece: &mut Vec<u8>,
        mut step: impl FnMut(&mut dyn EncodeV2, &mut WriteBuffer<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut scratch = [0; SCRATCH_BYTES];
        loop {
            let mut output = WriteBuffer::new_initialized(&mut scratch);
            let is_done = step(&mut *self.0, &mut output)?;
            piece.extend_from_slice(output.written());
            if is_done {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

/// A gzip encoder with a window of our size. The one of `compression-codecs` has a fixed window.
struct GzipEncoder(Compress);

impl GzipEncoder {
    fn new() -> Self {
        let level = Compression::new(GZIP_LEVEL);
        Self(Compress::new_gzip(level, GZIP_WINDOW_LOG))
    }

    fn compress(
        &mut self,
        input: &mut PartialBuffer<&[u8]>,
        output: &mut WriteBuffer<'_>,
        flush: FlushCompress,
    ) -> io::Result<Status> {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let unwritten = output.initialize_unwritten();
        let status = self.0.compress(input.unwritten(), unwritten, flush)?;
        input.advance(length(self.0.total_in() - read));
        output.advance(length(self.0.total_out() - written));
        Ok(status)
    }
}

impl EncodeV2 for GzipEncoder {
    fn encode(
        &mut self,
        input: &mut PartialBuffer<&[u8]>,
        output: &mut WriteBuffer<'_>,
    ) -> io::Result<()> {
        self.compress(input, output, FlushCompress::None)?;
        Ok(())
    }

    fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        self.compress(&mut PartialBuffer::new(&[]), output, FlushCompress::Sync)?;
        // A full buffer may mean that more output follows. Another call writes it, without a second
        // sync marker.
        Ok(!output.has_no_spare_space())
    }

    fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        let status = self.compress(&mut PartialBuffer::new(&[]), output, FlushCompress::Finish)?;
        Ok(status == Status::StreamEnd)
    }
}

/// The length of a part of a buffer.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or_else(|_| unreachable!("a buffer is in memory"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Gzip, Coding::Brotli];

    /// All pieces that are ready.
    fn pieces(encoder: &mut Encoder) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while let Some(piece) = encoder.poll_piece().unwrap() {
            assert!(!piece.is_empty());
            pieces.push(piece);
        }
        assert!(!encoder.has_piece());
        pieces
    }

    /// A receiver that decodes each piece as it arrives.
    enum Receiver {
        Gzip(Box<flate2::write::GzDecoder<Vec<u8>>>),
        Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
        Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
    }

    impl Receiver {
        fn new(coding: Coding) -> Self {
            let decoded = Vec::new();
            match coding {
                Coding::Gzip => Self::Gzip(Box::new(flate2::write::GzDecoder::new(decoded))),
                // It keeps output that exceeds its buffer until more input arrives.
                Coding::Brotli => {
                    Self::Brotli(Box::new(brotli::DecompressorWriter::new(decoded, 1 << 20)))
                }
                Coding::Zstd => Self::Zstd(zstd::stream::write::Decoder::new(decoded).unwrap()),
            }
        }

        fn receive(&mut self, piece: &[u8]) {
            match self {
                Self::Gzip(decoder) => {
                    decoder.write_all(piece).unwrap();
                    decoder.flush().unwrap();
                }
                Self::Brotli(decoder) => {
                    decoder.write_all(piece).unwrap();
                    decoder.flush().unwrap();
                }
                Self::Zstd(decoder) => {
                    decoder.write_all(piece).unwrap();
                    decoder.flush().unwrap();
                }
            }
        }

        fn decoded(&self) -> &[u8] {
            match self {
                Self::Gzip(decoder) => decoder.get_ref(),
                Self::Brotli(decoder) => decoder.get_ref(),
                Self::Zstd(decoder) => decoder.get_ref(),
            }
        }
    }

    /// The whole stream, by a decoder that fails if the end of the coding is missing.
    fn decoded(coding: Coding, whole: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(whole).read_to_end(&mut decoded),
            Coding::Brotli => brotli::Decompressor::new(whole, 4096).read_to_end(&mut decoded),
            Coding::Zstd => zstd::Decoder::new(whole)?.read_to_end(&mut decoded),
        }?;
        Ok(decoded)
    }

    /// Text that compresses to about half.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"0123456789abcdef"[(state >> 28) as usize]
        };
        (0..length).map(|_| next()).collect()
    }

    /// Sends these frames, decodes each before the next, and then decodes the whole stream.
    fn check(frames: &[&[u8]]) {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding);
            let mut receiver = Receiver::new(coding);
            let (mut sent, mut wire) = (Vec::new(), Vec::new());
            for frame in frames {
                encoder.handle_data(Bytes::copy_from_slice(frame));
                sent.extend_from_slice(frame);
                for piece in pieces(&mut encoder) {
                    receiver.receive(&piece);
                    wire.extend_from_slice(&piece);
                }
                assert!(
                    receiver.decoded() == sent,
                    "{coding:?}: after {}",
                    sent.len()
                );
            }
            if let Ok(decoded) = decoded(coding, &wire) {
                assert!(wire.is_empty() && decoded.is_empty(), "{coding:?}: an end");
            }
            encoder.handle_end();
            let end = pieces(&mut encoder);
            assert_eq!(end.len(), 1, "{coding:?}");
            wire.extend(end.concat());
            assert!(decoded(coding, &wire).unwrap() == sent, "{coding:?}");
        }
    }

    #[test]
    fn each_frame_reads_back_before_the_next() {
        check(&[]);
        check(&[b"data: a\n\n"]);
        check(&[b"a".as_slice(); 3]);
        check(&[b"data: first\n\n", b"data: second\n\n", b":\n\n"]);
        check(&[b"data: {\"token\":\"a\"}\n\n".as_slice(); 1000]);
    }

    #[test]
    fn frames_of_any_length_read_back() {
        let noise = noise(300_000);
        let lengths = (1..70)
            .chain(2040..2056)
            .chain(4080..4110)
            .chain(8180..8200);
        let mut from = 0;
        let frames: Vec<_> = lengths
            .map(|length| {
                from = (from + 977) % 100_000;
                &noise[from..from + length]
            })
            .collect();
        check(&frames);
        for length in [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 300_000] {
            check(&[b"before", &noise[..length], b"after"]);
        }
    }

    #[test]
    fn a_huge_frame_is_compressed_in_pieces() {
        let huge = noise(1 << 20);
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding);
            encoder.handle_data(Bytes::from(huge.clone()));
            let pieces = pieces(&mut encoder);
            assert!(pieces.len() > 4, "{coding:?}: {}", pieces.len());
            let longest = pieces.iter().map(Bytes::len).max().unwrap();
            assert!(longest <= 2 * PIECE_BYTES, "{coding:?}: {longest}");
        }
    }

    #[test]
    fn a_compressed_frame_is_released() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding);
            let shared = Bytes::from(noise(1000));
            encoder.handle_data(shared.slice(10..20));
            pieces(&mut encoder);
            assert!(shared.is_unique(), "{coding:?}");
        }
    }

    #[test]
    fn an_empty_frame_has_no_piece() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding);
            assert!(encoder.poll_piece().unwrap().is_none());
            encoder.handle_data(Bytes::new());
            assert!(encoder.poll_piece().unwrap().is_none());
            assert!(encoder.codec.is_none());
            encoder.handle_end();
            assert_eq!(pieces(&mut encoder).len(), 1);
            assert!(encoder.poll_piece().unwrap().is_none());
        }
    }
}
