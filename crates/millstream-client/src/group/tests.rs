//! Stories of one member and its coordinator, told answer by answer: what it was told it owns, what it commits, what it says when nobody answers.

use std::time::Duration;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchResponse,
    SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::membership::{Change, Settings};
use super::offsets::Settled;
use super::protocol::{Partitions, Subscription, encode_assignment};
use crate::clock::Time;
use crate::cluster::Topic;
use crate::config::Config;
use crate::error::{Error, Outcome};
use crate::exchange::{Answer, Lane, Loss, Outgoing, Ticket};
use crate::fetcher::position::{Position, Start};
use crate::machines::Machines;
use crate::wire::api::{Call, Reply};

const GROUP: &str = "group";
const SESSION: Duration = Duration::from_secs(45);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

struct Story {
    machines: Machines,
    topic: Topic,
    now: Time,
    config: crate::config::Resolved,
    /// Requests that were sent and have no answer.
    open: Vec<Outgoing>,
    partitions: i32,
}

impl Story {
    fn with(properties: &[(&str, &str)]) -> Self {
        let config = properties
            .iter()
            .fold(Config::default(), |config, (name, value)| {
                config.set(name, value).unwrap()
            });
        let config = config.resolve();
        let mut machines = Machines::new(&config);
        let topic = machines.cluster.topic("topic", Time::ZERO);
        let mut story = Self {
            machines,
            topic,
            now: Time::ZERO,
            config,
            open: Vec::new(),
            partitions: 2,
        };
        story.step();
        story
    }

    fn settings(&self, instance: Option<&str>) -> Settings {
        Settings {
            group: GROUP.to_owned(),
            instance: instance.map(str::to_owned),
            request_timeout: self.config.request_timeout,
            retry_backoff: self.config.retry_backoff,
            config: self.config.group.clone(),
        }
    }

    fn join(&mut self, instance: Option<&str>) {
        let settings = self.settings(instance);
        self.machines.join(settings, [self.topic].into(), self.now);
    }

    /// A member that has been assigned partition 0, and knows.
    fn owning() -> Self {
        let mut story = Self::with(&[]);
        story.join(None);
        story.assigned(1, &[0]);
        assert_eq!(story.changes(), ["assigned [0]"]);
        story
    }

    /// Lets the machines act; questions about the cluster are answered at once.
    fn step(&mut self) {
        for _ in 0..10 {
            let mut out = Vec::new();
            self.machines.step(self.now, &mut out);
            if out.is_empty() {
                return;
            }
            for request in out {
                let reply = match &request.call {
                    Call::Metadata(_) => Some(self.metadata()),
                    Call::FindCoordinator(_) => Some(coordinator()),
                    _ => None,
                };
                match reply {
                    Some(reply) => self.machines.answer(request.ticket, Ok(reply), self.now),
                    None => self.open.push(request),
                }
            }
        }
    }

    fn metadata(&self) -> Reply {
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(0))
            .with_host(text("broker"));
        let partitions = (0..self.partitions).map(|number| {
            MetadataResponsePartition::default()
                .with_partition_index(number)
                .with_leader_id(BrokerId(0))
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(text("topic"))))
            .with_partitions(partitions.collect());
        let reply = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_topics(vec![topic]);
        Reply::Metadata(reply)
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    /// Takes the request of this API that has no answer; a pause is waited for.
    fn request(&mut self, api: &str) -> Outgoing {
        for _ in 0..5 {
            self.step();
            let found = |one: &Outgoing| one.call.api().name() == api;
            if let Some(place) = self.open.iter().position(found) {
                return self.open.remove(place);
            }
            self.now += Duration::from_millis(300);
        }
        panic!("no {api} in {:?}", self.apis());
    }

