//! Errors, of two kinds.
//!
//! [`Error`] is the library's own: configuration, cluster, a service that cannot go on. [`ProcessError`] is what a
//! handler answers about one record; the service's declared policy decides what becomes of that record.
//!
//! An error answers two questions for whoever decides what to do next: what can still be done ([`Error::class`]), and has
//! the call been applied ([`Error::outcome`]). An unknown outcome is never treated as success.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::reader::Undecodable;
use crate::record::Position;
use crate::topic::Partition;

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A declared topic cannot exist.
    #[error("topic `{topic}` is not valid: {reason}")]
    InvalidTopic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A service's declaration contradicts itself.
    #[error("service `{service}` is not valid: {reason}")]
    InvalidService {
        /// The service.
        service: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A property that the Kafka client does not have.
    #[error("unknown property `{name}`{}", did_you_mean(*.nearest))]
    UnknownProperty {
        /// The name as given.
        name: String,
        /// The known name nearest to it, if one is near.
        nearest: Option<&'static str>,
    },

    /// A property that may not have this value, or may not be set at all.
    #[error("invalid value for property `{name}`: {reason}")]
    InvalidProperty {
        /// The property.
        name: String,
        /// Why, without the value if it is a secret.
        reason: String,
    },

    /// A bootstrap address that is not valid.
    #[error("invalid broker address `{address}`: {reason}")]
    InvalidBrokers {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A topic on the cluster is not what was declared.
    #[error("topic `{topic}` has {property} {actual} on the cluster, but {declared} is declared")]
    TopicMismatch {
        /// The topic.
        topic: String,
        /// What differs: `partitions`, `retention.ms`.
        property: &'static str,
        /// What the declaration says.
        declared: String,
        /// What the cluster has.
        actual: String,
    },
    /// A topic does not exist and may not be created.
    #[error("topic `{topic}` does not exist")]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// A topic of that name exists already.
    #[error("topic `{topic}` exists already")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// A consumer group does not exist.
    #[error("group `{group}` does not exist")]
    UnknownGroup {
        /// The group.
        group: String,
    },
    /// A consumer group may not be changed while it has members.
    #[error(
        "group `{group}` is in use: it is {state} and has {members} member(s); stop them first"
    )]
    GroupActive {
        /// The group.
        group: String,
        /// How many members it has.
        members: usize,
        /// Its state in the broker's words.
        state: String,
    },
    /// The inputs of one service do not have the same number of partitions.
    #[error(
        "the inputs of service `{service}` must have equal partition counts: `{first}` has {first_count}, `{second}` has {second_count}"
    )]
    NotCoPartitioned {
        /// The service.
        service: String,
        /// One input.
        first: String,
        /// Its partitions.
        first_count: i32,
        /// The other input.
        second: String,
        /// Its partitions.
        second_count: i32,
    },
    /// A handler emitted to a topic its service does not declare.
    #[error(
        "service `{service}` emitted to topic `{topic}`, which it does not declare as an output"
    )]
    UndeclaredOutput {
        /// The service.
        service: String,
        /// The topic.
        topic: String,
    },
    /// A record could not be processed and the policy is to stop.
    #[error("service `{service}` stopped at {position}: {reason}")]
    Stopped {
        /// The service.
        service: String,
        /// The record.
        position: Position,
        /// Why it could not be processed.
        reason: String,
    },
    /// A dead letter could not be written: its partition stands still, and its record is not committed.
    #[error(
        "service `{service}` halted a partition at {position}: the dead letter cannot be written"
    )]
    DeadLetter {
        /// The service.
        service: String,
        /// The record.
        position: Position,
        /// Why its dead letter was not written.
        #[source]
        source: Box<Error>,
    },
    /// The cluster will never take a record of a timer that closes records kept open: its partition stands still, and they are not
    /// committed.
    #[error(
        "service `{service}` halted partition {partition}: a timer's record that closes others is refused"
    )]
    TimerRefused {
        /// The service.
        service: String,
        /// The partition number.
        partition: Partition,
        /// Why it was refused.
        #[source]
        source: Box<Error>,
    },
    /// Too large a share of the records went to the dead-letter topic.
    #[error(
        "service `{service}` stopped at {position}: {dead} of the last {seen} records could not be processed, more than the limit of {limit}; the last: {reason}"
    )]
    DeadLetterLimit {
        /// The service.
        service: String,
        /// The record that went over the limit; it was not dead-lettered.
        position: Position,
        /// Records that failed.
        dead: u64,
        /// Records seen in the same stretch.
        seen: u64,
        /// The declared limit, as a share.
        limit: f64,
        /// Why the last one failed.
        reason: String,
    },
    /// The position of a partition is outside of what the cluster still has, and the policy is to fail.
    #[error(
        "service `{service}` cannot read {partition} from offset {wanted}: the cluster has {start} to {end}"
    )]
    OutOfRange {
        /// The service.
        service: String,
        /// The partition.
        partition: crate::topic::TopicPartition,
        /// Where it wanted to read, or "none" when nothing was committed.
        wanted: String,
        /// The first offset there is.
        start: i64,
        /// The end.
        end: i64,
    },
    /// The cluster, or the way to it, failed.
    #[error("failed to {action}: {reason}")]
    Kafka {
        /// What was tried, with the thing named: "create topic `calls`".
        action: String,
        /// What the cluster or the client answered, without secrets.
        reason: String,
        /// What can still be done.
        class: Class,
        /// Whether it has been applied.
        outcome: Outcome,
    },
    /// A service was asked to stop, and the cluster did not answer its last commit in time. Nothing is lost.
    #[error(
        "service `{service}` stopped without an answer to its last commit; nothing is lost, but what is not committed will be processed again"
    )]
    LastCommit {
        /// The service.
        service: String,
        /// Why the commit failed.
        source: Box<Error>,
    },
    /// A codec refused a key or a value.
    #[error("failed to {action}")]
    Codec {
        /// What was tried, with the thing named: `decode the value of calls[0]@7`.
        action: String,
        /// What the codec says.
        source: crate::codec::CodecError,
    },
    /// A reader, used as an iterator, met a record that is not what the topic says; it goes on after it.
    #[error("{0}")]
    Undecodable(Box<Undecodable>),
    /// A reader was to begin where the partition has nothing.
    #[error("cannot read {partition} from offset {wanted}: the cluster has {start} to {end}")]
    InvalidPosition {
        /// The partition.
        partition: crate::topic::TopicPartition,
        /// Where it was to begin.
        wanted: crate::topic::NextOffset,
        /// The first offset there is.
        start: crate::topic::NextOffset,
        /// The end.
        end: crate::topic::NextOffset,
    },
    /// Records that an emitter had taken were not delivered.
    #[error("failed to deliver {failed} records, {pending} more are undecided: {reason}")]
    Undelivered {
        /// Given up.
        failed: u64,
        /// Not decided when the time was up.
        pending: u64,
        /// The first reason.
        reason: String,
    },
    /// The HTTP listener could not be opened.
    #[error("failed to listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The handlers of SIGINT and SIGTERM could not be installed.
    #[error("failed to listen to signals")]
    Signals {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program has a recorder of metrics of its own, so ours cannot be served.
    #[error("failed to install the recorder of metrics: {reason}")]
    Recorder {
        /// What the recorder says.
        reason: String,
    },
    /// A thread of the service panicked outside of a handler.
    #[error("a worker of service `{service}` panicked: {reason}")]
    WorkerPanicked {
        /// The service.
        service: String,
        /// The panic's message.
        reason: String,
    },
    /// A thread could not be started; those of the same service that were have ended.
    #[error("failed to start thread `{name}`")]
    Thread {
        /// The thread: for those of a service its name and a number.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The service did not end within its deadline because a handler had not returned; the process should exit.
    #[error(
        "service `{service}` did not stop within {seconds} s: {call} has been running for {running} s"
    )]
    StuckHandler {
        /// The service.
        service: String,
        /// The deadline that passed, in seconds.
        seconds: u64,
        /// The call: `the handler of calls[2]@17`.
        call: String,
        /// How long it has been running, in seconds.
        running: u64,
    },
    /// The service did not end within its deadline; its threads are still there and the process should exit.
    #[error(
        "service `{service}` did not stop within {seconds} s: {waiting} of its workers still wait for the cluster"
    )]
    Stuck {
        /// The service.
        service: String,
        /// The deadline that passed.
        seconds: u64,
        /// How many workers are stuck.
        waiting: usize,
    },
}

