//! What others get to see of a consumer group.
//!
//! Reads only. Topics that no longer exist are left out: an assignment may still name them until its member has given them back.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use kafka_protocol::protocol::StrBytes;

use super::member::{Member, Partitions};
use super::{Group, State};
use crate::groups::catalogue::Catalogue;

impl State {
    /// As the protocol spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Assigning => "Assigning",
            State::Reconciling => "Reconciling",
            State::Stable => "Stable",
        }
    }
}

impl Group {
    pub(crate) fn described(&self, topics: &dyn Catalogue) -> DescribedGroup {
        let members = self.members.values();
        DescribedGroup::default()
            .with_group_id(self.id.clone())
            .with_group_state(StrBytes::from_static_str(self.state().name()))
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.assignment_epoch)
            .with_assignor_name(StrBytes::from_static_str(self.assignor().name()))
            .with_members(members.map(|one| describe(one, topics)).collect())
    }

    pub(crate) fn check_delete(&self) -> Result<(), ResponseError> {
        match self.state() {
            State::Empty => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// Whether a member reads `topic`.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            let mut names = member.profile.names.iter();
            names.any(|name| name.as_str() == topic)
                || self.subscribed.matches(&member.profile.pattern, topic)
        })
    }
}

fn describe(member: &Member, topics: &dyn Catalogue) -> DescribedMember {
    let profile = &member.profile;
    let pattern = Some(profile.pattern.clone()).filter(|pattern| !pattern.is_empty());
    DescribedMember::default()
        .with_member_id(member.id.clone())
        .with_instance_id(profile.instance_id.clone())
        .with_rack_id(profile.rack_id.clone())
        .with_member_epoch(member.position.epoch)
        .with_client_id(profile.client_id.clone())
        .with_client_host(profile.client_host.clone())
        .with_subscribed_topic_names(profile.names.iter().cloned().collect())
        .with_subscribed_topic_regex(pattern)
        .with_assignment(assignment(&member.position.assigned, topics))
        .with_target_assignment(assignment(&member.target, topics))
        .with_member_type(i8::from(profile.classic.is_none()))
}

fn assignment(partitions: &Partitions, topics: &dyn Catalogue) -> Assignment {
    let named = partitions.iter().filter_map(|(id, all)| {
        let one = TopicPartitions::default()
            .with_topic_id(*id)
            .with_topic_name(topics.name_of(id)?)
            .with_partitions(all.iter().copied().collect());
        Some(one)
    });
    Assignment::default().with_topic_partitions(named.collect())
}
