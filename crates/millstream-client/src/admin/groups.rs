//! Groups: which there are, who is in them, and deleting them.
//!
//! A cluster does not say of which protocol a group is before it is asked in the right way: as a group of KIP-848 first, and as a classic one if it is none.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response as consumer;
use kafka_protocol::messages::describe_groups_response as classic;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, GroupId,
    ListGroupsRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::asking::{Operation, Read, Route};
use super::refusal::{Refusal, answered};
use super::{Admin, Each, Listing, TopicPartition};
use crate::cluster::Role;
use crate::error::Error;
use crate::group::protocol::{Subscription, decode_assignment};
use crate::wire::api::{Call, Reply};
use crate::wire::text;

/// By which protocol the members of a group agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GroupKind {
    /// The members' leader assigns.
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
    /// Members share partitions record by record (KIP-932).
    Share,
    /// Kafka Streams' own (KIP-1071).
    Streams,
    /// The cluster does not say it, or a kind that this client does not know.
    Unknown,
}

impl GroupKind {
    fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "classic" => Self::Classic,
            "consumer" => Self::Consumer,
            "share" => Self::Share,
            "streams" => Self::Streams,
            _ => Self::Unknown,
        }
    }
}

/// What a group does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GroupState {
    /// It has offsets and no members.
    Empty,
    /// It waits for its members to join again.
    PreparingRebalance,
    /// It waits for its leader's assignment.
    CompletingRebalance,
    /// Its coordinator works out who reads what.
    Assigning,
    /// Its members give up and take over partitions.
    Reconciling,
    /// Every member has what it reads.
    Stable,
    /// It is being deleted.
    Dead,
    /// A state that this client does not know.
    Unknown,
}

impl GroupState {
    fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "empty" => Self::Empty,
            "preparingrebalance" => Self::PreparingRebalance,
            "completingrebalance" => Self::CompletingRebalance,
            "assigning" => Self::Assigning,
            "reconciling" => Self::Reconciling,
            "stable" => Self::Stable,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A group in the list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedGroup {
    /// Its kind; [`GroupKind::Unknown`] on clusters before Apache Kafka 3.8.
    pub kind: GroupKind,
    /// What it does.
    pub state: GroupState,
    /// `consumer` for readers of topics; others, such as `connect`, have formats of their own. Empty for a group that only has offsets.
    pub protocol: String,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its kind.
    pub kind: GroupKind,
    /// What it does.
    pub state: GroupState,
    /// By what its partitions are shared out, such as `range` or `uniform`; empty without members.
    pub assignor: String,
    /// Its members, by the id that the coordinator knows them by.
    pub members: BTreeMap<String, GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// Its name, if it is a static member.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is connected from.
    pub host: String,
    /// The topics that it asks for. Those of a pattern are not named.
    pub topics: Vec<String>,
    /// The partitions that it reads.
    pub assigned: Vec<TopicPartition>,
}

impl Admin {
    /// All groups that this client may describe, by name.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if no broker answers. The groups of a broker that fails are missing; see [`Listing::failed`].
    pub fn groups(&mut self) -> Result<Listing<ListedGroup>, Error> {
        let brokers = self.brokers()?;
        let answers = self.each(&ListGroups, brokers)?;
        Ok(Listing::of(answers))
    }

    /// Groups of these names, classic ones and those of KIP-848.
    ///
    /// # Errors
    /// Of one group: [`Error::Administration`] if the cluster does not have it, or if it is of another kind.
    pub fn describe_groups(&mut self, names: &[&str]) -> Result<Each<String, GroupInfo>, Error> {
        let names = names.iter().map(ToString::to_string);
        let mut found = self.each(&DescribeGroups(GroupKind::Consumer), names)?;
        let others = found
            .iter()
            .filter(|(_, result)| is_of_another_kind(result));
        let others: Vec<String> = others.map(|(name, _)| name.clone()).collect();
        if !others.is_empty() {
            found.extend(self.each(&DescribeGroups(GroupKind::Classic), others)?);
        }
        Ok(found)
    }

    /// Deletes groups that have no members, with their offsets.
    ///
    /// # Errors
    /// Of one group: [`Error::Administration`] if the cluster does not have it, or if it has members.
    pub fn delete_groups(&mut self, names: &[&str]) -> Result<Each<String, ()>, Error> {
        self.each(&DeleteGroups, names.iter().map(ToString::to_string))
    }
}

fn is_of_another_kind(result: &Result<GroupInfo, Error>) -> bool {
    match result {
        Err(Error::Administration { code, .. }) => matches!(
            code,
            ResponseError::GroupIdNotFound | ResponseError::UnsupportedVersion
        ),
        Err(Error::Unsupported { .. }) => true,
        _ => false,
    }
}

fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

/// The coordinator of a group answers for it.
pub(super) fn of_group(name: &str) -> Route {
    Route::Coordinator(Role::Group, name.to_owned())
}

struct ListGroups;

impl Operation for ListGroups {
    type Item = i32;
    type Value = Vec<(String, ListedGroup)>;
    const CHANGES: bool = false;

    fn what(&self, broker: &i32) -> String {
        format!("list the groups of broker {broker}")
    }

    fn route(&self, broker: &i32) -> Route {
        Route::Broker(*broker)
    }

