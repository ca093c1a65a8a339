//! Which file a segment is.
//!
//! A base offset alone does not say it: compaction puts a new file in the place of old ones, and for a while both are there. The
//! checkpoint names those that count.

use std::path::{Path, PathBuf};

/// Which file a segment is: compaction puts one of a higher generation in place of one or more others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::log) struct Id {
    pub(in crate::log) base: i64,
    pub(in crate::log) generation: u32,
}

impl Id {
    /// The segment as it is written first.
    pub(in crate::log) fn first(base: i64) -> Id {
        Id {
            base,
            generation: 0,
        }
    }

    /// From a file's name without its extension.
    pub(in crate::log) fn parse(stem: &str) -> Option<Id> {
        let (base, generation) = match stem.split_once('.') {
            Some((base, generation)) => (base, generation.parse().ok()?),
            None => (stem, 0),
        };
        let base = Some(base).filter(|base| base.len() == 20)?.parse().ok()?;
        Some(Id { base, generation })
    }

    pub(in crate::log) fn path(self, folder: &Path, extension: &str) -> PathBuf {
        let Id { base, generation } = self;
        folder.join(match generation {
            0 => format!("{base:020}.{extension}"),
            _ => format!("{base:020}.{generation}.{extension}"),
        })
    }
}
