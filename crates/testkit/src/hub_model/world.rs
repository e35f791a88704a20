//! The `World`: hubs over one log with their clients and publishers, and the effect of each step.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidings_hub::{
    ChannelName, ChannelState, ChannelStatus, Draft, EntryKind, Event, EventName, Hub,
    LogErrorKind, Pattern, Producer, PublishError, PublishErrorKind,
};
use tidings_proto::{EntryCheck, Position};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::client::{Client, Flag};
use super::judge::name_of;
use super::ledger::{Audience, Book, Ending, Ledger};
use super::op::{CHANNELS, Op, SentId, Setup};
use super::recording_log::RecordingLog;
use super::{Failed, Verdict};

const MAX_CLIENTS: usize = 8;
const MAX_PUBLISHES: usize = 24;
const MAX_DRAINED: usize = 2;
/// Within this time a hub notices each change of its log, and receives all entries. It checks the log every
/// 5 s, and waits for up to 5 s after several attempts to follow it.
const REST_MILLIS: u64 = 6_000;
/// Within this many rounds each client must receive everything.
const MAX_ROUNDS: usize = 3_000;

/// Hubs over one log, with their clients and publishers.
pub(super) struct World {
    setup: Setup,
    log: RecordingLog,
    book: Book,
    hubs: Vec<Hub>,
    clients: Vec<Client>,
    /// Each with its channel.
    producers: Vec<(Producer, usize)>,
    publishes: Vec<Published>,
    drains: Vec<Driven<()>>,
    /// The hubs that were drained last.
    drained: VecDeque<Hub>,
    token: u64,
}

type Outcome = Result<Position, PublishError>;

/// A publisher that waits.
struct Published {
    /// 0 for the end of a channel.
    token: u64,
    channel: ChannelName,
    began: Began,
    outcome: Driven<Outcome>,
}

/// When a publication began.
#[derive(Debug, Clone, Copy)]
struct Began {
    at: u64,
    /// The last time before it at which every hub had noticed all changes.
    settled: u64,
}

/// A future that is polled only after it was woken.
struct Driven<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    flag: Arc<Flag>,
}

