//! Random schedules of sends, flushes, polls, closes and drops: sent events leave whole and in order, and
//! no task waits for something that has happened.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use tidings_server::{
    EncodedEvents, Event, HandlerError, MAX_QUEUED_BYTES, Sender, Session, SessionBody,
    SessionOptions,
};
use tidings_testkit::connection::{Connection, Polled};
use tidings_testkit::property;
use tidings_testkit::wakes::Wakes;
use tokio::sync::mpsc;

use crate::harness::open;

/// Sizes of data in bytes: tiny, about a frame, about the queue, and larger than the queue.
const SIZES: &[usize] = &[
    0, 1, 100, 5_000, 16_000, 16_400, 40_000, 65_500, 65_536, 150_000,
];

#[derive(Debug, Clone)]
enum Step {
    TrySend(usize),
    Send(usize),
    Flush,
    WaitForTheEnd,
    /// Gives the handler its next command.
    Handler(Command),
    Spawn(usize),
    /// Polls the body, woken or not.
    PollBody,
    /// Polls a waiting task, woken or not.
    PollTask(usize),
    DropTask(usize),
    /// Polls every woken task, until none is woken.
    Settle,
    Close,
    DropBody,
}

#[derive(Debug, Clone)]
enum Command {
    Send(usize),
    Flush,
    /// Wakes itself.
    Yield,
    Return,
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || select(SIZES);
    let index = 0..100_usize;
    let step = prop_oneof![
        6 => size().prop_map(Step::TrySend),
        8 => size().prop_map(Step::Send),
        4 => Just(Step::Flush),
        1 => Just(Step::WaitForTheEnd),
        4 => size().prop_map(|size| Step::Handler(Command::Send(size))),
        2 => Just(Step::Handler(Command::Flush)),
        2 => Just(Step::Handler(Command::Yield)),
        2 => size().prop_map(Step::Spawn),
        12 => Just(Step::PollBody),
        6 => index.clone().prop_map(Step::PollTask),
        3 => index.prop_map(Step::DropTask),
        6 => Just(Step::Settle),
    ];
    let end = prop_oneof![
        3 => Just(Step::Settle),
        1 => Just(Step::Close),
        1 => Just(Step::DropBody),
        1 => Just(Step::Handler(Command::Return)),
        1 => Just(Step::Handler(Command::Fail)),
    ];
    // An end, and steps after it.
    (vec(step.clone(), 0..50), end, vec(step, 0..8)).prop_map(|(mut steps, end, after)| {
        steps.push(end);
        steps.extend(after);
        steps
    })
}

/// The sent events, in the order in which they must leave.
#[derive(Clone, Default)]
struct SentEvents(Arc<Mutex<Vec<EncodedEvents>>>);

impl SentEvents {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn push(&self, event: EncodedEvents) {
        self.0.lock().unwrap().push(event);
    }
}

async fn send(sender: &Sender, sent: &SentEvents, event: EncodedEvents) -> bool {
    let outcome = sender.send(event.clone()).await;
    if outcome.is_ok() {
        sent.push(event);
    }
    outcome.is_ok()
}

/// A waiting future, in a task of its own.
struct Task {
    future: Pin<Box<dyn Future<Output = bool>>>,
    wakes: Wakes,
    answered: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Send,
    /// A flush of this many events.
    Flush(usize),
    End,
}

