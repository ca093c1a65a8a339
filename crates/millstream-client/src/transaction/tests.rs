//! Stories of a transaction whose coordinator is late, busy or gone.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    AddPartitionsToTxnResponse, EndTxnResponse, FindCoordinatorResponse, InitProducerIdResponse,
};

use super::*;
use crate::cluster::Topic;
use crate::config::Config;
use crate::exchange::{Answer, Loss};
use crate::machines::Machines;
use crate::wire::api::Reply;

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
    let partition = AddPartitionsToTxnPartitionResult::default().with_partition_error_code(code);
    let topic = AddPartitionsToTxnTopicResult::default().with_results_by_partition(vec![partition]);
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
