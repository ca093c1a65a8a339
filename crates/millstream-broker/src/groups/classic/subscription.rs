//! Reads which topics a consumer subscribes to out of the metadata that it sends for its assignor.
//!
//! The protocol leaves this metadata to the clients; consumers of all languages agree on it: a version, then the
//! topics, then what depends on the version. Only what is common to all versions is read, and nothing is trusted:
//! metadata that reads otherwise only means that the broker does not know.

use std::collections::BTreeSet;

/// Adds the topics to `topics`; `None` when the metadata is none of a consumer's.
pub(super) fn topics(metadata: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    let (version, rest) = metadata.split_first_chunk()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (topic, after) = after.split_at_checked(length)?;
        topics.insert(std::str::from_utf8(topic).ok()?.to_owned());
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[u8]) -> Option<Vec<String>> {
        let mut found = BTreeSet::new();
        topics(metadata, &mut found)?;
        Some(found.into_iter().collect())
    }

    #[test]
    fn topics_of_any_version_are_read() {
        let metadata = b"\0\x03\0\0\0\x02\0\x01b\0\x02aa\xff\xff\xff\xff rest of version 3";
        assert_eq!(read(metadata), Some(vec!["aa".to_owned(), "b".to_owned()]));
        assert_eq!(read(b"\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn other_bytes_are_no_subscription() {
        for metadata in [
            b"".as_slice(),
            b"\0",
            b"range",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\0\0\0\x01\xff\xffa",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ] {
            assert_eq!(read(metadata), None, "{metadata:?}");
        }
    }
}
