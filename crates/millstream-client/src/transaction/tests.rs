//! Stories of a transaction whose coordinator is late, busy or gone.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnResponse, EndTxnResponse, FindCoordinatorResponse, InitProducerIdResponse,
    MetadataResponse, TopicName,
};

use super::*;
use crate::cluster::Topic;
use crate::config::Config;
use crate::error::{Class, Outcome};
use crate::exchange::{Answer, Loss};
use crate::machines::Machines;
use crate::producer::Given;
use crate::wire::api::Reply;
use crate::wire::text;

struct Story {
    machines: Machines,
    topic: Topic,
    now: Time,
}

impl Story {
    /// A transaction has begun, and its producer id is known.
    fn begun() -> Self {
        let config = Config::default().set("transactional.id", "id").unwrap();
        let mut machines = Machines::new(&config.resolve());
        let topic = machines.cluster.topic("topic", Time::ZERO);
        let mut story = Self {
            machines,
            topic,
            now: Time::ZERO,
        };
        story.transaction().begin();
        story.answer("FindCoordinator", Ok(coordinator()));
        let reply = InitProducerIdResponse::default().with_producer_id(7.into());
        story.answer("InitProducerId", Ok(Reply::InitProducerId(reply)));
        story
    }

    fn transaction(&mut self) -> &mut Transaction {
        self.machines.transaction.as_mut().unwrap()
    }

    /// What goes out a second later, but for questions about the cluster.
    fn step(&mut self) -> Vec<Outgoing> {
        self.now += Duration::from_secs(1);
        let mut out = Vec::new();
        self.machines.step(self.now, &mut out);
        out.retain(|request| !matches!(request.call, Call::Metadata(_)));
        out
    }

    /// The request that goes out next is this one, and is answered so.
    fn answer(&mut self, api: &str, answer: Answer) {
        let mut asked = self.step();
        if asked.is_empty() {
            asked = self.step();
        }
        let names: Vec<_> = asked.iter().map(|one| one.call.api().name()).collect();
        assert_eq!(names, [api]);
        self.machines.answer(asked[0].ticket, answer, self.now);
    }

    fn ended(&mut self) -> Option<Ended> {
        let ended = self.transaction().ended.pop_front();
        ended.map(Result::unwrap)
    }
}

fn coordinator() -> Reply {
    let found = Coordinator::default().with_port(1);
    Reply::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(vec![found]))
}

fn added(code: i16) -> Reply {
    added_each(&[(0, code)])
}

fn added_each(codes: &[(i32, i16)]) -> Reply {
    let partitions = codes.iter().map(|(number, code)| {
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(*number)
            .with_partition_error_code(*code)
    });
    let topic = AddPartitionsToTxnTopicResult::default()
        .with_name(TopicName(text("topic")))
        .with_results_by_partition(partitions.collect());
    let reply =
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![topic]);
    Reply::AddPartitionsToTxn(reply)
}

/// The markers of the transaction before are still being written, so nothing became part of this one.
#[test]
fn an_abort_of_what_the_coordinator_has_not_taken_asks_it_nothing() {
    let mut story = Story::begun();
    let place = (story.topic, 0);
    assert!(!story.transaction().admits(place));
    let busy = ResponseError::ConcurrentTransactions.code();
    story.answer("AddPartitionsToTxn", Ok(added(busy)));
    story.transaction().end(Ended::Aborted);
    assert_eq!(story.step().len(), 0);
    assert_eq!(story.ended(), Some(Ended::Aborted));
}

#[test]
fn an_abort_of_what_may_have_been_taken_is_sent_and_begins_the_next_epoch() {
    let mut story = Story::begun();
    let place = (story.topic, 0);
    assert!(!story.transaction().admits(place));
    story.answer("AddPartitionsToTxn", Err(Loss::Unknown));
    story.transaction().end(Ended::Aborted);
    story.answer("FindCoordinator", Ok(coordinator()));
    let code = ResponseError::InvalidTxnState.code();
    let reply = EndTxnResponse::default().with_error_code(code);
    story.answer("EndTxn", Ok(Reply::EndTxn(reply)));
    assert_eq!(story.ended(), Some(Ended::Aborted));
    let reply = InitProducerIdResponse::default().with_producer_id(7.into());
    story.answer("InitProducerId", Ok(Reply::InitProducerId(reply)));
}

#[test]
fn what_became_part_of_a_transaction_is_ended_at_its_coordinator() {
    let mut story = Story::begun();
    let place = (story.topic, 0);
    assert!(!story.transaction().admits(place));
    story.answer("AddPartitionsToTxn", Ok(added(0)));
    assert!(story.transaction().admits(place));
    story.transaction().end(Ended::Committed);
    story.answer("EndTxn", Ok(Reply::EndTxn(EndTxnResponse::default())));
    assert_eq!(story.ended(), Some(Ended::Committed));
}

fn ends(code: ResponseError) -> Answer {
    let reply = EndTxnResponse::default().with_error_code(code.code());
    Ok(Reply::EndTxn(reply))
}

/// A transaction that has a part, and is being committed.
fn committing() -> Story {
    let mut story = Story::begun();
    let place = (story.topic, 0);
    assert!(!story.transaction().admits(place));
    story.answer("AddPartitionsToTxn", Ok(added(0)));
    story.transaction().end(Ended::Committed);
    story
}

impl Story {
    fn failed(&mut self) -> Error {
        self.transaction().ended.pop_front().unwrap().unwrap_err()
    }
}

