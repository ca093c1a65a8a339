//! libFuzzer on the length and the header of a request.
//!
//! The target is `frames` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("frames", bytes));
