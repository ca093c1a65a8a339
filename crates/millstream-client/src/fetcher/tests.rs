//! Stories of a reader: each happened to a user of some client (twmb/franz-go#1222, #1272, IBM/sarama#2365, confluentinc/librdkafka#4162,
//! dpkp/kafka-python#3131, thomhurst/Dekaf#2276), and ends here with the right records.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::config::Config;
use crate::fetcher::position::Position;
use crate::wire::batch::{Header, Producer};
use crate::wire::builder::Builder;
use crate::wire::compression::Compression;
use crate::wire::fetched::{Fetched, FetchedPartition};

const TOPIC: &str = "topic";
/// The leader's epoch at the start.
const EPOCH: i32 = 5;

struct Story {
    fetcher: Fetcher,
    cluster: Cluster,
    topic: Topic,
    now: Time,
}

/// A fetch that went out: its number, and partition, offset and leader's epoch of each part.
type Asked = (u64, Vec<(i32, i64, i32)>);

impl Story {
    fn with(properties: &[(&str, &str)]) -> Self {
        let config = properties
            .iter()
            .fold(Config::default(), |config, (name, value)| {
                config.set(name, value).unwrap()
            });
        let config = config.resolve();
        let mut cluster = Cluster::new(config.clone());
        let topic = cluster.topic(TOPIC, Time::ZERO);
        let mut story = Self {
            fetcher: Fetcher::new(&config),
            cluster,
            topic,
            now: Time::ZERO,
        };
        story.led_by(0, EPOCH);
        story
    }

    fn begun() -> Self {
        Self::with(&[("auto.offset.reset", "earliest")])
    }

    /// All three partitions have this leader now, as metadata says.
    fn led_by(&mut self, node: Node, epoch: i32) {
        self.now += Duration::from_secs(5);
        self.cluster.stale(self.now);
        let mut out = Vec::new();
        let step = &mut Step {
            now: self.now,
            out: &mut out,
        };
        self.cluster.step(step);
        let brokers = (0..2).map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node))
                .with_host(StrBytes::from_static_str("broker"))
        });
        let partitions = (0..3).map(|number| {
            MetadataResponsePartition::default()
                .with_partition_index(number)
                .with_leader_id(BrokerId(node))
                .with_leader_epoch(epoch)
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(self.cluster.topic_name(self.topic)))
            .with_partitions(partitions.collect());
        let metadata = MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_topics(vec![topic]);
        let ticket = out.pop().unwrap().ticket;
        let reply = Reply::Metadata(metadata);
        self.cluster.answer(ticket.number, Ok(reply), self.now);
    }

    fn assign(&mut self, partition: i32, offset: i64) {
        let start = Start::Offset(Position::at(offset));
        self.fetcher.assign((self.topic, partition), start);
    }

    fn out(&mut self) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let step = &mut Step {
            now: self.now,
            out: &mut out,
        };
        self.fetcher.step(step, &mut self.cluster);
        out
    }

    /// The one fetch that goes out now.
    fn fetch(&mut self) -> Asked {
        let mut fetches = self.fetches();
        assert_eq!(fetches.len(), 1, "{fetches:?}");
        fetches.remove(0)
    }

    fn fetches(&mut self) -> Vec<Asked> {
        let fetch = |one: Outgoing| match one.call {
            Call::Fetch(request) => {
                let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                let parts = partitions
                    .map(|one| (one.partition, one.fetch_offset, one.current_leader_epoch));
                Some((one.ticket.number, parts.collect()))
            }
            _ => None,
        };
        self.out().into_iter().filter_map(fetch).collect()
    }

    fn answer(&mut self, number: u64, partitions: Vec<FetchedPartition>) {
        let fetched = Fetched {
            partitions,
            ..Fetched::default()
        };
        self.reply(number, Ok(Reply::Fetch(fetched)));
    }

    fn reply(&mut self, number: u64, answer: Answer) {
        self.fetcher
            .answer(number, answer, self.now, &mut self.cluster);
    }

    /// Partition and offset of every record that is handed out now.
    fn taken(&mut self) -> Vec<(i32, i64)> {
        let mut taken = Vec::new();
        while let Some(chunk) = self.fetcher.take(&self.cluster) {
            for record in chunk.records() {
                taken.push((chunk.partition, record.unwrap().offset));
            }
        }
        taken
    }

    fn told(&mut self) -> Vec<String> {
        let told = self.fetcher.told.drain(..).map(|told| match told {
            Told::Gone((_, partition), from, to) => format!("{partition} gone {from}..{to}"),
            Told::Truncated((_, partition), from, to) => {
                format!("{partition} truncated {from} to {to}")
            }
            Told::Halted((_, partition), error) => format!("{partition} halted: {error}"),
        });
        told.collect()
    }

    /// Answers the question for an offset.
    fn offset_is(&mut self, partition: i32, offset: i64) {
        let out = self.out();
        let asked = out
            .iter()
            .find(|one| matches!(one.call, Call::ListOffsets(_)));
        let number = asked.unwrap().ticket.number;
        let found = ListOffsetsPartitionResponse::default()
            .with_partition_index(partition)
            .with_offset(offset);
        let topic = ListOffsetsTopicResponse::default().with_partitions(vec![found]);
        let reply = ListOffsetsResponse::default().with_topics(vec![topic]);
        self.reply(number, Ok(Reply::ListOffsets(reply)));
    }

    /// Answers the question where an epoch ended.
    fn epoch_ended(&mut self, partition: i32, epoch: i32, end: i64) {
        let out = self.out();
        let asked = out
            .iter()
            .find(|one| matches!(one.call, Call::OffsetForLeaderEpoch(_)));
        let number = asked.unwrap().ticket.number;
        let found = EpochEndOffset::default()
            .with_partition(partition)
            .with_leader_epoch(epoch)
            .with_end_offset(end);
        let topic = OffsetForLeaderTopicResult::default().with_partitions(vec![found]);
        let reply = OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
        self.reply(number, Ok(Reply::OffsetForLeaderEpoch(reply)));
    }
}