    fn apis(&self) -> Vec<&'static str> {
        let names = self.open.iter().map(|one| one.call.api().name());
        names.collect()
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.machines.answer(ticket, answer, self.now);
        self.step();
    }

    fn reply(&mut self, api: &str, reply: Reply) -> Outgoing {
        let request = self.request(api);
        self.answer(request.ticket, Ok(reply));
        request
    }

    fn lost(&mut self, api: &str) {
        let request = self.request(api);
        self.answer(request.ticket, Err(Loss::Unknown));
    }

    /// The coordinator lets the member join, and assigns these partitions.
    fn assigned(&mut self, generation: i32, partitions: &[i32]) {
        self.reply("JoinGroup", joined(generation));
        self.reply("SyncGroup", synced(partitions));
    }

    fn changes(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        while let Some(change) = self.machines.membership.as_mut().unwrap().next_change() {
            let numbers = |places: Vec<(Topic, i32)>| {
                let numbers: Vec<i32> = places.into_iter().map(|place| place.1).collect();
                format!("{numbers:?}")
            };
            changes.push(match change {
                Change::Assigned(_, places) => format!("assigned {}", numbers(places)),
                Change::Revoked(places) => format!("revoked {}", numbers(places)),
                Change::Lost(places) => format!("lost {}", numbers(places)),
                Change::Left(Ok(())) => "left".to_owned(),
                Change::Left(Err(error)) => format!("left: {error}"),
            });
        }
        changes
    }

    fn commit(&mut self, places: &[(i32, i64)]) -> u64 {
        let next: Vec<_> = places
            .iter()
            .map(|(partition, offset)| ((self.topic, *partition), Position::at(*offset)))
            .collect();
        let number = self.machines.commit(GROUP, &next, self.now);
        self.step();
        number
    }

    /// What came of commits.
    fn settled(&mut self) -> Vec<Result<(), Error>> {
        let settled = self.machines.offsets.settled.drain(..);
        let results = settled.map(|one| match one {
            Settled::Committed(_, result) => result,
            Settled::Read(_, result) => result.map(drop),
        });
        results.collect()
    }

    fn refusals(&mut self) -> Vec<(String, Outcome)> {
        let settled = self.settled().into_iter();
        let refused = settled.map(|one| one.unwrap_err());
        refused
            .map(|error| (error.to_string(), error.outcome()))
            .collect()
    }
}

fn coordinator() -> Reply {
    let found = Found::default()
        .with_node_id(BrokerId(0))
        .with_host(text("broker"));
    Reply::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(vec![found]))
}

fn joined(generation: i32) -> Reply {
    let reply = JoinGroupResponse::default()
        .with_generation_id(generation)
        .with_member_id(text("member"))
        .with_leader(text("another"));
    Reply::JoinGroup(reply)
}

fn synced(partitions: &[i32]) -> Reply {
    let assigned = Partitions::from([("topic".to_owned(), partitions.iter().copied().collect())]);
    Reply::SyncGroup(SyncGroupResponse::default().with_assignment(encode_assignment(&assigned)))
}

fn beaten(code: i16) -> Reply {
    Reply::Heartbeat(HeartbeatResponse::default().with_error_code(code))
}

fn committed(codes: &[(i32, i16)]) -> Reply {
    let partitions = codes.iter().map(|(number, code)| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(*number)
            .with_error_code(*code)
    });
    let topic = OffsetCommitResponseTopic::default()
        .with_name(TopicName(text("topic")))
        .with_partitions(partitions.collect());
    Reply::OffsetCommit(OffsetCommitResponse::default().with_topics(vec![topic]))
}

fn offsets_of(request: &Outgoing) -> Vec<(i32, i64)> {
    let Call::OffsetCommit(OffsetCommitRequest { topics, .. }) = &request.call else {
        panic!("not a commit: {request:?}");
    };
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|one| (one.partition_index, one.committed_offset))
        .collect()
}

const NOT_ASSIGNED: &str = "failed to commit `topic` partition 0 for group `group`: it is no longer assigned to this member";

/// A coordinator froze with a commit; others have gone on from there before the partition came back.
#[test]
fn a_commit_of_an_earlier_ownership_is_refused_though_the_partition_is_owned_again() {
    let mut story = Story::owning();
    story.commit(&[(0, 100)]);
    let frozen = story.request("OffsetCommit");
    story.later(SESSION);
    assert_eq!(story.changes(), ["lost [0]"]);
    story.assigned(7, &[0]);
    assert_eq!(story.changes(), ["assigned [0]"]);
    story.answer(frozen.ticket, Err(Loss::Unknown));
    story.later(Duration::from_secs(2));
    assert!(
        !story.apis().contains(&"OffsetCommit"),
        "the old offset goes out in the new generation"
    );
    let (text, _) = story.refusals().remove(0);
    assert!(text.starts_with(NOT_ASSIGNED), "{text}");
}

