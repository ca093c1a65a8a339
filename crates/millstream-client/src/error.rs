//! Everything that can go wrong, and what a caller may conclude from it.
//!
//! [`Error::class`] says what to do, [`Error::outcome`] whether a write may have happened. Both are about the operation that the error was
//! returned for; an outcome that is not known is never reported as a failure or as a success.

use std::time::Duration;

use kafka_protocol::ResponseError;

use crate::wire::Malformed;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// The same again may succeed.
    Retriable,
    /// The open transaction can only be aborted; the next one may succeed.
    Abortable,
    /// This record or request is refused for good; others are not concerned.
    Refused,
    /// Another client has taken this one's place.
    Fenced,
    /// This client cannot go on.
    Fatal,
}

/// Whether a write has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was written.
    NotApplied,
    /// It may have been written.
    Unknown,
}

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Records did not compress.
    #[error("failed to compress records with {codec}")]
    Compress {
        /// The codec's name.
        codec: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A frame of an impossible length.
    #[error("failed to read a frame")]
    Frame {
        /// What is wrong with it.
        source: Malformed,
    },
    /// A socket failed while reading.
    #[error("failed to receive from the broker")]
    Receive {
        /// Why.
        source: std::io::Error,
    },
    /// A socket failed while writing.
    #[error("failed to send to the broker")]
    Send {
        /// Why.
        source: std::io::Error,
    },
    /// A request that cannot be put into bytes.
    #[error("failed to encode a request of API {api}: {reason}")]
    Encode {
        /// The API's number.
        api: i16,
        /// What the encoder said.
        reason: String,
    },
    /// A response that does not decode.
    #[error("failed to read the response to {api} from `{broker}`")]
    Response {
        /// Its address.
        broker: String,
        /// The API.
        api: &'static str,
        /// What is wrong with it.
        source: Malformed,
    },
    /// An answer that makes no sense.
    #[error("broker `{broker}` sent {what}")]
    Absurd {
        /// Its address.
        broker: String,
        /// What it sent.
        what: &'static str,
    },
    /// A batch whose bytes are damaged or break the format.
    #[error("failed to read the records of `{topic}` partition {partition} at offset {offset}")]
    Records {
        /// Where it is.
        topic: String,
        /// Where it is.
        partition: i32,
        /// Of the fetch, or of the batch if that could be read.
        offset: i64,
        /// What is wrong with it.
        source: Malformed,
    },
    /// A property that does not exist, or a value that it cannot have.
    #[error("property `{name}`: {reason}")]
    Property {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An address that does not resolve, or no socket.
    #[error("failed to reach `{address}`")]
    Connect {
        /// As it was given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A broker that refuses who this client says it is, or that this client does not believe.
    #[error("failed to log in at broker `{broker}`: {reason}")]
    Login {
        /// Its address.
        broker: String,
        /// Why, as the broker says it or as it was found here.
        reason: String,
    },
    /// A broker that does not speak TLS, whose certificate is not accepted here, or that does not accept this client's.
    #[error("failed to encrypt the connection to broker `{broker}`: {reason}")]
    Encryption {
        /// Its address.
        broker: String,
        /// Why.
        reason: String,
    },
    /// The machine has no event queue or socket for this client.
    #[error("failed to wait for sockets")]
    Wait {
        /// Why.
        source: std::io::Error,
    },
    /// The machine has no thread for heartbeats.
    #[error("failed to start the thread that heartbeats")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// A broker that refused.
    #[error("{api} of {place} failed: {code}")]
    Broker {
        /// The API.
        api: &'static str,
        /// Topic and partition, or group.
        place: String,
        /// Kafka's code.
        code: ResponseError,
    },
    /// The cluster refused what an administrator asked for, or no broker could take it.
    #[error("failed to {what}: {reason}")]
    Administration {
        /// What was asked for, of which topic, partition, group or broker.
        what: String,
        /// Kafka's code.
        code: ResponseError,
        /// What the broker said, and what to do.
        reason: String,
    },
    /// The open transaction cannot be committed.
    #[error("failed to commit the transaction, it has to be aborted: {reason}")]
    Aborted {
        /// What failed in it.
        reason: String,
    },
    /// Something that only an open transaction allows, or only without one.
    #[error("failed to {what}: {reason}")]
    Transaction {
        /// What was asked for.
        what: &'static str,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// What another member of a group sent.
    #[error("failed to read what the coordinator of group `{group}` sent")]
    Group {
        /// The group.
        group: String,
        /// What is wrong with it.
        source: Malformed,
    },
    /// A commit for a partition that is not this member's any more.
    #[error(
        "failed to commit `{topic}` partition {partition} for group `{group}`: it is no longer assigned to this member"
    )]
    NotAssigned {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// What was asked for has failed, but may have been done all the same, or in part: an earlier attempt was lost.
    #[error("{error}; it may have been done all the same")]
    PossiblyDone {
        /// What was said last.
        error: Box<Error>,
    },
    /// No answer in time.
    #[error("{what} took longer than {millis} ms")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        millis: u64,
        /// Whether it may have been done.
        outcome: Outcome,
    },
    /// A record above the limit.
    #[error("record of {size} bytes for `{topic}`: `max.request.size` is {limit}")]
    TooLarge {
        /// Its topic.
        topic: String,
        /// Its size in a batch.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Records that were not delivered.
    #[error("failed to deliver records to `{topic}` partition {partition}: {reason}; {}", said(*outcome))]
    Undelivered {
        /// Their topic.
        topic: String,
        /// Their partition.
        partition: i32,
        /// Why.
        reason: String,
        /// Whether they may be in the log.
        outcome: Outcome,
    },
    /// Something that cannot be done, for a reason that was reported in full elsewhere.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// A partition that the topic does not have.
    #[error("topic `{topic}` has no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A cluster that lacks what this client needs.
    #[error("broker `{broker}` does not support {api} in versions {min} to {max}")]
    Unsupported {
        /// Its address.
        broker: String,
        /// The API.
        api: &'static str,
        /// Spoken here.
        min: i16,
        /// Spoken here.
        max: i16,
    },
}

impl Error {
    pub(crate) fn timed_out(what: String, after: Duration, outcome: Outcome) -> Self {
        Self::TimedOut {
            what,
            millis: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            outcome,
        }
    }

    /// The same for an operation of which an earlier attempt may have succeeded.
    pub(crate) fn in_doubt(self, doubt: bool) -> Self {
        match doubt && self.outcome() == Outcome::NotApplied {
            true => Self::PossiblyDone {
                error: Box::new(self),
            },
            false => self,
        }
    }

    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Receive { .. }
            | Self::Send { .. }
            | Self::Connect { .. }
            | Self::Frame { .. }
            | Self::Response { .. }
            | Self::Absurd { .. }
            | Self::TimedOut { .. } => Class::Retriable,
            Self::Compress { .. }
            | Self::Encode { .. }
            | Self::Records { .. }
            | Self::TooLarge { .. }
            | Self::Undelivered { .. }
            | Self::Refused { .. }
            | Self::NoPartition { .. }
            | Self::NotAssigned { .. }
            | Self::Transaction { .. } => Class::Refused,
            Self::Property { .. }
            | Self::Login { .. }
            | Self::Encryption { .. }
            | Self::Wait { .. }
            | Self::Thread { .. }
            | Self::Unsupported { .. }
            | Self::Group { .. } => Class::Fatal,
            Self::Aborted { .. } => Class::Abortable,
            Self::PossiblyDone { error } => error.class(),
            Self::Broker { code, .. } | Self::Administration { code, .. } => class_of(*code),
        }
    }

    /// Whether the write that it was returned for may have happened.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::TimedOut { outcome, .. } | Self::Undelivered { outcome, .. } => *outcome,
            Self::Receive { .. }
            | Self::Send { .. }
            | Self::Frame { .. }
            | Self::Response { .. }
            | Self::Absurd { .. }
            | Self::PossiblyDone { .. } => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// Whether the same again may succeed.
    pub fn is_retriable(&self) -> bool {
        self.class() == Class::Retriable
    }
}

fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotApplied => "they are not in the log",
        Outcome::Unknown => "they are possibly written",
    }
}

fn class_of(code: ResponseError) -> Class {
    match code {
        ResponseError::TransactionAbortable => Class::Abortable,
        ResponseError::ProducerFenced
        | ResponseError::InvalidProducerEpoch
        | ResponseError::FencedInstanceId
        | ResponseError::FencedMemberEpoch => Class::Fenced,
        ResponseError::ClusterAuthorizationFailed
        | ResponseError::SaslAuthenticationFailed
        | ResponseError::UnsupportedVersion => Class::Fatal,
        code if code.is_retriable() => Class::Retriable,
        _ => Class::Refused,
    }
}