impl Task {
    fn new(kind: Kind, future: impl Future<Output = bool> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            wakes: Wakes::default(),
            answered: 0,
            kind,
        }
    }

    fn is_woken(&self) -> bool {
        self.wakes.count() != self.answered
    }

    fn poll(&mut self) -> Poll<bool> {
        self.answered = self.wakes.count();
        let waker = self.wakes.waker();
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

struct World {
    connection: Option<Connection<SessionBody>>,
    /// The body returned a frame, so the connection polls it again.
    polls_again: bool,
    ended: Option<Polled>,
    sender: Sender,
    session: Arc<Session>,
    commands: mpsc::UnboundedSender<Command>,
    /// The number of commands so far, and of those that the handler has completed.
    given: usize,
    done: Arc<AtomicUsize>,
    sent: SentEvents,
    tasks: Vec<Task>,
    /// The number of sent events that have left, and of those that the connection has had a turn to
    /// write.
    left: usize,
    written: usize,
    numbers: usize,
}

impl World {
    fn new() -> Self {
        let (commands, todo) = mpsc::unbounded_channel();
        let (hand_over, session) = std::sync::mpsc::channel();
        let sent = SentEvents::default();
        let log = sent.clone();
        let done = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&done);
        let mut connection = open(SessionOptions::new(), async move |session| {
            let session = Arc::new(session);
            hand_over.send(Arc::clone(&session)).unwrap();
            let sender = session.sender();
            handle(sender, log, todo, &counter).await
        });
        assert_eq!(connection.read(), (Vec::new(), Polled::Pending));
        let session = session.recv().unwrap();
        Self {
            connection: Some(connection),
            polls_again: false,
            ended: None,
            sender: session.sender(),
            session,
            commands,
            given: 0,
            done,
            sent,
            tasks: Vec::new(),
            left: 0,
            written: 0,
            numbers: 0,
        }
    }

    fn event(&mut self, size: usize) -> EncodedEvents {
        self.numbers += 1;
        Event::new("x".repeat(size)).id(self.numbers).encode()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::TrySend(size) => {
                let event = self.event(size);
                if self.sender.try_send(event.clone()).is_ok() {
                    self.sent.push(event);
                }
            }
            Step::Send(size) => {
                let (sender, sent) = (self.sender.clone(), self.sent.clone());
                let event = self.event(size);
                let sending = async move { send(&sender, &sent, event).await };
                self.begin(Task::new(Kind::Send, sending));
            }
            Step::Flush => {
                let sender = self.sender.clone();
                let kind = Kind::Flush(self.sent.count());
                self.begin(Task::new(kind, async move { sender.flush().await.is_ok() }));
            }
            Step::WaitForTheEnd => {
                let sender = self.sender.clone();
                let end = async move {
                    sender.closed().await;
                    true
                };
                self.begin(Task::new(Kind::End, end));
            }
            Step::Handler(command) => {
                self.given += 1;
                drop(self.commands.send(command));
            }
            Step::Spawn(size) => {
                let (sender, sent) = (self.sender.clone(), self.sent.clone());
                let event = self.event(size);
                self.session.spawn(async move {
                    yield_once().await;
                    send(&sender, &sent, event).await;
                    Ok(())
                });
            }
            Step::PollBody => self.poll_body(),
            Step::PollTask(index) => self.poll_task(index),
            Step::DropTask(index) => {
                if !self.tasks.is_empty() {
                    let index = index % self.tasks.len();
                    drop(self.tasks.swap_remove(index));
                }
            }
            Step::Settle => self.settle(),
            Step::Close => self.sender.close(),
            Step::DropBody => self.connection = None,
        }
        self.check_bound();
    }

    fn begin(&mut self, task: Task) {
        self.tasks.push(task);
        self.poll_task(self.tasks.len() - 1);
    }

    fn poll_body(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.polls_again = false;
        match connection.poll() {
            Polled::Pending => self.written = self.left,
            Polled::Frame(frame) => {
                self.polls_again = true;
                self.take(&frame);
            }
            end => {
                self.ended = Some(end);
                self.connection = None;
            }
        }
    }

    /// Checks that a frame holds whole events, the next ones that were sent.
    fn take(&mut self, mut frame: &[u8]) {
        let sent = self.sent.0.lock().unwrap();
        while !frame.is_empty() {
            let next = sent.get(self.left).expect("more has left than was sent");
            let rest = frame.strip_prefix(&next.bytes()[..]);
            frame = rest.expect("not the next event");
            self.left += 1;
        }
    }

    fn poll_task(&mut self, index: usize) {
        if self.tasks.is_empty() {
            return;
        }
        let index = index % self.tasks.len();
        let Poll::Ready(is_ok) = self.tasks[index].poll() else {
            return;
        };
        match self.tasks.swap_remove(index).kind {
            Kind::Send => assert!(is_ok || self.sender.is_closed(), "refused while open"),
            Kind::Flush(events) if is_ok => assert!(self.written >= events, "flushed too early"),
            Kind::Flush(_) => assert!(self.connection.is_none(), "a flush failed"),
            Kind::End => assert!(self.sender.is_closed(), "no end yet"),
        }
    }

    fn check_bound(&self) {
        let sent = self.sent.0.lock().unwrap();
        if self.connection.is_none() {
            return;
        }
        let queued = sent[self.left..].iter();
        let room: usize = queued.map(|event| event.len().min(MAX_QUEUED_BYTES)).sum();
        assert!(room <= MAX_QUEUED_BYTES, "{room} bytes are queued");
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            let connection = self.connection.as_ref();
            if connection.is_some_and(|body| self.polls_again || body.is_woken()) {
                self.poll_body();
            } else if let Some(woken) = self.tasks.iter().position(Task::is_woken) {
                self.poll_task(woken);
            } else {
                return self.check_rest();
            }
        }
        panic!("it never rests");
    }

    /// Checks that no work is left when no task is woken.
    fn check_rest(&self) {
        let is_over = self.connection.is_none();
        if self.sender.is_closed() {
            assert!(is_over, "a session that is over has not ended");
        }
        if !is_over || self.ended.is_some() {
            assert_eq!(self.left, self.sent.count(), "something has not left");
        }
        if !is_over {
            let done = self.done.load(Ordering::SeqCst);
            assert_eq!(done, self.given, "the handler waits in vain");
        }
        for task in &self.tasks {
            let may_wait = matches!(task.kind, Kind::End) && !is_over;
            assert!(may_wait, "{:?} waits in vain", task.kind);
        }
    }

    /// Checks that all room is free again.
    fn check_room(&mut self) {
        self.settle();
        if self.connection.is_none() {
            return;
        }
        let framing = Event::new("").encode().len() + 1;
        let all = Event::new("x".repeat(MAX_QUEUED_BYTES - framing)).encode();
        assert_eq!(all.len(), MAX_QUEUED_BYTES);
        self.sent.push(all.clone());
        assert!(self.sender.try_send(all).is_ok(), "some room is lost");
        let more = self.sender.try_send(Event::new("more"));
        assert!(more.is_err(), "there is more room than there was");
        self.settle();
    }
}

async fn handle(
    sender: Sender,
    sent: SentEvents,
    mut todo: mpsc::UnboundedReceiver<Command>,
    done: &AtomicUsize,
) -> Result<(), HandlerError> {
    let mut number = 1_000_000;
    while let Some(command) = todo.recv().await {
        match command {
            Command::Send(size) => {
                number += 1;
                let event = Event::new("h".repeat(size)).id(number).encode();
                send(&sender, &sent, event).await;
            }
            Command::Flush => sender.flush().await?,
            Command::Yield => yield_once().await,
            Command::Return => return Ok(()),
            Command::Fail => return Err(HandlerError::new("on purpose")),
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
    std::future::pending().await
}

/// Pending once, and woken immediately.
async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn in_any_schedule_sent_events_leave_in_order_and_no_task_waits_in_vain() {
    let ends = Mutex::new(BTreeSet::new());
    property::check(&steps(), |steps| {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.check_room();
        ends.lock().unwrap().insert(format!("{:?}", world.ended));
    });
    // The schedules reach every kind of end.
    let ends = ends.into_inner().unwrap();
    assert_eq!(ends.len(), 3, "{ends:?}");
}
