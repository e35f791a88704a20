//! `Subscriber`: the state machine of a subscription, from opening it to its end.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidings_proto::{EncodedEvents, EventId, FeedOpened};
use tokio::task::coop::consume_budget;

use crate::grant::Lapse;
use crate::id_form::IdForm;
use crate::interrupted::Interrupted;
use crate::life::PositionWithId;
use crate::presence::Present;
use crate::reader::Reader;
use crate::reading::Reading;
use crate::resume::{ResumeFrom, ResumeRequest, Resumed, StartPoint, StreamStart};
use crate::shared::Base;
use crate::slow_reader::Policy;
use crate::{Grant, Hub, Pattern, SlowReader, SubscribeError};

pub(crate) type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A subscription in each of its stages. It unsubscribes when it is dropped.
pub(crate) struct Subscriber {
    hub: Hub,
    pub(crate) settings: Box<SubscriptionSettings>,
    stage: Stage,
    present: Option<Present>,
    lapse: Option<Job<Lapse>>,
}

#[derive(Debug)]
pub(crate) struct SubscriptionSettings {
    pub(crate) start: Option<StartPoint>,
    pub(crate) slow_reader: SlowReader,
    pub(crate) max_lag: u64,
    pub(crate) grant: Option<Box<Grant>>,
    pub(crate) id_form: IdForm,
    /// The newest position at the call of `subscribe`, or the one at which the hub then reached its log.
    subscribed_at: Result<PositionWithId, Base>,
}

enum Stage {
    New {
        patterns: Result<Arc<[Pattern]>, SubscribeError>,
        /// The last event ID of the client.
        requested: Option<String>,
    },
    Opening(Arc<[Pattern]>, Job<Result<Resumed, SubscribeError>>),
    Reading(Reading),
    Closed,
}

impl Subscriber {
    pub(crate) fn new(hub: Hub, patterns: Result<Arc<[Pattern]>, SubscribeError>) -> Self {
        // Without a runtime, opening the subscription reports the error.
        hub.shared().start().ok();
        let subscribed_at = hub.shared().newest_or_first_base();
        Self {
            hub,
            settings: Box::new(SubscriptionSettings {
                start: None,
                slow_reader: SlowReader::default(),
                max_lag: u64::MAX,
                grant: None,
                id_form: IdForm::Plain,
                subscribed_at,
            }),
            stage: Stage::New {
                patterns,
                requested: None,
            },
            present: None,
            lapse: None,
        }
    }

    /// Sets the last event ID of the client, before the subscription opens. A client whose ID was reset sends
    /// the empty ID, or none.
    pub(crate) fn resume(&mut self, last_event_id: Option<&str>) {
        if let Stage::New { requested, .. } = &mut self.stage {
            *requested = last_event_id.filter(|id| !id.is_empty()).map(Into::into);
        }
    }

    pub(crate) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<FeedOpened, SubscribeError>> {
        ready!(self.poll_opened(cx))?;
        Poll::Ready(Ok(match self.stage {
            Stage::Closed => FeedOpened::Over,
            Stage::Reading(_) => FeedOpened::Stream,
            Stage::New { .. } | Stage::Opening(..) => {
                unreachable!("it is polled until it is open or closed")
            }
        }))
    }

