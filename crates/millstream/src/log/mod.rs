//! The one way from a worker to the outside: a narrow, synchronous log.
//!
//! [`Log`] is what a worker needs of a cluster and no more: records and group events from one `poll`, effects
//! out by `send`, their delivery by `reports`, commits. `kafka` implements it on librdkafka, `simulation` on
//! seeded faults; whoever implements it keeps the promises written at each method.
//!
//! All methods take `&self`, so that a record borrowed from the client's buffer can be held while the effects of its
//! handler are sent. A log belongs to one thread.

pub(crate) mod kafka;
pub(crate) mod simulation;

use std::time::Duration;

use crate::error::Error;
use crate::record::{Headers, Timestamp};
pub(crate) use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

/// One member of a consumer group, with a producer beside it.
pub(crate) trait Log {
    /// A record, borrowed from the client's buffer.
    type Message<'a>: Message
    where
        Self: 'a;

    /// Waits up to `wait` for a record or an event; returns early with [`Event::Idle`] after the client served something of
    /// its own. Must be called at least every few seconds: it is what keeps the member in its group.
    ///
    /// # Errors
    /// An error is final: the client is of no more use. What may pass is an [`Event::Trouble`].
    fn poll(&self, wait: Duration) -> Result<Event<Self::Message<'_>>, Error>;

    /// Completes [`Event::Assigned`]: records of these partitions flow from where the answer says. A partition that was paused
    /// when it was released may still be paused: whoever wants its records calls [`resume`](Self::resume).
    ///
    /// # Errors
    /// When the cluster does not answer; a retriable error means that the same call is to be made again.
    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error>;

    /// Asks once more where partitions begin of which [`admit`](Self::admit) said [`Begin::Unknown`], for a second at most. Where the
    /// answer is known, the next record is the first from there.
    ///
    /// # Errors
    /// When the cluster does not answer.
    fn begin_again(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error>;

    /// Completes [`Event::Revoked`] or [`Event::Lost`]: no record of these partitions comes after it. The group goes on
    /// only when every member has done so.
    ///
    /// # Errors
    /// When the client refuses; a retriable error means that the same call is to be made again.
    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error>;

    /// Takes a record for sending and copies it; its delivery is reported once, with `token`, by [`reports`](Self::reports).
    /// Records to one partition are delivered in the order of the calls.
    ///
    /// # Errors
    /// [`SendError::Full`] to try again after `reports`, [`SendError::Failed`] when it was not taken for another reason. In
    /// both cases nothing will be reported for it.
    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError>;

    /// Calls `each` for every delivery that is known by now, waiting up to `wait` for the first. An error is final:
    /// the client has given up on that record. [`Refused`](crate::Class::Refused) blames this record;
    /// [`Abortable`](crate::Class::Abortable) says that it was in a batch that was refused as a whole, whose reports all come now.
    fn reports(&self, wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>));

    /// The bytes sent and not yet reported.
    fn in_flight_bytes(&self) -> usize;

    /// Commits these positions without waiting; the outcome is an [`Event::Committed`].
    ///
    /// # Errors
    /// When it could not even be handed on.
    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error>;

    /// Commits these positions and waits for the answer.
    ///
    /// # Errors
    /// When the cluster refused, or the member was fenced. A commit that comes in the middle of a rebalance is refused with a
    /// retriable error: it may pass once the group has settled.
    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error>;

    /// No records of these partitions until [`resume`](Self::resume); polling goes on. Those that the client had already taken
    /// from the cluster may still come.
    fn pause(&self, partitions: &[TopicPartition]);

    /// Ends [`pause`](Self::pause).
    fn resume(&self, partitions: &[TopicPartition]);

    /// The next record of `partition` is the first at or after `offset`. Records on the way are dropped.
    ///
    /// # Errors
    /// When the client refuses or does not answer in time: the position is not known then.
    fn seek(&self, partition: &TopicPartition, offset: NextOffset) -> Result<(), Error>;

    /// The end of `partition` as far as the client knows without asking.
    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset>;

    /// The number of partitions of `topic`.
    ///
    /// # Errors
    /// When the cluster does not answer, or does not have the topic.
    fn partition_count(&self, topic: &str) -> Result<i32, Error>;

