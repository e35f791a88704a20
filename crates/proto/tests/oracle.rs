//! The decoder compared with a naive one, over random streams, cuts and options.

mod streams;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use tidings_proto::{Decoder, Event, EventId};
use tidings_testkit::decoding::{bytewise, check, cut};
use tidings_testkit::{oracle, property};

use crate::streams::{BOMS, any_of, lengths, options, stream};

#[test]
fn a_stream_decodes_as_by_the_oracle() {
    property::check(&(stream(), options()), |(stream, options)| {
        check(&[&stream], &options);
    });
}

#[test]
fn cuts_make_no_difference() {
    property::check(
        &(stream(), options(), lengths()),
        |(stream, options, lengths)| {
            check(&cut(&stream, lengths), &options);
        },
    );
}

#[test]
fn single_bytes_decode_as_by_the_oracle() {
    property::check(&(stream(), options()), |(stream, options)| {
        check(&bytewise(&stream), &options);
    });
}

#[test]
fn any_bytes_decode_as_by_the_oracle() {
    property::check(
        &(vec(any::<u8>(), 0..500), options(), lengths()),
        |(bytes, options, lengths)| {
            check(&cut(&bytes, lengths), &options);
        },
    );
}

#[test]
fn a_bom_may_be_cut_anywhere() {
    let begun = (any_of(BOMS), stream()).prop_map(|(bom, stream)| [bom, stream].concat());
    property::check(
        &(begun, options(), vec(0..3_usize, 0..6)),
        |(stream, options, lengths)| {
            check(&cut(&stream, lengths), &options);
        },
    );
}

/// The first events of a chunk. The iterator drops the others.
fn first_events(decoder: &mut Decoder, chunk: &[u8], count: usize) -> Vec<Event> {
    decoder.decode(chunk).flatten().take(count).collect()
}

#[test]
fn an_event_arrives_with_its_last_chunk_even_after_a_dropped_iterator() {
    let taken = 0..3_usize;
    property::check(
        &(stream(), options(), lengths(), taken),
        |(stream, options, lengths, taken)| {
            let mut decoder = options.decoder();
            let mut received = Vec::new();
            let mut fed = 0;
            for chunk in cut(&stream, lengths) {
                fed += chunk.len();
                let expected = oracle::decode(&stream[..fed], &options);
                let events = first_events(&mut decoder, chunk, taken);
                let new = expected.events.iter().skip(received.len()).take(taken);
                assert!(events.iter().eq(new), "{events:?} of {expected:?}");
                assert_eq!(decoder.last_event_id(), expected.last_event_id.as_deref());
                assert_eq!(decoder.reconnection_time(), expected.reconnection_time);
                received = expected.events;
            }
        },
    );
}

#[test]
fn a_reset_keeps_only_the_id_and_the_reconnection_time() {
    property::check(
        &(stream(), stream(), options()),
        |(first, second, mut options)| {
            let mut decoder = options.decoder();
            decoder.decode(&first).for_each(drop);
            let before = oracle::decode(&first, &options);
            decoder.reset();

            let events: Vec<Event> = decoder.decode(&second).flatten().collect();
            let id = before.last_event_id.map(EventId::new);
            options.last_event_id = id.transpose().expect("an ID that was received");
            let after = oracle::decode(&second, &options);
            assert_eq!(events, after.events);
            assert_eq!(decoder.last_event_id(), after.last_event_id.as_deref());
            assert_eq!(
                decoder.reconnection_time(),
                after.reconnection_time.or(before.reconnection_time)
            );
        },
    );
}