/// A batch of records at these offsets, by this producer; the attributes are those of Kafka.
fn batch(from: i64, count: i32, (producer, attributes): (i64, i16), key: Option<&[u8]>) -> Vec<u8> {
    let mut builder = Builder::default();
    for _ in 0..count {
        builder.append(0, key, Some(b"value"), &[]);
    }
    let stamp = Producer {
        id: producer,
        epoch: 0,
        sequence: 0,
    };
    let sealed = builder.seal(Compression::None, stamp, false).unwrap();
    let mut bytes = sealed.bytes().to_vec();
    let header = Header {
        base_offset: from,
        leader_epoch: EPOCH,
        attributes,
        ..*sealed.header()
    };
    header.seal(&mut bytes);
    bytes
}

fn plain(from: i64, count: i32) -> Vec<u8> {
    batch(from, count, (-1, 0), None)
}

fn of(partition: i32, records: Vec<u8>) -> FetchedPartition {
    FetchedPartition {
        topic: TOPIC.into(),
        partition,
        error: 0,
        high_watermark: 1000,
        last_stable: 1000,
        log_start: 0,
        diverging: None,
        leader: None,
        aborted: Vec::new(),
        preferred_replica: -1,
        records: Bytes::from(records),
    }
}

fn failed(partition: i32, code: ResponseError) -> FetchedPartition {
    FetchedPartition {
        error: code.code(),
        ..of(partition, Vec::new())
    }
}

#[test]
fn records_of_an_earlier_assignment_or_position_are_dropped() {
    let mut story = Story::begun();
    story.assign(0, 10);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 10, EPOCH)]);
    story.fetcher.unassign((story.topic, 0));
    story.assign(0, 500);
    story.answer(number, vec![of(0, plain(10, 5))]);
    assert_eq!(story.taken(), []);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 500, EPOCH)]);
    story.answer(number, vec![of(0, plain(500, 2))]);
    let seek = Start::Offset(Position::at(700));
    story.fetcher.seek((story.topic, 0), seek);
    assert_eq!(
        story.taken(),
        [],
        "what was fetched before a seek came after it"
    );
    assert_eq!(story.fetch().1, [(0, 700, EPOCH)]);
}

