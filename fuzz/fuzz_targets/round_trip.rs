//! Each encoded event is received unchanged.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_testkit::fuzz::round_trip(input));
