//! Producers of partitions, and transactions that are open and have ended.

use millstream_client::admin::{Admin, ProducerInfo, TopicPartition, TransactionState};
use millstream_client::{Event, Outbound};

use super::{admin, eventually, only, refusal};
use crate::support::{Broker, deliver, fresh, until};

fn producer(admin: &mut Admin, place: &TopicPartition) -> ProducerInfo {
    let producers = only(admin.producers(std::slice::from_ref(place))).unwrap();
    let [one] = producers[..] else {
        panic!("{producers:?}");
    };
    one
}

#[test]
fn an_open_transaction_is_seen_at_its_partition_and_at_its_coordinator_until_it_ends() {
    let broker = Broker::start();
    let (name, id) = (broker.topic(2), fresh("id"));
    let mut admin = admin(&broker);
    let mut client = broker.client(&[("transactional.id", &id), ("linger.ms", "0")]);
    let topic = client.topic(&name);
    client.begin().unwrap();
    let record = Outbound {
        partition: Some(1),
        value: Some(b"value"),
        timestamp: Some(1_700_000_000_000),
        ..Outbound::default()
    };
    client.send(topic, &record).unwrap();
    deliver(&mut client);

    let place = TopicPartition::new(&name, 1);
    let open = only(admin.describe_transactions(&[&id])).unwrap();
    assert_eq!(open.state, TransactionState::Ongoing);
    assert_eq!(open.partitions.as_slice(), std::slice::from_ref(&place));
    assert_eq!(open.timeout_ms, 60_000);
    assert!(open.started.is_some());
    let listed = admin.transactions().unwrap();
    let one = listed.found[&id];
    assert_eq!((one.producer_id, one.state), (open.producer_id, open.state));
    let seen = producer(&mut admin, &place);
    assert_eq!(
        (seen.id, seen.epoch),
        (open.producer_id, i32::from(open.producer_epoch))
    );
    assert_eq!(
        (seen.transaction_start, seen.last_sequence),
        (Some(0), Some(0))
    );

    client.commit_transaction().unwrap();
    until(&mut client, "the transaction ended", |_, event| {
        matches!(event, Some(Event::Ended(Ok(_)))).then_some(())
    });
    eventually("the transaction is committed", || {
        let ended = only(admin.describe_transactions(&[&id])).unwrap();
        ended.state == TransactionState::CompleteCommit && ended.partitions.is_empty()
    });
    assert_eq!(producer(&mut admin, &place).transaction_start, None);
}

#[test]
fn transactions_and_partitions_that_are_not_there_are_named() {
    let broker = Broker::start();
    let mut admin = admin(&broker);
    let id = fresh("id");
    assert_eq!(
        refusal(admin.describe_transactions(&[&id])),
        format!(
            "failed to describe the transaction of `{id}`: TransactionalIdNotFound; list the transactions for those that there are"
        )
    );
    let (there, missing) = (
        TopicPartition::new(&broker.topic(1), 0),
        TopicPartition::new(&fresh("missing"), 0),
    );
    let found = admin.producers(&[there.clone(), missing.clone()]).unwrap();
    assert_eq!(found[&there].as_ref().unwrap(), &[]);
    let error = found[&missing].as_ref().unwrap_err().to_string();
    let expected =
        format!("failed to describe the producers of {missing}: UnknownTopicOrPartition");
    assert!(error.starts_with(&expected), "{error}");
}
