//! What of the groups is kept on disk: the records of `groups.journal`, version 4.
//!
//! Each record stands for itself and the last one about a thing holds, so that a journal is written anew by one
//! record per group, one for its offsets, and, if transactions are open, as many as keep the order of all commits. Fields are those of `journal/fields`.
//!
//! ```text
//! 1 offsets    group | topics of (name | partitions of (index i32 | offset i64 | epoch i32 | metadata | at i64 | expires i64, -1 never))
//! 2 forgotten  group | topics of (name | partitions of index i32)
//! 3 group      group | generation i32 | type | protocol | leader | changed at i64 | members of
//!              (id | instance | client | host | session i32 | rebalance i32 | assignment | protocols of (name | metadata))
//! 4 removed    group
//! 5 pending    group | producer i64 | topics as for offsets          since version 2
//! 6 ended      group | producer i64 | u8 1 committed, 0 aborted      since version 2
//! 7 change     group | a change of a consumer group, see `consumer/records`   since version 4
//! ```
//!
//! A classic group that is stored with members was stable. A record of one kind of group ends what was known of the other kind.

use std::collections::HashMap;

use bytes::BufMut as _;
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::classic::member::{Join, Member, Protocol};
use super::classic::{self};
use super::consumer::{self, Change};
use super::group::{Group, Kind};
use super::offsets::{Commits, Committed, Places};
use crate::journal::Format;
use crate::journal::fields::{Fields, put_bytes, put_count, put_optional, put_text};
use crate::log::Outcome;

pub(super) const FORMAT: Format = Format {
    magic: *b"msgroups",
    version: 4,
};

const OFFSETS: u8 = 1;
const FORGOTTEN: u8 = 2;
const GROUP: u8 = 3;
const REMOVED: u8 = 4;
const PENDING: u8 = 5;
const ENDED: u8 = 6;
const CHANGE: u8 = 7;

/// Commits that were made.
pub(super) fn put_commits(out: &mut Vec<u8>, group: &GroupId, commits: &Commits) {
    out.put_u8(OFFSETS);
    put_text(out, group);
    put_topics(out, commits);
}

/// Offsets that wait for the end of a producer's transaction.
pub(super) fn put_pending(out: &mut Vec<u8>, group: &GroupId, producer_id: i64, commits: &Commits) {
    out.put_u8(PENDING);
    put_text(out, group);
    out.put_i64(producer_id);
    put_topics(out, commits);
}

/// The end of a producer's transaction.
pub(super) fn put_ended(out: &mut Vec<u8>, group: &GroupId, producer_id: i64, outcome: Outcome) {
    out.put_u8(ENDED);
    put_text(out, group);
    out.put_i64(producer_id);
    out.put_u8(u8::from(outcome == Outcome::Commit));
}

fn put_topics(out: &mut Vec<u8>, commits: &Commits) {
    put_count(out, commits.len());
    for (topic, partitions) in commits {
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

/// What changes in a consumer group.
pub(super) fn put_change(out: &mut Vec<u8>, group: &GroupId, change: &Change) {
    out.put_u8(CHANGE);
    put_text(out, group);
    consumer::records::put(out, change);
}

/// A classic group that is stable, or empty.
pub(super) fn put_group(out: &mut Vec<u8>, group: &classic::Group) {
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

/// A group that no longer exists, with its offsets.
pub(super) fn put_removed(out: &mut Vec<u8>, group: &GroupId) {
    out.put_u8(REMOVED);
    put_text(out, group);
}

/// Groups as they are read from the journal, each as its last records tell.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) groups: HashMap<GroupId, Found>,
}

/// One group: its offsets, and of a classic one its last stored state with the members in it.
pub(super) struct Found {
    pub(super) group: Group,
    pub(super) members: Vec<Member>,
    /// The record of a classic group.
    pub(super) state: Vec<u8>,
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
            Some(PENDING) => self.pending(&mut fields),
            Some(ENDED) => self.ended(&mut fields),
            Some(CHANGE) => self.change(&mut fields),
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
            state: Vec::new(),
        })
    }

    fn offsets(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = GroupId(fields.text()?);
        let commits = commits(fields)?;
        self.found(id).group.offsets.put(commits);
        Some(())
    }

    fn pending(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = GroupId(fields.text()?);
        let producer_id = fields.i64()?;
        let commits = commits(fields)?;
        self.found(id).group.offsets.pend(producer_id, commits);
        Some(())
    }

    fn ended(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = GroupId(fields.text()?);
        let producer_id = fields.i64()?;
        let outcome = match fields.u8()? {
            0 => Outcome::Abort,
            1 => Outcome::Commit,
            _ => return None,
        };
        self.found(id).group.offsets.end(producer_id, outcome);
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
        let id = GroupId(fields.text()?);
        let found = self.found(id.clone());
        let mut group = classic::Group::new(id, 0);
        group.generation = fields.i32()?;
        group.protocol_type = fields.optional()?;
        group.protocol = fields.optional()?;
        group.leader = fields.optional()?;
        group.changed_at_ms = fields.i64()?;
        let protocol_type = group.protocol_type.clone().unwrap_or_default();
        found.members = fields.list(|fields| member(fields, &protocol_type))?;
        found.state = record.to_vec();
        found.group.kind = Kind::Classic(Box::new(group));
        Some(())
    }

    fn change(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = GroupId(fields.text()?);
        let change = consumer::records::read(fields)?;
        let found = self.found(id.clone());
        if let Kind::Classic(_) = &found.group.kind {
            found.group.kind = Kind::Consumer(Box::new(consumer::Group::new(id)));
            found.members.clear();
            found.state.clear();
        }
        if let Kind::Consumer(group) = &mut found.group.kind {
            group.apply(change);
        }
        Some(())
    }

    fn removed(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.groups.remove(&GroupId(fields.text()?));
        Some(())
    }
}

fn committed(fields: &mut Fields<'_>) -> Option<(i32, Committed)> {
    let partition = fields.i32()?;
    let committed = Committed {
        offset: fields.i64()?,
        leader_epoch: fields.i32()?,
        metadata: fields.text()?,
        at_ms: fields.i64()?,
        expires_at_ms: Some(fields.i64()?).filter(|expiry| *expiry >= 0),
    };
    Some((partition, committed))
}

fn commits(fields: &mut Fields<'_>) -> Option<Commits> {
    fields.list(|fields| {
        let topic = TopicName(fields.text()?);
        Some((topic, fields.list(committed)?))
    })
}

fn member(fields: &mut Fields<'_>, protocol_type: &StrBytes) -> Option<Member> {
    let id = fields.text()?;
    let instance_id = fields.optional()?;
    let client_id = fields.text()?;
    let client_host = fields.text()?;
    let session_timeout_ms = fields.i32()?;
    let rebalance_timeout_ms = fields.i32()?;
    let assignment = fields.bytes()?;
    let protocols = fields.list(|fields| {
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

#[cfg(test)]
mod tests;
