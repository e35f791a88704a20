//! A `Client`: a subscriber that reconnects and is judged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidings_hub::{Hub, Pattern, SlowReader, Subscription};
use tidings_proto::{
    Decoder, EncodedEvents, Event, EventSourceAction, EventSourceState, Feed, FeedOpened,
    Reconnect, ResponseHead,
};
use tokio::time::Instant;

use super::judge::Judge;
use super::ledger::Book;
use super::op::SentId;
use super::{Failed, Verdict};

/// An epoch that the log never has.
pub(super) const OTHER_EPOCH: &str = "elsewhere";

/// A waker that records whether it was called.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn raised() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.raise();
    }
}

/// The subscription of a client.
#[derive(Debug, Clone)]
pub(super) struct ClientSpec {
    pub(super) patterns: Vec<&'static str>,
    pub(super) start: StartPoint,
    pub(super) policy: Policy,
    pub(super) max_lag: Option<u64>,
    /// Whether the server opens the feed before it sends the response head, as a server that answers
    /// 204 does.
    pub(super) opens_first: bool,
    /// Whether the ID of each event names its channel.
    pub(super) names_channels: bool,
}

/// Where the subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartPoint {
    Unset,
    Latest,
    Earliest,
    Last(usize),
    Time(TimeOf),
    /// A snapshot of this many events.
    Snapshot(u64),
}

/// The time at which a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeOf {
    /// That of an entry: this many before the newest one, when the client first connects.
    Entry { back: usize },
    /// So long after the newest entry then.
    Later { millis: u64 },
}

/// The `SlowReader` of the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Skip,
    Disconnect,
    Latest,
}

/// A subscriber, with its connection and its judge.
pub(super) struct Client {
    pub(super) spec: ClientSpec,
    state: EventSourceState,
    judge: Judge,
    book: Book,
    flag: Arc<Flag>,
    link: Option<Link>,
    /// When the server last polled the feed.
    polled: Instant,
    is_over: bool,
    /// The index of the hub that it is connected to.
    pub(super) hub: usize,
}

/// A connection.
struct Link {
    subscription: Subscription,
    /// Whether the server opens the feed before it sends the response head.
    opens_first: bool,
    is_open: bool,
    /// Bytes that the server has sent, and the client has not received, each with the time of the ledger at
    /// which the hub returned them.
    pipe: VecDeque<(Bytes, u64)>,
    /// How the server has ended the connection, if it has.
    end: Option<LinkEnd>,
}

#[derive(Debug, Clone, Copy)]
enum LinkEnd {
    Clean,
    Broken,
}

impl Client {
    pub(super) fn new(spec: ClientSpec, book: Book) -> Self {
        let forever = Reconnect::fixed(u32::MAX, Duration::ZERO).retry_first_connection(true);
        let patterns = spec.patterns.iter().map(|p| Pattern::new(p).unwrap());
        Self {
            state: EventSourceState::new(forever.retry_refusals(true), Decoder::new(), 1)
                .dedupe(true),
            judge: Judge::new(spec.clone(), patterns.collect(), book.clone()),
            book,
            spec,
            flag: Flag::raised(),
            link: None,
            polled: Instant::now(),
            is_over: false,
            hub: 0,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Whether it got 204: its channels have ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn is_ready(&self) -> bool {
        self.flag.is_raised() && self.link.as_ref().is_some_and(|link| link.end.is_none())
    }

    pub(super) fn has_to_receive(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| !link.pipe.is_empty() || link.end.is_some())
    }

    /// Whether its hub counts it as a subscriber.
    pub(super) fn is_present(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| link.end.is_none())
    }

    /// Sends its request. The hub with the index `usize::MAX` was drained.
    pub(super) fn connect(&mut self, hub: &Hub, node: usize, sent: SentId, opens_first: bool) {
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
        let id = id.map(|id| match sent {
            SentId::Unchanged | SentId::Joined => id.to_owned(),
            SentId::NoPosition => "no position".into(),
            SentId::OtherEpoch => format!("{OTHER_EPOCH}{}", &id[id.find('.').unwrap()..]),
        });
        self.judge.handle_connect(id.as_deref(), node == usize::MAX);
        let mut subscription = self.subscribe(hub);
        let joined = |id: &str| match sent {
            SentId::Joined => format!("{OTHER_EPOCH}.1.AAAA, {id}"),
            SentId::Unchanged | SentId::NoPosition | SentId::OtherEpoch => id.to_owned(),
        };
        subscription.resume(id.as_deref().map(joined).as_deref());
        self.hub = node;
        self.polled = Instant::now();
        self.flag = Flag::raised();
        self.link = Some(Link {
            subscription,
            opens_first,
            is_open: false,
            pipe: VecDeque::new(),
            end: None,
        });
        if !opens_first {
            self.respond(200);
        }
    }

