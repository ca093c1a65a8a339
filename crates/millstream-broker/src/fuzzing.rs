//! The parsers of outside bytes, as functions that a fuzzer calls: frames and requests of clients, and files of the data folder.
//!
//! Each takes a folder of its own and any bytes. It must return, whatever they are, without a panic and without taking much more memory
//! than they have. Where a checksum stands in front of a parser, the bytes are sealed first, or no fuzzer would get past it. `fuzz/` runs them
//! under libFuzzer, and a seeded loop runs them as ordinary tests (`tests`). Nothing of this is in a release.

mod clients;
mod seal;
mod stored;
#[cfg(test)]
mod tests;

use std::path::Path;

/// Takes any bytes, in a folder that is used for nothing else.
pub type Parse = fn(&Path, &[u8]);

/// Every parser by its name, which is also that of its fuzz target.
pub const TARGETS: [(&str, Parse); 7] = [
    ("frames", clients::frames),
    ("requests", clients::requests),
    ("batches", clients::batches),
    ("logs", stored::logs),
    ("indexes", stored::indexes),
    ("journals", stored::journals),
    ("snapshots", stored::snapshots),
];