impl<T> Driven<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            flag: Flag::raised(),
        }
    }

    fn poll(&mut self) -> Poll<T> {
        if !self.flag.take() {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let (log, book) = RecordingLog::new(&setup);
        let mut world = Self {
            log,
            book,
            hubs: Vec::new(),
            clients: Vec::new(),
            producers: Vec::new(),
            publishes: Vec::new(),
            drains: Vec::new(),
            drained: VecDeque::new(),
            token: 0,
            setup,
        };
        world.hubs = (0..world.setup.hubs).map(|n| world.hub(n)).collect();
        world
    }

    fn hub(&self, n: usize) -> Hub {
        Hub::builder()
            .tape_bytes(self.setup.tape_bytes[n])
            .over(self.log.clone())
    }

    pub(super) async fn run(mut self, ops: &[Op]) -> Verdict {
        self.reach().await;
        for op in ops {
            self.take(op).await?;
            self.poll_publishes()?;
            self.check_log()?;
        }
        self.settle().await?;
        self.judge().await
    }

    /// Checks that the log has accepted and refused entries as it must.
    fn check_log(&self) -> Verdict {
        match self.book.open().fault.take() {
            Some(fault) => Err(Failed::new(fault)),
            None => Ok(()),
        }
    }

    /// Lets the hubs reach their log. Before that, they do not know which entries are newer than a
    /// subscription.
    async fn reach(&self) {
        for _ in 0..40 * self.setup.delays {
            yield_now().await;
        }
    }

    async fn take(&mut self, op: &Op) -> Verdict {
        match *op {
            Op::Publish {
                hub,
                channel,
                padding,
                key,
            } => self.publish(hub, channel, padding, key),
            Op::Append { channel, padding } => self.append(channel, padding),
            Op::AppendEnd { channel } => self.append_end(channel),
            Op::End { hub, channel } => self.end(hub, channel),
            Op::Produce { .. }
            | Op::PublishByProducer { .. }
            | Op::FinishProducer { .. }
            | Op::DropProducer { .. } => self.take_of_producer(op),
            Op::Trim { keep } => {
                let last = self.book.open().last();
                self.log.trim((last + 1).saturating_sub(keep));
            }
            Op::Rewind { by } => {
                let last = self.book.open().last();
                self.log.rewind(last.saturating_sub(by));
            }
            Op::Renew => {
                let epoch = self.book.open().epoch().clone();
                self.log.renew_now(&epoch).unwrap();
            }
            Op::Restart(how) => self.log.restart(how),
            Op::LoseAnswer => self.book.open().loses = true,
            Op::Drain { hub } => {
                // The new hub must reach the log before its first subscription.
                self.book.open().loses = false;
                self.drain(hub);
                self.reach().await;
            }
            Op::Crash { by, grow } => self.crash(by, grow).await,
            Op::Run { turns } => {
                for _ in 0..turns {
                    yield_now().await;
                }
            }
            Op::Sleep { millis } => self.sleep(millis).await?,
            _ => return self.take_of_client(op),
        }
        Ok(())
    }

    async fn sleep(&mut self, millis: u64) -> Verdict {
        // A publisher whose answer was lost asks again only if it is polled.
        for _ in 0..millis / 1_000 {
            sleep(Duration::from_secs(1)).await;
            self.poll_publishes()?;
        }
        sleep(Duration::from_millis(millis % 1_000)).await;
        let mut book = self.book.open();
        if millis >= REST_MILLIS && !book.has_lost {
            book.handle_rest();
        }
        Ok(())
    }

    fn take_of_client(&mut self, op: &Op) -> Verdict {
        if let Op::Subscribe { hub, spec } = op {
            if self.clients.len() < MAX_CLIENTS {
                let mut client = Client::new(spec.clone(), self.book.clone());
                let node = hub % self.hubs.len();
                client.connect(&self.hubs[node], node, SentId::Unchanged, spec.opens_first);
                self.clients.push(client);
            }
            return Ok(());
        }
        let count = self.clients.len().max(1);
        let (Op::Poll { client, .. }
        | Op::Receive { client, .. }
        | Op::Checkpoint { client }
        | Op::Cut { client }
        | Op::Connect { client, .. }
        | Op::Leave { client }) = *op
        else {
            return Ok(());
        };
        let index = client % count;
        let Some(client) = self.clients.get_mut(index) else {
            return Ok(());
        };
        match *op {
            Op::Poll { frames, .. } => return client.poll(frames),
            Op::Receive { bytes, .. } => return client.receive(bytes),
            Op::Checkpoint { .. } => client.checkpoint(),
            Op::Cut { .. } => client.cut(),
            Op::Connect {
                hub,
                sent,
                is_drained,
                ..
            } => {
                let node = hub % self.hubs.len();
                let opens_first = client.spec.opens_first;
                match self.drained.back().filter(|_| is_drained) {
                    Some(drained) => client.connect(drained, usize::MAX, sent, opens_first),
                    None => client.connect(&self.hubs[node], node, sent, opens_first),
                }
            }
            Op::Leave { .. } => {
                self.clients.swap_remove(index);
            }
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self, padding: usize) -> (u64, Event) {
        self.token += 1;
        let token = self.token;
        let event = Event::new(format!("t{token} {}", "x".repeat(padding)));
        let name = name_of(token);
        let event = match name {
            "" => event,
            name => event.event(EventName::from_static(name)),
        };
        (token, event)
    }

    fn publish(&mut self, hub: usize, channel: usize, padding: usize, key: Option<u8>) {
        let (token, event) = self.event(padding);
        let hub = &self.hubs[hub % self.hubs.len()];
        let publish = hub.publish(CHANNELS[channel], event);
        let publish = match key {
            Some(key) => publish.key(key.to_string()),
            None => publish,
        };
        self.begin(token, channel, publish);
    }

    fn begin(
        &mut self,
        token: u64,
        channel: usize,
        outcome: impl Future<Output = Outcome> + 'static,
    ) {
        // Over the limit, the future is dropped: the publisher does not wait.
        if self.publishes.len() < MAX_PUBLISHES {
            let mut book = self.book.open();
            self.publishes.push(Published {
                token,
                channel: ChannelName::new(CHANNELS[channel]).unwrap(),
                began: Began {
                    at: book.tick(),
                    settled: book.settled.at,
                },
                outcome: Driven::new(outcome),
            });
        }
    }

    fn append(&mut self, channel: usize, padding: usize) {
        let (_, event) = self.event(padding);
        let channel = ChannelName::new(CHANNELS[channel]).unwrap();
        let draft = Draft::event(channel, event.encode().into_bytes());
        self.append_now(draft);
    }

    fn append_end(&mut self, channel: usize) {
        self.append_now(Draft::end(ChannelName::new(CHANNELS[channel]).unwrap()));
    }

    /// Appends to the log. The channel may have ended.
    fn append_now(&self, draft: Draft) {
        if let Err(error) = self.log.append_now(draft) {
            assert_eq!(error.kind(), LogErrorKind::Ended, "{error}");
        }
    }

    fn end(&mut self, hub: usize, channel: usize) {
        let hub = &self.hubs[hub % self.hubs.len()];
        let ended = hub.channel(CHANNELS[channel]).unwrap();
        self.begin(0, channel, async move { ended.end().await });
    }

    fn take_of_producer(&mut self, op: &Op) {
        match *op {
            Op::Produce { hub, channel } => {
                let (_, words) = self.event(3);
                let hub = &self.hubs[hub % self.hubs.len()];
                let handle = hub.channel(CHANNELS[channel]).unwrap();
                if self.producers.len() < 4 {
                    let producer = handle.producer(words).unwrap();
                    self.producers.push((producer, channel));
                }
            }
            Op::PublishByProducer { producer } if producer < self.producers.len() => {
                let (token, event) = self.event(5);
                let (producer, channel) = &self.producers[producer];
                let (publish, channel) = (producer.publish(event), *channel);
                self.begin(token, channel, publish);
            }
            Op::FinishProducer { producer } if producer < self.producers.len() => {
                let (producer, channel) = self.producers.swap_remove(producer);
                self.begin(0, channel, producer.finish());
            }
            Op::DropProducer { producer } if producer < self.producers.len() => {
                self.producers.swap_remove(producer);
            }
            _ => {}
        }
    }

    async fn crash(&mut self, by: u64, grow: usize) {
        {
            let mut book = self.book.open();
            book.last_drain = book.tick();
            book.loses = false;
        }
        self.clients.iter_mut().for_each(Client::cut);
        self.publishes.clear();
        self.producers.clear();
        self.drains.clear();
        self.hubs.clear();
        self.drained.clear();
        // For last words, and the end of the hubs' tasks.
        sleep(Duration::from_secs(10)).await;
        let last = self.book.open().last();
        self.log.rewind(last.saturating_sub(by));
        for n in 0..grow {
            self.append(n % CHANNELS.len(), n);
        }
        self.hubs = (0..self.setup.hubs).map(|n| self.hub(n)).collect();
        self.reach().await;
    }

    /// Drains a hub, and replaces it by a new one. Its clients reconnect to any hub.
    fn drain(&mut self, hub: usize) {
        let node = hub % self.hubs.len();
        {
            let mut book = self.book.open();
            book.last_drain = book.tick();
        }
        let next = self.hub(node);
        let past = std::mem::replace(&mut self.hubs[node], next);
        self.drained.push_back(past.clone());
        if self.drained.len() > MAX_DRAINED {
            self.drained.pop_front();
        }
        self.drains
            .push(Driven::new(async move { past.drain().await }));
        for client in self.clients.iter_mut().filter(|client| client.hub == node) {
            client.hub = usize::MAX;
        }
    }

    fn poll_publishes(&mut self) -> Verdict {
        self.drains.retain_mut(|drain| drain.poll().is_pending());
        let mut done = Vec::new();
        self.publishes
            .retain_mut(|publish| match publish.outcome.poll() {
                Poll::Pending => true,
                Poll::Ready(outcome) => {
                    done.push((
                        publish.token,
                        publish.channel.clone(),
                        publish.began,
                        outcome,
                    ));
                    false
                }
            });
        for (token, channel, began, outcome) in done {
            let judged = self.judge_outcome(token, &channel, began, &outcome);
            judged
                .map_err(|failed| failed.of(format_args!("t{token} to {channel}: {outcome:?}")))?;
        }
        Ok(())
    }

    fn judge_outcome(
        &self,
        token: u64,
        channel: &ChannelName,
        began: Began,
        outcome: &Outcome,
    ) -> Verdict {
        let book = self.book.clone();
        let book = book.open();
        let answers = book.answers.get(&token).map_or(&[][..], Vec::as_slice);
        // A repeat that was in progress during a rewind may return the entry that has the `seq` since.
        let is_doubtful = |&answer: &usize| {
            let answer = &book.records[answer];
            self.setup.delays > 0 && answer.token != token && answer.lost != u64::MAX
        };
        let position = match outcome.as_ref().map_err(|error| (error.kind(), error)) {
            Ok(position) => position,
            Err((PublishErrorKind::Ended, _)) => {
                let answer = answers.last().filter(|_| token > 0);
                match answer.map(|&at| &book.records[at]) {
                    // It followed an end, which the log may have forgotten since.
                    Some(record) if record.audience != Audience::All => return Ok(()),
                    Some(record) if !answer.is_some_and(is_doubtful) => {
                        return Err(Failed::new(format!("{record:?}")));
                    }
                    _ => {}
                }
                return judge_ended(&book, channel, began);
            }
            // The log has lost or removed entries that the hub may not have noticed before.
            Err((PublishErrorKind::Unconfirmed, _))
                if book.last_break.max(book.last_trim) > began.settled =>
            {
                return Ok(());
            }
            Err((PublishErrorKind::Unconfirmed, _)) if book.has_lost => return Ok(()),
            // The publish began on a hub that was drained.
            Err((PublishErrorKind::Draining | PublishErrorKind::Unconfirmed, _))
                if book.last_drain > 0 =>
            {
                return Ok(());
            }
            Err((_, error)) => return Err(Failed::new(error.to_string())),
        };
        // The entry that a repeat refers to may be trimmed. Then its check is unknown.
        let is_forgotten = |&&record: &&usize| {
            let seq = book.records[record].seq;
            seq == position.seq && seq < book.first
        };
        if position.check == EntryCheck::from_hash(0) && answers.iter().any(|at| is_forgotten(&at))
        {
            return Ok(());
        }
        let found = book.find(position).map_err(Failed::new)?;
        let record = found.ok_or_else(|| Failed::new("the position is before the first entry"))?;
        if token > 0 && !answers.contains(&record) && !answers.iter().any(is_doubtful) {
            return Err(Failed::new(format!(
                "the log holds {:?} there",
                book.records[record]
            )));
        }
        match book.records[record].audience {
            Audience::Late { end } if token > 0 && book.records[end].forgotten == u64::MAX => {
                Err(Failed::new("no subscriber receives it"))
            }
            _ => Ok(()),
        }
    }

    /// Lets all clients receive everything.
    async fn settle(&mut self) -> Verdict {
        self.producers.clear();
        self.book.open().loses = false;
        // The second time after the checks that a hub makes every 5 s.
        // A publisher whose answer was lost asks again only if it is polled.
        let (pauses, pause) = if self.book.open().has_lost {
            (40, Duration::from_secs(1))
        } else {
            (1, Duration::from_secs(40))
        };
        self.come_to_rest().await?;
        sleep(Duration::from_millis(100)).await;
        for _ in 0..pauses {
            self.come_to_rest().await?;
            sleep(pause).await;
        }
        self.come_to_rest().await
    }

    async fn come_to_rest(&mut self) -> Verdict {
        for round in 0..MAX_ROUNDS {
            if !self.settle_once()? {
                return Ok(());
            }
            for _ in 0..4 {
                yield_now().await;
            }
            if round % 50 == 49 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        let is_busy = |client: &Client| client.is_ready() || client.has_to_receive();
        let busy = (0..)
            .zip(&self.clients)
            .filter(|(_, client)| is_busy(client));
        let busy: Vec<i32> = busy.map(|(n, _)| n).collect();
        Err(Failed::new(format!("clients {busy:?} do not come to rest")))
    }

    /// Drives everything once. Returns whether there was anything to do.
    fn settle_once(&mut self) -> Result<bool, Failed> {
        let is_driven = |flag: &Flag| flag.is_raised();
        let mut was_busy = self.publishes.iter().any(|p| is_driven(&p.outcome.flag))
            || self.drains.iter().any(|drain| is_driven(&drain.flag));
        self.poll_publishes()?;
        for client in &mut self.clients {
            if !client.is_connected() && !client.is_over() {
                let node = if client.hub < self.hubs.len() {
                    client.hub
                } else {
                    0
                };
                client.connect(&self.hubs[node], node, SentId::Unchanged, true);
                was_busy = true;
            }
            was_busy |= client.is_ready() || client.has_to_receive();
            client.poll(usize::MAX)?;
            client.receive(usize::MAX)?;
        }
        Ok(was_busy)
    }

    async fn judge(&mut self) -> Verdict {
        self.log.record_expired();
        if !self.publishes.is_empty() || !self.drains.is_empty() {
            let tokens: Vec<_> = self.publishes.iter().map(|publish| publish.token).collect();
            return Err(Failed::new(format!(
                "the publishers of {tokens:?} wait for ever"
            )));
        }
        for (n, client) in self.clients.iter_mut().enumerate() {
            let judged = client.judge_quiet();
            judged.map_err(|failed| failed.of(format_args!("client {n}, {:?}", client.spec)))?;
        }
        self.judge_presence()?;
        self.judge_channels().await?;
        for hub in &self.hubs {
            let kept = hub.publish("at/last", Event::new("t0 x")).await;
            kept.map_err(|error| Failed::new(format!("at last: {error:?}")))?;
        }
        Ok(())
    }

    fn judge_presence(&self) -> Verdict {
        for (node, hub) in self.hubs.iter().enumerate() {
            let mut expected = 0;
            let mut found = 0;
            for name in CHANNELS {
                let pattern = Pattern::new(name).unwrap();
                expected += self.subscribers(node, name);
                found += hub.subscriber_count(&pattern);
            }
            if expected != found {
                return Err(Failed::new(format!(
                    "{found} subscribers are counted instead of {expected}"
                )));
            }
        }
        Ok(())
    }

    /// How many subscriptions to exactly this channel are open on a hub.
    fn subscribers(&self, node: usize, name: &str) -> usize {
        let is_present = |client: &&Client| {
            client.hub == node && client.is_present() && client.spec.patterns.contains(&name)
        };
        self.clients.iter().filter(is_present).count()
    }

    /// Checks the state of each channel on each hub, one by one and by pages.
    async fn judge_channels(&self) -> Verdict {
        for (node, hub) in self.hubs.iter().enumerate() {
            let mut known = Vec::new();
            for name in CHANNELS {
                let state = hub.channel(name).unwrap().state().await;
                let state = state.map_err(|error| Failed::new(format!("{name}: {error}")))?;
                self.judge_state(node, name, &state)?;
                if state.status != ChannelStatus::Unknown {
                    known.push(state);
                }
            }
            known.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
            let mut listed: Vec<ChannelState> = Vec::new();
            loop {
                let after = listed.last().map(|state| &state.name);
                let limit = self.book.open().rng.usize(1..8);
                let page = hub.channels(after, limit).await;
                let page = page.map_err(|error| Failed::new(format!("the channels: {error}")))?;
                if page.is_empty() {
                    break;
                }
                if page.len() > limit {
                    return Err(Failed::new(format!("{} channels of {limit}", page.len())));
                }
                if listed.len() + page.len() > CHANNELS.len() {
                    return Err(Failed::new(format!("{page:?} after {listed:?}")));
                }
                listed.extend(page);
            }
            if listed != known {
                return Err(Failed::new(format!("{listed:?} are listed of {known:?}")));
            }
        }
        Ok(())
    }

    /// Checks the state of a channel on a hub.
    fn judge_state(&self, node: usize, name: &str, state: &ChannelState) -> Verdict {
        let book = self.book.open();
        let channel = ChannelName::new(name).unwrap();
        let held = || {
            let held = book.history().rev().map(|(_, record)| record);
            let held = held.take_while(|record| record.seq >= book.first);
            held.filter(|record| record.channel == channel)
        };
        let status = match book.ending(&channel) {
            // An end that followed the first one may count as the first, or for nothing.
            Ending::Undefined if state.status != ChannelStatus::Unknown => state.status,
            Ending::Ended(_) => ChannelStatus::Ended,
            Ending::Open | Ending::Undefined if held().next().is_some() => ChannelStatus::Open,
            Ending::Open | Ending::Undefined => ChannelStatus::Unknown,
        };
        let newest = held().find(|record| record.kind == EntryKind::Event);
        let newest = newest.map(|record| Position {
            epoch: book.epoch().clone(),
            seq: record.seq,
            check: record.check,
        });
        let subscribers = self.subscribers(node, name);
        let is_right = state.name == channel
            && state.status == status
            && state.newest == newest
            && state.subscribers == subscribers;
        if is_right {
            Ok(())
        } else {
            Err(Failed::new(format!(
                "{state:?} instead of {status:?}, {newest:?}, {subscribers} subscribers"
            )))
        }
    }
}

/// Judges that a channel had ended for a publisher.
fn judge_ended(book: &Ledger, channel: &ChannelName, began: Began) -> Verdict {
    // The hub asks the log whether it has forgotten the end. It may not know yet that the log has lost it.
    let has_ended = book.have_ends(&[Pattern::from(channel.clone())], |end| {
        end.lost > began.settled && end.forgotten > began.at
    });
    if has_ended {
        Ok(())
    } else {
        Err(Failed::new("the channel has not ended"))
    }
}
