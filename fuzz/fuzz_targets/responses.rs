//! The direct transport beside hyper's own reading, on a response in pieces.
#![no_main]

#[path = "../../crates/hyper/tests/framing/beside_hyper.rs"]
mod beside_hyper;
#[path = "../../crates/hyper/tests/framing/pieces.rs"]
mod pieces;

libfuzzer_sys::fuzz_target!(|input: &[u8]| beside_hyper::check(input));
