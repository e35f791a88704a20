//! The TLS handshake of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::short_answer::{ANSWER_TIME, answer};

/// The first byte of a client that speaks TLS: the type of a record with a part of a handshake.
const HANDSHAKE_RECORD: u8 = 22;

const HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
                           content-type: text/plain; charset=utf-8\r\ncontent-length: 24\r\n\r\n\
                           this port speaks HTTPS\r\n";

/// Accepts a client over TLS. A client that speaks HTTP without TLS is answered 400 before this fails.
///
/// `limit` is the time for the whole handshake; `None` for ever.
pub(crate) async fn handshake<IO>(
    io: IO,
    config: Arc<ServerConfig>,
    limit: Option<Duration>,
) -> io::Result<TlsStream<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = accept(io, config);
    match limit {
        None => accepted.await,
        Some(limit) => timeout(limit, accepted).await.unwrap_or_else(|_| {
            let message = format!("the TLS handshake was not over after {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }),
    }
}

async fn accept<IO>(mut io: IO, config: Arc<ServerConfig>) -> io::Result<TlsStream<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let first = io.read_u8().await?;
    if first == HANDSHAKE_RECORD {
        // The byte was taken from the socket, so TLS reads it here.
        let acceptor = TlsAcceptor::from(config);
        let handshake = acceptor.accept_with(io, |tls| {
            let read = tls.read_tls(&mut [first].as_slice());
            assert_eq!(read.ok(), Some(1), "a new connection reads");
        });
        return handshake.await;
    }
    // A method of HTTP.
    if first.is_ascii_uppercase() {
        let answered = answer(io, |_| HTTP_ANSWER.to_owned());
        // A client that takes longer, or that has left, gets no answer.
        timeout(ANSWER_TIME, answered).await.ok();
        let message = "the client speaks HTTP without TLS";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let message = "the client does not speak TLS";
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}
