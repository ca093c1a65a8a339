//! What of the groups is kept on disk: the records of `groups.journal`, version 1.
//!
//! Each record stands for itself and the last one about a thing holds, so that a journal is written anew by one
//! record per group and one for its offsets. Numbers are big-endian, texts and bytes have their length before them
//! (-1 for none), lists their count.
//!
//! ```text
//! 1 offsets    group | topics of (name | partitions of (index i32 | offset i64 | epoch i32 | metadata | at i64 | expires i64, -1 never))
//! 2 forgotten  group | topics of (name | partitions of index i32)
//! 3 group      group | generation i32 | type | protocol | leader | changed at i64 | members of
//!              (id | instance | client | host | session i32 | rebalance i32 | assignment | protocols of (name | metadata))
//! 4 removed    group
//! ```
//!
//! A group that is stored with members was stable. Transactions will add kinds, under a new version.

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::group::Group;
use super::member::{Join, Member, Protocol};
use super::offsets::{Commits, Committed, Places};
use crate::journal::Format;

pub(super) const FORMAT: Format = Format {
    magic: *b"msgroups",
    version: 1,
};

const OFFSETS: u8 = 1;
const FORGOTTEN: u8 = 2;
const GROUP: u8 = 3;
const REMOVED: u8 = 4;

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, text: &StrBytes) {
    put_bytes(out, text.as_str().as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&StrBytes>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_u32(u32::MAX),
    }
}

/// Commits that were made.
pub(super) fn put_commits(out: &mut Vec<u8>, group: &GroupId, commits: &Commits) {
    out.put_u8(OFFSETS);
    put_text(out, group);
    put_count(out, commits.len());
    for (topic, partitions) in commits {
        put_text(out, topic);
        put_count(out, partitions.len());
        for (partition, committed) in partitions {
            put_committed(out, *partition, committed);
        }
    }
}

/// All offsets of a group.
pub(super) fn put_offsets(out: &mut Vec<u8>, group: &Group) {
    out.put_u8(OFFSETS);
    put_text(out, &group.id);
    let topics = group.offsets.by_topic();
    put_count(out, topics.len());
    for (topic, partitions) in topics {
        put_text(out, topic);
        put_count(out, partitions.len());
        for (partition, committed) in partitions {
            put_committed(out, *partition, committed);
        }
    }
}

fn put_committed(out: &mut Vec<u8>, partition: i32, committed: &Committed) {
    out.put_i32(partition);
    out.put_i64(committed.offset);
    out.put_i32(committed.leader_epoch);
    put_text(out, &committed.metadata);
    out.put_i64(committed.at_ms);
    out.put_i64(committed.expires_at_ms.unwrap_or(-1));
}

/// Offsets that were deleted or have expired.
pub(super) fn put_forgotten(out: &mut Vec<u8>, group: &GroupId, places: &Places) {
    out.put_u8(FORGOTTEN);
    put_text(out, group);
    put_count(out, places.len());
    for (topic, partitions) in places {
        put_text(out, topic);
        put_count(out, partitions.len());
        for partition in partitions {
            out.put_i32(*partition);
        }
    }
}

/// A group that is stable, or empty.
pub(super) fn put_group(out: &mut Vec<u8>, group: &Group) {
    out.put_u8(GROUP);
    put_text(out, &group.id);
    out.put_i32(group.generation);
    put_optional(out, group.protocol_type.as_ref());
    put_optional(out, group.protocol.as_ref());
    put_optional(out, group.leader.as_ref());
    out.put_i64(group.changed_at_ms);
    put_count(out, group.members.len());
    for member in group.members.values() {
        put_text(out, &member.id);
        put_optional(out, member.instance_id.as_ref());
        put_text(out, &member.client_id);
        put_text(out, &member.client_host);
        out.put_i32(member.session_timeout_ms);
        out.put_i32(member.rebalance_timeout_ms);
        put_bytes(out, &member.assignment);
        put_count(out, member.protocols.len());
        for protocol in &member.protocols {
            put_text(out, &protocol.name);
            put_bytes(out, &protocol.metadata);
        }
    }
}

/// A group that is no more, with its offsets.
pub(super) fn put_removed(out: &mut Vec<u8>, group: &GroupId) {
    out.put_u8(REMOVED);
    put_text(out, group);
}

/// Groups as they are read from the journal, each as its last records tell.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) groups: HashMap<GroupId, Found>,
}

