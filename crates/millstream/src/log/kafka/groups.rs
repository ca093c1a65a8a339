//! Consumer groups as an outsider sees and changes them.
//!
//! Members and their assignments come from the group list, whose assignment bytes are Kafka's consumer protocol;
//! they were written by other programs, so they are read with bounds. Committed offsets are read and written
//! through a consumer that carries the group's id and never joins it: the broker itself refuses its commit while
//! the group has members.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::groups::GroupInfo as ClientGroup;
use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use super::admin::Client;
use super::config::{Logging, Role, client_config};
use super::offsets::{self, ByPartition};
use crate::admin::{GroupInfo, Member};
use crate::clock::{Clock as _, SystemClock};
use crate::error::Error;
use crate::topic::{Partition, TopicPartition};

impl Client {
    /// Every group that the cluster knows, by name.
    pub(crate) fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        let list = self.persist("list the groups", |left| {
            self.consumer.fetch_group_list(None, left)
        })?;
        let mut groups: Vec<GroupInfo> = list.groups().iter().map(group_info).collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    /// One group, `None` if there is none of that name (Kafka then answers with one that is dead).
    pub(crate) fn group(&self, name: &str) -> Result<Option<GroupInfo>, Error> {
        let action = format!("describe group `{name}`");
        let list = self.persist(&action, |left| {
            self.consumer.fetch_group_list(Some(name), left)
        })?;
        Ok(list
            .groups()
            .first()
            .map(group_info)
            .filter(|group| group.state != "Dead"))
    }

    /// The committed offsets of a group among `partitions`.
    pub(crate) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<ByPartition, Error> {
        if partitions.is_empty() {
            return Ok(ByPartition::new());
        }
        let outsider = self.outsider(group)?;
        self.persist(
            &format!("read the committed offsets of group `{group}`"),
            |left| {
                let mut asked = TopicPartitionList::with_capacity(partitions.len());
                for partition in partitions {
                    let nothing = ClientOffset::Invalid;
                    asked.add_partition_offset(&partition.topic, partition.partition.0, nothing)?;
                }
                offsets::offsets_in(&outsider.committed_offsets(asked, left)?)
            },
        )
    }

    /// Commits offsets of a group that has no members.
    pub(crate) fn commit_for(&self, group: &str, targets: &ByPartition) -> Result<(), Error> {
        let outsider = self.outsider(group)?;
        self.persist(&format!("commit offsets of group `{group}`"), |_| {
            let positions = targets
                .iter()
                .map(|(partition, offset)| (partition, *offset));
            outsider.commit(&offsets::list_of(positions)?, CommitMode::Sync)
        })
    }

    /// Tries again while the answer is one that passes, such as a coordinator that is still loading.
    fn persist<T>(
        &self,
        action: &str,
        mut attempt: impl FnMut(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, Error> {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(self.patience);
        let mut pause = Duration::from_millis(10);
        loop {
            let left = deadline.since(clock.now());
            let error = match attempt(left.max(pause)) {
                Ok(answer) => return Ok(answer),
                Err(error) => self.fail(action, &error),
            };
            if !error.is_retriable() || deadline.since(clock.now()) < pause {
                return Err(error);
            }
            self.idle(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    fn outsider(&self, group: &str) -> Result<BaseConsumer<Logging>, Error> {
        // A commit waits for a coordinator as long as a session lasts, and for its answer as long as a request may take.
        let within = self.patience.as_millis().clamp(100, 45_000).to_string();
        let forced = [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("session.timeout.ms", &within),
            ("socket.timeout.ms", &within),
        ];
        client_config(&self.cluster, Role::Consumer, &[], &forced)
            .create_with_context(Logging(self.cluster.clone()))
            .map_err(|error| self.fail("make a client for the group", &error))
    }
}

fn group_info(group: &ClientGroup) -> GroupInfo {
    let members = group.members().iter().map(|member| Member {
        id: member.id().to_owned(),
        client_id: member.client_id().to_owned(),
        host: member.client_host().trim_start_matches('/').to_owned(),
        partitions: member
            .assignment()
            .and_then(parse_assignment)
            .unwrap_or_default(),
    });
    GroupInfo {
        name: group.name().to_owned(),
        state: group.state().to_owned(),
        assignor: group.protocol().to_owned(),
        members: members.collect(),
    }
}

/// Reads an assignment of Kafka's consumer protocol (`ConsumerProtocolAssignment`, versions 0 to 3): a version, then
/// topics with their partitions; user data follows. `None` for anything else, such as another protocol's bytes.
fn parse_assignment(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let mut bytes = bytes;
    let _version = take_i16(&mut bytes)?;
    let topics = take_i32(&mut bytes)?;
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(take_i16(&mut bytes)?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let topic: std::sync::Arc<str> = std::str::from_utf8(name).ok()?.into();
        for _ in 0..take_i32(&mut bytes)? {
            partitions.push(TopicPartition::new(
                topic.clone(),
                Partition(take_i32(&mut bytes)?),
            ));
        }
    }
    partitions.sort();
    Some(partitions)
}

fn take_i16(bytes: &mut &[u8]) -> Option<i16> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i16::from_be_bytes(*taken))
}

fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*taken))
}

#[cfg(test)]
mod tests {
    use super::parse_assignment;
    use crate::topic::{Partition, TopicPartition};

    #[test]
    fn an_assignment_is_read_and_broken_ones_are_refused() {
        let good = b"\x00\x01\x00\x00\x00\x01\x00\x05calls\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x01\xff\xff\xff\xff";
        let expected = [1, 3]
            .map(|number| TopicPartition::new("calls", Partition(number)))
            .to_vec();
        assert_eq!(parse_assignment(good), Some(expected));
        for cut in 0..good.len() - 4 {
            assert_eq!(parse_assignment(&good[..cut]), None, "cut at {cut}");
        }
        // Two thousand million topics in no bytes.
        assert_eq!(parse_assignment(b"\x00\x01\x7f\xff\xff\xff"), None);
    }
}
