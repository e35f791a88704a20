//! `Streaming`: a connection during a stream, without hyper.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::rt::{Read, Write};

use crate::batch::{Batch, Framing};
use crate::early_bytes::EarlyBytes;
use crate::error::Error;
use crate::head;
use crate::http_service::BoxError;
use crate::slot::{Offer, Reading};
use crate::terms::HttpVersion;
use crate::writer::Writer;

/// How many batches are written in one poll: a body that is always ready must not keep its thread.
const BATCHES_PER_POLL: usize = 16;

/// How many frames are read for one batch.
const FRAMES_PER_BATCH: usize = 64;

/// A connection during a stream, without hyper.
///
/// The body is polled only after everything before was written and flushed. So a client that does not read
/// stops its body, and at most one batch waits here for it.
pub(crate) struct Streaming<I, S, B: Body> {
    connection: Taken<I, S>,
    phase: Phase<B>,
    writer: Writer<B::Data>,
    framing: Framing,
    _reading: Reading,
}

/// A connection that was taken from hyper.
pub(crate) struct Taken<I, S> {
    pub(crate) io: I,
    /// Serves the next request.
    pub(crate) service: S,
    pub(crate) early: EarlyBytes,
    /// The connection stays open after the stream.
    pub(crate) keeps_alive: bool,
}

enum Phase<B> {
    Open(Pin<Box<B>>),
    /// The body has failed. Its earlier frames are sent.
    Breaking(BoxError),
    /// The body has ended. Its end is sent.
    Ending,
    /// The connection is shut down.
    Closing,
}

/// What follows a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterStream {
    NextRequest,
    Closed,
}

/// Whether a poll of the body has found it waiting, and so has registered the waker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BodyWaits(bool);

impl<I, S, B> Streaming<I, S, B>
where
    I: Read + Write + Unpin,
    B: Body<Error: Into<BoxError>>,
{
    /// Begins the stream: writes its head.
    pub(crate) fn begin(
        mut connection: Taken<I, S>,
        offer: Offer<B>,
        cx: &mut Context<'_>,
    ) -> Result<Self, Error> {
        let Offer {
            response,
            terms,
            reading,
        } = offer;
        let (parts, body) = response.into_parts();
        let mut batch = Batch::new();
        let keeps_alive = connection.keeps_alive && terms.keeps_alive;
        connection.keeps_alive = head::append(batch.head_mut(), parts.headers, terms, keeps_alive);
        let mut writer = Writer::new();
        let written = writer.write(batch, &mut connection.io, cx);
        written.map_err(Error::write)?;
        Ok(Self {
            connection,
            phase: Phase::Open(Box::pin(body)),
            writer,
            framing: match terms.version {
                HttpVersion::Http10 => Framing::UntilClose,
                HttpVersion::Http11 => Framing::Chunked,
            },
            _reading: reading,
        })
    }

    /// The connection closes after the stream.
    pub(crate) fn disable_keep_alive(&mut self) {
        self.connection.keeps_alive = false;
    }

    /// Ready when the stream is over. After an error the client has not received the end of the stream.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<AfterStream, Error>> {
        let connection = &mut self.connection;
        if !matches!(self.phase, Phase::Closing) {
            let read = connection.early.read(&mut connection.io, cx);
            read.map_err(Error::read)?;
        }
        let mut body_waits = BodyWaits(false);
        for _ in 0..BATCHES_PER_POLL {
            let sent = self.writer.poll_sent(&mut self.connection.io, cx);
            ready!(sent).map_err(Error::write)?;
            match &self.phase {
                Phase::Open(_) if body_waits == BodyWaits(true) => return Poll::Pending,
                Phase::Open(_) => body_waits = self.write_frames(cx)?,
                Phase::Breaking(_) | Phase::Ending | Phase::Closing => return self.poll_end(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the frames that the body has ready, at most one batch.
    fn write_frames(&mut self, cx: &mut Context<'_>) -> Result<BodyWaits, Error> {
        let mut batch = Batch::new();
        let body_waits = self.fill(&mut batch, cx);
        let written = self.writer.write(batch, &mut self.connection.io, cx);
        written.map_err(Error::write)?;
        Ok(body_waits)
    }

    fn fill(&mut self, batch: &mut Batch<B::Data>, cx: &mut Context<'_>) -> BodyWaits {
        let Phase::Open(body) = &mut self.phase else {
            unreachable!("only an open body has frames");
        };
        for _ in 0..FRAMES_PER_BATCH {
            if batch.is_full() {
                return BodyWaits(false);
            }
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                return BodyWaits(true);
            };
            let frame = match frame.transpose() {
                Ok(frame) => frame,
                Err(error) => {
                    self.phase = Phase::Breaking(error.into());
                    return BodyWaits(false);
                }
            };
            // Trailers end a body. The head has not announced any, so they are not sent.
            let data = frame.and_then(|frame| frame.into_data().ok());
            let is_over = data.is_none() || body.is_end_stream();
            if let Some(data) = data {
                batch.push(data, self.framing);
            }
            if is_over {
                batch.push_end(self.framing);
                self.phase = Phase::Ending;
                return BodyWaits(false);
            }
        }
        BodyWaits(false)
    }

    /// Ends the stream, after everything was sent.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<AfterStream, Error>> {
        let connection = &mut self.connection;
        match mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Breaking(error) => return Poll::Ready(Err(Error::body(error))),
            Phase::Ending if connection.keeps_alive && !connection.early.has_dropped() => {
                return Poll::Ready(Ok(AfterStream::NextRequest));
            }
            Phase::Ending | Phase::Closing => {}
            Phase::Open(_) => unreachable!("an open body has not ended"),
        }
        let shut_down = Pin::new(&mut connection.io).poll_shutdown(cx);
        ready!(shut_down).map_err(Error::write)?;
        Poll::Ready(Ok(AfterStream::Closed))
    }

    /// The connection, for its next request, and the first bytes of that.
    pub(crate) fn into_next(self) -> (I, Bytes, S) {
        let Taken {
            io, service, early, ..
        } = self.connection;
        (io, early.into_kept(), service)
    }
}
