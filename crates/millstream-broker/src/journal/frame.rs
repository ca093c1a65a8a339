//! Records as they stand in a journal's bytes: whose they are, where they are valid, what damage is excused.
//!
//! The layout is in `journal`. Damage is excused only where power may have been lost before the bytes had reached the disk; a later note
//! that they were forced there takes the excuse away.

use std::path::Path;

use crate::boot::boot;
use crate::error::Error;

/// The payload is the owner's.
pub(super) const MARK: u32 = 0x6d6c_a55e;
/// The payload is a [`Boot`].
pub(super) const BOOT: u32 = 0x6d6c_b007;
/// The file was forced to the disk up to the position in the payload, or up to this record if there is none.
pub(super) const FORCED: u32 = 0x6d6c_f0ce;
pub(super) const RECORD_HEADER_BYTES: usize = 12;
/// The largest record; a length above it is damage.
pub(super) const MAX_RECORD_BYTES: usize = 256 << 20;

/// In which boot of the machine what follows was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Boot {
    pub(super) id: String,
    /// Whether notes say how far it was forced to the disk.
    pub(super) fsync: bool,
}

impl Boot {
    pub(super) fn this(fsync: bool) -> Boot {
        Boot {
            id: boot().to_owned(),
            fsync,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fsync)];
        bytes.extend(self.id.as_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Boot> {
        let (fsync, id) = bytes.split_first()?;
        Some(Boot {
            id: String::from_utf8_lossy(id).into_owned(),
            fsync: *fsync != 0,
        })
    }

    /// Whether power may have been lost before all that was written then had reached the disk.
    pub(super) fn may_be_torn(&self) -> bool {
        !self.id.is_empty() && self.id != boot()
    }
}

pub(super) fn framed(payload: usize) -> u64 {
    (payload + RECORD_HEADER_BYTES) as u64
}

pub(super) fn frame(bytes: &mut Vec<u8>, mark: u32, position: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    bytes.extend(mark.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(checksum(position, length, payload).to_be_bytes());
    bytes.extend(payload);
}

fn checksum(position: u64, length: u32, payload: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(
        crc32c::crc32c(&position.to_be_bytes()),
        &length.to_be_bytes(),
    );
    crc32c::crc32c_append(place, payload)
}

/// Mark and payload of the record at `position`, if a whole and true one is there.
pub(super) fn record_at(bytes: &[u8], position: u64) -> Option<(u32, &[u8])> {
    let rest = bytes.get(usize::try_from(position).ok()?..)?;
    let (mark, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (expected, rest) = rest.split_first_chunk()?;
    let mark = u32::from_be_bytes(*mark);
    let length = u32::from_be_bytes(*length);
    if ![MARK, BOOT, FORCED].contains(&mark) || length as usize > MAX_RECORD_BYTES {
        return None;
    }
    let payload = rest.get(..length as usize)?;
    (checksum(position, length, payload) == u32::from_be_bytes(*expected))
        .then_some((mark, payload))
}

/// How far the file was forced to the disk, as the record at `position` says.
fn forced_to(position: u64, mark: u32, payload: &[u8]) -> u64 {
    match (mark, payload.first_chunk()) {
        (FORCED, Some(forced)) => u64::from_be_bytes(*forced),
        (FORCED, None) => position,
        _ => 0,
    }
}

/// Refuses a file in which a true record follows the broken one at `position`, unless a power cut may have done that.
pub(super) fn refuse_damage(
    path: &Path,
    bytes: &[u8],
    position: u64,
    written_in: Option<&Boot>,
) -> Result<(), Error> {
    let excused = written_in.is_some_and(Boot::may_be_torn);
    let refuses =
        |at: u64, mark: u32, payload: &[u8]| !excused || forced_to(at, mark, payload) > position;
    let mut later = position + 1..bytes.len() as u64;
    match later.find(|later| {
        record_at(bytes, *later).is_some_and(|(mark, payload)| refuses(*later, mark, payload))
    }) {
        None => Ok(()),
        Some(later) => Err(Error::Corrupt {
            path: path.to_path_buf(),
            position,
            reason: format!("the record here is damaged, and a valid one follows at byte {later}"),
        }),
    }
}
