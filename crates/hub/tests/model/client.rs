//! Owns `Client`: somebody who subscribes, and comes back, and is judged to have heard everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidings_hub::{Hub, Pattern, SlowReader, Subscription};
use tidings_proto::{
    Decoder, EncodedEvents, Event, EventSourceAction, EventSourceState, Feed, Opened, Reconnect,
    ResponseHead,
};
use tokio::time::Instant;

use crate::judge::Judge;
use crate::ledger::Book;
use crate::{Failed, Verdict};

/// Says whether it was woken.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn raised() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.raise();
    }
}

/// What somebody wants to hear.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) patterns: Vec<&'static str>,
    pub(crate) start: StartPoint,
    pub(crate) policy: Policy,
    pub(crate) max_lag: Option<u64>,
    /// Looks before the head is sent, as who answers 204 does.
    pub(crate) looks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartPoint {
    Unset,
    Latest,
    Earliest,
    /// Of so many events.
    Snapshot(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Skip,
    Disconnect,
    Latest,
}

pub(crate) struct Client {
    pub(crate) wish: Wish,
    state: EventSourceState,
    judge: Judge,
    flag: Arc<Flag>,
    link: Option<Link>,
    is_over: bool,
    /// On which node it is.
    pub(crate) hub: usize,
}

/// A connection.
struct Link {
    subscription: Subscription,
    /// Whether it is looked into before the head is sent.
    looks: bool,
    is_open: bool,
    /// Sent, and not arrived.
    pipe: VecDeque<Bytes>,
    /// How the server has ended it.
    end: Option<LinkEnd>,
}

#[derive(Debug, Clone, Copy)]
enum LinkEnd {
    Clean,
    Broken,
}

impl Client {
    pub(crate) fn new(wish: Wish, book: Book) -> Self {
        let forever = Reconnect::fixed(u32::MAX, Duration::ZERO).retry_first_connection(true);
        let patterns = wish.patterns.iter().map(|p| Pattern::new(p).unwrap());
        Self {
            state: EventSourceState::new(forever.retry_refusals(true), Decoder::new(), 1).dedupe(),
            judge: Judge::new(wish.clone(), patterns.collect(), book),
            wish,
            flag: Flag::raised(),
            link: None,
            is_over: false,
            hub: 0,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// It was told that there is nothing more to hear.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.flag.is_raised() && self.link.as_ref().is_some_and(|link| link.end.is_none())
    }

    pub(crate) fn has_to_hear(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| !link.pipe.is_empty() || link.end.is_some())
    }

    /// Whether this node counts it.
    pub(crate) fn is_present(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| link.end.is_none())
    }

    /// Sends its request; `garbled` is sent in place of its id, if it has one.
    pub(crate) fn connect(&mut self, hub: &Hub, node: usize, garbled: Option<&str>, looks: bool) {
        if self.link.is_some() || self.is_over {
            return;
        }
        if let Some(at) = self.state.poll_timeout() {
            self.state.handle_timeout(at);
        }
        let Some(EventSourceAction::Connect { last_event_id }) = self.state.poll_action() else {
            return;
        };
        let id = last_event_id.as_deref();
        let id = id.map(|id| garbled.unwrap_or(id).to_owned());
        self.judge.handle_connect(id.as_deref());
        let mut subscription = self.subscribe(hub);
        subscription.resume(id.as_deref());
        self.hub = node;
        self.flag = Flag::raised();
        self.link = Some(Link {
            subscription,
            looks,
            is_open: false,
            pipe: VecDeque::new(),
            end: None,
        });
        if !looks {
            self.respond(200);
        }
    }

    fn subscribe(&self, hub: &Hub) -> Subscription {
        let subscription = hub.subscribe_all(&self.wish.patterns);
        let subscription = match self.wish.start {
            StartPoint::Unset => subscription,
            StartPoint::Latest => subscription.latest(),
            StartPoint::Earliest => subscription.earliest(),
            StartPoint::Snapshot(count) => subscription.snapshot(self.judge.snapshot(count)),
        };
        let subscription = match self.wish.max_lag {
            Some(lag) => subscription.max_lag(lag),
            None => subscription,
        };
        let name = |event: &Event| event.event.as_ref().map(ToString::to_string);
        subscription.slow_reader(match self.wish.policy {
            Policy::Skip => SlowReader::skip_to_gap(),
            Policy::Disconnect => SlowReader::disconnect(),
            Policy::Latest => SlowReader::latest_by(name),
        })
    }

    fn respond(&mut self, status: u16) {
        let head = ResponseHead::new(status).content_type(Some("text/event-stream"));
        let now = Instant::now().into_std();
        self.state
            .handle_response(head, now, SystemTime::UNIX_EPOCH);
    }

    /// The server polls the feed, if it was woken, for at most so many frames.
    pub(crate) fn poll(&mut self, mut frames: usize) -> Verdict {
        let Some(link) = self.link.as_mut().filter(|link| link.end.is_none()) else {
            return Ok(());
        };
        if !self.flag.take() {
            return Ok(());
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        if link.looks && !link.is_open {
            match link.subscription.poll_open(&mut cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(Opened::Stream)) => {
                    link.is_open = true;
                    self.respond(200);
                }
                Poll::Ready(Ok(Opened::Over)) => return self.handle_over(),
                Poll::Ready(Err(error)) => {
                    self.judge.handle_error(&error)?;
                    self.cut();
                    return Ok(());
                }
            }
        }
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        while frames > 0 {
            match link.subscription.poll_events(&mut cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(events))) => {
                    link.is_open = true;
                    check_frame(&events)?;
                    link.pipe.push_back(events.into_bytes());
                    frames -= 1;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.judge.handle_error(&error)?;
                    link.end = Some(LinkEnd::Broken);
                    return Ok(());
                }
                Poll::Ready(None) => {
                    link.end = Some(LinkEnd::Clean);
                    return Ok(());
                }
            }
        }
        // It was not polled until it had nothing more.
        self.flag.raise();
        Ok(())
    }

    fn handle_over(&mut self) -> Verdict {
        self.respond(204);
        self.link = None;
        self.is_over = true;
        if self.state.poll_action() != Some(EventSourceAction::Finish) {
            return Err(Failed::new("204 is not the end"));
        }
        self.judge.handle_over()
    }

    /// The server sends the checkpoint that goes with a heartbeat, if it has sent all else.
    pub(crate) fn checkpoint(&mut self) {
        let link = self.link.as_mut();
        if let Some(link) = link.filter(|link| link.is_open && link.end.is_none())
            && let Some(id) = link.subscription.checkpoint()
        {
            link.pipe
                .push_back(Event::default().id(id).encode().into_bytes());
        }
    }

    /// So many bytes arrive.
    pub(crate) fn receive(&mut self, bytes: usize) -> Verdict {
        let mut left = bytes;
        while let Some(link) = &mut self.link {
            let Some(mut chunk) = link.pipe.pop_front() else {
                let Some(end) = link.end else { return Ok(()) };
                self.end(end)?;
                return Ok(());
            };
            if left == 0 {
                link.pipe.push_front(chunk);
                return Ok(());
            }
            let rest = chunk.split_off(left.min(chunk.len()));
            left -= chunk.len();
            if !rest.is_empty() {
                link.pipe.push_front(rest);
            }
            self.hear(chunk)?;
        }
        Ok(())
    }

    fn hear(&mut self, chunk: Bytes) -> Verdict {
        self.state.handle_chunk(chunk);
        while let Some(event) = self.state.poll_event() {
            self.judge.handle_event(&event)?;
        }
        match self.state.last_event_id() {
            Some(id) => self.judge.handle_id(id),
            None => Ok(()),
        }
    }

    fn end(&mut self, end: LinkEnd) -> Verdict {
        self.link = None;
        let now = Instant::now().into_std();
        match end {
            LinkEnd::Clean => {
                self.judge.handle_end()?;
                self.state.handle_end(now);
            }
            LinkEnd::Broken => self.state.handle_network_error(now),
        }
        Ok(())
    }

    /// The connection breaks; what is on its way is lost.
    pub(crate) fn cut(&mut self) {
        if self.link.take().is_some() {
            self.state.handle_network_error(Instant::now().into_std());
        }
    }

    /// Nothing comes any more.
    pub(crate) fn judge_quiet(&self) -> Verdict {
        self.judge.handle_quiet(self.is_over)
    }
}

/// What a frame says of itself is what is in it.
fn check_frame(events: &EncodedEvents) -> Verdict {
    let mut decoder = Decoder::new();
    let mut count = 0;
    for event in decoder.decode(events.bytes()) {
        event.map_err(|error| Failed::new(error.to_string()))?;
        count += 1;
    }
    let id = events.last_event_id().map(|id| id.as_str().to_owned());
    // A snapshot of nothing is an id alone.
    let is_id = count == 0 && events.count() == 1;
    if (count != events.count() && !is_id) || decoder.last_event_id() != id.as_deref() {
        return Err(Failed::new(format!("{events:?} holds {count} events")));
    }
    Ok(())
}
