//! `UsedTickets`: the tickets that have opened a stream, until they expire.

use std::collections::{HashSet, VecDeque};
use std::time::SystemTime;

use super::ticket::{InvalidTicket, TicketId};

/// The most used tickets that are remembered, each for the lifetime of a ticket.
const MAX_USED: usize = 100_000;

/// The IDs of used tickets. If it is full, tickets are refused, because one could be used twice.
#[derive(Debug)]
pub(super) struct UsedTickets {
    ids: HashSet<TicketId>,
    /// In the order of use, with the expiry of the ticket.
    order: VecDeque<(SystemTime, TicketId)>,
    max: usize,
}

impl Default for UsedTickets {
    fn default() -> Self {
        Self::with_max(MAX_USED)
    }
}

impl UsedTickets {
    fn with_max(max: usize) -> Self {
        Self {
            ids: HashSet::new(),
            order: VecDeque::new(),
            max,
        }
    }

    /// Marks the ticket, which is valid now, as used. It is remembered until it expires.
    pub(super) fn mark(
        &mut self,
        id: TicketId,
        expires: SystemTime,
        now: SystemTime,
    ) -> Result<(), InvalidTicket> {
        while let Some((expires, id)) = self.order.front()
            && *expires <= now
        {
            self.ids.remove(id);
            self.order.pop_front();
        }
        if self.ids.contains(&id) {
            return Err(InvalidTicket::Used);
        }
        if self.ids.len() >= self.max {
            return Err(InvalidTicket::Full);
        }
        self.ids.insert(id);
        self.order.push_back((expires, id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn id(number: u8) -> TicketId {
        [number; 16]
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_ticket_is_used_once() {
        let mut used = UsedTickets::default();
        assert_eq!(used.mark(id(1), at(130), at(100)), Ok(()));
        assert_eq!(used.mark(id(1), at(130), at(100)), Err(InvalidTicket::Used));
        assert_eq!(used.mark(id(2), at(130), at(100)), Ok(()));
        assert_eq!(used.mark(id(1), at(159), at(129)), Err(InvalidTicket::Used));
    }

    #[test]
    fn a_full_table_refuses_and_has_room_after_the_lifetime() {
        let mut used = UsedTickets::with_max(2);
        assert_eq!(used.mark(id(1), at(130), at(100)), Ok(()));
        assert_eq!(used.mark(id(2), at(140), at(110)), Ok(()));
        assert_eq!(used.mark(id(3), at(159), at(129)), Err(InvalidTicket::Full));
        assert_eq!(used.mark(id(2), at(159), at(129)), Err(InvalidTicket::Used));
        assert_eq!(used.mark(id(3), at(160), at(130)), Ok(()));
        assert_eq!(used.mark(id(4), at(160), at(130)), Err(InvalidTicket::Full));
        assert_eq!((used.ids.len(), used.order.len()), (2, 2));
        assert_eq!(used.mark(id(4), at(1030), at(1_000)), Ok(()));
        assert_eq!((used.ids.len(), used.order.len()), (1, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_frees_no_ticket() {
        let mut used = UsedTickets::default();
        assert_eq!(used.mark(id(1), at(130), at(100)), Ok(()));
        assert_eq!(used.mark(id(2), at(80), at(50)), Ok(()));
        assert_eq!(used.mark(id(1), at(80), at(50)), Err(InvalidTicket::Used));
    }
}
