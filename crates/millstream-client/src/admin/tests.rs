//! What lost attempts, moving leaders and silent brokers mean for a call: answers and time are made up here.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsResponse, FindCoordinatorResponse, MetadataResponse, TopicName,
};

use super::asking::{Operation, Read, Route, Run};
use super::refusal::Refusal;
use super::*;
use crate::clock::Time;
use crate::cluster::Role;
use crate::error::{Class, Outcome};
use crate::exchange::{Answer, Loss, Outgoing, Owner, Step, Target};
use crate::wire::api::{Call, Reply};
use crate::wire::text;

const SECOND: Time = Time::from_secs(1);

/// A change that is asked for at one of these.
enum Asked {
    Controller,
    /// Of partition 0 of a topic.
    Leader,
    /// Of a group.
    Coordinator,
}

impl Operation for Asked {
    type Item = String;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, name: &String) -> String {
        format!("create topic `{name}`")
    }

    fn route(&self, name: &String) -> Route {
        match self {
            Self::Controller => Route::Controller,
            Self::Leader => Route::Leader(name.clone(), 0),
            Self::Coordinator => Route::Coordinator(Role::Group, name.clone()),
        }
    }

    fn call(&self, _: &[String], _: Time) -> Call {
        Call::CreateTopics(kafka_protocol::messages::CreateTopicsRequest::default())
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, ()> {
        let Reply::CreateTopics(reply) = reply else {
            panic!("an answer to another request");
        };
        let results = reply.topics.into_iter().map(|topic| {
            let code = ResponseError::try_from_code(topic.error_code);
            let result = code.map_or(Ok(()), |code| Err(Refusal::from(code)));
            (topic.name.to_string(), result)
        });
        results.collect()
    }
}

/// One call on a cluster whose answers the test gives.
struct World<'a> {
    run: Run<'a, Asked>,
    cluster: Cluster,
    now: Time,
    numbers: u64,
    out: Vec<Outgoing>,
}

impl<'a> World<'a> {
    fn new(operation: &'a Asked, config: &'a Resolved, names: &[&str]) -> Self {
        Self {
            run: Run::new(operation, config, names.iter().map(ToString::to_string)),
            cluster: Cluster::new(config.clone()),
            now: SECOND,
            numbers: 0,
            out: Vec::new(),
        }
    }

    /// Goes on until a request of the call is sent; questions about the cluster find this leader or coordinator. Returns where it went, and its number.
    fn sent(&mut self, leader: i32, epoch: i32) -> (Target, u64) {
        for _ in 0..100 {
            let mut step = Step {
                now: self.now,
                out: &mut self.out,
            };
            let limit = SECOND * 60;
            self.run
                .step(&mut step, &mut self.cluster, &mut self.numbers, limit);
            self.cluster.step(&mut step);
            for request in std::mem::take(&mut self.out) {
                if request.ticket.owner == Owner::Admin {
                    return (request.target, request.ticket.number);
                }
                let reply = match request.call {
                    Call::Metadata(_) => Reply::Metadata(metadata(leader, epoch)),
                    _ => Reply::FindCoordinator(coordinator(leader)),
                };
                self.cluster
                    .answer(request.ticket.number, Ok(reply), self.now);
            }
            self.now += SECOND;
        }
        panic!("nothing was sent");
    }

    fn answer(&mut self, number: u64, answer: Answer) {
        self.run.answer(number, answer, self.now, &mut self.cluster);
    }

    fn error(self, name: &str) -> Error {
        let mut done = self.run.end();
        done.remove(name).unwrap().unwrap_err()
    }
}

/// Brokers 1 and 2, of which 1 is the controller, and the leader of the partition of `topic`.
fn metadata(leader: i32, epoch: i32) -> MetadataResponse {
    let brokers = [1, 2].map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node))
            .with_host(text("host"))
    });
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(epoch);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text("topic"))))
        .with_partitions(vec![partition]);
    MetadataResponse::default()
        .with_brokers(brokers.to_vec())
        .with_controller_id(BrokerId(1))
        .with_topics(vec![topic])
}

fn coordinator(node: i32) -> FindCoordinatorResponse {
    let found = Coordinator::default().with_node_id(BrokerId(node));
    FindCoordinatorResponse::default().with_coordinators(vec![found])
}

fn reply(codes: &[(&str, i16)]) -> Answer {
    let topics = codes.iter().map(|(name, code)| {
        CreatableTopicResult::default()
            .with_name(TopicName(text(name)))
            .with_error_code(*code)
    });
    Ok(Reply::CreateTopics(
        CreateTopicsResponse::default().with_topics(topics.collect()),
    ))
}

fn config() -> Resolved {
    Config::new("host:1").unwrap().resolve()
}

#[test]
fn a_topic_that_exists_after_a_lost_attempt_may_be_the_one_that_was_asked_for() {
    let exists = ResponseError::TopicAlreadyExists.code();
    for (loss, outcome, ending) in [
        (Loss::NotSent, Outcome::NotApplied, "delete the topic first"),
        (
            Loss::Unknown,
            Outcome::Unknown,
            "delete the topic first; it may have been done all the same",
        ),
    ] {
        let (operation, config) = (Asked::Controller, config());
        let mut world = World::new(&operation, &config, &["topic"]);
        let (target, first) = world.sent(2, 1);
        assert_eq!(target, Target::Node(1));
        world.answer(first, Err(loss));
        let (_, second) = world.sent(2, 1);
        world.answer(second, reply(&[("topic", exists)]));
        assert!(world.run.is_done());
        let error = world.error("topic");
        assert_eq!((error.class(), error.outcome()), (Class::Refused, outcome));
        assert!(error.to_string().ends_with(ending), "{error}");
    }
}