    fn subscribe(&self, hub: &Hub) -> Subscription {
        let subscription = hub.subscribe_all(&self.spec.patterns);
        let subscription = match self.spec.start {
            StartPoint::Unset => subscription,
            StartPoint::Latest => subscription.latest(),
            StartPoint::Earliest => subscription.earliest(),
            StartPoint::Last(count) => subscription.last(count),
            StartPoint::Time(_) => {
                let since_1970 = Duration::from_nanos(self.judge.start_time);
                subscription.from_time(SystemTime::UNIX_EPOCH + since_1970)
            }
            StartPoint::Snapshot(count) => subscription.snapshot(self.judge.snapshot(count)),
        };
        let subscription = match self.spec.max_lag {
            Some(lag) => subscription.max_lag(lag),
            None => subscription,
        };
        let subscription = match self.spec.names_channels {
            true => subscription.name_channels(),
            false => subscription,
        };
        let name = |event: &Event| event.event.as_ref().map(ToString::to_string);
        subscription.slow_reader(match self.spec.policy {
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

    /// The server polls the feed, if it was woken, for at most `frames` chunks of events.
    pub(super) fn poll(&mut self, mut frames: usize) -> Verdict {
        let Some(link) = self.link.as_mut().filter(|link| link.end.is_none()) else {
            return Ok(());
        };
        if !self.flag.take() {
            return Ok(());
        }
        let pause = self.polled.elapsed();
        self.polled = Instant::now();
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        if link.opens_first && !link.is_open {
            match link.subscription.poll_open(&mut cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(FeedOpened::Stream)) => {
                    link.is_open = true;
                    self.respond(200);
                }
                Poll::Ready(Ok(FeedOpened::Over)) => return self.handle_over(),
                Poll::Ready(Err(error)) => {
                    self.judge.handle_error(&error, pause)?;
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
                    let now = self.book.open().now;
                    link.pipe.push_back((events.into_bytes(), now));
                    frames -= 1;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.judge.handle_error(&error, pause)?;
                    link.end = Some(LinkEnd::Broken);
                    return Ok(());
                }
                Poll::Ready(None) => {
                    link.end = Some(LinkEnd::Clean);
                    return Ok(());
                }
            }
        }
        // More events may be ready: the feed has not returned `Pending`.
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

    /// The server sends the checkpoint of a heartbeat, if it has sent everything before.
    pub(super) fn checkpoint(&mut self) {
        let link = self.link.as_mut();
        if let Some(link) = link.filter(|link| link.is_open && link.end.is_none())
            && let Some(id) = link.subscription.checkpoint()
        {
            let now = self.book.open().now;
            let checkpoint = Event::default().id(id).encode();
            link.pipe.push_back((checkpoint.into_bytes(), now));
        }
    }

    /// The client receives this many bytes.
    pub(super) fn receive(&mut self, bytes: usize) -> Verdict {
        let mut left = bytes;
        while let Some(link) = &mut self.link {
            let Some((mut chunk, sent)) = link.pipe.pop_front() else {
                let Some(end) = link.end else { return Ok(()) };
                self.end(end)?;
                return Ok(());
            };
            if left == 0 {
                link.pipe.push_front((chunk, sent));
                return Ok(());
            }
            let rest = chunk.split_off(left.min(chunk.len()));
            left -= chunk.len();
            if !rest.is_empty() {
                link.pipe.push_front((rest, sent));
            }
            self.handle_chunk(chunk, sent)?;
        }
        Ok(())
    }

    fn handle_chunk(&mut self, chunk: Bytes, sent: u64) -> Verdict {
        self.state.handle_chunk(chunk);
        while let Some(event) = self.state.poll_event() {
            self.judge.handle_event(&event, sent)?;
        }
        match self.state.last_event_id() {
            Some(id) => self.judge.handle_id(id, sent),
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

    /// Breaks the connection. Bytes that were not received are lost.
    pub(super) fn cut(&mut self) {
        if self.link.take().is_some() {
            self.state.handle_network_error(Instant::now().into_std());
        }
    }

    /// Judges the client after all hubs and clients came to rest.
    pub(super) fn judge_quiet(&mut self) -> Verdict {
        self.judge.handle_quiet(self.is_over)
    }
}

/// Checks that the count and the last ID of encoded events match their bytes.
fn check_frame(events: &EncodedEvents) -> Verdict {
    let mut decoder = Decoder::new();
    let mut count = 0;
    for event in decoder.decode(events.bytes()) {
        event.map_err(|error| Failed::new(error.to_string()))?;
        count += 1;
    }
    let id = events.last_event_id().map(|id| id.as_str().to_owned());
    // A snapshot without events is an ID alone.
    let is_id = count == 0 && events.count() == 1;
    if (count != events.count() && !is_id) || decoder.last_event_id() != id.as_deref() {
        return Err(Failed::new(format!("{events:?} holds {count} events")));
    }
    Ok(())
}