#[test]
fn a_partition_that_was_paused_when_it_was_taken_away_comes_back_unpaused() {
    let mut story = Story::begun();
    story.assign(0, 0);
    story.fetcher.pause((story.topic, 0), true);
    story.fetcher.unassign((story.topic, 0));
    story.assign(0, 0);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, plain(0, 3))]);
    assert_eq!(story.taken().len(), 3);
}

#[test]
fn what_is_fetched_during_a_pause_is_returned_after_it_and_nothing_more_is_asked_for() {
    let mut story = Story::begun();
    story.assign(0, 0);
    let (number, _) = story.fetch();
    story.fetcher.pause((story.topic, 0), true);
    story.answer(number, vec![of(0, plain(0, 3))]);
    assert_eq!(story.taken(), []);
    assert_eq!(story.fetches(), []);
    story.fetcher.pause((story.topic, 0), false);
    assert_eq!(story.taken(), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn one_request_is_ahead_of_what_was_taken_and_no_more() {
    let mut story = Story::with(&[("max.partition.fetch.bytes", "100")]);
    story.assign(0, 0);
    let (number, _) = story.fetch();
    assert_eq!(story.fetches(), [], "two requests at once to one broker");
    story.answer(number, vec![of(0, plain(0, 3))]);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 3, EPOCH)]);
    story.answer(number, vec![of(0, plain(3, 3))]);
    assert_eq!(story.fetches(), [], "nothing was taken yet");
    assert_eq!(story.taken().len(), 6);
    assert_eq!(story.fetch().1, [(0, 6, EPOCH)]);
}

#[test]
fn records_before_the_position_are_left_out_of_the_batch_that_holds_them() {
    let mut story = Story::begun();
    story.assign(0, 12);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, plain(10, 4))]);
    assert_eq!(story.taken(), [(0, 12), (0, 13)]);
}

#[test]
fn an_error_of_one_partition_holds_up_no_other_and_moves_no_position() {
    for code in [
        ResponseError::NotLeaderOrFollower,
        ResponseError::FencedLeaderEpoch,
        ResponseError::UnknownLeaderEpoch,
        ResponseError::OffsetNotAvailable,
        ResponseError::ReplicaNotAvailable,
    ] {
        let mut story = Story::begun();
        story.assign(0, 100);
        story.assign(1, 200);
        let (number, parts) = story.fetch();
        assert_eq!(parts.len(), 2);
        story.answer(number, vec![failed(0, code), of(1, plain(200, 1))]);
        assert_eq!(story.taken(), [(1, 200)]);
        let (number, parts) = story.fetch();
        assert_eq!(parts, [(1, 201, EPOCH)], "no pause before the retry");
        story.answer(number, Vec::new());
        story.now += Duration::from_secs(2);
        assert_eq!(story.fetch().1, [(0, 100, EPOCH), (1, 201, EPOCH)]);
        assert_eq!(story.told(), Vec::<String>::new());
    }
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again() {
    let mut story = Story::begun();
    story.assign(0, 7);
    let (number, _) = story.fetch();
    story.reply(number, Err(Loss::Unknown));
    story.now += Duration::from_secs(2);
    assert_eq!(story.fetch().1, [(0, 7, EPOCH)]);
}

#[test]
fn a_position_out_of_range_is_told_with_the_exact_gap() {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, _) = story.fetch();
    story.answer(number, vec![failed(0, ResponseError::OffsetOutOfRange)]);
    assert_eq!(story.told(), Vec::<String>::new());
    story.offset_is(0, 350);
    assert_eq!(story.told(), ["0 gone 100..350"]);
    assert_eq!(story.fetch().1, [(0, 350, EPOCH)]);
}

#[test]
fn without_a_rule_for_it_a_position_out_of_range_waits_for_a_seek() {
    let mut story = Story::with(&[("auto.offset.reset", "none")]);
    story.assign(0, 100);
    let (number, _) = story.fetch();
    story.answer(number, vec![failed(0, ResponseError::OffsetOutOfRange)]);
    let told = story.told();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("0 halted: Fetch of topic/0 failed"),
        "{told:?}"
    );
    assert_eq!(story.fetches(), []);
    story
        .fetcher
        .seek((story.topic, 0), Start::Offset(Position::at(9)));
    assert_eq!(story.fetch().1, [(0, 9, EPOCH)]);
}

