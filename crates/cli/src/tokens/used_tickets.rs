//! `UsedTickets`: the tickets that have opened a stream, until they expire.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use super::ticket::{Holder, InvalidTicket, TicketId};

/// The most used tickets that are remembered, each until it expires.
const MAX_USED: usize = 100_000;

/// The used tickets. While it is full, tickets are refused, because one could be used twice.
///
/// One token uses at most half of the room that the others leave, so it cannot use up the room of the others:
/// the first token takes half of it, the next one half of the rest, and so on.
#[derive(Debug)]
pub(super) struct UsedTickets {
    /// The first one expires first.
    tickets: BTreeMap<(SystemTime, TicketId), Holder>,
    /// How many of the tickets are of each token.
    counts: HashMap<Holder, usize>,
    max: usize,
}

impl Default for UsedTickets {
    fn default() -> Self {
        Self::with_max(MAX_USED)
    }
}

impl UsedTickets {
    pub(super) fn with_max(max: usize) -> Self {
        Self {
            tickets: BTreeMap::new(),
            counts: HashMap::new(),
            max,
        }
    }

    /// Marks the ticket, which is valid now, as used. It is remembered until it expires.
    pub(super) fn mark(
        &mut self,
        id: TicketId,
        expires: SystemTime,
        holder: Holder,
        now: SystemTime,
    ) -> Result<(), InvalidTicket> {
        self.forget_expired(now);
        if self.tickets.contains_key(&(expires, id)) {
            return Err(InvalidTicket::Used);
        }
        if self.tickets.len() >= self.max {
            return Err(InvalidTicket::Full);
        }
        if !self.has_room_for(&holder) {
            return Err(InvalidTicket::TooMany);
        }
        self.tickets.insert((expires, id), holder);
        *self.counts.entry(holder).or_default() += 1;
        Ok(())
    }

    /// Whether this token can use another ticket now.
    pub(super) fn accepts(&mut self, holder: &Holder, now: SystemTime) -> bool {
        self.forget_expired(now);
        self.tickets.len() >= self.max || self.has_room_for(holder)
    }

    fn has_room_for(&self, holder: &Holder) -> bool {
        let count = self.counts.get(holder).copied().unwrap_or_default();
        count < self.max - self.tickets.len()
    }

    fn forget_expired(&mut self, now: SystemTime) {
        while let Some(first) = self.tickets.first_entry()
            && first.key().0 <= now
        {
            let holder = first.remove();
            if let Some(count) = self.counts.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&holder);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const A: Holder = [1; 16];

    fn id(number: u16) -> TicketId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_le_bytes());
        id
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Uses tickets of this token until one is refused, and returns how many were not, and why it was.
    fn fill(used: &mut UsedTickets, holder: Holder) -> (usize, InvalidTicket) {
        let before = used.tickets.len();
        for number in 0.. {
            let mut id = holder;
            id[..2].copy_from_slice(&u16::to_le_bytes(number));
            if let Err(error) = used.mark(id, at(130), holder, at(100)) {
                return (used.tickets.len() - before, error);
            }
        }
        unreachable!("the table is full")
    }

    #[test]
    fn a_ticket_is_used_once() {
        let mut used = UsedTickets::default();
        let mut mark = |number, expires, now| used.mark(id(number), at(expires), A, at(now));
        assert_eq!(mark(1, 130, 100), Ok(()));
        assert_eq!(mark(1, 130, 100), Err(InvalidTicket::Used));
        assert_eq!(mark(2, 130, 100), Ok(()));
        assert_eq!(mark(1, 130, 129), Err(InvalidTicket::Used));
    }

    #[test]
    fn no_token_fills_the_table_for_the_others() {
        let mut used = UsedTickets::with_max(1_000);
        assert_eq!(fill(&mut used, [1; 16]), (500, InvalidTicket::TooMany));
        assert_eq!(fill(&mut used, [2; 16]), (250, InvalidTicket::TooMany));
        assert_eq!(fill(&mut used, [3; 16]), (125, InvalidTicket::TooMany));
        for (holder, expected) in [([1; 16], false), ([3; 16], false), ([4; 16], true)] {
            assert_eq!(used.accepts(&holder, at(100)), expected);
        }
        // The first one has its room again after the lifetime.
        assert!(used.accepts(&[1; 16], at(130)));
        assert_eq!((used.tickets.len(), used.counts.len()), (0, 0));
    }

    #[test]
    fn only_many_tokens_fill_the_table_and_it_has_room_after_the_lifetime() {
        let mut used = UsedTickets::with_max(100);
        let holder = |number: u16| {
            let mut holder = [9; 16];
            holder[..2].copy_from_slice(&number.to_le_bytes());
            holder
        };
        for number in 0..100 {
            let marked = used.mark(id(number), at(130), holder(number), at(100));
            assert_eq!(marked, Ok(()));
        }
        let mut mark =
            |number, expires, now| used.mark(id(number), at(expires), holder(number), at(now));
        assert_eq!(mark(100, 159, 129), Err(InvalidTicket::Full));
        assert_eq!(mark(2, 130, 129), Err(InvalidTicket::Used));
        assert_eq!(mark(100, 160, 130), Ok(()));
        assert_eq!((used.tickets.len(), used.counts.len()), (1, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_frees_no_ticket_and_holds_up_no_later_one() {
        let mut used = UsedTickets::with_max(3);
        let mut mark = |number, expires, now, holder| {
            used.mark(id(number), at(expires), [holder; 16], at(now))
        };
        assert_eq!(mark(1, 130, 100, 1), Ok(()));
        assert_eq!(mark(2, 80, 50, 2), Ok(()));
        assert_eq!(mark(1, 130, 50, 1), Err(InvalidTicket::Used));
        assert_eq!(mark(3, 80, 50, 3), Ok(()));
        assert_eq!(mark(4, 110, 80, 4), Ok(()));
    }
}
