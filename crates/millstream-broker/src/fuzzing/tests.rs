//! The fuzz targets on inputs of a seed: random bytes, and bytes that were good, changed in a few places.
//!
//! `FUZZ_INPUTS` says how many inputs each target gets, `FUZZ_SEED` where they begin; a failure prints the input. No allocation may
//! exceed `PER_BYTE` times the input and `BESIDES` (what zstd and lz4 allocate in C is not counted).

mod inputs;
mod meter;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::TARGETS;

/// The largest element of a decoded array has 240 bytes, and an array of a byte each may be claimed; vectors double.
const PER_BYTE: usize = 512;

/// What is allocated whatever the input is: buffers of files, of codecs, of a runtime.
const BESIDES: usize = 1 << 20;

#[expect(
    clippy::disallowed_methods,
    reason = "how long to fuzz comes by the environment"
)]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

fn fuzz(name: &str) {
    let (_, target) = TARGETS
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let seed = number("FUZZ_SEED", 1);
    let mut most = (0, 0);
    for step in 0..number("FUZZ_INPUTS", 200) {
        let input = inputs::input(name, &mut fastrand::Rng::with_seed(seed + step));
        let tried = || meter::largest(|| target(folder.path(), &input));
        let largest = catch_unwind(AssertUnwindSafe(tried))
            .unwrap_or_else(|_| panic!("input {input:02x?} panics"));
        let allowed = PER_BYTE * input.len() + BESIDES;
        assert!(
            largest <= allowed,
            "input {input:02x?} takes {largest} bytes at once, {allowed} are allowed"
        );
        most = most.max((largest, input.len()));
    }
    println!(
        "{name}: at most {} bytes at once, by an input of {}",
        most.0, most.1
    );
}

#[test]
fn any_frame_is_taken_apart_or_refused() {
    fuzz("frames");
}

#[test]
fn any_request_is_answered_or_refused() {
    fuzz("requests");
}

#[test]
fn any_batch_is_stored_or_refused() {
    fuzz("batches");
}

#[test]
fn any_log_is_opened_or_refused() {
    fuzz("logs");
}

#[test]
fn any_index_is_used_or_built_again() {
    fuzz("indexes");
}

#[test]
fn any_journal_is_replayed_or_refused() {
    fuzz("journals");
}

#[test]
fn any_snapshot_is_read_or_refused() {
    fuzz("snapshots");
}