/// A reader whose next record is 105, read under epoch 5.
fn read_to_105() -> Story {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, plain(100, 5))]);
    assert_eq!(story.taken().len(), 5);
    story
}

#[test]
fn a_log_that_was_truncated_below_the_position_is_told_and_read_from_where_it_parts() {
    let mut story = read_to_105();
    story.led_by(1, EPOCH + 1);
    story.epoch_ended(0, EPOCH, 103);
    assert_eq!(story.told(), ["0 truncated 105 to 103"]);
    assert_eq!(story.fetch().1, [(0, 103, EPOCH + 1)]);
}

#[test]
fn a_new_leader_with_the_same_records_is_read_on_without_a_word() {
    let mut story = read_to_105();
    story.led_by(1, EPOCH + 1);
    story.epoch_ended(0, EPOCH, 400);
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.fetch().1, [(0, 105, EPOCH + 1)]);
}

#[test]
fn what_was_fetched_from_the_leader_before_and_is_truncated_is_never_handed_out() {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, plain(100, 5))]);
    story.led_by(1, EPOCH + 1);
    story.epoch_ended(0, EPOCH, 102);
    assert_eq!(story.taken(), []);
    assert_eq!(
        story.told(),
        Vec::<String>::new(),
        "nobody has seen what is gone"
    );
    assert_eq!(story.fetch().1, [(0, 100, EPOCH + 1)]);
}

#[test]
fn a_leader_of_an_older_epoch_is_not_gone_back_to() {
    let mut story = read_to_105();
    story.led_by(1, EPOCH + 1);
    story.epoch_ended(0, EPOCH, 400);
    story.led_by(0, EPOCH);
    let out = story.out();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].target, Target::Node(1));
}

#[test]
fn records_of_aborted_transactions_and_markers_are_skipped_and_passed_over() {
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x30;
    let (abort, commit) = ([0, 0, 0, 0], [0, 0, 0, 1]);
    let log = [
        batch(0, 2, (7, TRANSACTIONAL), None),
        batch(2, 2, (8, TRANSACTIONAL), None),
        plain(4, 1),
        batch(5, 1, (7, CONTROL), Some(&abort)),
        // The same producer, in its next transaction.
        batch(6, 2, (7, TRANSACTIONAL), None),
        batch(8, 1, (8, CONTROL), Some(&commit)),
        batch(9, 1, (7, CONTROL), Some(&commit)),
    ];
    let mut story = Story::begun();
    story.assign(0, 0);
    let out = story.out();
    let Call::Fetch(request) = &out[0].call else {
        panic!("not a fetch");
    };
    assert_eq!(request.isolation_level, 1);
    let fetched = FetchedPartition {
        aborted: vec![(7, 0)],
        ..of(0, log.concat())
    };
    story.answer(out[0].ticket.number, vec![fetched]);
    assert_eq!(story.taken(), [(0, 2), (0, 3), (0, 4), (0, 6), (0, 7)]);
    let position = story.fetcher.reading((story.topic, 0)).unwrap().position;
    assert_eq!(
        position.offset, 10,
        "the position stands behind the last marker"
    );
}

#[test]
fn a_damaged_batch_halts_its_partition_by_name_and_no_other() {
    let mut damaged = plain(10, 2);
    damaged[70] ^= 1;
    let mut story = Story::begun();
    story.assign(0, 10);
    story.assign(1, 0);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, damaged), of(1, plain(0, 1))]);
    assert_eq!(story.taken(), [(1, 0)]);
    assert_eq!(
        story.told(),
        ["0 halted: failed to read the records of `topic` partition 0 at offset 10"]
    );
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(1, 1, EPOCH)]);
    story.seek(0, 12);
    story.now += Duration::from_secs(1);
    assert_eq!(story.fetches(), [], "one request at a time");
    story.answer(number, Vec::new());
    assert_eq!(story.fetch().1, [(0, 12, EPOCH), (1, 1, EPOCH)]);
}

