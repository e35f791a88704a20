//! `SseRequest::forward` beside a handler that only forwards: the same feed, client and clock give the same
//! frames, the same metrics and the same end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "support/counts.rs"]
mod counts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use tidings_server::{
    Drain, EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, FeedOpened, Heartbeat,
    Limits, Session, SessionBody, SessionOptions, SseRequest,
};
use tidings_testkit::connection::{Connection, Polled};
use tidings_testkit::property;
use tokio::task::coop::unconstrained;
use tokio::time::advance;

use crate::counts::Counts;

/// Sizes of data in bytes: tiny, about a frame, half the queue, the queue, and larger than the queue.
const SIZES: &[usize] = &[
    0, 1, 100, 5_000, 16_000, 16_400, 32_700, 32_768, 40_000, 65_500, 65_536, 150_000,
];

/// A batch of events of this size each.
#[derive(Debug, Clone)]
struct Batch {
    size: usize,
    events: u8,
    has_id: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Batch),
    /// A batch without events.
    SendNothing,
    Checkpoint,
    /// Wakes the task that waits for the feed.
    Wake,
    EndFeed,
    FailFeed,
    PanicFeed,
    Advance(u64),
    /// Polls the body once, woken or not.
    Poll,
    /// Polls the body until it is pending and not woken.
    Run,
    MoveToAnotherTask,
    StartDrain,
    /// Another client of the same key opens a session.
    Replace,
}

#[derive(Debug, Clone)]
enum Beat {
    Off,
    Usual,
    Always,
    /// As large as half the queue.
    Large,
    /// Every second one sends nothing.
    Sometimes,
    /// The third one panics.
    Panicking,
}

#[derive(Debug, Clone)]
struct Setting {
    beat: Beat,
    period: u64,
    retry: bool,
    lifetime: Option<u64>,
    has_drain: bool,
    may_finish: bool,
    replaces: bool,
    /// The name of a content coding.
    coding: Option<&'static str>,
    /// The client disconnects after the last step, before it reads the rest.
    disconnects: bool,
}

fn settings() -> impl Strategy<Value = Setting> {
    let beat = prop_oneof![
        Just(Beat::Off),
        Just(Beat::Usual),
        Just(Beat::Always),
        Just(Beat::Large),
        Just(Beat::Sometimes),
        Just(Beat::Panicking),
    ];
    let coding = prop_oneof![6 => Just(None), 1 => Just(Some("gzip")), 1 => Just(Some("zstd"))];
    let lifetime = option::weighted(0.3, 20..300_u64);
    let flags = any::<[bool; 5]>();
    (beat, 1..60_u64, lifetime, flags, coding).prop_map(
        |(beat, period, lifetime, flags, coding)| Setting {
            beat,
            period,
            retry: flags[0],
            lifetime,
            has_drain: flags[1],
            may_finish: flags[2],
            replaces: flags[3],
            coding,
            disconnects: flags[4],
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = (select(SIZES), 1..4_u8, any::<bool>()).prop_map(|(size, events, has_id)| Batch {
        size,
        events,
        has_id,
    });
    let step = prop_oneof![
        16 => batch.prop_map(Step::Send),
        1 => Just(Step::SendNothing),
        6 => Just(Step::Checkpoint),
        3 => Just(Step::Wake),
        10 => (1..80_u64).prop_map(Step::Advance),
        16 => Just(Step::Poll),
        8 => Just(Step::Run),
        1 => Just(Step::MoveToAnotherTask),
    ];
    let last = prop_oneof![
        3 => Just(Step::EndFeed),
        2 => Just(Step::FailFeed),
        1 => Just(Step::PanicFeed),
        2 => Just(Step::StartDrain),
        2 => Just(Step::Replace),
        3 => Just(Step::Wake),
    ];
    // Some steps follow what ends the session.
    (vec(step.clone(), 0..60), last, vec(step, 0..12)).prop_map(|(mut steps, last, after)| {
        steps.push(last);
        steps.extend(after);
        steps
    })
}

/// A feed that a test controls through a clone.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    batches: VecDeque<Next>,
    checkpoint: Option<EventId>,
    position: u64,
    event_polls: usize,
    checkpoint_calls: usize,
    waker: Option<Waker>,
}

enum Next {
    Events(EncodedEvents),
    End,
    Error,
    Panic,
}

impl Script {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn next_position(&self) -> u64 {
        let mut state = self.state();
        state.position += 1;
        state.position
    }

    fn push(&self, next: Next) {
        self.change(|state| state.batches.push_back(next));
    }

    fn send(&self, batch: &Batch) {
        let event = |_| {
            let event = Event::new("x".repeat(batch.size));
            if batch.has_id {
                event.id(self.next_position())
            } else {
                event
            }
        };
        self.push(Next::Events((0..batch.events).map(event).collect()));
    }
}

impl Feed for Script {
    fn resume(&mut self, _: Option<&str>) {}

    fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        Poll::Ready(Ok(FeedOpened::Stream))
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        let mut state = self.state();
        state.event_polls += 1;
        match state.batches.pop_front() {
            Some(Next::Events(events)) => Poll::Ready(Some(Ok(events))),
            Some(Next::End) => Poll::Ready(None),
            Some(Next::Error) => {
                let error = FeedError::new(FeedErrorKind::Unavailable, "on purpose");
                Poll::Ready(Some(Err(error)))
            }
            Some(Next::Panic) => {
                drop(state);
                panic!("on purpose")
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        let mut state = self.state();
        state.checkpoint_calls += 1;
        state.checkpoint.take()
    }
}

/// How a session that only forwards is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Handler,
}

/// What a client and an operator can see of a session.
#[derive(Debug, PartialEq)]
struct Seen {
    /// For each step, what the client received.
    received: Vec<Vec<Polled>>,
    /// For each step that does not poll the body, whether it woke the connection.
    woke: Vec<bool>,
    counters: BTreeMap<String, u64>,
    queue_high_marks: Vec<f64>,
    open_sessions: f64,
    event_polls: usize,
    checkpoint_calls: usize,
}

fn request(setting: &Setting, options: &SessionOptions) -> SseRequest {
    let mut request = Request::get("/feed?key=a");
    if let Some(coding) = setting.coding {
        request = request.header("accept-encoding", coding);
    }
    SseRequest::new(request.body(()).unwrap().into_parts().0).options(options.clone())
}

fn heartbeat(setting: &Setting) -> Heartbeat {
    let every = Heartbeat::every(Duration::from_millis(setting.period));
    let beats = AtomicUsize::new(0);
    match setting.beat {
        Beat::Off => Heartbeat::off(),
        Beat::Usual => every,
        Beat::Always => every.event(Event::new("beat")).always(true),
        Beat::Large => every.event(Event::new("b".repeat(32_000))).always(true),
        Beat::Sometimes => every.with(move || {
            if beats.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                EncodedEvents::default()
            } else {
                Event::new("beat").encode()
            }
        }),
        Beat::Panicking => every.with(move || {
            assert!(beats.fetch_add(1, Ordering::Relaxed) < 2, "on purpose");
            Event::comment("beat")
        }),
    }
}