    fn call(&self, _: &[i32], _: Duration) -> Call {
        Call::ListGroups(ListGroupsRequest::default())
    }

    fn read(&self, reply: Reply, brokers: &[i32]) -> Read<i32, Self::Value> {
        let (Reply::ListGroups(reply), [broker]) = (reply, brokers) else {
            return Vec::new();
        };
        let groups = reply.groups.into_iter().map(|group| {
            let listed = ListedGroup {
                kind: GroupKind::of(&group.group_type),
                state: GroupState::of(&group.group_state),
                protocol: group.protocol_type.to_string(),
            };
            (group.group_id.to_string(), listed)
        });
        vec![(
            *broker,
            answered(reply.error_code, None, || groups.collect()),
        )]
    }
}

/// Asks for groups of one kind: each kind has an API of its own.
struct DescribeGroups(GroupKind);

impl Operation for DescribeGroups {
    type Item = String;
    type Value = GroupInfo;
    const CHANGES: bool = false;

    fn what(&self, name: &String) -> String {
        format!("describe group `{name}`")
    }

    fn route(&self, name: &String) -> Route {
        of_group(name)
    }

    fn call(&self, names: &[String], _: Duration) -> Call {
        let ids = names.iter().map(|name| group_id(name)).collect();
        match self.0 {
            GroupKind::Consumer => Call::ConsumerGroupDescribe(
                ConsumerGroupDescribeRequest::default().with_group_ids(ids),
            ),
            _ => Call::DescribeGroups(DescribeGroupsRequest::default().with_groups(ids)),
        }
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, GroupInfo> {
        match reply {
            Reply::ConsumerGroupDescribe(reply) => {
                let groups = reply.groups.into_iter();
                groups
                    .map(|group| (group.group_id.to_string(), consumer_group(group)))
                    .collect()
            }
            Reply::DescribeGroups(reply) => {
                let groups = reply.groups.into_iter();
                groups
                    .map(|group| (group.group_id.to_string(), classic_group(group)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

fn consumer_member(member: consumer::Member) -> (String, GroupMember) {
    let places = member.assignment.topic_partitions.iter().flat_map(|topic| {
        let place = |number: &i32| TopicPartition::new(&topic.topic_name, *number);
        topic.partitions.iter().map(place)
    });
    let found = GroupMember {
        assigned: places.collect(),
        instance: member.instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        topics: member
            .subscribed_topic_names
            .iter()
            .map(|name| name.to_string())
            .collect(),
    };
    (member.member_id.to_string(), found)
}

fn consumer_group(group: consumer::DescribedGroup) -> Result<GroupInfo, Refusal> {
    let message = group.error_message.as_ref();
    answered(group.error_code, message, || GroupInfo {
        kind: GroupKind::Consumer,
        state: GroupState::of(&group.group_state),
        assignor: group.assignor_name.to_string(),
        members: group.members.into_iter().map(consumer_member).collect(),
    })
}

/// Another client's words in formats of their own: what does not decode is left out.
fn classic_member(member: classic::DescribedGroupMember) -> (String, GroupMember) {
    let topics = Subscription::decode(&member.member_metadata).map(|it| it.topics);
    let assigned = decode_assignment(&member.member_assignment).unwrap_or_default();
    let places = assigned.iter().flat_map(|(topic, numbers)| {
        let place = |number: &i32| TopicPartition::new(topic, *number);
        numbers.iter().map(place)
    });
    let found = GroupMember {
        assigned: places.collect(),
        instance: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        topics: topics.unwrap_or_default().into_iter().collect(),
    };
    (member.member_id.to_string(), found)
}

fn classic_group(group: classic::DescribedGroup) -> Result<GroupInfo, Refusal> {
    let state = GroupState::of(&group.group_state);
    // Before version 6 that is how a coordinator says that there is no such group.
    if group.error_code == 0 && state == GroupState::Dead && group.members.is_empty() {
        return Err(Refusal::from(ResponseError::GroupIdNotFound));
    }
    let is_consumer = group.protocol_type.is_empty() || &*group.protocol_type == "consumer";
    let member = |mut member: classic::DescribedGroupMember| {
        if !is_consumer {
            member.member_metadata.clear();
            member.member_assignment.clear();
        }
        classic_member(member)
    };
    let message: Option<&StrBytes> = group.error_message.as_ref();
    answered(group.error_code, message, || GroupInfo {
        kind: GroupKind::Classic,
        state,
        assignor: group.protocol_data.to_string(),
        members: group.members.into_iter().map(member).collect(),
    })
}

struct DeleteGroups;

impl Operation for DeleteGroups {
    type Item = String;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, name: &String) -> String {
        format!("delete group `{name}`")
    }

    fn route(&self, name: &String) -> Route {
        of_group(name)
    }

    fn call(&self, names: &[String], _: Duration) -> Call {
        let ids = names.iter().map(|name| group_id(name)).collect();
        Call::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(ids))
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, ()> {
        let Reply::DeleteGroups(reply) = reply else {
            return Vec::new();
        };
        let groups = reply.results.into_iter().map(|group| {
            let result = answered(group.error_code, None, || ());
            (group.group_id.to_string(), result)
        });
        groups.collect()
    }
}
