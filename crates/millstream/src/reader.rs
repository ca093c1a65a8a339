//! A typed reader for programs that only read: no group, no commits, every position chosen here.
//!
//! It reads all partitions or some, from an offset, a time, the start, the end or the last few records, without an end
//! or up to one that is fixed when it opens. Order holds within a partition. A record that cannot be decoded is
//! returned with its bytes and its position: it is never skipped silently, and it does not stop the
//! reading.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec;
use crate::config::Cluster;
use crate::error::Error;
use crate::log::Message;
use crate::log::kafka::growth::Growth;
use crate::log::kafka::offsets::{ByPartition, Which};
pub use crate::log::kafka::reader::Range;
use crate::log::kafka::reader::{Found, PartitionReader};
use crate::record::{Headers, OwnedRecord, Position, Record, Timestamp};
use crate::topic::{NextOffset, Offset, Partition, Topic, TopicPartition};

/// How long a request to the cluster may take by default when the reader opens.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the iterator waits in the client at a time.
const POLL: Duration = Duration::from_secs(1);

/// Where reading begins, in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// At the first record there is.
    Earliest,
    /// At the end: only what is written from now on.
    End,
    /// At this offset. Refused if the partition does not reach that far, or no longer has it.
    Offset(NextOffset),
    /// At the first record with this time or a later one; at the end if there is none.
    Time(Timestamp),
    /// This many offsets before the end, as far as they are there.
    Last(u64),
}

/// Where reading ends, in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Forever,
    /// At what was the end when the reader opened.
    End,
    /// Before this offset, or at the end when the reader opened, whichever comes first.
    Offset(NextOffset),
    /// Before the first record with this time or a later one; else at what was the end when the reader opened.
    Time(Timestamp),
}

/// What is to be read; made by [`Reader::of`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `open`"]
pub struct Plan<K: 'static, V: 'static> {
    topic: Topic<K, V>,
    since: Since,
    until: Until,
    partitions: Option<Vec<Partition>>,
    patience: Duration,
}

impl<K, V> Plan<K, V> {
    /// Where to begin. Default: the earliest record.
    pub fn since(mut self, since: Since) -> Self {
        self.since = since;
        self
    }

    /// Where to end. Default: never.
    pub fn until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// Only these partitions. Default: all of them; without an [end](Self::until) also those that are added to the topic later, from
    /// their first record. They are looked for each 30 s, or as the property `topic.metadata.refresh.interval.ms` says.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = Partition>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// How long each request to the cluster may take while opening. Default: 10 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks the cluster for the positions and begins. Blocks for these requests, each at most its [patience](Self::patience).
    ///
    /// # Errors
    /// The topic or a partition does not exist, an offset is out of range, or the cluster does not answer.
    pub fn open(self, cluster: &Cluster) -> Result<Reader<K, V>, Error> {
        let client = PartitionReader::open(cluster, self.topic.name(), self.patience)?;
        let name: Arc<str> = self.topic.name().into();
        let chosen = self.choose(client.partitions()?)?.into_iter();
        let chosen: Vec<_> = chosen
            .map(|partition| TopicPartition::new(name.clone(), partition))
            .collect();
        let starts = client.offsets(&chosen, Which::Start)?;
        let ends = client.offsets(&chosen, Which::End)?;
        let begins = match self.since {
            Since::Time(time) => client.offsets(&chosen, Which::Time(time))?,
            _ => ByPartition::new(),
        };
        let stops = match self.until {
            Until::Time(time) => client.offsets(&chosen, Which::Time(time))?,
            _ => ByPartition::new(),
        };
        let mut parts = Vec::with_capacity(chosen.len());
        let mut open = ByPartition::new();
        for partition in chosen {
            let at = |offsets: &ByPartition| offsets.get(&partition).copied();
            let start = at(&starts).unwrap_or(NextOffset::new(0));
            let range = Range {
                start,
                end: at(&ends).unwrap_or(start),
            };
            let next = self.first(&partition, range, at(&begins))?;
            let stop = self.stop(range, at(&stops));
            let done = stop.is_some_and(|stop| next >= stop);
            parts.push(Part {
                partition: partition.partition,
                next,
                stop,
                done,
            });
            if !done {
                open.insert(partition, next);
            }
        }
        client.start(&open)?;
        let unbounded = self.until == Until::Forever;
        let all = parts
            .iter()
            .map(|part| TopicPartition::new(Arc::clone(&name), part.partition));
        let growth = (unbounded && self.partitions.is_none())
            .then(|| Growth::of(vec![Arc::clone(&name)], all));
        Ok(Reader {
            client,
            growth,
            topic: self.topic,
            name,
            parts,
            unbounded,
            failed: false,
        })
    }