#[test]
fn a_first_batch_that_is_cut_off_is_damage_and_a_later_one_is_not() {
    let mut story = Story::begun();
    story.assign(0, 0);
    let (number, _) = story.fetch();
    let mut two = [plain(0, 2), plain(2, 2)].concat();
    two.truncate(two.len() - 3);
    story.answer(number, vec![of(0, two)]);
    assert_eq!(story.taken(), [(0, 0), (0, 1)]);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 2, EPOCH)]);
    let mut one = plain(2, 2);
    one.truncate(one.len() - 3);
    story.answer(number, vec![of(0, one)]);
    assert_eq!(story.taken(), []);
    assert_eq!(story.told().len(), 1);
}

#[test]
fn a_broker_that_asks_to_be_left_alone_is() {
    let mut story = Story::begun();
    story.assign(0, 0);
    let (number, _) = story.fetch();
    let fetched = Fetched {
        throttle_ms: 3000,
        ..Fetched::default()
    };
    story.reply(number, Ok(Reply::Fetch(fetched)));
    assert_eq!(story.fetches(), []);
    assert_eq!(
        story.fetcher.wake_at(),
        Some(story.now + Duration::from_secs(3))
    );
    story.now += Duration::from_secs(3);
    assert_eq!(story.fetch().1, [(0, 0, EPOCH)]);
}

#[test]
fn a_broker_that_has_forgotten_the_session_is_told_everything_again_at_once() {
    let mut story = Story::begun();
    story.assign(0, 0);
    story.assign(1, 0);
    let (number, _) = story.fetch();
    let in_session = |partitions| {
        Ok(Reply::Fetch(Fetched {
            session_id: 9,
            partitions,
            ..Fetched::default()
        }))
    };
    story.reply(number, in_session(vec![of(0, plain(0, 1))]));
    assert_eq!(story.taken(), [(0, 0)]);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 1, EPOCH)], "only what has changed is named");
    // Partition 1 was not named, and has records.
    story.reply(number, in_session(vec![of(1, plain(0, 1))]));
    assert_eq!(story.taken(), [(1, 0)]);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(1, 1, EPOCH)]);
    let gone = Fetched {
        error: ResponseError::FetchSessionIdNotFound.code(),
        ..Fetched::default()
    };
    story.reply(number, Ok(Reply::Fetch(gone)));
    assert_eq!(story.fetch().1, [(0, 1, EPOCH), (1, 1, EPOCH)]);
}

#[test]
fn after_a_lost_answer_the_session_names_everything_again() {
    let mut story = Story::begun();
    story.assign(0, 0);
    story.assign(1, 0);
    let (number, _) = story.fetch();
    let first = Fetched {
        session_id: 9,
        partitions: vec![of(0, plain(0, 1))],
        ..Fetched::default()
    };
    story.reply(number, Ok(Reply::Fetch(first)));
    assert_eq!(story.taken(), [(0, 0)]);
    let (number, _) = story.fetch();
    story.reply(number, Err(Loss::Unknown));
    story.now += Duration::from_secs(2);
    assert_eq!(story.fetch().1, [(0, 1, EPOCH), (1, 0, EPOCH)]);
}

impl Story {
    fn seek(&mut self, partition: i32, offset: i64) {
        let start = Start::Offset(Position::at(offset));
        self.fetcher.seek((self.topic, partition), start);
    }

    /// The question that goes out now, before anything is fetched.
    fn question(&mut self) -> u64 {
        let out = self.out();
        let apis: Vec<_> = out.iter().map(|one| one.call.api().name()).collect();
        assert_eq!(apis, ["OffsetForLeaderEpoch"]);
        out[0].ticket.number
    }

    fn answer_epoch(&mut self, number: u64, end: i64) {
        let found = EpochEndOffset::default()
            .with_leader_epoch(EPOCH)
            .with_end_offset(end);
        let topic = OffsetForLeaderTopicResult::default().with_partitions(vec![found]);
        let reply = OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
        self.reply(number, Ok(Reply::OffsetForLeaderEpoch(reply)));
    }
}

/// A batch with a true checksum that does not decompress.
fn undecodable(from: i64) -> Vec<u8> {
    batch(from, 2, (-1, 5), None)
}

#[test]
fn a_batch_that_does_not_decompress_is_not_passed_over() {
    let mut story = Story::begun();
    story.assign(0, 10);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, undecodable(10))]);
    assert_eq!(story.taken(), []);
    assert_eq!(
        story.told(),
        ["0 halted: failed to read the records of `topic` partition 0 at offset 10"]
    );
    let reading = story.fetcher.reading((story.topic, 0)).unwrap();
    assert_eq!(reading.position.offset, 10);
}

