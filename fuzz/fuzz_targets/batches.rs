//! libFuzzer on a record batch as a producer sends it, stored, read and compacted.
//!
//! The target is `batches` of `millstream_broker::fuzzing`, which the broker's unit tests also run on inputs of a seed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millstream_fuzz::run("batches", bytes));