/// confluentinc/librdkafka#4016: what may be committed can be neither aborted nor done again before its outcome is known.
#[test]
fn a_commit_that_may_have_been_applied_is_never_told_as_one_to_abort() {
    for code in [
        ResponseError::UnknownServerError,
        ResponseError::InvalidProducerIdMapping,
        ResponseError::ProducerFenced,
        ResponseError::InvalidTxnState,
    ] {
        let mut story = committing();
        story.answer("EndTxn", Err(Loss::Unknown));
        story.answer("FindCoordinator", Ok(coordinator()));
        story.answer("EndTxn", ends(code));
        let error = story.failed();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        assert!(error.class() != Class::Abortable, "{error}");
        assert!(!story.transaction().is_open());
    }
}

#[test]
fn a_server_error_to_a_commit_says_nothing_of_its_outcome() {
    let mut story = committing();
    story.answer("EndTxn", ends(ResponseError::UnknownServerError));
    let error = story.failed();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(error.class() != Class::Abortable, "{error}");
}

/// apache/kafka#23204: the coordinator has aborted by time-out. That was rolled back, and the next transaction may succeed.
#[test]
fn a_transaction_that_the_coordinator_has_aborted_by_time_out_was_rolled_back() {
    let mut story = committing();
    story.answer("EndTxn", ends(ResponseError::InvalidProducerEpoch));
    let error = story.failed();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert_eq!(error.class(), Class::Fenced, "{error}");
}

/// apache/kafka#18467: an abort without anything in it, after a commit, must not fence its own producer.
#[test]
fn an_empty_abort_after_a_commit_asks_nobody_and_keeps_the_epoch() {
    let mut story = committing();
    story.answer("EndTxn", Ok(Reply::EndTxn(EndTxnResponse::default())));
    assert_eq!(story.ended(), Some(Ended::Committed));
    story.transaction().begin();
    story.transaction().end(Ended::Aborted);
    assert_eq!(story.step().len(), 0);
    assert_eq!(story.ended(), Some(Ended::Aborted));
    assert_eq!(story.transaction().identity(), Some((7, 0)));
}

#[test]
fn a_coordinator_that_is_refused_for_good_ends_the_transaction() {
    let config = Config::default().set("transactional.id", "id").unwrap();
    let mut machines = Machines::new(&config.resolve());
    let topic = machines.cluster.topic("topic", Time::ZERO);
    let mut story = Story {
        machines,
        topic,
        now: Time::ZERO,
    };
    story.transaction().begin();
    let code = ResponseError::TransactionalIdAuthorizationFailed.code();
    let refused = Coordinator::default().with_error_code(code);
    let reply = FindCoordinatorResponse::default().with_coordinators(vec![refused]);
    story.answer("FindCoordinator", Ok(Reply::FindCoordinator(reply)));
    story.step();
    let error = story.failed();
    assert!(
        error
            .to_string()
            .starts_with("FindCoordinator of transactional id `id` failed"),
        "{error}"
    );
}

#[test]
fn an_end_that_no_coordinator_hears_is_told_in_time() {
    let mut story = committing();
    story.answer("EndTxn", Err(Loss::Unknown));
    for _ in 0..200 {
        for request in story.step() {
            let loss = Err(Loss::NotSent);
            story.machines.answer(request.ticket, loss, story.now);
        }
    }
    assert_eq!(story.failed().outcome(), Outcome::Unknown);
}

/// The coordinator has not heard of one of the topics yet, and has not tried the others.
#[test]
fn partitions_that_were_not_tried_because_of_another_are_asked_for_again() {
    let mut story = Story::begun();
    for partition in 0..2 {
        let place = (story.topic, partition);
        assert!(!story.transaction().admits(place));
    }
    let codes = [
        ResponseError::OperationNotAttempted,
        ResponseError::UnknownTopicOrPartition,
    ];
    let codes: Vec<_> = (0..).zip(codes.map(|code| code.code())).collect();
    story.answer("AddPartitionsToTxn", Ok(added_each(&codes)));
    story.answer("AddPartitionsToTxn", Ok(added_each(&[(0, 0), (1, 0)])));
    let place = (story.topic, 1);
    assert!(story.transaction().admits(place));
}

#[test]
fn a_partition_that_the_answer_does_not_name_is_not_part_of_the_transaction() {
    let mut story = Story::begun();
    let place = (story.topic, 0);
    assert!(!story.transaction().admits(place));
    story.answer("AddPartitionsToTxn", Ok(added_each(&[])));
    assert!(!story.transaction().admits(place));
    story.answer("AddPartitionsToTxn", Ok(added(0)));
    assert!(story.transaction().admits(place));
}

/// What its end has waited for is given up by the abort itself: nothing else has to happen first.
#[test]
fn an_abort_of_records_that_were_never_sent_ends_in_one_step() {
    let mut story = Story::begun();
    let partition = MetadataResponsePartition::default();
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text("topic"))))
        .with_partitions(vec![partition]);
    let metadata = MetadataResponse::default().with_topics(vec![topic]);
    for number in 0..10 {
        let reply = Ok(Reply::Metadata(metadata.clone()));
        story.machines.cluster.answer(number, reply, story.now);
    }
    let now = story.now;
    let given = Given {
        key: None,
        value: Some(b"value"),
        timestamp: 0,
        now: &|| now,
    };
    let Machines {
        producer, cluster, ..
    } = &mut story.machines;
    producer
        .send(cluster, (story.topic, Some(0)), &given, &[])
        .unwrap();
    story.transaction().end(Ended::Aborted);
    story.step();
    assert_eq!(story.ended(), Some(Ended::Aborted));
}
