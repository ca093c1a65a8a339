//! Producer ids: each is given once.
//!
//! Blocks of ids are reserved durably before one of them is used; what is left of the last block when the broker ends is never used.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::log::lock;
use crate::snapshot::{Durability, Kind};

const RESERVED: Kind = Kind {
    magic: "millstream-producer-ids",
    newest: 1,
};

/// Ids reserved with one write.
pub(super) const BLOCK: i64 = 1000;

/// Hands out producer ids; `<data>/producer-ids` holds the first id that no block contains yet.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    state: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserved {
    next: i64,
}

impl ProducerIds {
    /// Goes on where `<data>/producer-ids` says; ids left over in the last block are never used.
    pub(crate) fn open(data: &Path) -> Result<ProducerIds, Error> {
        let path = data.join("producer-ids");
        let next = match RESERVED.read::<Reserved>(&path)? {
            Some(reserved) => reserved.next,
            None => {
                RESERVED.write(&path, &Reserved { next: 0 }, Durability::Disk)?;
                0
            }
        };
        Ok(ProducerIds {
            path,
            state: Mutex::new(Block { next, end: next }),
        })
    }

    /// An id that was never given before.
    pub(crate) fn allocate(&self) -> Result<i64, Error> {
        let mut block = lock(&self.state);
        if block.next == block.end {
            let end = block.end + BLOCK;
            RESERVED.write(&self.path, &Reserved { next: end }, Durability::Disk)?;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}