    fn choose(&self, all: Vec<Partition>) -> Result<Vec<Partition>, Error> {
        let Some(mut chosen) = self.partitions.clone() else {
            return Ok(all);
        };
        chosen.sort_unstable();
        chosen.dedup();
        match chosen.iter().find(|partition| !all.contains(partition)) {
            None => Ok(chosen),
            Some(missing) => Err(Error::InvalidTopic {
                topic: self.topic.name().to_owned(),
                reason: format!("it has no partition {missing}, only 0 to {}", all.len() - 1),
            }),
        }
    }

    /// Where a partition begins; `timed` is the answer for the asked time.
    fn first(
        &self,
        partition: &TopicPartition,
        range: Range,
        timed: Option<NextOffset>,
    ) -> Result<NextOffset, Error> {
        match self.since {
            Since::Earliest => Ok(range.start),
            Since::End => Ok(range.end),
            Since::Last(count) => {
                let back = i64::try_from(count).unwrap_or(i64::MAX);
                Ok(NextOffset::new(range.end.get().saturating_sub(back)).max(range.start))
            }
            Since::Time(_) => Ok(timed.unwrap_or(range.end)),
            Since::Offset(offset) if offset < range.start || offset > range.end => {
                Err(Error::InvalidPosition {
                    partition: partition.clone(),
                    wanted: offset,
                    start: range.start,
                    end: range.end,
                })
            }
            Since::Offset(offset) => Ok(offset),
        }
    }

    /// Where a partition ends; `timed` is the answer for the asked time.
    fn stop(&self, range: Range, timed: Option<NextOffset>) -> Option<NextOffset> {
        match self.until {
            Until::Forever => None,
            Until::End => Some(range.end),
            Until::Offset(offset) => Some(offset.min(range.end)),
            Until::Time(_) => Some(timed.unwrap_or(range.end).min(range.end)),
        }
    }
}

/// One partition's way.
#[derive(Debug)]
struct Part {
    partition: Partition,
    next: NextOffset,
    stop: Option<NextOffset>,
    done: bool,
}

impl Part {
    /// Whether the record at `offset` is still to be read.
    fn wants(&self, offset: Offset) -> bool {
        !self.done && self.stop.is_none_or(|stop| NextOffset::at(offset) < stop)
    }

    /// Goes past a record that was read. `None`: a record past the stop, or the partition's end, was met; the end is
    /// not before what it was when the reader opened.
    fn advance(&mut self, read: Option<Offset>) {
        if let Some(offset) = read {
            self.next = offset.next();
        }
        self.done = self
            .stop
            .is_some_and(|stop| read.is_none() || self.next >= stop);
    }
}

/// Reads a topic's records outside of any group: in a `for` loop, or by [`poll`](Reader::poll) where the program has something
/// else to do.
///
/// ```no_run
/// use millstream::codec::{Json, Text};
/// use millstream::reader::{Reader, Until};
/// use millstream::{Cluster, Topic};
///
/// static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json);
///
/// for record in Reader::of(&READINGS).until(Until::End).open(&Cluster::new("127.0.0.1:9092"))? {
///     let record = record?;
///     println!("{} {}", record.position, record.value);
/// }
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Reader<K: 'static, V: 'static> {
    client: PartitionReader,
    topic: Topic<K, V>,
    name: Arc<str>,
    parts: Vec<Part>,
    /// Of a reader of all partitions without an end.
    growth: Option<Growth>,
    unbounded: bool,
    /// The iterator has met its last error.
    failed: bool,
}

/// What a poll returned.
#[derive(Debug)]
#[must_use]
pub enum Polled<K, V> {
    /// The next record.
    Record(OwnedRecord<K, V>),
    /// A record whose key or value is not what the topic says, with its bytes.
    Undecodable(Box<Undecodable>),
    /// No record arrived in time.
    Nothing,
    /// Every partition was read to its end; nothing follows.
    End,
}

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Where it lies.
    pub position: Position,
    /// Which part was refused: `key` or `value`.
    pub part: &'static str,
    /// Why.
    pub error: codec::CodecError,
    /// The key's bytes, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value's bytes, `None` for null.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
    /// The record's time.
    pub timestamp: Timestamp,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} of {} cannot be decoded: {}",
            self.part, self.position, self.error
        )
    }
}

