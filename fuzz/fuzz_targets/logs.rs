//! libFuzzer on the file of a segment, at the start of a broker.
//!
//! The target is `logs` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("logs", bytes));
