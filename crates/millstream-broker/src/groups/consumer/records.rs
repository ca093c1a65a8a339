//! A change of a consumer group as it stands in the journal, behind its kind and the group's id.
//!
//! ```text
//! anew u8 | epoch i32 | assignment epoch i32 | topics hash u32 | removed members of id | members of
//!   (id | instance | rack | client | host | rebalance i32 | names | pattern | assignor | classic | position | target)
//! classic   u8 0, or u8 1 | session i32 | protocols of (name | metadata)
//! position  epoch i32 | previous i32 | state u8 | assigned | revoking
//! target, assigned, revoking   topics of (id 16 bytes | partitions of i32)
//! ```

use bytes::BufMut as _;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Change;
use super::assignor::Assignor;
use super::member::{Classic, Member, Partitions, Position, Profile, State};
use crate::groups::classic::member::Protocol;
use crate::journal::fields::{Fields, put_bytes, put_count, put_optional, put_text};

pub(crate) fn put(out: &mut Vec<u8>, change: &Change) {
    out.put_u8(u8::from(change.anew));
    out.put_i32(change.epoch);
    out.put_i32(change.assignment_epoch);
    out.put_u32(change.topics_hash);
    put_count(out, change.removed.len());
    for id in &change.removed {
        put_text(out, id);
    }
    put_count(out, change.put.len());
    for member in &change.put {
        put_member(out, member);
    }
}

fn put_member(out: &mut Vec<u8>, member: &Member) {
    let profile = &member.profile;
    put_text(out, &member.id);
    put_optional(out, profile.instance_id.as_ref());
    put_optional(out, profile.rack_id.as_ref());
    put_text(out, &profile.client_id);
    put_text(out, &profile.client_host);
    out.put_i32(profile.rebalance_timeout_ms);
    put_count(out, profile.names.len());
    for name in &profile.names {
        put_text(out, name);
    }
    put_text(out, &profile.pattern);
    let assignor = profile
        .assignor
        .map(|one| StrBytes::from_static_str(one.name()));
    put_optional(out, assignor.as_ref());
    out.put_u8(u8::from(profile.classic.is_some()));
    if let Some(classic) = &profile.classic {
        out.put_i32(classic.session_timeout_ms);
        put_count(out, classic.protocols.len());
        for protocol in &classic.protocols {
            put_text(out, &protocol.name);
            put_bytes(out, &protocol.metadata);
        }
    }
    let position = &member.position;
    out.put_i32(position.epoch);
    out.put_i32(position.previous_epoch);
    out.put_u8(match position.state {
        State::Stable => 0,
        State::Unrevoked => 1,
        State::Unreleased => 2,
    });
    put_partitions(out, &position.assigned);
    put_partitions(out, &position.revoking);
    put_partitions(out, &member.target);
}

fn put_partitions(out: &mut Vec<u8>, partitions: &Partitions) {
    put_count(out, partitions.len());
    for (topic, all) in partitions {
        out.put_slice(topic.as_bytes());
        put_count(out, all.len());
        for partition in all {
            out.put_i32(*partition);
        }
    }
}

pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Change> {
    Some(Change {
        anew: flag(fields)?,
        epoch: fields.i32()?,
        assignment_epoch: fields.i32()?,
        topics_hash: fields.u32()?,
        removed: fields.list(Fields::text)?,
        put: fields.list(member)?,
    })
}

fn flag(fields: &mut Fields<'_>) -> Option<bool> {
    match fields.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn member(fields: &mut Fields<'_>) -> Option<Member> {
    Some(Member {
        id: fields.text()?,
        profile: profile(fields)?,
        position: position(fields)?,
        target: partitions(fields)?,
    })
}

fn profile(fields: &mut Fields<'_>) -> Option<Profile> {
    Some(Profile {
        instance_id: fields.optional()?,
        rack_id: fields.optional()?,
        client_id: fields.text()?,
        client_host: fields.text()?,
        rebalance_timeout_ms: fields.i32()?,
        names: fields
            .list(|fields| fields.text().map(TopicName))?
            .into_iter()
            .collect(),
        pattern: fields.text()?,
        assignor: match fields.optional()? {
            Some(name) => Some(Assignor::by_name(&name)?),
            None => None,
        },
        classic: match flag(fields)? {
            true => Some(classic(fields)?),
            false => None,
        },
    })
}

fn classic(fields: &mut Fields<'_>) -> Option<Classic> {
    Some(Classic {
        session_timeout_ms: fields.i32()?,
        protocols: fields.list(|fields| {
            let name = fields.text()?;
            let metadata = fields.bytes()?;
            Some(Protocol { name, metadata })
        })?,
    })
}

fn position(fields: &mut Fields<'_>) -> Option<Position> {
    Some(Position {
        epoch: fields.i32()?,
        previous_epoch: fields.i32()?,
        state: match fields.u8()? {
            0 => State::Stable,
            1 => State::Unrevoked,
            2 => State::Unreleased,
            _ => return None,
        },
        assigned: partitions(fields)?,
        revoking: partitions(fields)?,
    })
}

fn partitions(fields: &mut Fields<'_>) -> Option<Partitions> {
    let topics = fields.list(|fields| {
        let id = Uuid::from_bytes(fields.array()?);
        let all = fields.list(Fields::i32)?;
        Some((id, all.into_iter().collect()))
    })?;
    Some(topics.into_iter().collect())
}
