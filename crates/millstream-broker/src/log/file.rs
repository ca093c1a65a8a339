//! Positional reads and writes on log files, and the one place where tests make the disk fail.
//!
//! Positions are explicit: nothing depends on a file's cursor, so any number of readers and the one writer share
//! one descriptor. Reads go into fresh memory that is not zeroed first.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::descriptors::with_descriptor;

/// Opens a file that is there.
pub(super) fn to_read(path: &Path) -> io::Result<File> {
    with_descriptor(|| File::open(path))
}

/// Opens a file to write to places of it; it is made when missing.
pub(super) fn to_write(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    with_descriptor(|| options.open(path))
}

/// Reads `length` bytes at `position`, or fewer when the file ends before.
pub(super) fn read_at(file: &File, position: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.max(1));
    while bytes.len() < length {
        let from = position + bytes.len() as u64;
        // The capacity may have been rounded up: what lies beyond `length` is cut off below.
        match rustix::io::pread(file, spare_capacity(&mut bytes), from) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Fills `bytes` from `position` on; false when the file ends before.
pub(super) fn fill_at(file: &File, position: u64, bytes: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, position + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Writes all parts one after the other from `position` on; on an error some of them may be in the file.
pub(super) fn write_at(
    file: &File,
    mut position: u64,
    mut parts: &mut [IoSlice<'_>],
) -> io::Result<()> {
    #[cfg(test)]
    faults::before_write(file, position, parts)?;
    while !parts.is_empty() {
        match rustix::io::pwritev(file, parts, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Forces what was written to the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    faults::before_sync()?;
    file.sync_data()
}

/// When a file's content was last changed, in nanoseconds since 1970.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

/// Whether a failed write left things as they were: no room, no quota, or more than a file may have. What else can
/// go wrong says nothing of what the disk holds now.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Disks that fail, for the thread that arms them.
#[cfg(test)]
pub(crate) mod faults {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static SPACE: Cell<Option<usize>> = const { Cell::new(None) };
        static SYNC: Cell<Option<Errno>> = const { Cell::new(None) };
        static WRITE: Cell<Option<Errno>> = const { Cell::new(None) };
    }

    /// The disk has room for so many more bytes; `None` ends the fault.
    pub(crate) fn space_left(bytes: Option<usize>) {
        SPACE.set(bytes);
    }

    /// Somebody has freed so many bytes.
    pub(crate) fn freed(bytes: usize) {
        SPACE.set(SPACE.get().map(|space| space + bytes));
    }

    /// Takes so many bytes of the space, or says that there are not as many left.
    pub(crate) fn take(bytes: usize) -> io::Result<()> {
        match SPACE.get() {
            Some(space) if space < bytes => Err(Errno::NOSPC.into()),
            space => {
                SPACE.set(space.map(|space| space - bytes));
                Ok(())
            }
        }
    }

    /// Every sync fails.
    pub(crate) fn fail_sync(errno: Option<Errno>) {
        SYNC.set(errno);
    }

    /// Every write fails after half of its bytes.
    pub(crate) fn fail_write(errno: Option<Errno>) {
        WRITE.set(errno);
    }

    pub(super) fn before_sync() -> io::Result<()> {
        SYNC.get().map_or(Ok(()), |errno| Err(errno.into()))
    }

    pub(super) fn before_write(
        file: &File,
        position: u64,
        parts: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let (written, errno) = match (SPACE.get(), WRITE.get()) {
            (Some(space), _) if space >= bytes.len() => {
                SPACE.set(Some(space - bytes.len()));
                return Ok(());
            }
            (Some(space), _) => (space, Errno::NOSPC),
            (None, Some(errno)) => (bytes.len() / 2, errno),
            (None, None) => return Ok(()),
        };
        std::os::unix::fs::FileExt::write_all_at(file, &bytes[..written], position)?;
        SPACE.set(SPACE.get().map(|_| 0));
        Err(errno.into())
    }
}
