//! What a client tells its application.
//!
//! One event at a time, in the order in which things happened to a partition. An event holds what it is about; nothing has to be asked for afterwards.

use crate::cluster::Topic;
use crate::error::Error;
use crate::fetcher::Told;
use crate::fetcher::position::{Chunk, Position};
use crate::producer::Delivery;
use crate::transaction::Ended;

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Records of a partition that is read.
    Records(Chunk),
    /// What became of records that were sent.
    Delivered(Delivery),
    /// What became of a commit, by the number that [`Client::commit`](crate::Client::commit) returned.
    Committed {
        /// The commit's number.
        number: u64,
        /// Whether it was applied; [`Error::outcome`] if that is not known.
        result: Result<(), Error>,
    },
    /// Committed positions, by the number that [`Client::read_committed`](crate::Client::read_committed) returned; `None` where nothing is committed.
    Positions {
        /// The number of the call.
        number: u64,
        /// What was found.
        result: Result<Vec<(Topic, i32, Option<Position>)>, Error>,
    },
    /// The group has added these partitions.
    Assigned(Vec<(Topic, i32)>),
    /// The group takes these partitions away, and waits until [`Client::release`](crate::Client::release) is called. They are no longer read, and can still be committed.
    Revoked(Vec<(Topic, i32)>),
    /// The group has given these partitions to others. They are no longer read, and cannot be committed.
    Lost(Vec<(Topic, i32)>),
    /// This client is no longer a member: it has left, or the coordinator refuses it.
    Left(Result<(), Error>),
    /// What became of a transaction. An error of [`Class::Abortable`](crate::Class::Abortable) leaves it open: it has to be aborted.
    Ended(Result<Ended, Error>),
    /// Records are gone before they were read; reading goes on at `to`.
    Gone {
        /// Their topic.
        topic: Topic,
        /// Their partition.
        partition: i32,
        /// The position that was out of range.
        from: i64,
        /// Where reading goes on, by `auto.offset.reset`.
        to: i64,
    },
    /// The log was truncated below the position, by an election that was not clean. Records from `to` on may be others than those that were read.
    Truncated {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: i32,
        /// The position before.
        from: i64,
        /// Where the log parts, and reading goes on.
        to: i64,
    },
    /// A partition cannot be read; it waits for a seek.
    Halted {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: i32,
        /// Why.
        error: Error,
    },
}

impl From<Told> for Event {
    fn from(told: Told) -> Self {
        match told {
            Told::Gone((topic, partition), from, to) => Self::Gone {
                topic,
                partition,
                from,
                to,
            },
            Told::Truncated((topic, partition), from, to) => Self::Truncated {
                topic,
                partition,
                from,
                to,
            },
            Told::Halted((topic, partition), error) => Self::Halted {
                topic,
                partition,
                error,
            },
        }
    }
}
