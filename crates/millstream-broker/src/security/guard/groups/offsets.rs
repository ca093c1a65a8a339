//! OffsetFetch: a group must be allowed to be described, and each topic whose offsets are shown.
//!
//! Where all offsets of a group are asked for, those of topics that may not be described are left out instead of refused.

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::super::{Guard, Guarded, NO_GROUP, NO_TOPIC, Verdict, take};
use crate::security::rules::{Operation, Resource};

impl Guard<'_> {
    fn hides(&self, topic: &TopicName) -> bool {
        self.access
            .denies(Operation::Describe, Resource::topic(topic))
    }
}

impl Guarded for OffsetFetchRequest {
    type Response = OffsetFetchResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<OffsetFetchResponse> {
        match at.version {
            ..8 => one_group(self, at),
            _ => many(self, at),
        }
    }
}

fn one_group(request: &mut OffsetFetchRequest, at: &Guard<'_>) -> Verdict<OffsetFetchResponse> {
    let code = match at.denies_group(Operation::Describe, &request.group_id) {
        true if at.version >= 2 => {
            let response = OffsetFetchResponse::default();
            return Verdict::Refuse(response.with_error_code(NO_GROUP));
        }
        // Before there was a place for the error of a group, it stood with each partition.
        true => NO_GROUP,
        false => NO_TOPIC,
    };
    let all = request.topics.is_none();
    let denied = request
        .topics
        .as_mut()
        .map(|topics| take(topics, |topic| code == NO_GROUP || at.hides(&topic.name)));
    let refused = denied.into_iter().flatten().map(move |topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*index)
                .with_committed_offset(-1)
                .with_error_code(code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    let access = at.access.clone();
    Verdict::amend(move |response: &mut OffsetFetchResponse| {
        let shown = |topic: &OffsetFetchResponseTopic| {
            !all || access.allows(Operation::Describe, Resource::topic(&topic.name))
        };
        response.topics.retain(shown);
        response.topics.extend(refused);
    })
}

fn refused(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|index| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(*index)
            .with_committed_offset(-1)
            .with_error_code(NO_TOPIC)
    });
    OffsetFetchResponseTopics::default()
        .with_name(topic.name)
        .with_partitions(partitions.collect())
}

fn many(request: &mut OffsetFetchRequest, at: &Guard<'_>) -> Verdict<OffsetFetchResponse> {
    let groups = take(&mut request.groups, |group| {
        at.denies_group(Operation::Describe, &group.group_id)
    });
    // What is refused of each group that is answered, in the order of the request.
    let topics: Vec<_> = request
        .groups
        .iter_mut()
        .filter_map(|group| {
            let topics = group.topics.as_mut()?;
            let denied = take(topics, |topic| at.hides(&topic.name));
            (!denied.is_empty()).then(|| (group.group_id.clone(), denied))
        })
        .collect();
    let access = at.access.clone();
    Verdict::amend(move |response: &mut OffsetFetchResponse| {
        for group in &mut response.groups {
            group
                .topics
                .retain(|topic| access.allows(Operation::Describe, Resource::topic(&topic.name)));
        }
        for (id, denied) in topics {
            let mut groups = response.groups.iter_mut();
            let group = groups.find(|group| group.group_id == id && group.error_code == 0);
            if let Some(group) = group {
                group.topics.extend(denied.into_iter().map(refused));
            }
        }
        let groups = groups.into_iter().map(|group| {
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id)
                .with_error_code(NO_GROUP)
        });
        response.groups.extend(groups);
    })
}