/// The application is in the middle of a chunk and has not seen that its partition was lost and has come back.
#[test]
fn what_an_application_commits_belongs_to_the_ownership_that_it_knows_of() {
    let mut story = Story::owning();
    story.later(SESSION);
    story.assigned(7, &[0]);
    story.commit(&[(0, 100)]);
    assert!(!story.apis().contains(&"OffsetCommit"));
    assert_eq!(story.refusals()[0].0, NOT_ASSIGNED);
    assert_eq!(story.changes(), ["lost [0]", "assigned [0]"]);
    story.commit(&[(0, 200)]);
    let request = story.reply("OffsetCommit", committed(&[(0, 0)]));
    assert_eq!(offsets_of(&request), [(0, 200)]);
}

#[test]
fn offsets_of_an_earlier_ownership_break_their_transaction() {
    let mut story = Story::with(&[("transactional.id", "id")]);
    story.join(None);
    story.assigned(1, &[0]);
    story.changes();
    story.machines.transaction.as_mut().unwrap().begin();
    story.later(SESSION);
    story.assigned(7, &[0]);
    let next = [((story.topic, 0), Position::at(100))];
    let claims = story.machines.claims(GROUP, &next);
    let transaction = story.machines.transaction.as_mut().unwrap();
    transaction.offsets(GROUP, claims);
    transaction.end(crate::transaction::Ended::Committed);
    let id = kafka_protocol::messages::InitProducerIdResponse::default();
    let id = id.with_producer_id(7.into());
    story.reply("InitProducerId", Reply::InitProducerId(id));
    let group = kafka_protocol::messages::AddOffsetsToTxnResponse::default();
    story.reply("AddOffsetsToTxn", Reply::AddOffsetsToTxn(group));
    story.later(Duration::from_secs(1));
    assert!(!story.apis().contains(&"TxnOffsetCommit"));
    let ended = story
        .machines
        .transaction
        .as_mut()
        .unwrap()
        .ended
        .pop_front();
    let error = ended.unwrap().unwrap_err();
    assert_eq!(error.class(), crate::error::Class::Abortable);
}

#[test]
fn one_heartbeat_without_an_answer_costs_no_partition() {
    let mut story = Story::owning();
    story.later(Duration::from_secs(3));
    let beat = story.request("Heartbeat");
    assert!(beat.patience <= SESSION / 2, "{:?}", beat.patience);
    story.now += SESSION / 2;
    story.answer(beat.ticket, Err(Loss::Unknown));
    let again = story.request("Heartbeat");
    story.now += SESSION / 3;
    story.answer(again.ticket, Ok(beaten(0)));
    story.later(SESSION / 3);
    assert_eq!(story.changes(), Vec::<String>::new());
}

#[test]
fn a_new_generation_is_confirmed_though_a_heartbeat_of_the_one_before_has_no_answer() {
    let mut story = Story::owning();
    story.later(Duration::from_secs(3));
    let _frozen = story.request("Heartbeat");
    story.commit(&[(0, 5)]);
    let again = Code::RebalanceInProgress.code();
    story.reply("OffsetCommit", committed(&[(0, again)]));
    story.assigned(2, &[0]);
    story.later(Duration::from_secs(3));
    assert!(story.apis().contains(&"Heartbeat"), "{:?}", story.apis());
}

#[test]
fn whoever_leaves_or_joins_another_group_reads_nothing_of_the_first_any_more() {
    for replace in [false, true] {
        let mut story = Story::owning();
        let place = (story.topic, 0);
        story.machines.fetcher.assign(place, Start::Earliest);
        story.step();
        if replace {
            story.join(None);
        } else {
            story.machines.leave(story.now + SESSION);
        }
        assert!(story.machines.fetcher.reading(place).is_none());
        if !replace {
            story.reply(
                "LeaveGroup",
                Reply::LeaveGroup(LeaveGroupResponse::default()),
            );
            assert_eq!(story.changes(), ["lost [0]", "left"]);
        } else {
            assert_eq!(story.changes(), ["lost [0]"]);
        }
    }
}