#[test]
fn a_partition_with_a_backlog_does_not_starve_another() {
    let mut story = Story::with(&[("max.partition.fetch.bytes", "1000")]);
    story.assign(0, 0);
    story.assign(1, 0);
    let (number, _) = story.fetch();
    let ten = |from: i64| {
        (0..10)
            .flat_map(|place: i64| plain(from + place, 1))
            .collect()
    };
    let parts = vec![of(0, ten(0)), of(1, plain(0, 1))];
    story.answer(number, parts);
    let mut seen = Vec::new();
    let mut backlog = 10;
    for _ in 0..12 {
        let Some(chunk) = story.fetcher.take(&story.cluster) else {
            break;
        };
        seen.push(chunk.partition);
        for (number, _) in story.fetches() {
            story.answer(number, vec![of(0, ten(backlog))]);
            backlog += 10;
        }
    }
    assert!(seen.contains(&1), "{seen:?}");
}

#[test]
fn an_answer_of_a_leader_of_before_is_not_taken_for_one_of_its_successor() {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 100, EPOCH)]);
    story.led_by(1, EPOCH + 1);
    let (newer, _) = story.fetch();
    story.answer(number, vec![of(0, plain(100, 5))]);
    assert_eq!(story.taken(), [], "records that no leader has confirmed");
    story.answer(newer, vec![of(0, plain(100, 5))]);
    assert_eq!(story.taken().len(), 5);
}

#[test]
fn a_second_election_during_a_question_is_asked_about_as_well() {
    let mut story = read_to_105();
    story.led_by(1, EPOCH + 1);
    let number = story.question();
    story.led_by(0, EPOCH + 2);
    story.answer_epoch(number, 400);
    let number = story.question();
    story.answer_epoch(number, 103);
    assert_eq!(story.told(), ["0 truncated 105 to 103"]);
}

/// The topic was deleted and made again under the same name: its epochs begin anew.
#[test]
fn a_log_that_knows_nothing_of_the_epoch_is_another_log() {
    let mut story = read_to_105();
    story.led_by(1, EPOCH + 1);
    story.epoch_ended(0, -1, -1);
    story.offset_is(0, 3);
    assert_eq!(story.told(), ["0 gone 105..3"]);
}

#[test]
fn a_leader_of_before_does_not_say_where_the_log_of_its_successor_ends() {
    let mut story = read_to_105();
    let (number, _) = story.fetch();
    story.led_by(1, EPOCH + 1);
    let question = story.question();
    story.answer(number, vec![failed(0, ResponseError::OffsetOutOfRange)]);
    story.answer_epoch(question, 103);
    assert_eq!(story.told(), ["0 truncated 105 to 103"]);
}

#[test]
fn a_halted_partition_waits_for_a_seek_whatever_is_answered() {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, _) = story.fetch();
    let mut damaged = plain(105, 2);
    damaged[70] ^= 1;
    let records = [plain(100, 5), damaged].concat();
    story.answer(number, vec![of(0, records)]);
    assert!(story.fetcher.take(&story.cluster).is_some());
    story.led_by(1, EPOCH + 1);
    let question = story.question();
    assert_eq!(story.taken(), []);
    assert_eq!(story.told().len(), 1);
    story.answer_epoch(question, 400);
    assert_eq!(story.fetches(), []);
    story.seek(0, 107);
    assert_eq!(story.fetch().1, [(0, 107, EPOCH + 1)]);
}

#[test]
fn records_that_do_not_reach_the_position_are_damage() {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, plain(0, 1))]);
    assert_eq!(story.fetches(), []);
    assert_eq!(story.told().len(), 1);
}

#[test]
fn an_end_of_a_log_that_is_not_there_is_asked_for_again_after_a_pause() {
    let mut story = Story::begun();
    story.fetcher.assign((story.topic, 0), Start::Latest);
    story.offset_is(0, -1);
    assert_eq!(story.out().len(), 0);
    story.now += Duration::from_secs(2);
    assert_eq!(story.out().len(), 1);
}

