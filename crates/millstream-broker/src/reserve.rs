//! Space that is kept for a full disk: what frees space has to write a little before it may remove anything.
//!
//! The reserve is a file of zeros beside the data. Retention and DeleteRecords let it go when the disk has no room for their checkpoint,
//! and it is made again when there is room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::descriptors::with_descriptor;

/// More than the checkpoint of a log with thousands of segments, and the state of 10,000 producers.
const BYTES: usize = 4 << 20;

/// Bytes that are written at a time.
const AT_ONCE: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    kept: AtomicBool,
}

impl Reserve {
    /// Takes over, or makes, the reserve of a data folder.
    pub(crate) fn open(data: &Path) -> Reserve {
        let path = data.join("reserve");
        let size = fs::metadata(&path).map_or(0, |file| file.len());
        let reserve = Reserve {
            kept: AtomicBool::new(size == BYTES as u64),
            path,
        };
        reserve.fill();
        reserve
    }

    /// Makes the reserve if there is none and the disk has room.
    pub(crate) fn fill(&self) {
        if self.kept.load(Ordering::Acquire) {
            return;
        }
        match write_zeros(&self.path) {
            Ok(()) => self.kept.store(true, Ordering::Release),
            Err(error) => {
                tracing::debug!(%error, "no room for a reserve");
                fs::remove_file(&self.path).ok();
            }
        }
    }

    /// Runs `work`, again without the reserve if it fails for lack of space while there is one.
    pub(crate) fn help<T, E>(
        &self,
        is_full: impl Fn(&E) -> bool,
        work: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        match work() {
            Err(error) if is_full(&error) && self.release() => work(),
            done => done,
        }
    }

    /// Gives the space back to the disk; false when there is none to give.
    fn release(&self) -> bool {
        if !self.kept.swap(false, Ordering::AcqRel) {
            return false;
        }
        let removed = fs::remove_file(&self.path);
        if let Err(error) = &removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "failed to remove the reserve");
        }
        #[cfg(test)]
        crate::log::faults::freed(BYTES);
        true
    }
}

fn write_zeros(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    crate::log::faults::take(BYTES)?;
    let mut file = with_descriptor(|| File::create(path))?;
    for _ in 0..BYTES / AT_ONCE {
        file.write_all(&[0; AT_ONCE])?;
    }
    Ok(())
}