#[test]
fn answers_to_a_membership_before_find_nothing() {
    let mut story = Story::with(&[]);
    story.join(None);
    let first = story.request("JoinGroup");
    story.join(None);
    let second = story.request("JoinGroup");
    assert!(first.ticket != second.ticket);
    story.answer(first.ticket, Ok(joined(3)));
    story.later(Duration::from_secs(1));
    assert_eq!(story.apis(), Vec::<&str>::new(), "the old answer was taken");
}

#[test]
fn what_was_committed_before_leaving_is_committed_first() {
    let mut story = Story::owning();
    story
        .machines
        .commit(GROUP, &[((story.topic, 0), Position::at(9))], story.now);
    story.machines.leave(story.now + SESSION);
    story.step();
    assert_eq!(story.apis(), ["OffsetCommit"]);
    story.reply("OffsetCommit", committed(&[(0, 0)]));
    story.reply(
        "LeaveGroup",
        Reply::LeaveGroup(LeaveGroupResponse::default()),
    );
    assert_eq!(story.settled().len(), 1);
}

/// The application ends the work on an earlier revocation while the next one is on its way to it.
#[test]
fn a_release_gives_up_only_what_the_application_knows_to_be_revoked() {
    let mut story = Story::with(&[("partition.assignment.strategy", "range")]);
    story.join(None);
    story.assigned(1, &[0]);
    story.changes();
    story.later(Duration::from_secs(3));
    story.reply("Heartbeat", beaten(Code::RebalanceInProgress.code()));
    story.machines.membership.as_mut().unwrap().release();
    story.later(Duration::from_secs(1));
    assert_eq!(story.apis(), Vec::<&str>::new(), "it was released unseen");
    assert_eq!(story.changes(), ["revoked [0]"]);
    story.machines.membership.as_mut().unwrap().release();
    story.request("JoinGroup");
}

#[test]
fn only_what_was_refused_is_committed_again() {
    let mut story = Story::with(&[]);
    story.join(None);
    story.assigned(1, &[0, 1]);
    story.changes();
    story.commit(&[(0, 10), (1, 20)]);
    let unknown = Code::UnknownTopicOrPartition.code();
    story.reply("OffsetCommit", committed(&[(0, 0), (1, unknown)]));
    let again = story.request("OffsetCommit");
    assert_eq!(offsets_of(&again), [(1, 20)]);
}

#[test]
fn a_commit_that_was_lost_once_is_unknown_whatever_is_said_later() {
    let mut story = Story::owning();
    story.commit(&[(0, 10)]);
    story.lost("OffsetCommit");
    let refused = Code::OffsetMetadataTooLarge.code();
    story.reply("OffsetCommit", committed(&[(0, refused)]));
    assert_eq!(story.refusals()[0].1, Outcome::Unknown);
}

#[test]
fn an_answer_that_names_no_partition_is_no_success() {
    let mut story = Story::owning();
    story.commit(&[(0, 10)]);
    story.reply("OffsetCommit", committed(&[]));
    assert!(story.settled().is_empty());
    let again = story.request("OffsetCommit");
    story.answer(again.ticket, Ok(committed(&[(0, 0)])));
    assert_eq!(story.settled().len(), 1);

    let places = vec![(story.topic, 0)];
    story.machines.offsets.read(GROUP, places, story.now);
    let nothing = OffsetFetchResponse::default();
    story.reply("OffsetFetch", Reply::OffsetFetch(nothing));
    let group = OffsetFetchResponseGroup::default();
    let silent = OffsetFetchResponse::default().with_groups(vec![group]);
    story.reply("OffsetFetch", Reply::OffsetFetch(silent));
    assert!(story.settled().is_empty(), "records would be skipped");
}

#[test]
fn what_is_committed_does_not_wait_behind_a_join() {
    let mut story = Story::with(&[]);
    story.join(None);
    let join = story.request("JoinGroup");
    let places = vec![(story.topic, 0)];
    story.machines.offsets.read(GROUP, places, story.now);
    let read = story.request("OffsetFetch");
    assert!(join.lane == Lane::Group && read.lane != join.lane);
}

