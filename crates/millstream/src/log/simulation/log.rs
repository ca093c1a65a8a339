//! The [`Log`] of a worker on the simulated cluster.
//!
//! A handle and nothing else: everything happens in the world, at the time of the world. No call waits; a worker that
//! waits is stepped again later. Dropped, it leaves its group in order, unless its process was killed.

use std::sync::Arc;
use std::time::Duration;

use super::member::Member;
use super::topics::Stored;
use super::world::{MemberId, Simulation};
use crate::error::Error;
use crate::log::{Begin, Event, Log, Message, Outgoing, SendError, Token};
use crate::record::{Headers, Timestamp};
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

/// A worker's log on the simulated cluster.
pub(crate) struct SimulatedLog {
    simulation: Simulation,
    id: MemberId,
}

/// A record that was polled.
pub(crate) struct SimulatedMessage {
    pub(super) record: Arc<Stored>,
    pub(super) partition: TopicPartition,
    pub(super) offset: Offset,
}

impl SimulatedLog {
    pub(super) fn new(simulation: Simulation, id: MemberId) -> SimulatedLog {
        SimulatedLog { simulation, id }
    }

    pub(crate) fn id(&self) -> MemberId {
        self.id
    }
}

impl Drop for SimulatedLog {
    fn drop(&mut self) {
        let mut world = self.simulation.world();
        if world
            .members
            .get(&self.id)
            .is_some_and(|member| !member.crashed)
        {
            world.abandon(self.id);
            world.leave(self.id);
            world.members.remove(&self.id);
        }
    }
}

impl Log for SimulatedLog {
    type Message<'a> = SimulatedMessage;

    fn poll(&self, _wait: Duration) -> Result<Event<SimulatedMessage>, Error> {
        Ok(self.simulation.world().poll(self.id))
    }

    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        self.simulation.world().admit(self.id, partitions)
    }

    fn begin_again(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        Ok(self.simulation.world().begin_again(self.id, partitions))
    }

    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.simulation.world().release(self.id, partitions)
    }

    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        self.simulation.world().send(self.id, &record, token)
    }

    fn reports(&self, _wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        let reports = self.simulation.world().reports(self.id);
        for (token, result) in reports {
            each(token, result);
        }
    }

    fn in_flight_bytes(&self) -> usize {
        let world = self.simulation.world();
        let member = world.members.get(&self.id);
        member.map_or(0, Member::in_flight)
    }

    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.simulation.world().commit_later(self.id, offsets);
        Ok(())
    }

    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.simulation.world().commit_now(self.id, offsets)
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.simulation
            .world()
            .set_paused(self.id, partitions, true);
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        self.simulation
            .world()
            .set_paused(self.id, partitions, false);
    }

    fn seek(&self, partition: &TopicPartition, offset: NextOffset) -> Result<(), Error> {
        self.simulation.world().seek(self.id, partition, offset)
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset> {
        Some(self.simulation.world().topics.range(partition).1)
    }
    fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        let count = self.simulation.world().topics.partitions(topic);
        count.ok_or_else(|| Error::UnknownTopic {
            topic: topic.to_owned(),
        })
    }

    fn unread(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        Ok(self.simulation.world().unread(self.id, partitions))
    }
}

impl Message for SimulatedMessage {
    fn key(&self) -> Option<&[u8]> {
        self.record.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.record.value.as_deref()
    }

    fn headers(&self) -> Headers {
        self.record.headers.clone()
    }

    fn timestamp(&self) -> Timestamp {
        self.record.timestamp
    }

    fn topic(&self) -> &str {
        &self.partition.topic
    }

    fn partition(&self) -> Partition {
        self.partition.partition
    }

    fn offset(&self) -> Offset {
        self.offset
    }
}
