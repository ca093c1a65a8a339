//! The [`Log`] of a worker on the simulated cluster.
//!
//! A handle and nothing else: everything happens in the world, at the time of the world. No call waits; a worker that
//! waits is stepped again later. Dropped, it leaves its group in order, unless its process was killed.

use std::sync::Arc;
use std::time::Duration;

use super::member::Asked;
use super::topics::Stored;
use super::world::{MemberId, Simulation, failure};
use crate::clock::Clock as _;
use crate::error::{Error, Outcome};
use crate::log::{Event, Log, Message, Outgoing, SendError, Token};
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

    fn admit(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.simulation.world().admit(self.id, partitions)
    }

    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.simulation.world().release(self.id, partitions);
        Ok(())
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
        world.members.get(&self.id).map_or(0, |member| {
            member.under_way.iter().map(|sent| sent.bytes).sum()
        })
    }

    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        let mut world = self.simulation.world();
        let due = world.clock.now().plus(world.delay());
        let result = world.commit(self.id, offsets);
        if let Some(result) = result
            && let Some(member) = world.members.get_mut(&self.id)
        {
            member.asked.push_back(Asked {
                offsets: offsets.to_vec(),
                due,
                result,
            });
        }
        Ok(())
    }

    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        let dropped = || failure("commit offsets", "request timed out", Outcome::Unknown);
        self.simulation
            .world()
            .commit(self.id, offsets)
            .unwrap_or_else(|| Err(dropped()))
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
        let mut world = self.simulation.world();
        let held = world
            .members
            .get_mut(&self.id)
            .and_then(|member| member.held.get_mut(partition));
        let held = held
            .ok_or_else(|| failure("seek", "the partition is not assigned", Outcome::NotApplied))?;
        held.next = offset;
        Ok(())
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset> {
        Some(self.simulation.world().topics.range(partition).1)
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