#[test]
fn a_session_that_is_never_found_is_begun_anew_after_a_pause() {
    let mut story = Story::begun();
    story.assign(0, 0);
    let mut fetches = 0;
    for _ in 0..20 {
        for (number, _) in story.fetches() {
            fetches += 1;
            let gone = Fetched {
                error: ResponseError::FetchSessionIdNotFound.code(),
                ..Fetched::default()
            };
            story.reply(number, Ok(Reply::Fetch(gone)));
        }
    }
    assert!(fetches <= 2, "{fetches} requests at once");
}

#[test]
fn a_partition_that_its_topic_does_not_have_is_told() {
    let mut story = Story::begun();
    story.assign(7, 0);
    story.out();
    assert_eq!(
        story.told(),
        Vec::<String>::new(),
        "it may be so new that metadata lacks it"
    );
    for _ in 0..10 {
        story.now += Duration::from_secs(2);
        story.out();
    }
    assert_eq!(story.told(), ["7 halted: topic `topic` has no partition 7"]);
}

#[test]
fn what_was_told_of_an_earlier_position_is_not_returned_after_a_seek() {
    let mut story = Story::begun();
    story.assign(0, 100);
    let (number, _) = story.fetch();
    story.answer(number, vec![of(0, plain(0, 1))]);
    story.seek(0, 5);
    assert_eq!(story.told(), Vec::<String>::new());
}

#[test]
fn a_server_error_is_asked_again_and_a_damaged_log_is_told() {
    let mut story = Story::begun();
    story.assign(0, 0);
    let (number, _) = story.fetch();
    story.answer(number, vec![failed(0, ResponseError::UnknownServerError)]);
    assert_eq!(story.told(), Vec::<String>::new());
    story.now += Duration::from_secs(2);
    let (number, _) = story.fetch();
    story.answer(number, vec![failed(0, ResponseError::CorruptMessage)]);
    assert_eq!(story.told().len(), 1);
}

#[test]
fn a_position_that_is_sought_is_not_known() {
    let mut story = Story::begun();
    story.fetcher.assign((story.topic, 0), Start::Latest);
    let known = |story: &Story| {
        let reading = story.fetcher.reading((story.topic, 0)).unwrap();
        reading.known_position().map(|one| one.offset)
    };
    assert_eq!(known(&story), None);
    story.offset_is(0, 40);
    assert_eq!(known(&story), Some(40));
    story.fetcher.seek((story.topic, 0), Start::Earliest);
    assert_eq!(known(&story), None);
}

/// twmb/franz-go#1222: a partition comes back while the session that knew it before has a request on its way.
#[test]
fn a_partition_that_comes_back_during_a_request_of_its_session_is_read_from_its_new_position() {
    let mut story = Story::begun();
    story.assign(0, 0);
    story.assign(1, 0);
    let in_session = |partitions| {
        Ok(Reply::Fetch(Fetched {
            session_id: 9,
            partitions,
            ..Fetched::default()
        }))
    };
    let (number, _) = story.fetch();
    story.reply(
        number,
        in_session(vec![of(0, plain(0, 1)), of(1, plain(0, 1))]),
    );
    assert_eq!(story.taken(), [(0, 0), (1, 0)]);
    let (number, _) = story.fetch();
    // Another client has read on to 40 in between.
    story.fetcher.unassign((story.topic, 0));
    story.assign(0, 40);
    story.reply(
        number,
        in_session(vec![of(0, plain(1, 5)), of(1, plain(1, 1))]),
    );
    assert_eq!(story.taken(), [(1, 1)], "records of the older assignment");
    let (number, parts) = story.fetch();
    assert_eq!(parts, [(0, 40, EPOCH), (1, 2, EPOCH)]);
    story.reply(number, in_session(vec![of(0, plain(40, 1))]));
    assert_eq!(story.taken(), [(0, 40)]);
    // Taken away, it is forgotten by name; given back at the same position, it is named again.
    story.fetcher.unassign((story.topic, 0));
    let (number, parts) = story.fetch();
    assert_eq!(parts, []);
    story.reply(number, in_session(Vec::new()));
    story.assign(0, 41);
    assert_eq!(story.fetch().1, [(0, 41, EPOCH)]);
}