    /// Those of these partitions that have records which were not polled yet, and their ends. Asks the cluster, for a second
    /// at most.
    ///
    /// # Errors
    /// When the cluster does not answer.
    fn unread(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, Error>;

    /// Whether the cluster can be reached, as far as the client knows.
    fn is_connected(&self) -> bool {
        true
    }
}

/// A record as it lies in the client's buffer.
pub(crate) trait Message: Sync {
    /// The key's bytes; `None` is null.
    fn key(&self) -> Option<&[u8]>;
    /// The value's bytes; `None` is null (a tombstone).
    fn value(&self) -> Option<&[u8]>;
    /// The headers, copied. Not for every record: the client may allocate to find out that there are none.
    fn headers(&self) -> Headers;
    /// The record's time.
    fn timestamp(&self) -> Timestamp;
    /// The topic it was read from.
    fn topic(&self) -> &str;
    /// The partition it was read from.
    fn partition(&self) -> Partition;
    /// Its offset.
    fn offset(&self) -> Offset;
}

/// Where the records of an admitted partition begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the offset that the group has committed.
    Committed(NextOffset),
    /// The group has committed nothing: where the log is set to start.
    Chosen(NextOffset),
    /// The group has committed nothing and the log is set to fail: nothing flows.
    Refused {
        /// The first offset the cluster has.
        start: NextOffset,
        /// The end of the partition.
        end: NextOffset,
    },
    /// The group has committed nothing, and nobody says where the partition starts or ends: its leader is away. It is to stay
    /// paused until [`Log::begin_again`] knows.
    Unknown,
}

impl Begin {
    /// The offset of the first record that may come.
    pub(crate) const fn offset(self) -> Option<NextOffset> {
        match self {
            Self::Committed(offset) | Self::Chosen(offset) => Some(offset),
            Self::Refused { end, .. } => Some(end),
            Self::Unknown => None,
        }
    }
}

/// What a poll found.
#[derive(Debug)]
pub(crate) enum Event<M> {
    /// A record of an admitted partition, in order within it.
    Record(M),
    /// The group gave this member these partitions; nothing flows before [`Log::admit`].
    Assigned(Vec<TopicPartition>),
    /// The group wants these partitions back: finish, commit, then [`Log::release`].
    Revoked(Vec<TopicPartition>),
    /// These partitions already belong to somebody else (session expired, poll interval exceeded): commit nothing, drop what
    /// is under way, then [`Log::release`].
    Lost(Vec<TopicPartition>),
    /// An asynchronous commit was answered.
    Committed {
        /// The positions; none when it failed and the client did not say which.
        offsets: Vec<(TopicPartition, NextOffset)>,
        /// The answer.
        result: Result<(), Error>,
    },
    /// The cluster refuses to let the group read, or a topic: of that nothing comes any more. The rest can be finished and committed.
    Forbidden(Error),
    /// The position of a partition is not, or no longer, on the cluster. The log goes on from where it is set to
    /// start; set to fail, the partition stands still.
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position that is not there.
        wanted: NextOffset,
        /// The first offset the cluster has.
        start: NextOffset,
        /// The end of the partition.
        end: NextOffset,
    },
    /// Something is wrong that may pass by itself: a broker away, a topic that is gone.
    Trouble(Error),
    /// Nothing, or nothing for the caller.
    Idle,
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` lets the key decide (murmur2, as Kafka's own clients do).
    pub partition: Option<Partition>,
    /// The key's bytes; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Option<&'a Headers>,
    /// The record's time; `None` is the time of sending.
    pub timestamp: Option<Timestamp>,
}

impl Outgoing<'_> {
    /// What it counts against a bound on memory, until its delivery is reported.
    pub(crate) fn memory(&self) -> usize {
        let headers = self.headers.into_iter().flat_map(Headers::iter);
        let headers = headers.map(|header| (header.name.len(), value_len(header.value.as_deref())));
        memory(value_len(self.key), value_len(self.value), headers)
    }
}

fn value_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// What a client keeps for a record beside its bytes, so that many small ones are bounded too.
const RECORD_OVERHEAD: usize = 256;

/// What it keeps for a header.
const HEADER_OVERHEAD: usize = 64;

/// What a record of such sizes counts against a bound on memory; of a header, the sizes of name and value.
pub(crate) fn memory(
    key: usize,
    value: usize,
    headers: impl Iterator<Item = (usize, usize)>,
) -> usize {
    let headers = headers.map(|(name, value)| name + value + HEADER_OVERHEAD);
    key + value + RECORD_OVERHEAD + headers.sum::<usize>()
}

/// What a sender gets back with the delivery report; the log only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub u64);

/// Why a record was not taken for sending.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The bound on bytes or records in flight is reached; serve [`Log::reports`] and try again.
    Full,
    /// It was not taken. The class tells whether this record is to blame ([`Class::Refused`](crate::Class::Refused): it is too
    /// large) or the client cannot go on ([`Class::Fatal`](crate::Class::Fatal)).
    Failed(Error),
}
