//! `Listener`: reads each route of the demo, and checks its events.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use tidings::client::{Session, SseClient};
use tidings::hyper::DirectTransport;
use tidings::{Event, Reconnect};
use tokio::time::timeout;

use super::routes::{
    Customer, EVENTS, FLAKY_CUT, FLAKY_EVENTS, Product, SLOW_EVENTS, customer, product, survivor,
};
use crate::output::Output;

/// The limit on each wait: only a stream that hangs is silent for so long.
const SILENCE: Duration = Duration::from_secs(10);

pub(crate) struct Listener<'o> {
    /// Never reconnects: a connection that fails or breaks is an error.
    client: SseClient,
    url: String,
    output: &'o Output,
    received: usize,
}

impl<'o> Listener<'o> {
    pub(crate) fn new(url: String, output: &'o Output) -> Self {
        Self {
            // The server is in this process: a proxy could not reach it.
            client: SseClient::over(DirectTransport::new().no_proxy()),
            url,
            output,
            received: 0,
        }
    }

    /// Reads every route, and returns the number of events received.
    pub(crate) async fn read_all(mut self) -> Result<usize, Box<dyn Error>> {
        self.read_events().await?;
        self.read_heartbeat().await?;
        self.read_json().await?;
        self.read_flaky().await?;
        Ok(self.received)
    }

    async fn read_events(&mut self) -> Result<(), Box<dyn Error>> {
        let mut session = self.open("/events").await?;
        for n in 0..EVENTS {
            let event = self.next(&mut session).await?;
            expect(&event, &Event::new(format!("this is SSE #{n}")).id(n))?;
        }
        self.expect_end(session).await
    }

    async fn read_heartbeat(&mut self) -> Result<(), Box<dyn Error>> {
        let mut session = self.open("/heartbeat").await?;
        let (mut beats, mut slow) = (0, 0);
        while slow < SLOW_EVENTS {
            let event = self.next(&mut session).await?;
            if event.text() == "heartbeat" {
                beats += 1;
            } else {
                expect(&event, &Event::new(format!("slow #{slow}")))?;
                slow += 1;
            }
        }
        if beats < SLOW_EVENTS {
            return Err(format!(
                "expected at least {SLOW_EVENTS} heartbeats between {slow} events, but received {beats}"
            )
            .into());
        }
        self.expect_end(session).await
    }

    async fn read_json(&mut self) -> Result<(), Box<dyn Error>> {
        let mut session = self.open("/json").await?;
        expect(
            &self.next(&mut session).await?.json::<Customer>()?,
            &customer(),
        )?;
        expect(
            &self.next(&mut session).await?.json::<Product>()?,
            &product(),
        )?;
        self.expect_end(session).await
    }

    /// The server cuts this stream again and again. The client makes one attempt each time: it
    /// resumes a cut connection, and an attempt that fails is an error.
    async fn read_flaky(&mut self) -> Result<(), Box<dyn Error>> {
        let reconnect = Reconnect::fixed(1, Duration::from_millis(100));
        let mut session = self.open_with("/flaky", reconnect).await?;
        for n in 0..FLAKY_EVENTS {
            let event = self.next(&mut session).await?;
            expect(&event, &survivor(n, n / FLAKY_CUT))?;
        }
        Ok(())
    }

    async fn open(&self, path: &str) -> Result<Session, Box<dyn Error>> {
        self.open_with(path, Reconnect::off()).await
    }

    async fn open_with(&self, path: &str, reconnect: Reconnect) -> Result<Session, Box<dyn Error>> {
        self.output.title(format_args!("GET {path}"))?;
        let client = self.client.clone().reconnect(reconnect);
        let session = client.get(format!("{}{path}", self.url)).open();
        Ok(timeout(SILENCE, session)
            .await
            .map_err(|_| format!("expected an answer of {path} within {SILENCE:?}"))??)
    }

    async fn next(&mut self, session: &mut Session) -> Result<Event, Box<dyn Error>> {
        let event = timeout(SILENCE, session.try_next())
            .await
            .map_err(|_| format!("expected an event within {SILENCE:?}"))??;
        let event = event.ok_or("expected an event, but the stream ended")?;
        self.output.event(&event)?;
        self.received += 1;
        Ok(event)
    }

    async fn expect_end(&self, mut session: Session) -> Result<(), Box<dyn Error>> {
        match timeout(SILENCE, session.try_next())
            .await
            .map_err(|_| format!("expected the end of the stream within {SILENCE:?}"))??
        {
            None => Ok(()),
            Some(event) => Err(format!("expected the end, but received {event:?}").into()),
        }
    }
}

fn expect<T: PartialEq + Debug>(received: &T, expected: &T) -> Result<(), Box<dyn Error>> {
    if received == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, but received {received:?}").into())
}
