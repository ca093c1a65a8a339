//! libFuzzer on the journals of groups and transactions, at the start of a broker.
//!
//! The target is `journals` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("journals", bytes));
