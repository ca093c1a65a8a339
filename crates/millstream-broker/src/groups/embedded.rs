//! What consumers of the classic protocol tell one another through the broker, read and written as Java's client does.
//!
//! A subscription says what a member wants and holds, an assignment what it is given. A group with members of both protocols has to understand
//! both. Versions above the known ones only add fields behind.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use super::catalogue::Catalogue;
use super::consumer::member::Partitions;

/// What a member wants and holds.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) names: BTreeSet<TopicName>,
    pub(super) owned: Partitions,
    pub(super) rack_id: Option<StrBytes>,
}

/// Reads a subscription; topics that do not exist are not held.
pub(super) fn subscription(metadata: &[u8], topics: &dyn Catalogue) -> Option<Subscription> {
    let mut fields = metadata;
    let version = version(&mut fields)?;
    let names = list(&mut fields, |fields| Some(TopicName(text(fields)??)))?;
    skip_bytes(&mut fields)?;
    let owned = match version {
        0 => Partitions::new(),
        _ => partitions(&mut fields, topics)?,
    };
    if version >= 2 {
        fields.try_get_i32().ok()?;
    }
    let rack_id = match version {
        ..3 => None,
        _ => text(&mut fields)?,
    };
    Some(Subscription {
        names: names.into_iter().collect(),
        owned,
        rack_id,
    })
}

/// Reads an assignment; an empty one is none.
pub(super) fn assignment(bytes: &[u8], topics: &dyn Catalogue) -> Option<Partitions> {
    if bytes.is_empty() {
        return Some(Partitions::new());
    }
    let mut fields = bytes;
    version(&mut fields)?;
    partitions(&mut fields, topics)
}

/// Writes an assignment for a member whose own metadata are `metadata`.
pub(super) fn put_assignment(
    assigned: &Partitions,
    metadata: &[u8],
    topics: &dyn Catalogue,
) -> Bytes {
    let named: Vec<_> = assigned
        .iter()
        .filter_map(|(id, partitions)| Some((topics.name_of(id)?, partitions)))
        .collect();
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let mut out = BytesMut::new();
    out.put_i16(version(&mut { metadata }).unwrap_or(0).min(3));
    out.put_i32(count(named.len()));
    for (name, partitions) in named {
        out.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        out.put_slice(name.as_bytes());
        out.put_i32(count(partitions.len()));
        for partition in partitions {
            out.put_i32(*partition);
        }
    }
    // No data of the user's.
    out.put_i32(-1);
    out.freeze()
}

fn version(fields: &mut &[u8]) -> Option<i16> {
    fields.try_get_i16().ok().filter(|version| *version >= 0)
}

fn partitions(fields: &mut &[u8], topics: &dyn Catalogue) -> Option<Partitions> {
    let all = list(fields, |fields| {
        let name = text(fields)??;
        let partitions = list(fields, |fields| fields.try_get_i32().ok())?;
        Some((name, partitions))
    })?;
    let mut known = Partitions::new();
    for (name, partitions) in all
        .into_iter()
        .filter(|(_, partitions)| !partitions.is_empty())
    {
        if let Some((id, _)) = topics.find(&name) {
            known.entry(id).or_default().extend(partitions);
        }
    }
    Some(known)
}

fn list<T>(fields: &mut &[u8], mut one: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for _ in 0..fields.try_get_i32().ok()? {
        all.push(one(fields)?);
    }
    Some(all)
}

fn text(fields: &mut &[u8]) -> Option<Option<StrBytes>> {
    let Ok(length) = usize::try_from(fields.try_get_i16().ok()?) else {
        return Some(None);
    };
    let (text, rest) = fields.split_at_checked(length)?;
    *fields = rest;
    let text = std::str::from_utf8(text).ok()?;
    Some(Some(StrBytes::from_string(text.to_owned())))
}

fn skip_bytes(fields: &mut &[u8]) -> Option<()> {
    let length = fields.try_get_i32().ok()?.max(0);
    let (_, rest) = fields.split_at_checked(usize::try_from(length).ok()?)?;
    *fields = rest;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::testing::SomeTopics;

    #[test]
    fn subscriptions_and_assignments_of_every_version_are_read() {
        let mut topics = SomeTopics::default();
        let id = topics.put("calls", 4);
        let held: Partitions = [(id, BTreeSet::from([1, 3]))].into();
        let mut whole = b"\0\x03\0\0\0\x01\0\x05calls\0\0\0\x02xx".to_vec();
        whole.extend(b"\0\0\0\x01\0\x05calls\0\0\0\x02\0\0\0\x01\0\0\0\x03");
        whole.extend(b"\0\0\0\x07\0\x04rack");
        let read = subscription(&whole, &topics).unwrap();
        assert_eq!((&read.owned, read.names.len()), (&held, 1));
        assert_eq!(read.rack_id.as_ref().map(StrBytes::as_str), Some("rack"));
        let least = subscription(b"\0\0\0\0\0\0\xff\xff\xff\xff", &topics).unwrap();
        assert_eq!((least.owned, least.rack_id), (Partitions::new(), None));
        for end in 0..whole.len() {
            assert!(subscription(&whole[..end], &topics).is_none(), "{end}");
        }
        let written = put_assignment(&held, &whole, &topics);
        assert_eq!(assignment(&written, &topics), Some(held));
        assert_eq!(assignment(b"", &topics), Some(Partitions::new()));
        assert_eq!(assignment(b"all", &topics), None);
    }
}
