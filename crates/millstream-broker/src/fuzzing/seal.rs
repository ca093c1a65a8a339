//! Checksums that hold, over bytes of any kind.
//!
//! Nobody finds a checksum by chance: bytes that are not sealed show only that a parser refuses them.

use crate::log::HEADER_SIZE;

/// One record without key and with one byte of value.
const RECORD: [u8; 8] = [14, 0, 0, 0, 1, 2, b'v', 0];

/// A batch of one record.
pub(super) fn plain() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    put(&mut bytes, 16, &[2]);
    put(&mut bytes, 43, &[0xff; 14]);
    put(&mut bytes, 57, &1_u32.to_be_bytes());
    bytes.extend(RECORD);
    batch(&bytes)
}

/// A batch of one record in a transaction of producer 7.
pub(super) fn transactional() -> Vec<u8> {
    let mut bytes = plain();
    put(&mut bytes, 21, &0x10_u16.to_be_bytes());
    put(&mut bytes, 43, &7_u64.to_be_bytes());
    put(&mut bytes, 51, &[0; 6]);
    batch(&bytes)
}

/// The bytes as one batch of the present format, with its length and checksum.
pub(super) fn batch(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    sealed.resize(sealed.len().max(HEADER_SIZE), 0);
    let length = u32::try_from(sealed.len() - 12).unwrap_or(u32::MAX);
    put(&mut sealed, 8, &length.to_be_bytes());
    put(&mut sealed, 16, &[2]);
    let checksum = crc32c::crc32c(sealed.get(21..).unwrap_or_default());
    put(&mut sealed, 17, &checksum.to_be_bytes());
    sealed
}

/// A snapshot with this document; magic and version are those of `old`, or of any snapshot.
pub(super) fn snapshot(old: &[u8], body: &[u8]) -> Vec<u8> {
    let head = old.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = head.split(|byte| *byte == b' ');
    let magic = words.next().unwrap_or_default();
    let version = words.next().unwrap_or(b"1");
    let body = body.trim_ascii();
    let checksum = format!("{:08x}\n", crc32c::crc32c(body));
    [magic, b" ", version, b" ", checksum.as_bytes(), body, b"\n"].concat()
}

/// The bytes as an index of entries of this size, each with its checksum; the head is that of `old`.
pub(super) fn index(old: &[u8], bytes: &[u8], entry: usize) -> Vec<u8> {
    let mut sealed = old.get(..8).unwrap_or(old).to_vec();
    for content in bytes.chunks(entry - 4) {
        sealed.extend(content);
        sealed.extend(crc32c::crc32c(content).to_be_bytes());
    }
    sealed
}

/// The bytes as the state of producers; magic and version are those of `old`.
pub(super) fn producers(old: &[u8], bytes: &[u8]) -> Vec<u8> {
    let content = [old.get(..8).unwrap_or(old), bytes].concat();
    let checksum = crc32c::crc32c(&content).to_be_bytes();
    [content, checksum.to_vec()].concat()
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}
