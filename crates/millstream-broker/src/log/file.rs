//! Positional reads and writes on log files, and the one place where tests make the disk fail.
//!
//! Positions are explicit: nothing depends on a file's cursor, so any number of readers and the one writer share
//! one descriptor. Reads go into fresh memory that is not zeroed first.

use std::fs::File;
use std::io::{self, IoSlice};

use rustix::buffer::spare_capacity;

/// Reads `length` bytes at `position`, or fewer when the file ends before.
pub(crate) fn read_at(file: &File, position: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.max(1));
    while bytes.len() < length {
        // The capacity may have been rounded up: what lies beyond `length` is cut off below.
        let from = position + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), from) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Writes all parts one after the other from `position` on; on an error some of them may be in the file.
pub(crate) fn write_at(
    file: &File,
    mut position: u64,
    mut parts: &mut [IoSlice<'_>],
) -> io::Result<()> {
    while !parts.is_empty() {
        match rustix::io::pwritev(file, parts, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Forces what was written to the disk.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}
