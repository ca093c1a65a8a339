//! What all request handlers share: configuration, topics, clock, the memory that requests may take, the way to stop.
//!
//! A `Broker` owns its data folder from `open` to `close`. It knows nothing of connections; those hold it by `Arc`.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api::{self, FetchSessions};
use crate::config::Config;
use crate::error::Error;
use crate::faults::Planned;
use crate::folder::Folder;
use crate::groups::configs::GroupConfigs;
use crate::groups::{Catalogue, Groups};
use crate::log::{Partition, Pass, ReadError, close_all};
use crate::metrics::{self, PerRequest};
use crate::producers::ProducerIds;
use crate::reserve::Reserve;
use crate::security::{Acls, Quotas, Users};
use crate::topics::Topics;
use crate::transactions::{Everyone, Transactions};

/// One broker: the state behind all connections.
#[derive(Debug)]
pub struct Broker {
    pub(crate) config: Config,
    /// Nobody else opens the folder until this is dropped.
    _folder: Folder,
    pub(crate) reserve: Reserve,
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Groups,
    pub(crate) group_configs: Arc<GroupConfigs>,
    pub(crate) transactions: Transactions,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) users: Users,
    pub(crate) acls: Acls,
    pub(crate) quotas: Quotas,
    pub(crate) cluster_id: StrBytes,
    pub(crate) request_room: Room,
    /// Held by the one request that may take more than its room, so that many of which each has a part do not wait for one another.
    pub(crate) request_overdraft: Arc<Semaphore>,
    pub(crate) fetch_room: Room,
    /// Held by the one answer that may have a batch for which there is no room left.
    pub(crate) fetch_turn: Arc<Semaphore>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) stopping: Stopping,
    pub(crate) faults: Planned,
    pub(crate) metrics: PerRequest,
}

impl Broker {
    /// Opens the data folder.
    pub fn open(config: Config) -> Result<Broker, Error> {
        let mut folder = Folder::open(&config.data)?;
        folder.check_complete()?;
        let topics = Arc::new(Topics::open(&config)?);
        let catalogue = Arc::clone(&topics) as Arc<dyn Catalogue>;
        let group_configs = Arc::new(GroupConfigs::open(folder.path())?);
        let groups = Groups::open(
            &folder.path().join("groups.journal"),
            &config,
            catalogue,
            Arc::clone(&group_configs),
        )?;
        let transactions =
            Transactions::open(&folder.path().join("transactions.journal"), &config)?;
        let producer_ids = ProducerIds::open(folder.path())?;
        let users = Users::open(folder.path(), &config.users)?;
        let acls = Acls::open(folder.path(), &config.super_users)?;
        let quotas = Quotas::open(folder.path())?;
        folder.note_complete()?;
        let broker = Broker {
            reserve: Reserve::open(folder.path()),
            topics,
            cluster_id: StrBytes::from_string(folder.cluster_id().to_owned()),
            groups,
            group_configs,
            transactions,
            producer_ids,
            users,
            acls,
            quotas,
            _folder: folder,
            request_room: Room::new(config.max_bytes_in_flight),
            request_overdraft: Arc::new(Semaphore::new(1)),
            fetch_room: Room::new(config.max_fetch_bytes_in_flight),
            fetch_turn: Arc::new(Semaphore::new(1)),
            fetch_sessions: FetchSessions::new(config.max_fetch_sessions),
            stopping: Stopping::new(),
            faults: Planned::new(&config.faults),
            metrics: PerRequest::new(api::table().map(|served| (served.key as i16, served.name))),
            config,
        };
        broker.transactions.recover(&broker.everyone());
        // A kill may have come between the end of a topic and that of its offsets.
        let exists = |topic: &TopicName| broker.topics.get(topic).is_some();
        broker.groups.forget_topics_without(exists);
        Ok(broker)
    }

