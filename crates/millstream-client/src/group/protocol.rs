//! What members tell each other through the coordinator: their subscriptions, and the leader's assignment.
//!
//! The formats `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment` of Kafka's consumers. A version is written in front; a reader takes what it
//! knows of a newer one and ignores the rest. Lengths are compared with what is left before memory is reserved.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut as _, Bytes};

use crate::wire::Malformed;
use crate::wire::cursor::Cursor;

/// The newest version that is written: with the member's generation (2) and its rack (3).
const SUBSCRIPTION: i16 = 3;
const ASSIGNMENT: i16 = 0;
/// The generation of a member that has none.
pub(crate) const NO_GENERATION: i32 = -1;

/// Partitions by topic name.
pub(crate) type Partitions = BTreeMap<String, BTreeSet<i32>>;

/// What a member wants to read, and what it owns when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: BTreeSet<String>,
    pub(crate) owned: Partitions,
    /// The generation in which it owned them.
    pub(crate) generation: i32,
}

impl Subscription {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(SUBSCRIPTION);
        put_count(&mut out, self.topics.len());
        for topic in &self.topics {
            put_text(&mut out, topic);
        }
        // Members that read no newer version than 1 look for the generation here.
        out.put_i32(4);
        out.put_i32(self.generation);
        put_partitions(&mut out, &self.owned);
        out.put_i32(self.generation);
        out.put_i16(-1);
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let version = cursor.i16()?;
        let mut topics = BTreeSet::new();
        for _ in 0..cursor.i32()? {
            topics.insert(text(&mut cursor)?.to_owned());
        }
        let user_data = data(&mut cursor)?;
        let owned = match version {
            ..1 => Partitions::new(),
            _ => partitions(&mut cursor)?,
        };
        let generation = match version {
            ..2 => user_data.and_then(|data| Cursor::new(data).i32().ok()),
            _ => Some(cursor.i32()?),
        };
        Ok(Self {
            topics,
            owned,
            generation: generation.unwrap_or(NO_GENERATION),
        })
    }
}

/// The assignment of one member.
pub(crate) fn encode_assignment(assigned: &Partitions) -> Bytes {
    let mut out = Vec::new();
    out.put_i16(ASSIGNMENT);
    put_partitions(&mut out, assigned);
    out.put_i32(-1);
    out.into()
}

/// The assignment of one member; no bytes are no partitions.
pub(crate) fn decode_assignment(bytes: &[u8]) -> Result<Partitions, Malformed> {
    if bytes.is_empty() {
        return Ok(Partitions::new());
    }
    let mut cursor = Cursor::new(bytes);
    cursor.i16()?;
    partitions(&mut cursor)
}

fn partitions(cursor: &mut Cursor<'_>) -> Result<Partitions, Malformed> {
    let mut found = Partitions::new();
    for _ in 0..cursor.i32()? {
        let topic = text(cursor)?.to_owned();
        let numbers: &mut BTreeSet<i32> = found.entry(topic).or_default();
        for _ in 0..cursor.i32()? {
            numbers.insert(cursor.i32()?);
        }
    }
    Ok(found)
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Malformed> {
    let length = cursor.i16()?;
    let length = cursor.length(length.into())?;
    std::str::from_utf8(cursor.take(length)?).map_err(|_| Malformed::Text)
}

fn data<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match cursor.i32()? {
        ..0 => Ok(None),
        length => {
            let length = cursor.length(length.into())?;
            cursor.take(length).map(Some)
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

/// Topic names are 249 bytes at most.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn put_partitions(out: &mut Vec<u8>, partitions: &Partitions) {
    put_count(out, partitions.len());
    for (topic, numbers) in partitions {
        put_text(out, topic);
        put_count(out, numbers.len());
        for number in numbers {
            out.put_i32(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
    use kafka_protocol::protocol::{Decodable as _, Encodable as _};

    use super::*;

    fn some() -> Subscription {
        Subscription {
            topics: ["a", "b"].map(str::to_owned).into(),
            owned: [("a".to_owned(), [0, 7].into())].into(),
            generation: 12,
        }
    }

    #[test]
    fn a_subscription_comes_back_and_kafkas_own_format_reads_it() {
        let bytes = some().encode();
        assert_eq!(Subscription::decode(&bytes), Ok(some()));
        let mut bytes = bytes;
        assert_eq!(bytes.get_i16(), SUBSCRIPTION);
        let theirs = ConsumerProtocolSubscription::decode(&mut bytes, SUBSCRIPTION).unwrap();
        assert_eq!((theirs.topics.len(), theirs.generation_id), (2, 12));
        assert_eq!(theirs.owned_partitions[0].partitions, [0, 7]);
        assert_eq!((theirs.rack_id, bytes.len()), (None, 0));
    }

    #[test]
    fn an_assignment_comes_back_and_kafkas_own_format_reads_it() {
        let assigned = some().owned;
        let bytes = encode_assignment(&assigned);
        assert_eq!(decode_assignment(&bytes), Ok(assigned));
        let mut bytes = bytes;
        assert_eq!(bytes.get_i16(), ASSIGNMENT);
        let theirs = ConsumerProtocolAssignment::decode(&mut bytes, ASSIGNMENT).unwrap();
        assert_eq!(theirs.assigned_partitions[0].partitions, [0, 7]);
        assert_eq!(decode_assignment(&[]), Ok(Partitions::new()));
    }

    #[test]
    fn versions_of_older_members_are_read_with_the_generation_where_they_have_it() {
        for (version, owned, generation) in [(0, false, 5), (1, true, 5), (2, true, 9)] {
            let mut theirs = ConsumerProtocolSubscription::default();
            theirs.topics = vec!["a".into()];
            theirs.user_data = Some(Bytes::from_static(&[0, 0, 0, 5]));
            if owned {
                let mut part =
                    kafka_protocol::messages::consumer_protocol_subscription::TopicPartition::default();
                part.partitions = vec![3];
                theirs.owned_partitions = vec![part];
            }
            if version >= 2 {
                theirs.generation_id = 9;
            }
            let mut bytes = Vec::new();
            bytes.put_i16(version);
            theirs.encode(&mut bytes, version).unwrap();
            let read = Subscription::decode(&bytes).unwrap();
            assert_eq!(read.generation, generation, "version {version}");
            assert_eq!(!read.owned.is_empty(), owned, "version {version}");
        }
    }

    #[test]
    fn truncated_and_absurd_bytes_are_errors() {
        let bytes = some().encode();
        for end in 0..bytes.len() - 2 {
            Subscription::decode(&bytes[..end]).unwrap_err();
        }
        let absurd = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1];
        let short = Malformed::Length {
            length: 1,
            available: 0,
        };
        assert_eq!(Subscription::decode(&absurd), Err(short));
        assert_eq!(decode_assignment(&absurd), Err(short));
    }
}
