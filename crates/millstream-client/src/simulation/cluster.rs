//! What brokers do with requests: leaders with epochs, logs of which the end is not replicated yet, and the check of sequences.
//!
//! The check is Kafka's (`ProducerAppendInfo`, `ProducerStateEntry`): the last five batches of a producer are known again, a new epoch begins at 0, anything else
//! must follow on, and a producer of whom nothing is known may begin anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kafka_protocol::ResponseError;

use crate::exchange::Node;
use crate::wire::batch::{Batch, Producer as Stamp};
use crate::wire::records::Records;

/// Batches of a producer that a broker knows again.
const KNOWN: usize = 5;
pub(super) const NODES: i32 = 3;

/// One batch in a log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) stamp: Stamp,
    pub(super) values: Vec<u64>,
}

impl Entry {
    fn last_sequence(&self) -> i32 {
        self.stamp.sequence + i32::try_from(self.values.len()).unwrap() - 1
    }

    fn end(&self) -> i64 {
        self.offset + i64::try_from(self.values.len()).unwrap()
    }
}

/// One partition as its leader has it.
#[derive(Debug)]
pub(super) struct SimPartition {
    pub(super) leader: Node,
    pub(super) epoch: i32,
    pub(super) log: Vec<Entry>,
    /// Batches that all replicas have.
    pub(super) replicated: usize,
    /// Batches before the last restart: of those the broker knows only the last one of each producer, as Kafka's snapshots have it.
    pub(super) restarted: usize,
}

/// What became of an append.
pub(super) enum Appended {
    /// Written as the batch of this place, acknowledged when it is replicated.
    At(usize),
    /// It was there already.
    Duplicate(i64),
    Refused(ResponseError),
}

/// All brokers.
#[derive(Debug)]
pub(super) struct SimCluster {
    pub(super) partitions: BTreeMap<i32, SimPartition>,
    pub(super) checks_sequences: bool,
    pub(super) refuses_records: bool,
    pub(super) producer_ids: i64,
    pub(super) happened: BTreeSet<&'static str>,
}

impl SimCluster {
    pub(super) fn new(partitions: i32, refuses_records: bool) -> Self {
        let partition = |number| SimPartition {
            leader: number % NODES,
            epoch: 0,
            log: Vec::new(),
            replicated: 0,
            restarted: 0,
        };
        Self {
            partitions: (0..partitions).map(|at| (at, partition(at))).collect(),
            checks_sequences: true,
            refuses_records,
            producer_ids: 0,
            happened: BTreeSet::new(),
        }
    }

    /// Another broker leads. It has what is replicated, and maybe some of the rest.
    pub(super) fn move_leader(&mut self, number: i32, random: &mut fastrand::Rng) {
        let partition = self.partitions.get_mut(&number).unwrap();
        let kept = random.usize(partition.replicated..=partition.log.len());
        if kept < partition.log.len() {
            self.happened.insert("tail truncated");
        }
        partition.log.truncate(kept);
        partition.replicated = kept;
        partition.restarted = partition.restarted.min(kept);
        partition.leader = (partition.leader + random.i32(1..NODES)) % NODES;
        partition.epoch += 1;
        self.happened.insert("leader moved");
    }

    /// A broker ends and begins anew: its logs are whole, what it knows of producers is not.
    pub(super) fn restart(&mut self, node: Node) {
        let led = self
            .partitions
            .values_mut()
            .filter(|one| one.leader == node);
        for partition in led {
            partition.restarted = partition.log.len();
        }
        self.happened.insert("broker restarted");
    }

    /// What a broker does with one batch.
    pub(super) fn append(
        &mut self,
        node: Node,
        number: i32,
        bytes: &[u8],
        fault: Option<ResponseError>,
    ) -> Appended {
        let partition = self.partitions.get_mut(&number).unwrap();
        if partition.leader != node {
            return Appended::Refused(ResponseError::NotLeaderOrFollower);
        }
        let batch = Batch::split(&mut &bytes[..]).unwrap().unwrap();
        let value = |record: Result<crate::Record<'_>, _>| {
            u64::from_be_bytes(record.unwrap().value.unwrap().try_into().unwrap())
        };
        let values: Vec<u64> = Records::new(batch.header, batch.body).map(value).collect();
        // Some records are refused for what they are, whoever sends them and how often.
        if self.refuses_records && values.iter().any(|value| value % 97 == 7) {
            self.happened.insert("batch refused");
            return Appended::Refused(ResponseError::InvalidRecord);
        }
        if let Some(code) = fault {
            return Appended::Refused(code);
        }
        let entry = Entry {
            offset: partition.log.last().map_or(0, Entry::end),
            stamp: batch.header.producer,
            values,
        };
        if entry.stamp.epoch > 0 {
            self.happened.insert("epoch bumped");
        }
        if self.checks_sequences {
            match partition.check(&entry) {
                Ok(None) => {}
                Ok(Some(offset)) => {
                    self.happened.insert("duplicate found");
                    return Appended::Duplicate(offset);
                }
                Err(code) => {
                    self.happened.insert("out of order");
                    return Appended::Refused(code);
                }
            }
        }
        partition.log.push(entry);
        Appended::At(partition.log.len() - 1)
    }
}

impl SimPartition {
    /// `Some` is the offset of a batch that is there already.
    fn check(&self, new: &Entry) -> Result<Option<i64>, ResponseError> {
        let mut known: VecDeque<&Entry> = VecDeque::new();
        let mut epoch = None;
        let log = self.log.iter().enumerate();
        let of_producer = log.filter(|(_, one)| one.stamp.id == new.stamp.id);
        for (place, entry) in of_producer {
            if place < self.restarted {
                known.clear();
            }
            if epoch != Some(entry.stamp.epoch) {
                known.clear();
            }
            epoch = Some(entry.stamp.epoch);
            known.push_back(entry);
            if known.len() > KNOWN {
                known.pop_front();
            }
        }
        let Some(epoch) = epoch else {
            return Ok(None);
        };
        if new.stamp.epoch < epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if new.stamp.epoch > epoch {
            return match new.stamp.sequence {
                0 => Ok(None),
                _ => Err(ResponseError::OutOfOrderSequenceNumber),
            };
        }
        let same = |one: &&&Entry| {
            one.stamp.sequence == new.stamp.sequence && one.last_sequence() == new.last_sequence()
        };
        if let Some(there) = known.iter().find(same) {
            return Ok(Some(there.offset));
        }
        let last = known.back().map_or(-1, |one| one.last_sequence());
        if new.stamp.sequence == last + 1 {
            Ok(None)
        } else {
            Err(ResponseError::OutOfOrderSequenceNumber)
        }
    }
}
