//! The coordinator with its journal: what a restart finds, what expires, what is not kept.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::api::Client;
use crate::log::Outcome;
use crate::security::Principal;

const NOW: i64 = 1_700_000_000_000;

const ANYBODY: Reader<'static> = Reader {
    member_id: None,
    epoch: -1,
    stable: false,
};

struct Bench {
    groups: Groups,
    config: Config,
    folder: tempfile::TempDir,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id(name: &str) -> GroupId {
    GroupId(text(name))
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn client() -> Client {
    Client {
        id: Some(text("app")),
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        endpoint: Arc::default(),
        principal: Principal::anonymous(),
    }
}

fn open(path: &Path, config: &Config) -> Groups {
    Groups::open(path, config, Arc::new(testing::NoTopics)).unwrap()
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::ephemeral(folder.path());
        config.clock = Clock::manual(NOW);
        // Nobody wakes the groups of this bench.
        config.group_initial_rebalance_delay_ms = 0;
        let groups = open(&folder.path().join("groups.journal"), &config);
        Bench {
            groups,
            config,
            folder,
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("groups.journal")
    }

    /// As after a kill: nothing was closed.
    fn restart(self) -> Bench {
        let path = self.journal();
        let Bench {
            groups,
            config,
            folder,
        } = self;
        drop(groups);
        Bench {
            groups: open(&path, &config),
            config,
            folder,
        }
    }

    fn commit_as(
        &self,
        group: &str,
        member: Option<(&StrBytes, i32)>,
        offsets: &[(&str, i32, i64)],
    ) -> Vec<i16> {
        let topics = offsets.iter().map(|(name, partition, offset)| {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(text("note")));
            OffsetCommitRequestTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![partition])
        });
        let (member_id, generation) = member
            .map_or((StrBytes::new(), -1), |(member, generation)| {
                (member.clone(), generation)
            });
        let request = OffsetCommitRequest::default()
            .with_group_id(id(group))
            .with_member_id(member_id)
            .with_generation_id_or_member_epoch(generation)
            .with_topics(topics.collect());
        let topics = self.groups.offset_commit(&request, 9, |name, partition| {
            name.as_str() != "missing" && partition < 10
        });
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).collect()
    }

    fn commit(&self, group: &str, offsets: &[(&str, i32, i64)]) {
        let codes = self.commit_as(group, None, offsets);
        assert_eq!(codes, vec![0; offsets.len()]);
    }

    /// Commits in the transaction of a producer.
    fn pend(&self, group: &str, producer_id: i64, (name, partition, offset): (&str, i32, i64)) {
        let committed = offsets::Committed {
            offset,
            leader_epoch: -1,
            metadata: StrBytes::new(),
            at_ms: NOW,
            expires_at_ms: None,
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(id(group))
            .with_generation_id_or_member_epoch(-1);
        let commits = vec![(topic(name), vec![(partition, committed)])];
        let written = self.groups.pend(&request, producer_id, commits).unwrap();
        written.settle().unwrap();
    }

    /// All offsets of a group, as `topic-partition=offset`.
    fn offsets(&self, group: &str) -> Vec<String> {
        let topics = self
            .groups
            .offset_fetch(&id(group), None, &ANYBODY)
            .unwrap();
        let each = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                format!(
                    "{}-{}={}",
                    topic.name.as_str(),
                    partition.partition_index,
                    partition.committed_offset
                )
            })
        });
        each.collect()
    }

    fn names(&self) -> Vec<String> {
        let listed = self.groups.list(&[], &[]);
        listed.iter().map(|one| one.group_id.to_string()).collect()
    }

    fn state(&self, group: &str) -> Option<String> {
        let described = self.groups.describe(&id(group));
        described.ok().map(|one| one.group_state.to_string())
    }

    /// Makes a stable group of one member and returns its id; the generation is 1.
    async fn stable(&self, group: &str) -> StrBytes {
        let joined = self.groups.join(&client(), join(group), 3).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(Bytes::from_static(b"everything"));
        let sync = SyncGroupRequest::default()
            .with_group_id(id(group))
            .with_generation_id(1)
            .with_member_id(joined.member_id.clone())
            .with_assignments(vec![assignment]);
        assert_eq!(self.groups.sync(sync).await.error_code, 0);
        joined.member_id
    }

    fn beat(&self, group: &str, member: &StrBytes, generation: i32) -> Result<(), ResponseError> {
        let request = HeartbeatRequest::default()
            .with_group_id(id(group))
            .with_generation_id(generation)
            .with_member_id(member.clone());
        self.groups.heartbeat(&request)
    }
}

