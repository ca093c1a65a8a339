//! From one kind of group to the other, while its members work.
//!
//! A classic group of consumers becomes a consumer group when the first member of the new protocol joins: everybody keeps what it
//! has, and the generation becomes the epoch. It becomes a classic group again when the last of them goes: those who are left rebalance. This
//! is Kafka's migration policy `bidirectional`.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::catalogue::Catalogue;
use super::classic::{self, CONSUMER};
use super::consumer::member::{Classic, Member, Partitions, Position, Profile, State, each};
use super::consumer::{self, Change};
use super::embedded;
use super::group::{Group, Kind, Turn};
use crate::topics::Refused;

impl Group {
    /// Makes a consumer group of a classic one, if it is one of consumers.
    pub(super) fn upgrade(&mut self, turn: &mut Turn<'_>) -> Result<(), Refused> {
        let Kind::Classic(group) = &mut self.kind else {
            return Ok(());
        };
        let refuse = |text: String| Err(Refused::new(ResponseError::GroupIdNotFound, text));
        let id = self.id.as_str();
        let rules = turn.rules.consumer;
        if !group.is_of_consumers() || group.members.len() > rules.max_size {
            return refuse(format!("Group {id} is not a consumer group."));
        }
        let Some(change) = converted(group, turn.topics) else {
            return refuse(format!(
                "Cannot upgrade the classic group {id} to consumer group because the embedded consumer protocol is malformed."
            ));
        };
        turn.store
            .change(&self.id, &change)
            .map_err(|unwritten| Refused::new(unwritten.code(), unwritten.to_string()))?;
        tracing::info!(
            group = id,
            members = change.put.len(),
            "classic group becomes a consumer group"
        );
        group.abandon(ResponseError::RebalanceInProgress);
        let mut consumers = consumer::Group::new(self.id.clone());
        consumers.apply(change);
        consumers.start_timers(turn.now.steady, &rules);
        self.kind = Kind::Consumer(Box::new(consumers));
        Ok(())
    }

    /// Removes members from a consumer group; if they were the last ones of the new protocol, the others become a classic group.
    pub(super) fn remove(
        &mut self,
        gone: &[StrBytes],
        turn: &mut Turn<'_>,
    ) -> Result<(), crate::journal::Unwritten> {
        let Kind::Consumer(group) = &mut self.kind else {
            return Ok(());
        };
        let left = group.left_after(gone, turn.rules.max_size, turn.topics);
        let Some(left) = left else {
            return group.remove(gone, turn);
        };
        self.downgrade(left, turn)?;
        if let Kind::Classic(group) = &mut self.kind {
            group.rebalance(turn);
        }
        Ok(())
    }

    /// After a static member of the classic protocol took the place of another: becomes a classic group, if it was the last of the new protocol.
    pub(super) fn downgrade_if_all_classic(
        &mut self,
        turn: &mut Turn<'_>,
    ) -> Result<(), crate::journal::Unwritten> {
        let Kind::Consumer(group) = &mut self.kind else {
            return Ok(());
        };
        match group.left_after(&[], turn.rules.max_size, turn.topics) {
            Some(left) => self.downgrade(left, turn),
            None => Ok(()),
        }
    }

    fn downgrade(
        &mut self,
        left: consumer::Left,
        turn: &mut Turn<'_>,
    ) -> Result<(), crate::journal::Unwritten> {
        let mut group = classic::Group::new(self.id.clone(), turn.now.wall);
        group.generation = left.epoch;
        group.protocol_type = Some(StrBytes::from_static_str(CONSUMER));
        group.leader = left.members.first().map(|member| member.id.clone());
        group.settle(left.members, turn.now.steady);
        turn.store.save(&group)?;
        tracing::info!(
            group = self.id.as_str(),
            members = group.members.len(),
            "consumer group becomes a classic group"
        );
        self.kind = Kind::Classic(Box::new(group));
        Ok(())
    }
}

/// A classic group as a consumer group; `None` when what its members told one another cannot be read.
fn converted(group: &classic::Group, topics: &dyn Catalogue) -> Option<Change> {
    let epoch = group.generation;
    let mut taken = BTreeSet::new();
    for member in group.members.values() {
        let assigned = embedded::assignment(&member.assignment, topics)?;
        taken.extend(each(&assigned));
    }
    let mut put = Vec::new();
    for member in group.members.values() {
        let protocol = group.protocol.as_ref();
        let protocol = protocol.or(member.protocols.first().map(|first| &first.name))?;
        let told = embedded::subscription(&member.metadata(protocol), topics)?;
        let assigned = embedded::assignment(&member.assignment, topics)?;
        // A cooperative member may not have heard yet that it has to give back what it held when it joined.
        let mut revoking = Partitions::new();
        for (topic, partition) in each(&told.owned) {
            if taken.insert((topic, partition)) {
                revoking.entry(topic).or_default().insert(partition);
            }
        }
        put.push(Member {
            id: member.id.clone(),
            profile: Profile {
                instance_id: member.instance_id.clone(),
                rack_id: told.rack_id,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                names: told.names,
                pattern: StrBytes::new(),
                assignor: None,
                classic: Some(Classic {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            },
            position: Position {
                epoch,
                previous_epoch: epoch,
                state: match revoking.is_empty() {
                    true => State::Stable,
                    false => State::Unrevoked,
                },
                assigned: assigned.clone(),
                revoking,
            },
            target: assigned,
        });
    }
    Some(Change {
        anew: true,
        epoch,
        assignment_epoch: epoch,
        topics_hash: 0,
        removed: Vec::new(),
        put,
    })
}
