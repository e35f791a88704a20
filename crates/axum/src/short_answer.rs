//! Short answers over HTTP/1.1 to clients that reach no route.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a client has to send its request and to read a short answer: 1 s.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The most bytes of a request that are read before its connection is closed.
const MAX_READ: usize = 64 * 1024;

/// Reads a part of a request, writes the answer to it and closes the connection. It waits as long as the
/// client does; limit it by [`ANSWER_TIME`].
pub(crate) async fn answer<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
    answer_to: impl FnOnce(&[u8]) -> String,
) -> io::Result<()> {
    // Only after a part of the request: many clients take an earlier answer for an error.
    let mut buffer = [0; 1024];
    let mut read = io.read(&mut buffer).await?;
    io.write_all(answer_to(&buffer[..read]).as_bytes()).await?;
    io.shutdown().await?;
    // The kernel resets a connection that is closed with unread bytes, and its client may lose the answer.
    while read < MAX_READ {
        match io.read(&mut buffer).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}
