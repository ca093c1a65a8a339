//! What the fuzz targets share: the broker's parsers by name.
//!
//! Each process has one folder for its target, as long as it runs.

use std::sync::LazyLock;

use millstream_broker::fuzzing::TARGETS;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a folder for the fuzzer"));

/// Gives the bytes to the parser of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, parse) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of the broker");
    parse(FOLDER.path(), bytes);
}
