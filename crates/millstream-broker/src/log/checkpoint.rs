//! What is known of a partition's files without looking into them: `<partition>/checkpoint`.
//!
//! It is written when a segment begins, when the start of the log moves, every 64 MiB, now and then, and when the
//! log is closed; always before files are removed. For each segment it says how many bytes are good, when the file
//! was last changed, and whether the bytes are on the disk; and it says up to where producers changed (`producer_file`). A file that is
//! just as the checkpoint says needs no check.
//!
//! Its rename is also the one point of commit of a compaction: before it the old files count, after it the new ones.
//!
//! Good bytes that were only in the page cache stay good as long as the machine runs: the boot's identity tells.
//!
//! Without `fsync` a power cut may take the checkpoint, and then everything is checked. What DeleteRecords has deleted must not come
//! back by that, so `<partition>/deleted` holds it as well, and is always forced to the disk.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::segment::{Id, Shape};
use crate::error::Error;
use crate::snapshot::{Durability, Kind};

const KIND: Kind = Kind {
    magic: "millstream-log",
    newest: 4,
};

const DELETED: Kind = Kind {
    magic: "millstream-deleted",
    newest: 1,
};

/// What DeleteRecords has deleted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    /// Records below this offset.
    before: i64,
}

/// The offset below which DeleteRecords has deleted everything.
pub(super) fn deleted_before(folder: &Path) -> Result<i64, Error> {
    let deleted = DELETED.read::<Deleted>(&folder.join("deleted"))?;
    Ok(deleted.map_or(0, |deleted| deleted.before))
}

/// Notes on the disk that DeleteRecords has deleted everything below `before`.
pub(super) fn note_deleted(folder: &Path, before: i64) -> Result<(), Error> {
    DELETED.write(
        &folder.join("deleted"),
        &Deleted { before },
        Durability::Disk,
    )
}

/// The state of a log's files at one moment.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    /// Identity of the machine's boot; empty where that is unknown.
    pub(super) boot: String,
    /// First offset of the log.
    pub(super) start: i64,
    /// All segments by base offset; the last one is appended to.
    pub(super) segments: Vec<Note>,
    /// Before version 4, what was known of producers; it is found again in the log.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "read, so that it is no unknown field")]
    pub(super) producers: IgnoredAny,
    /// The offset after the last batch that changed what is known of producers, -1 when nobody is known; `None` when that was not noted.
    #[serde(default)]
    pub(super) producers_until: Option<i64>,
    /// The offset up to which the log was compacted.
    #[serde(default)]
    pub(super) cleaned: i64,
}

/// The state of one segment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub(super) base: i64,
    /// How often its bytes were written anew by compaction; a file of another generation is left over.
    #[serde(default)]
    pub(super) generation: u32,
    pub(super) size: u64,
    pub(super) end: i64,
    pub(super) first_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) max_timestamp_batch: i64,
    /// Entries in the index file.
    pub(super) index: u32,
    /// Entries in the file of aborted transactions; `None` when they have to be found again.
    #[serde(default = "no_entries")]
    pub(super) aborted: Option<u32>,
    /// Time of the file's last change, in nanoseconds.
    pub(super) modified: i64,
    /// Whether all bytes are on the disk.
    pub(super) synced: bool,
}

/// Before version 2 there were no transactions.
#[expect(clippy::unnecessary_wraps, reason = "the value of an optional field")]
fn no_entries() -> Option<u32> {
    Some(0)
}

impl Note {
    pub(super) fn id(&self) -> Id {
        Id {
            base: self.base,
            generation: self.generation,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            size: self.size,
            end: self.end,
            first_timestamp: self.first_timestamp,
            max_timestamp: self.max_timestamp,
            max_timestamp_batch: self.max_timestamp_batch,
        }
    }
}

impl Checkpoint {
    /// The checkpoint of a folder; `None` when there is none: then everything is checked. One that cannot be read is what a power cut
    /// leaves, and stands for one of another boot that knew nothing.
    pub(super) fn read(folder: &Path) -> Result<Option<Checkpoint>, Error> {
        match KIND.read(&folder.join("checkpoint")) {
            Err(error @ Error::Corrupt { .. }) => {
                tracing::warn!(%error, "checkpoint is unusable, the whole partition is checked");
                Ok(Some(Checkpoint {
                    boot: "unknown".to_owned(),
                    ..Checkpoint::default()
                }))
            }
            read => read,
        }
    }

    pub(super) fn write(&self, folder: &Path, durability: Durability) -> Result<(), Error> {
        KIND.write(&folder.join("checkpoint"), self, durability)
    }
}