fn options(setting: &Setting, drain: &Drain) -> SessionOptions {
    let mut options = SessionOptions::new()
        .heartbeat(heartbeat(setting))
        .may_finish(setting.may_finish);
    #[cfg(feature = "compression")]
    {
        options = options.compression(setting.coding.is_some());
    }
    if setting.retry {
        options = options.retry(Duration::from_secs(7));
    }
    if let Some(lifetime) = setting.lifetime {
        options = options.max_lifetime(Duration::from_millis(lifetime));
    }
    if setting.has_drain {
        options = options.drain(drain);
    }
    if setting.replaces {
        let limits = Limits::new().max_sessions_per_key(1, |_| Some("key".into()));
        options = options.limits(&limits.replace_oldest(true));
    }
    options
}

async fn open(way: Way, request: SseRequest, script: &Script) -> Response<SessionBody> {
    let feed = script.clone();
    match way {
        Way::Forward => request.forward(feed).await,
        Way::Handler => request.open(|session: Session| session.forward(feed)),
    }
}

/// Does one step, and returns what the client receives.
async fn take(
    step: &Step,
    script: &Script,
    connection: &mut Connection<SessionBody>,
    drain: &Drain,
) -> Vec<Polled> {
    match step {
        Step::Send(batch) => script.send(batch),
        Step::SendNothing => script.push(Next::Events(EncodedEvents::default())),
        Step::Checkpoint => {
            let id = script.next_position().into();
            script.change(|state| state.checkpoint = Some(id));
        }
        Step::Wake => script.change(|_| {}),
        Step::EndFeed => script.push(Next::End),
        Step::FailFeed => script.push(Next::Error),
        Step::PanicFeed => script.push(Next::Panic),
        Step::Advance(millis) => advance(Duration::from_millis(*millis)).await,
        Step::Poll => return vec![connection.poll()],
        Step::Run => return connection.run(),
        Step::MoveToAnotherTask => {
            connection.move_to_another_task();
            return vec![connection.poll()];
        }
        Step::StartDrain => drain.start(),
        Step::Replace => unreachable!("it opens another session"),
    }
    Vec::new()
}

async fn run(way: Way, setting: &Setting, steps: &[Step]) -> (Vec<Vec<Polled>>, Vec<bool>, Script) {
    let (script, drain) = (Script::default(), Drain::new());
    let options = options(setting, &drain);
    let response = open(way, request(setting, &options), &script).await;
    let mut connection = Connection::new(response.into_body());
    let mut others = Vec::new();
    let (mut received, mut woke) = (Vec::new(), Vec::new());
    for step in steps {
        let wakes = connection.wakes();
        if let Step::Replace = step {
            let other = open(way, request(setting, &options), &Script::default()).await;
            others.push(other);
            received.push(Vec::new());
        } else {
            received.push(take(step, &script, &mut connection, &drain).await);
        }
        if !matches!(step, Step::Poll | Step::Run | Step::MoveToAnotherTask) {
            woke.push(connection.wakes() > wakes);
        }
    }
    if !setting.disconnects {
        received.push(connection.run());
    }
    (received, woke, script)
}

/// What is seen of a session. Lifetimes and reconnection times are random, from the same seed.
fn see(way: Way, setting: &Setting, steps: &[Step]) -> Seen {
    fastrand::seed(7);
    let counts = Counts::default();
    let (received, woke, script) = metrics::with_local_recorder(&counts, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        // tokio's budget of a task counts waiting senders, which only one of the two ways has.
        runtime.block_on(unconstrained(run(way, setting, steps)))
    });
    let state = script.state();
    Seen {
        received,
        woke,
        counters: counts.counters(),
        queue_high_marks: counts.samples("tidings_server_queue_high_mark_bytes"),
        open_sessions: counts.open_sessions(),
        event_polls: state.event_polls,
        checkpoint_calls: state.checkpoint_calls,
    }
}

#[test]
fn a_forwarded_feed_is_served_as_by_a_handler_that_forwards_it() {
    property::check_cases(400, &(settings(), steps()), |(setting, steps)| {
        let [forward, handler] = [Way::Forward, Way::Handler].map(|way| see(way, &setting, &steps));
        assert!(forward == handler, "{forward:#?}\n\nand\n\n{handler:#?}");
    });
}
