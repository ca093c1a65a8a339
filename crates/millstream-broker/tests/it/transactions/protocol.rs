//! Transactions request by request: who is let in, what a state allows, what times out. The first generation (up to KIP-890).

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::records::{Compression, Record};

use crate::cluster::Cluster;
use crate::raw::{
    Client, encode, fetch_request, now_ms, produce_request, record, text, topic_name, values,
};
use crate::support::{eventually, fresh};

/// A producer's id and epoch.
pub(super) type Identity = (i64, i16);

pub(super) fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

/// InitProducerId, asked again as long as an earlier transaction is being aborted.
pub(super) fn init_with(
    client: &mut Client,
    version: i16,
    id: &str,
    known: Identity,
    timeout_ms: i32,
) -> Result<Identity, i16> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id(id)))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(known.0))
        .with_producer_epoch(known.1);
    eventually("a coordinator without work for this id", || {
        let response = client.call(version, &request);
        match response.error_code {
            0 => Some(Ok((response.producer_id.0, response.producer_epoch))),
            14 | 15 | 16 | 51 => None,
            code => Some(Err(code)),
        }
    })
}

pub(super) fn init(client: &mut Client, id: &str) -> Identity {
    init_with(client, 4, id, (-1, -1), 60_000).unwrap()
}

pub(super) fn add(client: &mut Client, id: &str, by: Identity, topic: &str) -> i16 {
    let topics = vec![
        AddPartitionsToTxnTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![0]),
    ];
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(id))
        .with_v3_and_below_producer_id(ProducerId(by.0))
        .with_v3_and_below_producer_epoch(by.1)
        .with_v3_and_below_topics(topics);
    settled(|| {
        client.call(3, &request).results_by_topic_v3_and_below[0].results_by_partition[0]
            .partition_error_code
    })
}

/// Asks again while the last transaction of the id is being completed, as every client does.
pub(super) fn settled(mut ask: impl FnMut() -> i16) -> i16 {
    let busy = ResponseError::ConcurrentTransactions.code();
    eventually("an answer but CONCURRENT_TRANSACTIONS", || {
        Some(ask()).filter(|code| *code != busy)
    })
}

pub(super) fn end(client: &mut Client, id: &str, by: Identity, commit: bool) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(ProducerId(by.0))
        .with_producer_epoch(by.1)
        .with_committed(commit);
    settled(|| client.call(3, &request).error_code)
}

pub(super) fn batch_of(by: Identity, sequence: i32, value: &str) -> Bytes {
    let record = Record {
        transactional: true,
        producer_id: by.0,
        producer_epoch: by.1,
        sequence,
        ..record(0, value, now_ms())
    };
    encode(&[record], Compression::None)
}

pub(super) fn produce(
    client: &mut Client,
    version: i16,
    id: &str,
    topic: &str,
    batch: Bytes,
) -> i16 {
    let request =
        produce_request(topic, 0, batch).with_transactional_id(Some(transactional_id(id)));
    settled(|| client.call(version, &request).responses[0].partition_responses[0].error_code)
}

pub(super) fn fetch_committed(client: &mut Client, topic: &str) -> PartitionData {
    let request = fetch_request(topic, 0, 0).with_isolation_level(1);
    client.call(12, &request).responses[0].partitions[0].clone()
}

/// Waits for the last stable offset: Kafka's markers are written behind the answer.
pub(super) fn stable(client: &mut Client, topic: &str, offset: i64) -> PartitionData {
    eventually("the last stable offset", || {
        let data = fetch_committed(client, topic);
        (data.last_stable_offset == offset).then_some(data)
    })
}

fn end_for(client: &mut Client, topic: &str, level: i8, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(level)
        .with_topics(vec![topic]);
    client.call(9, &request).topics[0].partitions[0].offset
}

const OK: i16 = 0;

