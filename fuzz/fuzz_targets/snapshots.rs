//! libFuzzer on every small file of the data folder, at the start of a broker.
//!
//! The target is `snapshots` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("snapshots", bytes));