impl std::error::Error for Undecodable {}

impl<K, V> Reader<K, V> {
    /// Plans a reader of `topic`: all partitions, from the earliest record, without an end.
    pub fn of(topic: &Topic<K, V>) -> Plan<K, V> {
        Plan {
            topic: topic.clone(),
            since: Since::Earliest,
            until: Until::Forever,
            partitions: None,
            patience: PATIENCE,
        }
    }

    /// Blocks up to `wait` for the next record, and now and then for a second more: then the topic is looked at for added partitions
    /// and the cluster does not answer. A broker that is away shows as [`Polled::Nothing`].
    ///
    /// # Errors
    /// What waiting cannot cure: no permission, a position that retention has overtaken, a deleted topic.
    pub fn poll(&mut self, wait: Duration) -> Result<Polled<K, V>, Error> {
        if self.is_done() {
            return Ok(Polled::End);
        }
        if let Some(growth) = &mut self.growth {
            // The numbers of added partitions are higher than all before.
            let added = growth.look(&self.client)?.into_iter();
            self.parts.extend(added.map(|(partition, next)| Part {
                partition: partition.partition,
                next,
                stop: None,
                done: false,
            }));
        }
        let (partition, record) = match self.client.poll(wait)? {
            Found::Nothing => return Ok(Polled::Nothing),
            Found::End(partition) => (partition, None),
            Found::Record(message) => (message.partition(), Some(message)),
        };
        // The parts are in the order of their numbers.
        let place = self
            .parts
            .binary_search_by_key(&partition, |part| part.partition);
        let Some(part) = place.ok().and_then(|place| self.parts.get_mut(place)) else {
            return Ok(Polled::Nothing);
        };
        let wanted = record.filter(|message| part.wants(message.offset()));
        part.advance(wanted.as_ref().map(Message::offset));
        if part.done {
            self.client.finish(partition)?;
        }
        match wanted {
            Some(message) => Ok(open_record(&self.topic, &self.name, &message)),
            None if self.is_done() => Ok(Polled::End),
            None => Ok(Polled::Nothing),
        }
    }

    /// The partitions that are read, each with the next offset.
    pub fn positions(&self) -> impl Iterator<Item = (Partition, NextOffset)> {
        self.parts.iter().map(|part| (part.partition, part.next))
    }

    /// Whether every partition was read to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.unbounded && self.parts.iter().all(|part| part.done)
    }
}

/// Record by record, in a `for` loop. A call blocks until there is a record: without an [end](Plan::until) that may be for ever,
/// and [`Reader::poll`] is for programs that have something else to do. A record that cannot be decoded is an
/// [`Error::Undecodable`], after which the next one follows; any other error is the last item.
impl<K, V> Iterator for Reader<K, V> {
    type Item = Result<OwnedRecord<K, V>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.poll(POLL) {
                Ok(Polled::Record(record)) => return Some(Ok(record)),
                Ok(Polled::Undecodable(bad)) => return Some(Err(Error::Undecodable(bad))),
                Ok(Polled::Nothing) => {}
                Ok(Polled::End) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl<K, V> fmt::Debug for Reader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("topic", &self.topic)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

fn open_record<K, V>(topic: &Topic<K, V>, name: &Arc<str>, message: &impl Message) -> Polled<K, V> {
    let position = Position {
        topic: Arc::clone(name),
        partition: message.partition(),
        offset: message.offset(),
    };
    let refused = |part, error| {
        Polled::Undecodable(Box::new(Undecodable {
            position: position.clone(),
            part,
            error,
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers: message.headers(),
            timestamp: message.timestamp(),
        }))
    };
    let key = match topic.key_codec().decode(message.key()) {
        Ok(key) => key,
        Err(error) => return refused("key", error),
    };
    let value = match topic.value_codec().decode(message.value()) {
        Ok(value) => value,
        Err(error) => return refused("value", error),
    };
    Polled::Record(Record::new(
        key,
        value,
        message.headers(),
        message.timestamp(),
        position,
    ))
}