#[test]
fn a_transaction_ends_with_a_marker_that_takes_an_offset() {
    let (mut client, topic) = Cluster::start().with_topic("marker", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    assert_eq!(add(&mut client, &id, by, &topic), OK);
    assert_eq!(
        produce(&mut client, 9, &id, &topic, batch_of(by, 0, "a")),
        OK
    );
    let open = fetch_committed(&mut client, &topic);
    assert_eq!((open.last_stable_offset, open.high_watermark), (0, 1));
    assert_eq!(open.records.unwrap_or_default(), Bytes::new());
    assert_eq!(end_for(&mut client, &topic, 1, -1), 0);
    assert_eq!(end_for(&mut client, &topic, 0, -1), 1);
    assert_eq!(end_for(&mut client, &topic, 1, 0), -1);
    assert_eq!(end_for(&mut client, &topic, 0, 0), 0);
    assert_eq!(end(&mut client, &id, by, true), OK);
    let done = stable(&mut client, &topic, 2);
    assert_eq!(done.high_watermark, 2);
    assert_eq!(done.aborted_transactions, Some(Vec::new()));
    assert_eq!(end_for(&mut client, &topic, 1, -1), 2);
    assert_eq!(end_for(&mut client, &topic, 1, 0), 0);
}

#[test]
fn an_abort_is_told_with_producer_and_first_offset() {
    let (mut client, topic) = Cluster::start().with_topic("aborted", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    client.produce_at(&topic, 0, &[("plain", now_ms())]);
    add(&mut client, &id, by, &topic);
    produce(&mut client, 9, &id, &topic, batch_of(by, 0, "a"));
    assert_eq!(end(&mut client, &id, by, false), OK);
    let done = stable(&mut client, &topic, 3);
    let told: Vec<_> = done.aborted_transactions.unwrap_or_default();
    let told: Vec<_> = told
        .iter()
        .map(|one| (one.producer_id.0, one.first_offset))
        .collect();
    assert_eq!(told, [(by.0, 1)]);
    assert_eq!(client.fetch(&topic, 0, 0).aborted_transactions, None);
}

#[test]
fn every_init_bumps_the_epoch_and_fences_whoever_was_before() {
    let (mut client, topic) = Cluster::start().with_topic("fence", 1);
    let id = fresh("txn");
    let first = init(&mut client, &id);
    assert_eq!(first.1, 0);
    let second = init(&mut client, &id);
    assert_eq!(second, (first.0, 1));
    let fenced = ResponseError::ProducerFenced.code();
    let unmapped = ResponseError::InvalidProducerIdMapping.code();
    assert_eq!(add(&mut client, &id, first, &topic), fenced);
    assert_eq!(end(&mut client, &id, first, true), fenced);
    assert_eq!(add(&mut client, &id, (first.0 + 999, 0), &topic), unmapped);
    assert_eq!(add(&mut client, &fresh("nobody"), first, &topic), unmapped);
    // A producer that names itself gets its next epoch (KIP-360); one that is not current is fenced.
    let third = init_with(&mut client, 4, &id, second, 60_000);
    assert_eq!(third, Ok((first.0, 2)));
    assert_eq!(init_with(&mut client, 4, &id, second, 60_000), third);
    assert_eq!(init_with(&mut client, 4, &id, first, 60_000), Err(fenced));
    let old = ResponseError::InvalidProducerEpoch.code();
    assert_eq!(init_with(&mut client, 3, &id, first, 60_000), Err(old));
}

#[test]
fn a_new_producer_aborts_what_the_old_one_left_open() {
    let (mut client, topic) = Cluster::start().with_topic("left", 1);
    let id = fresh("txn");
    let old = init(&mut client, &id);
    add(&mut client, &id, old, &topic);
    produce(&mut client, 9, &id, &topic, batch_of(old, 0, "left"));
    let new = init(&mut client, &id);
    assert_eq!(new.0, old.0);
    assert!(new.1 > old.1);
    let done = stable(&mut client, &topic, 2);
    assert_eq!(done.aborted_transactions.map(|all| all.len()), Some(1));
    let late = produce(&mut client, 9, &id, &topic, batch_of(old, 1, "late"));
    assert_eq!(late, ResponseError::InvalidProducerEpoch.code());
}

#[test]
fn records_of_no_open_transaction_are_refused() {
    let (mut client, topic) = Cluster::start().with_topic("stray", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    let invalid = ResponseError::InvalidTxnState.code();
    assert_eq!(
        produce(&mut client, 9, &id, &topic, batch_of(by, 0, "stray")),
        invalid
    );
    let without = produce_request(&topic, 0, batch_of(by, 0, "nobody's"));
    assert_eq!(
        client.call(9, &without).responses[0].partition_responses[0].error_code,
        ResponseError::TransactionalIdAuthorizationFailed.code()
    );
    add(&mut client, &id, by, &topic);
    produce(&mut client, 9, &id, &topic, batch_of(by, 0, "a"));
    end(&mut client, &id, by, true);
    stable(&mut client, &topic, 2);
    assert_eq!(
        produce(&mut client, 9, &id, &topic, batch_of(by, 1, "late")),
        invalid
    );
    assert_eq!(client.fetch(&topic, 0, 0).high_watermark, 2);
}

#[test]
fn a_state_allows_what_kafka_allows() {
    let (mut client, topic) = Cluster::start().with_topic("states", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    let invalid = ResponseError::InvalidTxnState.code();
    assert_eq!(end(&mut client, &id, by, true), invalid);
    assert_eq!(end(&mut client, &id, by, false), invalid);
    add(&mut client, &id, by, &topic);
    assert_eq!(end(&mut client, &id, by, true), OK);
    // A client that did not hear of it asks again.
    assert_eq!(end(&mut client, &id, by, true), OK);
    assert_eq!(end(&mut client, &id, by, false), invalid);
    add(&mut client, &id, by, &topic);
    assert_eq!(end(&mut client, &id, by, false), OK);
    assert_eq!(end(&mut client, &id, by, false), OK);
    assert_eq!(end(&mut client, &id, by, true), invalid);
}

#[test]
fn partitions_that_do_not_exist_keep_the_others_out() {
    let (mut client, topic) = Cluster::start().with_topic("half", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    let topics = vec![
        AddPartitionsToTxnTopic::default()
            .with_name(topic_name(&topic))
            .with_partitions(vec![0, 7]),
    ];
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(&id))
        .with_v3_and_below_producer_id(ProducerId(by.0))
        .with_v3_and_below_producer_epoch(by.1)
        .with_v3_and_below_topics(topics);
    let response = client.call(3, &request);
    let mut codes: Vec<_> = response.results_by_topic_v3_and_below[0]
        .results_by_partition
        .iter()
        .map(|one| (one.partition_index, one.partition_error_code))
        .collect();
    codes.sort_unstable();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let left = ResponseError::OperationNotAttempted.code();
    assert_eq!(codes, [(0, left), (7, unknown)]);
}

#[test]
fn a_timeout_must_be_within_the_limit() {
    let mut client = Cluster::start().connect();
    let invalid = Err(ResponseError::InvalidTransactionTimeout.code());
    for timeout_ms in [0, -1, 900_001] {
        let id = fresh("txn");
        assert_eq!(
            init_with(&mut client, 4, &id, (-1, -1), timeout_ms),
            invalid
        );
    }
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let (mut client, topic) = Cluster::start().with_topic("slow", 1);
    let id = fresh("txn");
    let by = init_with(&mut client, 4, &id, (-1, -1), 1000).unwrap();
    add(&mut client, &id, by, &topic);
    produce(&mut client, 9, &id, &topic, batch_of(by, 0, "slow"));
    let done = stable(&mut client, &topic, 2);
    assert_eq!(done.aborted_transactions.map(|all| all.len()), Some(1));
    let fenced = ResponseError::ProducerFenced.code();
    assert_eq!(end(&mut client, &id, by, true), fenced);
    let late = produce(&mut client, 9, &id, &topic, batch_of(by, 1, "late"));
    assert_eq!(late, ResponseError::InvalidProducerEpoch.code());
}

pub(super) fn commit_offset(
    client: &mut Client,
    version: i16,
    (id, group): (&str, &str),
    by: Identity,
    (topic, offset): (&str, i64),
) -> i16 {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("")));
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_group_id(GroupId(text(group)))
        .with_producer_id(ProducerId(by.0))
        .with_producer_epoch(by.1)
        .with_topics(vec![topic]);
    settled(|| {
        let code = client.call(version, &request).topics[0].partitions[0].error_code;
        match code {
            // Kafka's coordinator of a group that nobody has asked for before.
            14..=16 => ResponseError::ConcurrentTransactions.code(),
            code => code,
        }
    })
}

/// Offset and code that a group's offset is fetched with.
pub(super) fn fetch_offset(
    client: &mut Client,
    group: &str,
    topic: &str,
    stable: bool,
) -> (i64, i16) {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default()
        .with_groups(vec![group])
        .with_require_stable(stable);
    eventually("the group's coordinator", || {
        let response = client.call(8, &request).groups[0].clone();
        if response.error_code != 0 {
            return None;
        }
        let found = &response.topics[0].partitions[0];
        Some((found.committed_offset, found.error_code))
    })
}

#[test]
fn offsets_wait_for_the_end_and_hold_back_who_wants_stable_ones() {
    let (mut client, topic) = Cluster::start().with_topic("offsets", 1);
    let (id, group) = (fresh("txn"), fresh("group"));
    let by = init(&mut client, &id);
    let stray = commit_offset(&mut client, 3, (&id, &group), by, (&topic, 5));
    assert_eq!(stray, ResponseError::InvalidTxnState.code());
    let add_offsets = AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional_id(&id))
        .with_producer_id(ProducerId(by.0))
        .with_producer_epoch(by.1)
        .with_group_id(GroupId(text(&group)));
    let unstable = ResponseError::UnstableOffsetCommit.code();
    for (offset, commit, seen) in [(5, true, 5), (9, false, 5), (11, true, 11)] {
        assert_eq!(settled(|| client.call(3, &add_offsets).error_code), OK);
        let before = fetch_offset(&mut client, &group, &topic, false);
        let committed = commit_offset(&mut client, 3, (&id, &group), by, (&topic, offset));
        assert_eq!(committed, OK);
        assert_eq!(fetch_offset(&mut client, &group, &topic, false), before);
        assert_eq!(
            fetch_offset(&mut client, &group, &topic, true),
            (-1, unstable)
        );
        assert_eq!(end(&mut client, &id, by, commit), OK);
        eventually("stable offsets", || {
            let found = fetch_offset(&mut client, &group, &topic, true);
            (found == (seen, OK)).then_some(())
        });
    }
}

#[test]
fn a_reader_that_waits_is_woken_by_the_marker() {
    let cluster = Cluster::start();
    let (mut client, topic) = cluster.with_topic("woken", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    add(&mut client, &id, by, &topic);
    produce(&mut client, 9, &id, &topic, batch_of(by, 0, "a"));
    let mut reader = cluster.connect();
    let waiting = fetch_request(&topic, 0, 0)
        .with_isolation_level(1)
        .with_max_wait_ms(50_000);
    reader.send(12, &waiting);
    assert_eq!(end(&mut client, &id, by, true), OK);
    let response = reader.receive::<FetchRequest>(12);
    // Of the marker's batch there is nothing to see for the value's reader.
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.last_stable_offset, 2);
    let first = data.records.clone().unwrap_or_default();
    assert!(!first.is_empty());
}

#[test]
fn plain_records_between_are_seen_when_all_before_them_has_ended() {
    let (mut client, topic) = Cluster::start().with_topic("between", 1);
    let (one, two) = (fresh("txn"), fresh("txn"));
    let (first, second) = (init(&mut client, &one), init(&mut client, &two));
    add(&mut client, &one, first, &topic);
    add(&mut client, &two, second, &topic);
    produce(&mut client, 9, &one, &topic, batch_of(first, 0, "1"));
    client.produce_at(&topic, 0, &[("plain", now_ms())]);
    produce(&mut client, 9, &two, &topic, batch_of(second, 0, "2"));
    end(&mut client, &two, second, true);
    assert_eq!(fetch_committed(&mut client, &topic).last_stable_offset, 0);
    end(&mut client, &one, first, true);
    let done = stable(&mut client, &topic, 5);
    assert_eq!(values_of_data(&done), ["1", "plain", "2"]);
}

/// The values of data batches: markers have none.
fn values_of_data(data: &PartitionData) -> Vec<String> {
    let mut without = data.clone();
    let mut kept = Vec::new();
    let bytes = data.records.clone().unwrap_or_default();
    let mut rest = &bytes[..];
    while let Some(length) = rest.get(8..12) {
        let length = i32::from_be_bytes(*length.first_chunk().unwrap());
        let (batch, behind) = rest.split_at(12 + usize::try_from(length).unwrap());
        if batch[22] & 0x20 == 0 {
            kept.extend_from_slice(batch);
        }
        rest = behind;
    }
    without.records = Some(Bytes::from(kept));
    values(&without)
}