/// One group: its offsets, and its last stored state with the members in it.
pub(super) struct Found {
    pub(super) group: Group,
    pub(super) members: Vec<Member>,
    pub(super) stored: Vec<u8>,
}

impl Replayed {
    /// Takes one record in.
    pub(super) fn apply(&mut self, record: &[u8]) -> Result<(), String> {
        let mut fields = Fields(record);
        let kind = fields.u8();
        let known = match kind {
            Some(OFFSETS) => self.offsets(&mut fields),
            Some(FORGOTTEN) => self.forgotten(&mut fields),
            Some(GROUP) => self.group(&mut fields, record),
            Some(REMOVED) => self.removed(&mut fields),
            Some(kind) => return Err(format!("no record has kind {kind}")),
            None => None,
        };
        match known {
            Some(()) if fields.0.is_empty() => Ok(()),
            _ => Err("the record does not have the fields of its kind".to_owned()),
        }
    }

    fn found(&mut self, id: GroupId) -> &mut Found {
        self.groups.entry(id.clone()).or_insert_with(|| Found {
            group: Group::new(id, 0),
            members: Vec::new(),
            stored: Vec::new(),
        })
    }

    fn offsets(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = GroupId(fields.text()?);
        let commits = fields.list(|fields| {
            let topic = TopicName(fields.text()?);
            Some((topic, fields.list(Fields::committed)?))
        })?;
        self.found(id).group.offsets.put(commits);
        Some(())
    }

    fn forgotten(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = GroupId(fields.text()?);
        let places = fields.list(|fields| {
            let topic = TopicName(fields.text()?);
            Some((topic, fields.list(Fields::i32)?))
        })?;
        self.found(id).group.offsets.remove(&places);
        Some(())
    }

    fn group(&mut self, fields: &mut Fields<'_>, record: &[u8]) -> Option<()> {
        let found = self.found(GroupId(fields.text()?));
        let group = &mut found.group;
        group.generation = fields.i32()?;
        group.protocol_type = fields.optional()?;
        group.protocol = fields.optional()?;
        group.leader = fields.optional()?;
        group.changed_at_ms = fields.i64()?;
        let protocol_type = group.protocol_type.clone().unwrap_or_default();
        found.members = fields.list(|fields| fields.member(&protocol_type))?;
        found.stored = record.to_vec();
        Some(())
    }

    fn removed(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.groups.remove(&GroupId(fields.text()?));
        Some(())
    }
}

/// The rest of a record; every read gives `None` when it is too short for it.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn slice(&mut self, length: u32) -> Option<&[u8]> {
        let (field, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.take().map(u32::from_be_bytes)?;
        self.slice(length).map(Bytes::copy_from_slice)
    }

    fn text(&mut self) -> Option<StrBytes> {
        StrBytes::from_utf8(self.bytes()?).ok()
    }

    fn optional(&mut self) -> Option<Option<StrBytes>> {
        match self.0.split_first_chunk() {
            Some((&[0xff, 0xff, 0xff, 0xff], rest)) => {
                self.0 = rest;
                Some(None)
            }
            _ => self.text().map(Some),
        }
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.take().map(u32::from_be_bytes)?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }

    fn committed(&mut self) -> Option<(i32, Committed)> {
        let partition = self.i32()?;
        let committed = Committed {
            offset: self.i64()?,
            leader_epoch: self.i32()?,
            metadata: self.text()?,
            at_ms: self.i64()?,
            expires_at_ms: Some(self.i64()?).filter(|expiry| *expiry >= 0),
        };
        Some((partition, committed))
    }

    fn member(&mut self, protocol_type: &StrBytes) -> Option<Member> {
        let id = self.text()?;
        let instance_id = self.optional()?;
        let client_id = self.text()?;
        let client_host = self.text()?;
        let session_timeout_ms = self.i32()?;
        let rebalance_timeout_ms = self.i32()?;
        let assignment = self.bytes()?;
        let protocols = self.list(|fields| {
            let name = fields.text()?;
            let metadata = fields.bytes()?;
            Some(Protocol { name, metadata })
        })?;
        let join = Join {
            member_id: id.clone(),
            instance_id,
            client_id,
            client_host,
            session_timeout_ms,
            rebalance_timeout_ms,
            protocol_type: protocol_type.clone(),
            protocols,
            reason: StrBytes::new(),
            id_required: false,
            can_skip_assignment: false,
        };
        let mut member = Member::new(id, join);
        member.assignment = assignment;
        Some(member)
    }
}

#[cfg(test)]
mod tests;
