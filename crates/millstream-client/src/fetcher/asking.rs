//! Questions about positions: where the log begins and ends, and where an epoch ended in it (KIP-320).
//!
//! Each partition has one question on its way at most; an answer to an earlier generation finds nothing.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};

use super::position::{Position, Stage, Start};
use super::{Asked, Fetcher, Place, Told, millis, ticket};
use crate::clock::Time;
use crate::cluster::{Cluster, Leader};
use crate::error::Error;
use crate::exchange::{Answer, Lane, Loss, Outgoing, Step, Target};
use crate::wire::api::{Call, Reply};

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

impl Fetcher {
    /// Asks what the stage of a partition needs.
    pub(super) fn ask(
        &mut self,
        step: &mut Step<'_>,
        cluster: &Cluster,
        place: Place,
        leader: Leader,
    ) {
        let Some(reading) = self.reading(place) else {
            return;
        };
        let generation = reading.generation;
        let (asked, call) = match reading.stage {
            Stage::Seeking(start) => (
                Asked::Offset(place, generation),
                Call::ListOffsets(self.offset_of(cluster, place, leader, start)),
            ),
            _ => (
                Asked::Epoch(place, generation),
                Call::OffsetForLeaderEpoch(end_of(cluster, place, leader, reading.ahead.epoch)),
            ),
        };
        let number = self.number();
        self.asked.insert(number, asked);
        step.out.push(Outgoing {
            ticket: ticket(number),
            target: Target::Node(leader.node),
            lane: Lane::Control,
            call,
            patience: self.request_timeout,
        });
    }

    fn offset_of(
        &self,
        cluster: &Cluster,
        place: Place,
        leader: Leader,
        start: Start,
    ) -> ListOffsetsRequest {
        let timestamp = match start {
            Start::Earliest => EARLIEST,
            Start::Latest | Start::Offset(_) => LATEST,
            Start::Timestamp(at) => at,
        };
        let partition = ListOffsetsPartition::default()
            .with_partition_index(place.1)
            .with_current_leader_epoch(leader.epoch)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(cluster.topic_name(place.0))
            .with_partitions(vec![partition]);
        ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(i8::from(self.config.committed_only))
            .with_topics(vec![topic])
            .with_timeout_ms(millis(self.request_timeout))
    }

    /// An offset was found, or not.
    pub(super) fn sought(
        &mut self,
        (place, generation): (Place, u64),
        answer: Answer,
        now: Time,
        cluster: &mut Cluster,
    ) {
        let found = match answer {
            Ok(Reply::ListOffsets(reply)) => reply
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .find(|one| one.partition_index == place.1)
                .map(|one| (one.error_code, one.offset)),
            Err(Loss::Impossible(error)) => {
                self.impossible(&[(place, generation)], &error);
                return;
            }
            _ => None,
        };
        let (code, offset) = found.unwrap_or((ResponseError::NetworkException.code(), -1));
        if let Some(code) = ResponseError::try_from_code(code) {
            self.refused((place, generation), "ListOffsets", code, now, cluster);
            return;
        }
        let Some(reading) = self.still(place, generation) else {
            return;
        };
        if offset < 0 {
            // No record is so new: what comes next is. A log without an end is asked again, after a pause.
            if reading.stage == Stage::Seeking(Start::Latest) {
                return self.again(place, generation, now);
            }
            reading.asked = false;
            reading.stage = Stage::Seeking(Start::Latest);
            return;
        }
        let lost = reading.lost.take();
        reading.seek(generation, Start::Offset(Position::at(offset)));
        if let Some(lost) = lost {
            self.told.push_back(Told::Gone(place, lost, offset));
        }
    }

    /// It is known where the epoch of the position ended in the log of the new leader.
    pub(super) fn validated(
        &mut self,
        (place, generation): (Place, u64),
        answer: Answer,
        now: Time,
        cluster: &mut Cluster,
    ) {
        let found = match answer {
            Ok(Reply::OffsetForLeaderEpoch(reply)) => reply
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .find(|one| one.partition == place.1)
                .map(|one| (one.error_code, one.leader_epoch, one.end_offset)),
            Err(Loss::Impossible(error)) => {
                self.impossible(&[(place, generation)], &error);
                return;
            }
            _ => None,
        };
        let (code, epoch, end) = found.unwrap_or((ResponseError::NetworkException.code(), -1, -1));
        if let Some(code) = ResponseError::try_from_code(code) {
            self.refused(
                (place, generation),
                "OffsetForLeaderEpoch",
                code,
                now,
                cluster,
            );
            return;
        }
        let next = self.generations + 1;
        let Some(reading) = self.still(place, generation) else {
            return;
        };
        if let Stage::Validating(asked) = reading.stage {
            reading.validated = asked;
        }
        reading.asked = false;
        reading.attempts = 0;
        reading.stage = Stage::Fetching;
        // -1: the leader's log has no such epoch. It is another log, or one that was truncated further back than anybody can say.
        if end < 0 {
            return self.out_of_range(place, cluster);
        }
        if end >= reading.ahead.offset {
            return;
        }
        // What was fetched ahead and not taken is not told of: nobody has seen it.
        let seen = reading.position.offset;
        let offset = seen.min(end);
        reading.position = Position { offset, epoch };
        reading.generation = next;
        reading.drop_fetched();
        self.generations = next;
        self.ready.retain(|ready| *ready != place);
        if end < seen {
            self.told.push_back(Told::Truncated(place, seen, end));
        }
    }

    fn refused(
        &mut self,
        (place, generation): (Place, u64),
        api: &'static str,
        code: ResponseError,
        now: Time,
        cluster: &mut Cluster,
    ) {
        if code.is_retriable() {
            cluster.stale(now);
            self.again(place, generation, now);
        } else if self.still(place, generation).is_some() {
            let place_name = format!("{}/{}", cluster.name(place.0), place.1);
            let error = Error::Broker {
                api,
                place: place_name,
                code,
            };
            self.halt(place, error);
        }
    }
}

fn end_of(
    cluster: &Cluster,
    place: Place,
    leader: Leader,
    epoch: i32,
) -> OffsetForLeaderEpochRequest {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(place.1)
        .with_current_leader_epoch(leader.epoch)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(cluster.topic_name(place.0))
        .with_partitions(vec![partition]);
    OffsetForLeaderEpochRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}
