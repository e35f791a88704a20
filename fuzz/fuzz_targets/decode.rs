//! The decoder compared with the oracle, on a whole stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_testkit::fuzz::decode(input));
