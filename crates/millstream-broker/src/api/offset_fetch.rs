//! OffsetFetch: what groups have committed; of one group up to version 7, of many since version 8.
//!
//! Since version 9 a member of the new protocol names its epoch, and one that is behind is refused. Since version 2 no list of topics means all that have an offset. `require_stable` (since 7) holds offsets back that
//! an open transaction is about to change. A partition of a group that a request names many times is answered once: its metadata are larger
//! than its number.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::Client;
use crate::broker::Broker;
use crate::groups::Group;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version < 8 {
        return one_group(broker, request, version);
    }
    let stable = request.require_stable;
    let mut asked = Asked::default();
    let groups = request.groups.into_iter().filter_map(|mut group| {
        group.topics = asked.first(&group.group_id, group.topics)?;
        let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
        Some(match fetch(broker, &group, stable) {
            Ok(topics) => response.with_topics(topics),
            Err(code) => response.with_error_code(code.code()),
        })
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

/// What was asked for so far.
#[derive(Default)]
struct Asked {
    whole: HashSet<GroupId>,
    places: HashSet<(GroupId, TopicName, i32)>,
}

impl Asked {
    /// What of a group is asked for the first time; `None` if that is nothing of it.
    fn first(
        &mut self,
        id: &GroupId,
        topics: Option<Vec<OffsetFetchRequestTopics>>,
    ) -> Option<Option<Vec<OffsetFetchRequestTopics>>> {
        let Some(mut topics) = topics else {
            return self.whole.insert(id.clone()).then_some(None);
        };
        for topic in &mut topics {
            let name = &topic.name;
            let mut is_new = |index: &i32| {
                let place = (id.clone(), name.clone(), *index);
                self.places.insert(place)
            };
            topic.partition_indexes.retain(&mut is_new);
        }
        Some(Some(topics))
    }
}

fn fetch(
    broker: &Broker,
    wanted: &OffsetFetchRequestGroup,
    stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ResponseError> {
    broker.groups.check()?;
    broker.groups.look(&wanted.group_id, |group| {
        if let Some(group) = group {
            group.check_fetch(wanted.member_id.as_ref(), wanted.member_epoch)?;
        }
        let topics = match (&wanted.topics, group) {
            (Some(topics), _) => topics
                .iter()
                .map(|topic| fetched(group, &topic.name, &topic.partition_indexes, stable))
                .collect(),
            (None, Some(found)) => found
                .offsets()
                .topics()
                .map(|topic| fetched(group, topic, &found.offsets().partitions(topic), stable))
                .collect(),
            (None, None) => Vec::new(),
        };
        Ok(topics)
    })
}

fn fetched(
    group: Option<&Group>,
    topic: &TopicName,
    partitions: &[i32],
    stable: bool,
) -> OffsetFetchResponseTopics {
    let offsets = group.map(Group::offsets);
    let partitions = partitions.iter().map(|partition| {
        let found = offsets.and_then(|offsets| offsets.get(topic, *partition));
        let pending = offsets.is_some_and(|offsets| offsets.is_pending(topic, *partition));
        let response = OffsetFetchResponsePartitions::default().with_partition_index(*partition);
        match found {
            _ if stable && pending => response
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_error_code(ResponseError::UnstableOffsetCommit.code()),
            Some(committed) => response
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(committed.metadata.clone())),
            None => response
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1),
        }
    });
    OffsetFetchResponseTopics::default()
        .with_name(topic.clone())
        .with_partitions(partitions.collect())
}

fn one_group(broker: &Broker, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    // What is asked for first is all of it, without its repetitions.
    let topics = Asked::default().first(&request.group_id, topics).flatten();
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_member_epoch(-1)
        .with_topics(topics);
    let response = OffsetFetchResponse::default();
    match fetch(broker, &group, request.require_stable) {
        Ok(topics) => response.with_topics(topics.into_iter().map(topic).collect()),
        Err(code) if version >= 2 => response.with_error_code(code.code()),
        // Before there was a place for the error of a group, it stood with each partition.
        Err(code) => {
            let refused = group.topics.unwrap_or_default().into_iter();
            let refused = refused.map(|topic| refused_topic(topic, code));
            response.with_topics(refused.collect())
        }
    }
}

fn refused_topic(topic: OffsetFetchRequestTopics, code: ResponseError) -> OffsetFetchResponseTopic {
    let partitions = topic.partition_indexes.into_iter().map(|index| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(-1)
            .with_error_code(code.code())
    });
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(partitions.collect())
}

fn topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn partition(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition::default()
        .with_partition_index(partition.partition_index)
        .with_committed_offset(partition.committed_offset)
        .with_committed_leader_epoch(partition.committed_leader_epoch)
        .with_metadata(partition.metadata)
        .with_error_code(partition.error_code)
}
