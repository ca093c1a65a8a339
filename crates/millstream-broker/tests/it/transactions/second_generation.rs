//! The second generation (KIP-890): partitions and groups announce themselves, each transaction has an epoch of its own.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, EndTxnRequest, ProducerId};

use super::protocol::{
    Identity, batch_of, commit_offset, fetch_committed, fetch_offset, init, init_with, produce,
    stable, transactional_id,
};
use crate::cluster::Cluster;
use crate::groups::commits::{commit, commit_request};
use crate::raw::{Client, text};
use crate::support::{eventually, fresh};

fn end(client: &mut Client, id: &str, by: Identity, commit: bool) -> Result<Identity, i16> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(ProducerId(by.0))
        .with_producer_epoch(by.1)
        .with_committed(commit);
    let busy = ResponseError::ConcurrentTransactions.code();
    eventually("an answer but CONCURRENT_TRANSACTIONS", || {
        let response = client.call(5, &request);
        match response.error_code {
            0 => Some(Ok((response.producer_id.0, response.producer_epoch))),
            code if code == busy => None,
            code => Some(Err(code)),
        }
    })
}

#[test]
fn the_feature_is_announced_that_clients_look_for() {
    let mut client = Cluster::start().connect();
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("raw-test"))
        .with_client_software_version(text("1.0"));
    let response = client.call(4, &request);
    let level = response
        .finalized_features
        .iter()
        .find(|feature| feature.name.as_str() == "transaction.version")
        .map(|feature| feature.max_version_level);
    assert_eq!(level, Some(2));
    assert!(response.finalized_features_epoch >= 0);
    // A client of version 3 cannot read a feature whose lowest level is 0.
    let response = client.call(3, &request);
    let mut supported = response.supported_features.iter();
    assert_eq!(supported.find(|feature| feature.min_version == 0), None);
}

#[test]
fn records_bring_their_partition_into_the_transaction() {
    let (mut client, topic) = Cluster::start().with_topic("implicit", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    assert_eq!(
        produce(&mut client, 12, &id, &topic, batch_of(by, 0, "a")),
        0
    );
    assert_eq!(
        produce(&mut client, 12, &id, &topic, batch_of(by, 1, "b")),
        0
    );
    assert_eq!(fetch_committed(&mut client, &topic).last_stable_offset, 0);
    let next = end(&mut client, &id, by, true).unwrap();
    assert_eq!(next, (by.0, by.1 + 1));
    stable(&mut client, &topic, 3);
    // Sequences begin anew with the epoch, and the old epoch is of the past.
    assert_eq!(
        produce(&mut client, 12, &id, &topic, batch_of(next, 0, "c")),
        0
    );
    let late = produce(&mut client, 12, &id, &topic, batch_of(by, 2, "late"));
    assert_eq!(late, ResponseError::InvalidProducerEpoch.code());
    let after = end(&mut client, &id, next, false).unwrap();
    assert_eq!(after, (by.0, by.1 + 2));
    let done = stable(&mut client, &topic, 5);
    assert_eq!(done.aborted_transactions.map(|all| all.len()), Some(1));
}

#[test]
fn an_end_that_is_asked_for_again_is_answered_with_the_same_epoch() {
    let (mut client, topic) = Cluster::start().with_topic("again", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    produce(&mut client, 12, &id, &topic, batch_of(by, 0, "a"));
    let next = end(&mut client, &id, by, true).unwrap();
    stable(&mut client, &topic, 2);
    assert_eq!(end(&mut client, &id, by, true), Ok(next));
    let invalid = Err(ResponseError::InvalidTxnState.code());
    assert_eq!(end(&mut client, &id, by, false), invalid);
    assert_eq!(end(&mut client, &id, next, true), invalid);
    // An abort of nothing is an abort, with an epoch of its own.
    let after = end(&mut client, &id, next, false).unwrap();
    assert_eq!(after, (by.0, next.1 + 1));
    let fenced = Err(ResponseError::ProducerFenced.code());
    assert_eq!(end(&mut client, &id, by, true), fenced);
}

#[test]
fn offsets_bring_their_group_into_the_transaction() {
    let (mut client, topic) = Cluster::start().with_topic("implicit-offsets", 1);
    let (id, group) = (fresh("txn"), fresh("group"));
    let by = init(&mut client, &id);
    let committed = commit_offset(&mut client, 5, (&id, &group), by, (&topic, 7));
    assert_eq!(committed, 0);
    let unstable = ResponseError::UnstableOffsetCommit.code();
    assert_eq!(
        fetch_offset(&mut client, &group, &topic, true),
        (-1, unstable)
    );
    end(&mut client, &id, by, true).unwrap();
    eventually("stable offsets", || {
        (fetch_offset(&mut client, &group, &topic, true) == (7, 0)).then_some(())
    });
}

#[test]
fn an_offset_that_was_committed_later_stays_when_the_transaction_ends() {
    let (mut client, topic) = Cluster::start().with_topic("mixed-offsets", 1);
    let (id, group) = (fresh("txn"), fresh("group"));
    let by = init(&mut client, &id);
    let waiting = commit_offset(&mut client, 5, (&id, &group), by, (&topic, 10));
    assert_eq!(waiting, 0);
    let plain = commit_request(&group, &topic, &[(0, 20)]);
    assert_eq!(commit(&mut client, 7, &plain), [0]);
    end(&mut client, &id, by, true).unwrap();
    eventually("stable offsets", || {
        let found = fetch_offset(&mut client, &group, &topic, true);
        (found.1 == 0).then(|| assert_eq!(found, (20, 0)))
    });
}

#[test]
fn a_producer_that_asks_for_its_next_epoch_again_is_answered_with_the_same() {
    let (mut client, topic) = Cluster::start().with_topic("asks-again", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    assert_eq!(
        produce(&mut client, 12, &id, &topic, batch_of(by, 0, "a")),
        0
    );
    for _ in 0..2 {
        let next = init_with(&mut client, 5, &id, by, 60_000);
        assert_eq!(next, Ok((by.0, by.1 + 1)));
    }
    let done = stable(&mut client, &topic, 2);
    assert_eq!(done.aborted_transactions.map(|all| all.len()), Some(1));
    // Another takes the id over, and the first is of the past.
    init(&mut client, &id);
    let fenced = Err(ResponseError::ProducerFenced.code());
    assert_eq!(init_with(&mut client, 5, &id, by, 60_000), fenced);
}