    pub(crate) fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, SubscribeError>>> {
        // A replay may deliver the whole log, and each read of a log in memory is ready at once.
        ready!(pin!(consume_budget()).poll(cx));
        loop {
            let opened = self.poll_opened(cx);
            if let Some(closed) = self.poll_lapse(cx) {
                return Poll::Ready(Some(Ok(closed)));
            }
            if let Err(error) = ready!(opened) {
                return Poll::Ready(Some(Err(error)));
            }
            let reading = match &mut self.stage {
                Stage::Reading(reading) => reading,
                Stage::Closed => return Poll::Ready(None),
                Stage::New { .. } | Stage::Opening(..) => {
                    unreachable!("it is polled until it is open or closed")
                }
            };
            match ready!(reading.poll(&self.hub, &self.settings, cx)) {
                Ok(Some(events)) => return Poll::Ready(Some(Ok(events))),
                Ok(None) => {
                    self.close();
                    return Poll::Ready(None);
                }
                Err(Interrupted::LifeOver) => {
                    let (patterns, from) = (reading.patterns(), reading.resume_from());
                    self.begin(patterns, from);
                }
                Err(Interrupted::Failed(error)) => {
                    self.close();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    pub(crate) fn checkpoint(&mut self) -> Option<EventId> {
        match &mut self.stage {
            Stage::Reading(reading) => reading.checkpoint(),
            Stage::New { .. } | Stage::Opening(..) | Stage::Closed => None,
        }
    }

    /// Drives the subscription until it is open or closed.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SubscribeError>> {
        loop {
            match &mut self.stage {
                Stage::New {
                    patterns,
                    requested,
                } => {
                    let (patterns, requested) = (patterns.clone(), requested.take());
                    match patterns.and_then(|patterns| self.check_grant(patterns)) {
                        Ok(patterns) => {
                            let from = ResumeFrom::Client(requested);
                            self.begin(patterns, from);
                        }
                        Err(error) => {
                            self.close();
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                Stage::Opening(patterns, resumed) => match ready!(resumed.as_mut().poll(cx)) {
                    Ok(Resumed::Stream(start)) => {
                        let patterns = Arc::clone(patterns);
                        self.begin_reading(&patterns, start);
                    }
                    Ok(Resumed::Over) => self.close(),
                    Err(error) => {
                        self.close();
                        return Poll::Ready(Err(error));
                    }
                },
                Stage::Reading(_) | Stage::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn check_grant(&self, patterns: Arc<[Pattern]>) -> Result<Arc<[Pattern]>, SubscribeError> {
        if let Some(grant) = &self.settings.grant {
            grant.check(&patterns)?;
        }
        Ok(patterns)
    }

    fn begin(&mut self, patterns: Arc<[Pattern]>, from: ResumeFrom) {
        let request = ResumeRequest {
            shared: Arc::clone(self.hub.shared()),
            patterns: Arc::clone(&patterns),
            start: self.settings.start.clone(),
            subscribed_at: self.settings.subscribed_at.clone(),
        };
        self.stage = Stage::Opening(patterns, Box::pin(request.resume(from)));
    }

    fn begin_reading(&mut self, patterns: &Arc<[Pattern]>, start: StreamStart) {
        let reader = Reader::new(
            start.life,
            patterns,
            self.settings.id_form,
            start.after,
            start.is_sent,
            self.settings.max_lag,
            // A client that was disconnected for its lag reconnects with the same lag.
            matches!(self.settings.slow_reader.0, Policy::Disconnect),
        );
        self.present
            .get_or_insert_with(|| Present::new(self.hub.clone(), Arc::clone(patterns)));
        self.stage = Stage::Reading(Reading::new(reader, start.gap, start.snapshot));
    }

    /// Closes the subscription if its grant has lapsed; returns its last event.
    pub(crate) fn poll_lapse(&mut self, cx: &mut Context<'_>) -> Option<EncodedEvents> {
        if matches!(self.stage, Stage::Closed) {
            return None;
        }
        if self.lapse.is_none() {
            let woken = &self.hub.shared().woken;
            self.lapse = Some(self.settings.grant.as_ref()?.lapse(woken));
        }
        let Poll::Ready(lapse) = self.lapse.as_mut()?.as_mut().poll(cx) else {
            return None;
        };
        self.close();
        Some(lapse.to_event().encode())
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.present = None;
        self.lapse = None;
    }

    /// Writes it for `Debug`, under the name of the type that wraps it.
    pub(crate) fn write(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct(name);
        match &self.stage {
            Stage::New { patterns, .. } => this.field("patterns", patterns),
            Stage::Opening(patterns, _) => this.field("patterns", patterns),
            Stage::Reading(reading) => this.field("patterns", &reading.patterns()),
            Stage::Closed => this.field("is_closed", &true),
        };
        this.finish_non_exhaustive()
    }
}
