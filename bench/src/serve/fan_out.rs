//! The measurement of many subscribers of events that are published over HTTP.

use tokio::time::Instant;

use crate::harness::{Request, Result, Sample, another_core, pin_to};
use crate::hub;
use crate::serve::contenders::{IN_PROCESS, NCHAN};
use crate::serve::crowd::{Crowd, TIMEOUT};
use crate::serve::poller::Poller;
use crate::serve::program::{Product, Program};
use crate::serve::publisher::Publisher;
use crate::serve::requests::batch;
use crate::server::{events, limits, scene};

pub const SUBSCRIBERS: usize = 1_000;

const CHANNEL: &str = "x";

/// Groups of events that are delivered before the measurement begins.
const WARM_UP: usize = 5;

/// The messages of a channel that Nchan keeps.
const KEPT: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FanOut {
    /// Events that are published at once. All subscribers receive them before the next ones.
    pub at_once: usize,
}

impl FanOut {
    pub const ALL: [Self; 2] = [Self { at_once: 1 }, Self { at_once: 16 }];

    pub fn name(self) -> String {
        match self.at_once {
            1 => "1,000 subscribers: one by one".to_owned(),
            many => format!("1,000 subscribers: {many} at once"),
        }
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let deliveries = if request.quick { 20_000 } else { 400_000 };
        let groups = (deliveries / SUBSCRIBERS / self.at_once).max(5);
        if request.contender == IN_PROCESS {
            return self.in_process(request, groups);
        }
        let product = match &*request.contender {
            NCHAN => Product::Nchan { kept: KEPT },
            _ => Product::Tidings,
        };
        let program = Program::start(request, product)?;
        let mut stage = Stage::open(&program, product, self.at_once)?;
        for _ in 0..WARM_UP {
            stage.publish()?;
        }
        let before = program.usage()?;
        for _ in 0..groups {
            stage.publish()?;
        }
        let after = program.usage()?;
        let deliveries = SUBSCRIBERS * groups * self.at_once;
        Ok(scene::cost(&before, &after, deliveries, None))
    }

    fn in_process(self, request: &Request, groups: usize) -> Result<Sample> {
        limits::raise()?;
        let server = hub::start_server(request.core, hub::contenders::SERVE)?;
        pin_to(another_core(request.core)?)?;
        scene::deliveries(server, SUBSCRIBERS, u32::try_from(self.at_once)?, groups)
    }
}

struct Stage {
    product: Product,
    publisher: Publisher,
    crowd: Crowd,
    at_once: usize,
    /// The events that each subscriber has received.
    received: Vec<usize>,
    published: usize,
}

impl Stage {
    fn open(program: &Program, product: Product, at_once: usize) -> Result<Self> {
        let is_batch = product == Product::Tidings && at_once > 1;
        let request = product.subscription(CHANNEL, None);
        let requests = std::iter::repeat_n(request, SUBSCRIBERS);
        Ok(Self {
            product,
            publisher: Publisher::open(program.address, is_batch.then_some(at_once))?,
            crowd: Crowd::open(program.address, Poller::sleeping()?, requests)?,
            at_once,
            received: vec![0; SUBSCRIBERS],
            published: 0,
        })
    }

    /// Publishes a group of events, and waits until each subscriber has received them.
    fn publish(&mut self) -> Result<()> {
        let first = self.published;
        self.published += self.at_once;
        let data: Vec<_> = (first..self.published).map(events::data).collect();
        self.publisher.send(self.requests(&data).as_bytes())?;
        let end = Instant::now() + TIMEOUT;
        let mut missing = SUBSCRIBERS * self.at_once;
        while missing > 0 {
            if Instant::now() > end {
                return Err(format!("{missing} deliveries are missing").into());
            }
            self.crowd.poll(|subscriber, event| {
                let received = &mut self.received[subscriber];
                if data.get(*received - first).map(String::as_str) != Some(event.data) {
                    return Err(format!("event {received} arrived as {}", event.data).into());
                }
                *received += 1;
                missing -= 1;
                Ok(())
            })?;
        }
        self.publisher.await_confirmed(self.at_once)
    }

    fn requests(&self, data: &[String]) -> String {
        if self.product == Product::Tidings && self.at_once > 1 {
            return batch(data.iter().map(|data| (CHANNEL.to_owned(), data.clone())));
        }
        let requests = data
            .iter()
            .map(|data| self.product.publication(CHANNEL, data));
        requests.collect()
    }
}
