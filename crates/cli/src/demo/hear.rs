//! Owns what the demo must hear.

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

/// Nothing here is silent for as long as this, unless it hangs.
const SILENCE: Duration = Duration::from_secs(10);

pub(crate) struct Listener<'o> {
    /// Never reconnects: a connection that fails or breaks is an error.
    client: SseClient,
    url: String,
    output: &'o Output,
    heard: usize,
}

impl<'o> Listener<'o> {
    pub(crate) fn new(url: String, output: &'o Output) -> Self {
        Self {
            // The server is in this process: no proxy leads to it.
            client: SseClient::over(DirectTransport::new().no_proxy()),
            url,
            output,
            heard: 0,
        }
    }

    /// Hears every route, and says how many events came.
    pub(crate) async fn hear_all(mut self) -> Result<usize, Box<dyn Error>> {
        self.hear_events().await?;
        self.hear_heartbeat().await?;
        self.hear_json().await?;
        self.hear_flaky().await?;
        Ok(self.heard)
    }

    async fn hear_events(&mut self) -> Result<(), Box<dyn Error>> {
        let mut session = self.open("/events").await?;
        for n in 0..EVENTS {
            let event = self.next(&mut session).await?;
            expect(&event, &Event::new(format!("this is SSE #{n}")).id(n))?;
        }
        self.hear_end(session).await
    }

    async fn hear_heartbeat(&mut self) -> Result<(), Box<dyn Error>> {
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
            return Err(format!("only {beats} heartbeats beside {slow} events").into());
        }
        self.hear_end(session).await
    }

    async fn hear_json(&mut self) -> Result<(), Box<dyn Error>> {
        let mut session = self.open("/json").await?;
        expect(
            &self.next(&mut session).await?.json::<Customer>()?,
            &customer(),
        )?;
        expect(
            &self.next(&mut session).await?.json::<Product>()?,
            &product(),
        )?;
        self.hear_end(session).await
    }

    /// The server cuts this one again and again. One attempt each time: a connection that is cut
    /// is resumed, and one that fails is an error.
    async fn hear_flaky(&mut self) -> Result<(), Box<dyn Error>> {
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
            .map_err(|_| format!("{path} gave no answer"))??)
    }

    async fn next(&mut self, session: &mut Session) -> Result<Event, Box<dyn Error>> {
        let event = timeout(SILENCE, session.try_next())
            .await
            .map_err(|_| "no event came")??;
        let event = event.ok_or("the stream ended too early")?;
        self.output.event(&event)?;
        self.heard += 1;
        Ok(event)
    }

    async fn hear_end(&self, mut session: Session) -> Result<(), Box<dyn Error>> {
        match timeout(SILENCE, session.try_next())
            .await
            .map_err(|_| "no end came")??
        {
            None => Ok(()),
            Some(event) => Err(format!("expected the end, but heard {event:?}").into()),
        }
    }
}

fn expect<T: PartialEq + Debug>(heard: &T, expected: &T) -> Result<(), Box<dyn Error>> {
    if heard == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, but heard {heard:?}").into())
}
