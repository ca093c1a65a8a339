//! Who may commit and read offsets, by epoch.

use kafka_protocol::messages::OffsetFetchRequest;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use super::*;
use crate::groups::commits::{commit, commit_request};

fn committing(member: &mut Member, version: i16, topic: &str, epoch: i32) -> Option<ResponseError> {
    let request = commit_request(&member.group, topic, &[(0, 7)])
        .with_member_id(member.id.clone())
        .with_generation_id_or_member_epoch(epoch);
    let codes = commit(&mut member.client, version, &request);
    ResponseError::try_from_code(codes[0])
}

fn fetching(
    client: &mut Client,
    group: &str,
    topic: &str,
    reader: Option<(&StrBytes, i32)>,
) -> Result<i64, ResponseError> {
    let topics = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(group))
        .with_member_id(reader.map(|(id, _)| id.clone()))
        .with_member_epoch(reader.map_or(-1, |(_, epoch)| epoch))
        .with_topics(Some(vec![topics]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    let answer = client.call(9, &request).groups.remove(0);
    match ResponseError::try_from_code(answer.error_code) {
        None => Ok(answer.topics[0].partitions[0].committed_offset),
        Some(code) => Err(code),
    }
}

#[test]
fn members_commit_at_their_epoch_and_others_do_not() {
    let cluster = Cluster::start();
    let (mut client, topic) = cluster.with_topic("committed", 1);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    member.beat();
    let stale = Some(ResponseError::StaleMemberEpoch);
    assert_eq!(committing(&mut member, 9, &topic, 1), None);
    assert_eq!(committing(&mut member, 9, &topic, 0), stale);
    assert_eq!(committing(&mut member, 9, &topic, 2), stale);
    assert_eq!(
        committing(&mut member, 8, &topic, 1),
        Some(ResponseError::UnsupportedVersion)
    );
    let unknown = Some(ResponseError::UnknownMemberId);
    let mut stranger = Member::new(&cluster, &group, &[&topic]);
    assert_eq!(committing(&mut stranger, 9, &topic, 1), unknown);
    assert_eq!(committing(&mut stranger, 9, &topic, -1), unknown);
    let id = member.id.clone();
    let client = &mut client;
    assert_eq!(fetching(client, &group, &topic, None), Ok(7));
    assert_eq!(fetching(client, &group, &topic, Some((&id, 1))), Ok(7));
    assert_eq!(
        fetching(client, &group, &topic, Some((&id, 0))),
        Err(ResponseError::StaleMemberEpoch)
    );
    assert_eq!(
        fetching(client, &group, &topic, Some((&stranger.id, 1))),
        Err(ResponseError::UnknownMemberId)
    );
    // Nobody is left: anybody may set the offsets.
    member.leave(-1);
    assert_eq!(committing(&mut stranger, 9, &topic, -1), None);
}
