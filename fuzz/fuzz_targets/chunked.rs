//! The decoder compared with the oracle, on a stream in chunks.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_testkit::fuzz::chunked(input));