#[test]
fn a_lost_attempt_that_succeeds_when_it_is_repeated_is_a_success() {
    let (operation, config) = (Asked::Controller, config());
    let mut world = World::new(&operation, &config, &["topic"]);
    let (_, first) = world.sent(2, 1);
    world.answer(first, Err(Loss::Unknown));
    let (_, second) = world.sent(2, 1);
    world.answer(second, reply(&[("topic", 0)]));
    assert_eq!(world.run.done.len(), 1);
    world.run.done.remove("topic").unwrap().unwrap();
}

#[test]
fn what_is_refused_does_not_hold_up_what_is_repeated_and_only_that_is_sent_again() {
    let (operation, config) = (Asked::Controller, config());
    let mut world = World::new(&operation, &config, &["good", "late", "none", "wrong"]);
    let (_, first) = world.sent(2, 1);
    let codes = [
        ("good", 0),
        ("late", ResponseError::NotController.code()),
        ("wrong", ResponseError::InvalidPartitions.code()),
        ("foreign", 0),
    ];
    world.answer(first, reply(&codes));
    // The answer said nothing of `none`, and nobody asked for `foreign`.
    let settled: Vec<_> = world.run.done.keys().cloned().collect();
    assert_eq!(settled, ["good", "wrong"]);
    let (_, second) = world.sent(2, 1);
    world.answer(second, reply(&[("late", 0), ("none", 0)]));
    assert!(world.run.is_done());
    let results = world.run.done.into_iter();
    let good = results.filter_map(|(name, result)| result.ok().map(|()| name));
    assert_eq!(good.collect::<Vec<_>>(), ["good", "late", "none"]);
}

#[test]
fn a_leader_that_moves_is_looked_for_and_asked() {
    let (operation, config) = (Asked::Leader, config());
    let mut world = World::new(&operation, &config, &["topic"]);
    let (target, first) = world.sent(1, 1);
    assert_eq!(target, Target::Node(1));
    let moved = ResponseError::NotLeaderOrFollower.code();
    world.answer(first, reply(&[("topic", moved)]));
    // The first who is asked does not know it yet.
    let (target, second) = world.sent(1, 1);
    assert_eq!(target, Target::Node(1));
    world.answer(second, reply(&[("topic", moved)]));
    let (target, third) = world.sent(2, 2);
    assert_eq!(target, Target::Node(2));
    world.answer(third, reply(&[("topic", 0)]));
    world.run.done.remove("topic").unwrap().unwrap();
}

#[test]
fn a_coordinator_that_moves_or_is_gone_is_looked_for_again() {
    let (operation, config) = (Asked::Coordinator, config());
    let mut world = World::new(&operation, &config, &["topic"]);
    let (target, first) = world.sent(1, 1);
    assert_eq!(target, Target::Node(1));
    let moved = ResponseError::NotCoordinator.code();
    world.answer(first, reply(&[("topic", moved)]));
    let (target, second) = world.sent(2, 1);
    assert_eq!(target, Target::Node(2));
    world.answer(second, Err(Loss::NotSent));
    let (target, third) = world.sent(1, 1);
    assert_eq!(target, Target::Node(1));
    world.answer(third, reply(&[("topic", 0)]));
    world.run.done.remove("topic").unwrap().unwrap();
}

#[test]
fn a_topic_that_a_broker_does_not_know_yet_is_asked_for_again_but_not_for_ever() {
    let (operation, config) = (Asked::Leader, config());
    let mut world = World::new(&operation, &config, &["topic"]);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let mut asked = 0;
    while !world.run.is_done() {
        let (_, number) = world.sent(1, 1);
        world.answer(number, reply(&[("topic", unknown)]));
        asked += 1;
    }
    assert_eq!(asked, 4);
    assert_eq!(world.error("topic").outcome(), Outcome::NotApplied);
}

#[test]
fn when_the_time_is_over_the_last_answer_and_the_doubt_are_reported() {
    let (operation, config) = (Asked::Controller, config());
    let mut world = World::new(&operation, &config, &["topic"]);
    let (_, first) = world.sent(2, 1);
    world.answer(first, Err(Loss::Unknown));
    let error = world.error("topic");
    assert_eq!(
        error.to_string(),
        "the attempt to create topic `topic` at `host:1` took longer than 60000 ms"
    );
    assert_eq!(error.outcome(), Outcome::Unknown);

    let mut world = World::new(&operation, &config, &["topic"]);
    let (_, first) = world.sent(2, 1);
    let slow = ResponseError::RequestTimedOut.code();
    world.answer(first, reply(&[("topic", slow)]));
    let error = world.error("topic");
    assert_eq!(
        error.to_string(),
        "failed to create topic `topic`: RequestTimedOut; see that the cluster's controller and brokers run; it may have been done all the same"
    );
    assert_eq!(error.outcome(), Outcome::Unknown);
}
