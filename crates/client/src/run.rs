//! Owns the running of a block over a session: once, or until it succeeds.

use std::time::Duration;

use tokio::time::sleep;

use crate::{Error, RequestBuilder, Session};

impl RequestBuilder {
    /// Opens a session, runs this block over it, and returns the block's value. The session is
    /// closed when the block returns.
    ///
    /// ```no_run
    /// # async fn hear(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.get("http://localhost:8080/events");
    /// let heard = request.run(async |session| {
    ///     let mut heard = 0;
    ///     while let Some(event) = session.try_next().await? {
    ///         println!("{}", event.text());
    ///         heard += 1;
    ///     }
    ///     Ok(heard)
    /// });
    /// println!("{} events", heard.await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What runs beside it, by `tokio::join!` or `tokio::select!` in the block, ends with it.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and the block's own; an error of another type leaves it by
    /// [`Error::other`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the block and closes the connection.
    #[doc(alias = "sse")]
    pub async fn run<T, B>(self, block: B) -> Result<T, Error>
    where
        B: AsyncFnOnce(&mut Session) -> Result<T, Error>,
    {
        let mut session = self.open().await?;
        block(&mut session).await
    }

    /// Opens a session and runs this block over it, as [`run`](Self::run) does, and all of that
    /// again, at most `max_retries` times, each `delay` after an error that
    /// [may be over](Error::is_retryable) then.
    ///
    /// Each call begins anew: with the first connection, with the last event ID of this request,
    /// and with another block, so that what it gathers is of one session. The request is sent
    /// again whatever its method.
    ///
    /// ```no_run
    /// # async fn hear(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// use std::time::Duration;
    ///
    /// let request = client.get("http://localhost:8080/answer");
    /// let answer = request.run_with_retry(3, Duration::from_secs(1), async |mut session| {
    ///     let mut answer = String::new();
    ///     while let Some(event) = session.try_next().await? {
    ///         answer += event.text();
    ///     }
    ///     Ok(answer)
    /// });
    /// println!("{}", answer.await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and the block's own, once there is no further call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the block and closes the connection.
    #[doc(alias = "sseWithRetry")]
    pub async fn run_with_retry<T, B>(
        self,
        max_retries: u32,
        delay: Duration,
        block: B,
    ) -> Result<T, Error>
    where
        B: AsyncFnOnce(Session) -> Result<T, Error> + Clone,
    {
        let subscription = self.into_subscription()?;
        let mut retries = 0;
        loop {
            let call = async {
                let session = Session::open(subscription.clone().into_driver()).await?;
                block.clone()(session).await
            };
            match call.await {
                Err(error) if error.is_retryable() && retries < max_retries => retries += 1,
                result => return result,
            }
            sleep(delay).await;
        }
    }
}