/// KIP-814: a static leader that comes back within its session is told all members, so that it can go on watching their topics.
#[test]
fn a_static_leader_that_comes_back_notices_that_a_topic_grows() {
    let mut story = Story::with(&[]);
    story.join(Some("instance"));
    let subscription = Subscription {
        topics: ["topic".to_owned()].into(),
        owned: Partitions::new(),
        generation: -1,
    };
    let member = JoinGroupResponseMember::default()
        .with_member_id(text("member"))
        .with_metadata(subscription.encode());
    let reply = JoinGroupResponse::default()
        .with_generation_id(4)
        .with_member_id(text("member"))
        .with_leader(text("member"))
        .with_skip_assignment(true)
        .with_members(vec![member]);
    story.reply("JoinGroup", Reply::JoinGroup(reply));
    let sync = story.request("SyncGroup");
    let Call::SyncGroup(request) = &sync.call else {
        panic!("not a sync");
    };
    assert!(request.assignments.is_empty());
    story.answer(sync.ticket, Ok(synced(&[0, 1])));
    story.partitions = 3;
    story.machines.cluster.stale(story.now);
    story.later(Duration::from_secs(1));
    story.request("JoinGroup");
}

#[test]
fn a_member_that_is_always_sent_back_pauses() {
    let mut story = Story::with(&[]);
    story.join(None);
    let mut joins = 0;
    for _ in 0..50 {
        story.step();
        for request in std::mem::take(&mut story.open) {
            joins += 1;
            let code = Code::MemberIdRequired.code();
            let reply = JoinGroupResponse::default().with_error_code(code);
            story.answer(request.ticket, Ok(Reply::JoinGroup(reply)));
        }
        story.now += Duration::from_millis(1);
    }
    assert!(joins <= 3, "{joins} joins in 50 ms");
}

/// What the coordinator says of the group, or of this client, for good.
#[test]
fn a_refusal_to_name_the_coordinator_ends_the_membership() {
    let mut story = Story::with(&[]);
    story.join(None);
    let mut out = Vec::new();
    story.machines.step(story.now, &mut out);
    let asked = |one: &&Outgoing| matches!(one.call, Call::FindCoordinator(_));
    let ticket = out.iter().find(asked).unwrap().ticket;
    let refused = Found::default().with_error_code(Code::GroupAuthorizationFailed.code());
    let reply = FindCoordinatorResponse::default().with_coordinators(vec![refused]);
    story.answer(ticket, Ok(Reply::FindCoordinator(reply)));
    let changes = story.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("left: FindCoordinator of group `group` failed"));
}

/// confluentinc/librdkafka#4672: the answer to a heartbeat comes while the member leaves.
#[test]
fn a_heartbeat_in_flight_changes_nothing_for_whoever_leaves() {
    for code in [Code::UnknownMemberId, Code::RebalanceInProgress] {
        let mut story = Story::owning();
        story.later(Duration::from_secs(3));
        let beat = story.request("Heartbeat");
        story.machines.leave(story.now + SESSION);
        let leave = story.request("LeaveGroup");
        story.answer(beat.ticket, Ok(beaten(code.code())));
        let left = LeaveGroupResponse::default();
        story.answer(leave.ticket, Ok(Reply::LeaveGroup(left)));
        assert_eq!(story.changes(), ["lost [0]", "left"]);
        story.later(SESSION);
        assert_eq!(story.apis(), Vec::<&str>::new());
    }
}

/// confluentinc/librdkafka#2933: a commit fails in a rebalance, and reading goes on after it.
#[test]
fn a_commit_that_meets_a_rebalance_is_done_after_it_and_reading_goes_on() {
    let mut story = Story::owning();
    let place = (story.topic, 0);
    let start = Start::Offset(Position::at(10));
    story.machines.fetcher.assign(place, start);
    story.step();
    let fetch = story.request("Fetch");
    story.commit(&[(0, 10)]);
    let again = Code::RebalanceInProgress.code();
    story.reply("OffsetCommit", committed(&[(0, again)]));
    story.assigned(2, &[0]);
    let commit = story.request("OffsetCommit");
    let Call::OffsetCommit(request) = &commit.call else {
        panic!("not a commit");
    };
    assert_eq!(request.generation_id_or_member_epoch, 2);
    story.answer(commit.ticket, Ok(committed(&[(0, 0)])));
    assert_eq!(story.settled().len(), 1);
    assert_eq!(story.changes(), Vec::<String>::new());
    story.answer(fetch.ticket, Err(Loss::Unknown));
    story.request("Fetch");
}
