//! libFuzzer on a request, from its bytes to its answer.
//!
//! The target is `requests` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("requests", bytes));