fn join(group: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x05calls"));
    JoinGroupRequest::default()
        .with_group_id(id(group))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

#[test]
fn acknowledged_commits_survive_a_kill() {
    let bench = Bench::new();
    bench.commit("one", &[("calls", 0, 5), ("calls", 1, 6)]);
    bench.commit("one", &[("calls", 0, 7), ("messages", 2, 8)]);
    bench.commit("two", &[("calls", 0, 9)]);
    let bench = bench.restart();
    assert_eq!(
        bench.offsets("one"),
        ["calls-0=7", "calls-1=6", "messages-2=8"]
    );
    assert_eq!(bench.offsets("two"), ["calls-0=9"]);
    assert_eq!(bench.offsets("three"), [""; 0]);
    assert_eq!(bench.names(), ["one", "two"]);
}

#[test]
fn each_partition_of_a_commit_has_its_own_verdict() {
    let bench = Bench::new();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let codes = bench.commit_as(
        "one",
        None,
        &[("calls", 0, 5), ("missing", 0, 6), ("calls", 10, 7)],
    );
    assert_eq!(codes, [0, unknown, unknown]);
    assert_eq!(bench.offsets("one"), ["calls-0=5"]);
}

#[test]
fn a_commit_of_an_unknown_generation_makes_no_group() {
    let bench = Bench::new();
    let member = text("app-1");
    let codes = bench.commit_as("one", Some((&member, 3)), &[("calls", 0, 5)]);
    assert_eq!(codes, [ResponseError::GroupIdNotFound.code()]);
    assert_eq!(bench.names(), [""; 0]);
}

#[tokio::test]
async fn members_of_a_stable_group_go_on_after_a_kill() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let bench = bench.restart();
    assert_eq!(bench.state("one").as_deref(), Some("Stable"));
    assert_eq!(bench.beat("one", &member, 1), Ok(()));
    let codes = bench.commit_as("one", Some((&member, 1)), &[("calls", 0, 5)]);
    assert_eq!(codes, [0]);
    let described = bench.groups.describe(&id("one")).unwrap();
    assert_eq!(described.members[0].client_host, text("/127.0.0.1"));
    assert_eq!(described.members[0].client_id, text("app"));
    assert_eq!(
        described.members[0].member_assignment,
        "everything".as_bytes()
    );
}

#[tokio::test]
async fn a_group_that_was_killed_in_a_rebalance_is_as_before_it() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let client = client();
    tokio::select! {
        biased;
        joined = bench.groups.join(&client, join("one"), 3) => {
            panic!("joined without the other: {joined:?}")
        }
        () = std::future::ready(()) => {}
    }
    assert_eq!(bench.state("one").as_deref(), Some("PreparingRebalance"));
    let bench = bench.restart();
    assert_eq!(bench.state("one").as_deref(), Some("Stable"));
    assert_eq!(bench.beat("one", &member, 1), Ok(()));
}

#[tokio::test]
async fn a_group_in_a_rebalance_is_kept_when_the_journal_is_written_anew() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let leader = join("one").with_member_id(member.clone());
    let rejoined = bench.groups.join(&client(), leader, 5).await;
    assert_eq!(rejoined.generation_id, 2);
    assert_eq!(bench.state("one").as_deref(), Some("CompletingRebalance"));
    fill_until_rewritten(&bench);
    let bench = bench.restart();
    assert_eq!(bench.state("one").as_deref(), Some("Stable"));
    assert_eq!(bench.beat("one", &member, 1), Ok(()));
}

/// Commits to the group "filler" until the journal has shrunk; returns the last offset.
fn fill_until_rewritten(bench: &Bench) -> i64 {
    let mut largest = 0;
    for offset in 0.. {
        bench.commit("filler", &[("calls", 0, offset)]);
        if offset % 1000 == 0 {
            let size = std::fs::metadata(bench.journal()).unwrap().len();
            if size < largest {
                return offset;
            }
            largest = size;
        }
    }
    unreachable!("a journal that never shrinks")
}

