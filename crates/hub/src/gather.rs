//! The merge of several tapes into one slice, in ascending order.

use bytes::BytesMut;
use tidings_proto::EncodedEvents;

use crate::tape::{BLOCK_BYTES, Piece, Slice, id_at};

/// Merges the pieces of several tapes: their events in ascending order, each once, up to about one
/// block of bytes. `None` if there is no event.
///
/// A piece is cut if its tape has more events after it. Those may precede events of other pieces, so no
/// event after the end of a cut piece is taken.
pub(crate) fn gather(pieces: Vec<Piece>) -> Option<Slice> {
    let cut = pieces.iter().filter(|piece| piece.is_cut);
    let through = cut.map(Piece::last).min().unwrap_or(u64::MAX);
    let mut pieces = pieces;
    if pieces.len() == 1 {
        return pieces.pop().map(Piece::into_slice);
    }
    let mut events: Vec<_> = pieces
        .iter()
        .flat_map(Piece::events)
        .filter(|&(seq, _)| seq <= through)
        .collect();
    // An event is on the tape of its channel, and on the tapes of patterns that match the channel.
    events.sort_unstable_by_key(|&(seq, _)| seq);
    events.dedup_by_key(|&mut (seq, _)| seq);
    let mut taken = 0;
    let mut length = 0;
    for (_, event) in &events {
        if length + event.len() > BLOCK_BYTES && taken > 0 {
            break;
        }
        length += event.len();
        taken += 1;
    }
    let &(last, newest) = events[..taken].last()?;
    let mut bytes = BytesMut::with_capacity(length);
    for (_, event) in &events[..taken] {
        bytes.extend_from_slice(event);
    }
    let last_id = id_at(newest);
    Some(Slice {
        events: EncodedEvents::from_parts(bytes.freeze(), Some(last_id), taken),
        last,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_proto::{EntryCheck, Epoch, Position};

    use super::*;
    use crate::tape::Tape;

    fn push(tape: &mut Tape, seq: u64, body: &[u8]) {
        let position = Position {
            epoch: Epoch::new("e").unwrap(),
            seq,
            check: EntryCheck::from_hash(seq),
        };
        tape.push(seq, &format!("id: {position}\n"), body);
    }

    /// The `seq`s that a reader of these tapes receives, slice by slice.
    fn received(tapes: &mut [Tape], high: u64) -> Vec<u64> {
        let (mut after, mut received) = (0, Vec::new());
        loop {
            let pieces = tapes.iter_mut().filter_map(|tape| tape.piece(after, high));
            let Some(slice) = gather(pieces.collect()) else {
                return received;
            };
            let text = std::str::from_utf8(slice.events.bytes()).unwrap();
            let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
            let seqs = ids.map(|id| id.parse::<Position>().unwrap().seq);
            received.extend(seqs);
            assert_eq!(received.last(), Some(&slice.last));
            after = slice.last;
        }
    }

    proptest! {
        #[test]
        fn every_event_is_taken_once_and_in_order(
            events in prop::collection::vec((0..4_usize, any::<bool>(), any::<bool>(), 1..9_000_usize), 1..200),
        ) {
            let mut tapes: Vec<_> = (0..4).map(|_| Tape::new(0)).collect();
            for (seq, &(tape, is_on_two, is_read, length)) in (1..).zip(&events) {
                let body = [b"data: ", &vec![b'x'; length][..], b"\n\n"].concat();
                push(&mut tapes[tape], seq, &body);
                if is_on_two {
                    push(&mut tapes[(tape + 1) % 4], seq, &body);
                }
                if is_read {
                    tapes[tape].slice(seq - 1, seq);
                }
            }
            let high = events.len() as u64;
            prop_assert_eq!(received(&mut tapes, high), (1..=high).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_events_of_one_tape_are_not_copied() {
        let mut tape = Tape::new(0);
        push(&mut tape, 1, b"data: 1\n\n");
        let slice = tape.slice(0, 1).unwrap();
        let gathered = gather(vec![tape.piece(0, 1).unwrap()]).unwrap();
        assert_eq!(
            gathered.events.bytes().as_ptr(),
            slice.events.bytes().as_ptr()
        );
    }
}
