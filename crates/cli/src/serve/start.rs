//! `Start`: where a subscriber without an ID begins, by the parameters `from` and `last`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use jiff::Timestamp;
use tidings::EventId;
use tidings::hub::{EncodedEvents, Feed, FeedError, FeedOpened, Subscription};
use tidings::proto::Position;

use super::problem::Problem;
use super::query;
use crate::tokens::Access;

/// The most events that `last` selects.
const MAX_LAST: usize = 1_000;

/// Where a subscriber without an ID begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first new event.
    Latest,
    Earliest,
    /// After the event with this ID.
    After(EventId),
    /// With the first event that was stored at or after this time.
    Time(SystemTime),
    /// With so many of the newest events.
    Last(usize),
}

impl Start {
    /// The start that the query selects.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let from = query::last(query, "from");
        let last = query::last(query, "last");
        match (from, last) {
            (None, None) => Ok(Self::Latest),
            (Some(from), None) => parse_from(&from),
            (None, Some(last)) => parse_last(&last),
            (Some(_), Some(_)) => Err(invalid("`from` and `last` exclude each other")),
        }
    }

    /// The feed that begins there, for a client that sends no ID.
    ///
    /// The feed keeps the access of its client in use, so that a revocation reaches it.
    pub(super) fn of(self, subscription: Subscription, access: Option<Arc<Access>>) -> Started {
        let (subscription, after) = match self {
            // Without a start in the subscription, a client whose next event is removed continues with the
            // oldest one, which loses less.
            Self::Latest => (subscription, None),
            Self::Earliest => (subscription.earliest(), None),
            Self::After(id) => (subscription, Some(id)),
            Self::Time(time) => (subscription.from_time(time), None),
            Self::Last(count) => (subscription.last(count), None),
        };
        Started {
            subscription,
            after,
            _access: access,
        }
    }
}

fn parse_from(text: &str) -> Result<Start, Problem> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if text.parse::<Position>().is_ok()
        && let Ok(id) = EventId::new(text)
    {
        return Ok(Start::After(id));
    }
    let time = parse_time(text).and_then(|time| time.try_into().ok());
    let time = time.ok_or_else(|| {
        invalid(
            "`from` is `earliest`, `latest`, the ID of an event, or a time such as \
             `2026-11-28T10:00:00Z`",
        )
    })?;
    Ok(Start::Time(time))
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let parsed = text.parse().ok();
    // A `+` before an offset is a space in a query, unless it is escaped.
    parsed.or_else(|| {
        let (time, offset) = text.rsplit_once(' ')?;
        format!("{time}+{offset}").parse().ok()
    })
}

fn parse_last(text: &str) -> Result<Start, Problem> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text
        .parse()
        .ok()
        .filter(|count| is_number && (1..=MAX_LAST).contains(count));
    let count = count.ok_or_else(|| invalid(format!("`last` is a number from 1 to {MAX_LAST}")))?;
    Ok(Start::Last(count))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::invalid("invalid-start", detail)
}

/// A subscription that begins after an ID if its client sends none.
#[derive(Debug)]
pub(super) struct Started {
    subscription: Subscription,
    after: Option<EventId>,
    _access: Option<Arc<Access>>,
}

impl Feed for Started {
    fn resume(&mut self, last_event_id: Option<&str>) {
        let after = self.after.as_ref().map(EventId::as_str);
        self.subscription.resume(last_event_id.or(after));
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        self.subscription.poll_open(cx)
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        self.subscription.poll_events(cx)
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        self.subscription.checkpoint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[track_caller]
    fn check(query: &str, expected: &Start) {
        assert_eq!(Start::parse(Some(query)).as_ref(), Ok(expected), "{query}");
    }

    #[test]
    fn a_start_is_a_word_an_id_a_time_or_a_number() {
        check("", &Start::Latest);
        check("from=latest", &Start::Latest);
        check("from=earliest&channel=a", &Start::Earliest);
        for id in ["k3Zq9.42.x_7A", "k3Zq9.42.x_7A.rooms/7"] {
            let start = Start::After(EventId::new(id).unwrap());
            check(&format!("from={id}"), &start);
        }
        let at = &Start::Time(UNIX_EPOCH + Duration::from_secs(1_795_860_000));
        check("from=2026-11-28T10:00:00Z", at);
        check("from=2026-11-28T11:00:00%2B01:00", at);
        check("from=2026-11-28T11:00:00+01:00", at);
        check("from=2026-11-28T09:00:00-01:00", at);
        check("last=1", &Start::Last(1));
        check("last=1000", &Start::Last(1_000));
        check("last=7&last=5", &Start::Last(5));
    }

    #[test]
    fn nonsense_is_no_start() {
        for query in [
            "from=",
            "from=yesterday",
            "from=Earliest",
            "from=42",
            "from=k3Zq9.42",
            "from=2026-11-28",
            "from=2026-11-28T10:00:00",
            "from=2026-13-28T10:00:00Z",
            "last=",
            "last=0",
            "last=1001",
            "last=-1",
            "last=%2B5",
            "last=5.0",
            "last=99999999999999999999999",
            "from=earliest&last=5",
        ] {
            let problem = Start::parse(Some(query)).unwrap_err();
            assert_eq!((problem.status, problem.code), (400, "invalid-start"));
        }
    }
}
