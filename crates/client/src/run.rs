//! `run` and `run_with_retry`: a block over a session, run once or until it succeeds.

use std::time::Duration;

use tokio::time::sleep;

use crate::{Error, RequestBuilder, Session};

impl RequestBuilder {
    /// Opens a session, runs this block over it, and returns the block's value. The session is
    /// closed when the block returns.
    ///
    /// ```no_run
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.get("http://localhost:8080/events");
    /// let events = request.run(async |session| {
    ///     let mut events = 0;
    ///     while let Some(event) = session.try_next().await? {
    ///         println!("{}", event.text());
    ///         events += 1;
    ///     }
    ///     Ok(events)
    /// });
    /// println!("{} events", events.await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Other work of the block, in `tokio::join!` or `tokio::select!`, ends with the block.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and those of the block. Wrap an error of another type in
    /// [`Error::other`]. Each carries the session's [last event ID](Error::last_event_id), so that
    /// another session can resume.
    ///
    /// # Cancel safety
    /// Dropping the future drops the block and closes the connection.
    #[doc(alias = "sse")]
    pub async fn run<T, B>(self, block: B) -> Result<T, Error>
    where
        B: AsyncFnOnce(&mut Session) -> Result<T, Error>,
    {
        let mut session = self.open().await?;
        let result = block(&mut session).await;
        result.map_err(|error| error.after(session.last_event_id()))
    }

    /// Opens a session and runs this block over it, as [`run`](Self::run) does, and repeats both
    /// after a [retryable](Error::is_retryable) error: at most `max_retries` times, each `delay`
    /// after the error.
    ///
    /// Each call is a new session, which begins with the last event ID of this request and a clone of
    /// the block, so that a result is made from one session. The request is sent again whatever its
    /// method.
    ///
    /// ```no_run
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
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
    /// The last error of [`open`](Self::open) or of the block. It carries the last event ID of its
    /// session, unless the block keeps the session.
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
        let request = self.validate()?;
        let mut retries = 0;
        loop {
            let call = async {
                let mut driver = request.clone().into_driver();
                let id_at_drop = driver.id_at_drop();
                let session = Session::open(driver).await?;
                let result = block.clone()(session).await;
                result.map_err(|error| match id_at_drop.get() {
                    Some(id) => error.after(id.as_ref()),
                    None => error,
                })
            };
            match call.await {
                Err(error) if error.is_retryable() && retries < max_retries => retries += 1,
                result => return result,
            }
            sleep(delay).await;
        }
    }
}