#[tokio::test]
async fn a_rewritten_journal_holds_everything_and_stays_small() {
    let bench = Bench::new();
    bench.commit("quiet", &[("calls", 0, 1), ("messages", 3, 2)]);
    let member = bench.stable("members").await;
    let last = fill_until_rewritten(&bench);
    assert!(std::fs::metadata(bench.journal()).unwrap().len() < 1 << 20);
    let bench = bench.restart();
    assert_eq!(bench.offsets("quiet"), ["calls-0=1", "messages-3=2"]);
    assert_eq!(bench.offsets("filler"), [format!("calls-0={last}")]);
    assert_eq!(bench.beat("members", &member, 1), Ok(()));
}

#[tokio::test]
async fn a_commit_to_a_broken_journal_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    bench.commit("one", &[("calls", 0, 1)]);
    bench.groups.lock().ledger.break_journal();
    let codes = bench.commit_as("one", None, &[("calls", 0, 2)]);
    assert_eq!(codes, [ResponseError::KafkaStorageError.code()]);
    let codes = bench.commit_as("two", None, &[("calls", 0, 2)]);
    assert_eq!(codes, [ResponseError::KafkaStorageError.code()]);
    assert_eq!(bench.offsets("one"), ["calls-0=1"]);
    assert_eq!(bench.names(), ["one"]);
    assert_eq!(
        bench.groups.delete(&id("one")),
        Err(ResponseError::KafkaStorageError)
    );
    bench.groups.forget_topic(&topic("calls"));
    assert_eq!(bench.offsets("one"), ["calls-0=1"]);
}

#[tokio::test]
async fn a_deleted_group_is_gone_with_its_offsets_for_good() {
    let bench = Bench::new();
    bench.commit("one", &[("calls", 0, 5)]);
    bench.stable("two").await;
    assert_eq!(bench.groups.delete(&id("one")), Ok(()));
    assert_eq!(
        bench.groups.delete(&id("one")),
        Err(ResponseError::GroupIdNotFound)
    );
    assert_eq!(
        bench.groups.delete(&id("two")),
        Err(ResponseError::NonEmptyGroup)
    );
    let bench = bench.restart();
    assert_eq!(bench.offsets("one"), [""; 0]);
    assert_eq!(bench.names(), ["two"]);
}

#[test]
fn the_offsets_of_a_deleted_topic_are_forgotten_for_good() {
    let bench = Bench::new();
    bench.commit("one", &[("calls", 0, 5), ("messages", 0, 6)]);
    bench.commit("two", &[("calls", 3, 7)]);
    bench.groups.forget_topic(&topic("calls"));
    assert_eq!(bench.offsets("one"), ["messages-0=6"]);
    let bench = bench.restart();
    assert_eq!(bench.offsets("one"), ["messages-0=6"]);
    assert_eq!(bench.offsets("two"), [""; 0]);
}

#[test]
fn expired_offsets_are_forgotten_and_their_group_with_them() {
    let bench = Bench::new();
    let retention =
        Duration::from_millis(u64::try_from(bench.config.offsets_retention_ms).unwrap());
    bench.commit("one", &[("calls", 0, 5)]);
    bench
        .config
        .clock
        .advance(retention - Duration::from_millis(1));
    bench.commit("two", &[("calls", 0, 6)]);
    bench.groups.expire_offsets();
    assert_eq!(bench.names(), ["one", "two"]);
    bench.config.clock.advance(Duration::from_millis(1));
    bench.groups.expire_offsets();
    assert_eq!(bench.names(), ["two"]);
    let bench = bench.restart();
    assert_eq!(bench.names(), ["two"]);
}

#[tokio::test]
async fn a_group_with_members_is_kept_without_offsets() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    bench.groups.expire_offsets();
    assert_eq!(bench.beat("one", &member, 1), Ok(()));
}

#[tokio::test]
async fn a_refused_join_leaves_no_group_behind() {
    let bench = Bench::new();
    let none = join("one").with_protocols(Vec::new());
    let refused = bench.groups.join(&client(), none, 9).await;
    assert_eq!(
        refused.error_code,
        ResponseError::InconsistentGroupProtocol.code()
    );
    let stranger = join("one").with_member_id(text("app-1"));
    let refused = bench.groups.join(&client(), stranger, 9).await;
    assert_eq!(refused.error_code, ResponseError::UnknownMemberId.code());
    let hasty = join("one").with_session_timeout_ms(5999);
    let refused = bench.groups.join(&client(), hasty, 9).await;
    assert_eq!(
        refused.error_code,
        ResponseError::InvalidSessionTimeout.code()
    );
    let nameless = join("");
    let refused = bench.groups.join(&client(), nameless, 9).await;
    assert_eq!(refused.error_code, ResponseError::InvalidGroupId.code());
    assert_eq!(bench.names(), [""; 0]);
}

