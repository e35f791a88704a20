//! Owns the gathering of several tapes into one frame, in the order of their places.

use bytes::BytesMut;
use tidings_proto::EncodedEvents;

use crate::tape::{BLOCK_BYTES, Piece, Slice, id_at};

/// The events of all pieces by their places, each once: about one block of them, or all. What a tape has
/// behind a piece that is cut may come before what another holds, so nothing behind such a piece is
/// taken.
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
    // An event stands on the tapes of its channel and of patterns alike.
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

    /// What a reader of these tapes hears, frame by frame.
    fn heard(tapes: &mut [Tape], high: u64) -> Vec<u64> {
        let (mut after, mut heard) = (0, Vec::new());
        loop {
            let pieces = tapes.iter_mut().filter_map(|tape| tape.piece(after, high));
            let Some(slice) = gather(pieces.collect()) else {
                return heard;
            };
            let text = std::str::from_utf8(slice.events.bytes()).unwrap();
            let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
            let seqs = ids.map(|id| id.parse::<Position>().unwrap().seq);
            heard.extend(seqs);
            assert_eq!(heard.last(), Some(&slice.last));
            after = slice.last;
        }
    }

    proptest! {
        #[test]
        fn every_event_is_taken_once_and_in_order(
            places in prop::collection::vec((0..4_usize, any::<bool>(), any::<bool>(), 1..9_000_usize), 1..200),
        ) {
            let mut tapes: Vec<_> = (0..4).map(|_| Tape::new(0)).collect();
            for (seq, &(tape, is_on_two, is_read, length)) in (1..).zip(&places) {
                let body = [b"data: ", &vec![b'x'; length][..], b"\n\n"].concat();
                push(&mut tapes[tape], seq, &body);
                if is_on_two {
                    push(&mut tapes[(tape + 1) % 4], seq, &body);
                }
                if is_read {
                    tapes[tape].slice(seq - 1, seq);
                }
            }
            let high = places.len() as u64;
            prop_assert_eq!(heard(&mut tapes, high), (1..=high).collect::<Vec<_>>());
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