/// What can be done after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The same call may succeed later.
    Retriable,
    /// This record or request is never accepted; others are.
    Refused,
    /// What is under way together has to be given up and done again as a whole.
    Abortable,
    /// Somebody else has taken over: this client may not write or commit any more.
    Fenced,
    /// The client cannot go on at all: no permission, a broken sequence, a declaration that does not hold.
    Fatal,
}

/// Whether a call that failed has been applied on the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has been applied.
    Applied,
    /// It has not been applied.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

impl Error {
    /// What can still be done.
    pub const fn class(&self) -> Class {
        match self {
            Self::Kafka { class, .. } => *class,
            Self::Undelivered { .. } => Class::Abortable,
            Self::Codec { .. } | Self::InvalidPosition { .. } => Class::Refused,
            _ => Class::Fatal,
        }
    }

    /// Whether trying the same again may succeed.
    pub const fn is_retriable(&self) -> bool {
        matches!(self.class(), Class::Retriable)
    }

    /// The refusal of a batch: any of its records may be to blame.
    pub(crate) fn of_a_batch(mut self) -> Self {
        if let Self::Kafka { class, .. } = &mut self
            && *class == Class::Refused
        {
            *class = Class::Abortable;
        }
        self
    }

    /// Whether the call that failed has been applied.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Kafka { outcome, .. } => *outcome,
            Self::Undelivered { .. } => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// What a handler returns when it could not process a record.
///
/// Any error converts into it, so `?` works in a handler. It is retried as the service declares; one made by
/// [`permanent`](Self::permanent) goes straight to what follows the retries.
pub struct ProcessError {
    source: Box<dyn std::error::Error + Send + Sync>,
    permanent: bool,
}

impl ProcessError {
    /// A failure described by a text; may be retried.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            source: reason.into().into(),
            permanent: false,
        }
    }

    /// The same failure, marked as one that no retry can cure: the record is not retried.
    #[must_use]
    pub fn permanent(self) -> Self {
        Self {
            permanent: true,
            ..self
        }
    }

    /// Whether a retry cannot cure it.
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }
}

// `ProcessError` does not implement `std::error::Error` itself, so that this conversion can exist (as `anyhow` does).
impl<E: std::error::Error + Send + Sync + 'static> From<E> for ProcessError {
    fn from(source: E) -> Self {
        Self {
            source: Box::new(source),
            permanent: false,
        }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut source = self.source.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