#[tokio::test]
async fn a_coordinator_that_stops_answers_those_who_wait_and_those_who_come() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let client = client();
    let waiting = bench.groups.join(&client, join("one"), 3);
    let run = bench.groups.run(std::future::ready(()));
    let (waited, ()) = tokio::join!(waiting, run);
    let gone = ResponseError::NotCoordinator;
    assert_eq!(waited.error_code, gone.code());
    assert_eq!(bench.beat("one", &member, 1), Err(gone));
    let late = bench.groups.join(&client, join("two"), 3).await;
    assert_eq!(late.error_code, gone.code());
    assert_eq!(
        bench.commit_as("three", None, &[("calls", 0, 1)]),
        [gone.code()]
    );
    assert_eq!(
        bench.groups.offset_fetch(&id("one"), None, &ANYBODY),
        Err(gone)
    );
    bench.groups.close().unwrap();
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let bench = Bench::new();
    bench.commit("empty", &[("calls", 0, 5)]);
    bench.stable("stable").await;
    let list = |states: &[&str], types: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(|one| text(one)).collect::<Vec<_>>();
        let listed = bench.groups.list(&texts(states), &texts(types));
        let names = listed.iter().map(|one| one.group_id.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(list(&[], &[]), ["empty", "stable"]);
    assert_eq!(list(&["stable"], &[]), ["stable"]);
    assert_eq!(list(&["Empty", "dead"], &["Classic"]), ["empty"]);
    assert_eq!(list(&[], &["consumer"]), [""; 0]);
    let all = bench.groups.list(&[], &[]);
    assert_eq!(all[0].protocol_type, StrBytes::new());
    assert_eq!(all[1].protocol_type, text("consumer"));
    assert_eq!(all[1].group_state, text("Stable"));
    assert_eq!(all[1].group_type, text("classic"));
}

#[test]
fn offsets_of_open_transactions_survive_a_restart() {
    let bench = Bench::new();
    bench.commit("g", &[("calls", 0, 3)]);
    bench.pend("g", 7, ("calls", 0, 5));
    bench.pend("g", 8, ("calls", 0, 9));
    bench.pend("only-pending", 7, ("calls", 1, 2));
    let bench = bench.restart();
    assert_eq!(bench.offsets("g"), ["calls-0=3"]);
    let mut open = bench.groups.open_transactions();
    open.sort();
    let expected = [("g", 7), ("g", 8), ("only-pending", 7)];
    assert_eq!(
        open,
        expected.map(|(group, producer)| (id(group), producer))
    );
    bench
        .groups
        .end_transaction(&id("g"), 7, Outcome::Commit)
        .unwrap();
    bench
        .groups
        .end_transaction(&id("g"), 8, Outcome::Abort)
        .unwrap();
    bench
        .groups
        .end_transaction(&id("only-pending"), 7, Outcome::Abort)
        .unwrap();
    assert_eq!(bench.offsets("g"), ["calls-0=5"]);
    let bench = bench.restart();
    assert_eq!(bench.offsets("g"), ["calls-0=5"]);
    assert_eq!(bench.groups.open_transactions(), []);
    assert_eq!(bench.names(), ["g"]);
}

#[test]
fn the_end_of_a_transaction_does_not_replace_what_was_committed_after_its_offsets() {
    let bench = Bench::new();
    let commit = |bench: &Bench| {
        let ended = bench.groups.end_transaction(&id("g"), 7, Outcome::Commit);
        assert_eq!(ended, Ok(()));
    };
    bench.pend("g", 7, ("calls", 0, 10));
    bench.pend("g", 7, ("calls", 1, 10));
    bench.commit("g", &[("calls", 0, 20)]);
    let bench = bench.restart();
    commit(&bench);
    assert_eq!(bench.offsets("g"), ["calls-0=20", "calls-1=10"]);
    assert_eq!(bench.restart().offsets("g"), ["calls-0=20", "calls-1=10"]);
}

#[test]
fn a_deleted_topic_takes_the_offsets_of_open_transactions_along() {
    let bench = Bench::new();
    bench.pend("g", 7, ("calls", 0, 5));
    bench.groups.forget_topic(&topic("calls"));
    assert_eq!(bench.groups.open_transactions(), []);
    assert_eq!(bench.restart().groups.open_transactions(), []);
}