    /// Those who take part in transactions.
    pub(crate) fn everyone(&self) -> Everyone<'_> {
        Everyone {
            topics: &self.topics,
            groups: &self.groups,
            now_ms: self.now_ms(),
        }
    }

    /// A producer id that was never given before.
    pub(crate) fn fresh_producer_id(&self) -> Result<i64, ResponseError> {
        tokio::task::block_in_place(|| self.producer_ids.allocate()).map_err(|error| {
            tracing::error!(%error, "failed to give out a producer id");
            ResponseError::KafkaStorageError
        })
    }

    /// The time of day in milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.config.clock.now_ms()
    }

    /// Removes what the topics' retention no longer keeps.
    pub(crate) fn apply_retention(&self) {
        let now_ms = self.now_ms();
        let mut partitions = 0;
        let topics = self.topics.all();
        for topic in &topics {
            for (index, partition) in topic.partitions().iter().enumerate() {
                partitions += 1;
                let retained = self
                    .reserve
                    .help(Error::is_full, || partition.retain(now_ms));
                if let Err(error) = retained {
                    ::metrics::counter!(metrics::RETENTION_FAILURES).increment(1);
                    tracing::error!(topic = topic.name.as_str(), partition = index, %error, "failed to apply retention");
                }
            }
        }
        self.reserve.fill();
        ::metrics::gauge!(metrics::TOPICS)
            .set(f64::from(u32::try_from(topics.len()).unwrap_or(u32::MAX)));
        ::metrics::gauge!(metrics::PARTITIONS).set(f64::from(partitions));
    }

    /// Compacts the logs that gain enough from it.
    pub(crate) fn compact(&self) {
        let stopping = || self.stopping.has_begun();
        let pass = Pass {
            now_ms: self.now_ms(),
            most_keys: self.config.compaction_keys,
            stopping: &stopping,
        };
        for topic in self.topics.all() {
            for (index, partition) in topic.partitions().iter().enumerate() {
                if let Err(error) = partition.compact(pass) {
                    ::metrics::counter!(metrics::COMPACTION_FAILURES).increment(1);
                    tracing::error!(topic = topic.name.as_str(), partition = index, %error, "failed to compact");
                }
            }
        }
    }

    /// Moves the start of a log to `before`, also when the disk is full.
    pub(crate) fn delete_records(
        &self,
        partition: &Partition,
        before: i64,
    ) -> Result<i64, ReadError> {
        self.reserve
            .help(ReadError::is_full, || partition.delete_records(before))
    }

    /// Flushes everything and marks the data folder as closed cleanly. No request may follow.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let topics = self.topics.all();
        let partitions: Vec<_> = topics
            .iter()
            .flat_map(|topic| topic.partitions().to_vec())
            .collect();
        let logs = close_all(&partitions);
        self.transactions.close()?;
        self.groups.close()?;
        logs
    }
}

/// A bounded amount of memory that requests take their share of, in turn.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: Arc<Semaphore>,
    size: usize,
}

/// A share of a `Room`, given back when dropped.
pub(crate) type Taken = OwnedSemaphorePermit;

impl Room {
    fn new(size: usize) -> Room {
        let size = size.min(Semaphore::MAX_PERMITS);
        Room {
            bytes: Arc::new(Semaphore::new(size)),
            size,
        }
    }

    /// Waits until `bytes` are free. A larger request than the whole room waits for all of it.
    pub(crate) async fn take(&self, bytes: usize) -> Option<Taken> {
        let share = u32::try_from(bytes.min(self.size)).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).acquire_many_owned(share).await.ok()
    }

    /// How much is free now.
    pub(crate) fn left(&self) -> usize {
        self.bytes.available_permits()
    }

    /// Takes `bytes` if they are free now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Taken> {
        let share = u32::try_from(bytes.min(self.size)).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).try_acquire_many_owned(share).ok()
    }
}

/// Tells everything that waits that the broker stops.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(Arc<watch::Sender<bool>>);

impl Stopping {
    fn new() -> Stopping {
        Stopping(Arc::new(watch::Sender::new(false)))
    }

    /// Wakes all waiters, now and in future.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether the broker stops.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when the broker stops.
    pub(crate) async fn wait(&self) {
        self.0.subscribe().wait_for(|stopping| *stopping).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::faults;
    use crate::log::testing::encode_with;
    use crate::topics::config::Overrides;

    fn filled(data: &std::path::Path) -> (Broker, Arc<Partition>) {
        let mut config = Config::ephemeral(data);
        config.clock = crate::Clock::manual(100_000);
        config.segment_bytes = 1024;
        config.retention_ms = 1000;
        let broker = Broker::open(config).unwrap();
        let topic = broker.topics.create("full", 1, Overrides::new()).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..3 {
            let none = kafka_protocol::records::Compression::None;
            let batch = encode_with(&[100_000], 800, none, None, false);
            let batch = partition.check(batch, 100_000).unwrap();
            partition.store(&batch, None, 100_000).unwrap();
        }
        (broker, partition)
    }

    #[test]
    fn fault_37_what_frees_space_goes_on_when_the_disk_is_full() {
        let data = tempfile::tempdir().unwrap();
        let (broker, partition) = filled(data.path());
        faults::space_left(Some(0));
        // What is refused for another reason has no use for the reserve.
        broker.delete_records(&partition, 99).unwrap_err();
        assert!(data.path().join("reserve").exists());
        assert_eq!(broker.delete_records(&partition, 1).unwrap(), 1);
        assert!(!data.path().join("reserve").exists());
        faults::space_left(Some(10 << 20));
        broker.apply_retention();
        // There was room, so there is a reserve again.
        assert!(data.path().join("reserve").exists());
        faults::space_left(Some(0));
        broker
            .config
            .clock
            .advance(std::time::Duration::from_secs(5));
        broker.apply_retention();
        assert_eq!((partition.start_offset(), partition.size()), (3, 0));
        faults::space_left(None);
    }
}
