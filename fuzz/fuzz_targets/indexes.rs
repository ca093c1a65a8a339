//! libFuzzer on the indexes of offsets, times and aborted transactions.
//!
//! The target is `indexes` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("indexes", bytes));
