//! One batch of a partition: its records, its place in the sequence, and whether it may be in the log.
//!
//! What becomes of it the partition decides. A batch is sealed once and stamped as often as its sequence changes; one that is too large comes apart
//! in halves that keep its sequences.

use bytes::Bytes;

use super::Limits;
use crate::clock::Time;
use crate::error::Error;
use crate::wire::batch::Producer as Stamp;
use crate::wire::builder::{Builder, Sealed};
use crate::wire::records::Records;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    InFlight,
    /// Acknowledged at this offset, -1 if the broker did not say it; an earlier one is not.
    Done(i64),
}

#[derive(Debug)]
pub(super) enum Content {
    Plain(Builder),
    Sealed(Sealed),
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) content: Content,
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) count: i32,
    pub(super) created: Time,
    pub(super) size: usize,
    pub(super) state: State,
    /// Its place in the sequence, once it has one.
    pub(super) stamp: Option<Stamp>,
    /// Whether it may be in the log.
    pub(super) doubt: bool,
    /// Whether a copy of it may still be on its way, whatever a broker has said since.
    pub(super) astray: bool,
}

impl Batch {
    /// The first and the second half of its records; `None` if it does not read as it was written.
    pub(super) fn halves(&self) -> Option<(Self, Self)> {
        let count = self.count / 2;
        let (one, other) = self.copied(count)?;
        let size = one.size().min(self.size);
        let half = |content, first, count, size, stamp| Self {
            content: Content::Plain(content),
            first,
            count,
            created: self.created,
            size,
            state: State::Waiting,
            stamp,
            doubt: self.doubt,
            astray: self.astray,
        };
        let second = self.stamp.map(|stamp| Stamp {
            sequence: after(stamp.sequence, count),
            ..stamp
        });
        let behind = self.first + u64::from(count.unsigned_abs());
        Some((
            half(one, self.first, count, size, self.stamp),
            half(other, behind, self.count - count, self.size - size, second),
        ))
    }

    /// Its records in two builders, so many in the first one.
    fn copied(&self, count: i32) -> Option<(Builder, Builder)> {
        let Content::Sealed(sealed) = &self.content else {
            return None;
        };
        let plain = sealed.plain().ok()?;
        let (mut one, mut other) = (Builder::default(), Builder::default());
        for record in Records::new(*sealed.header(), &plain) {
            let record = record.ok()?;
            let headers: Vec<_> = record.headers.into_iter().collect();
            let half = match one.count() < count {
                true => &mut one,
                false => &mut other,
            };
            half.append(record.timestamp, record.key, record.value, &headers);
        }
        (one.count() + other.count() == self.count).then_some((one, other))
    }

    pub(super) fn seal(&mut self, stamp: Stamp, limits: &Limits) -> Result<Bytes, Error> {
        if let Content::Plain(builder) = &mut self.content {
            let sealed =
                std::mem::take(builder).seal(limits.compression, stamp, limits.transactional)?;
            self.content = Content::Sealed(sealed);
        }
        Ok(match &mut self.content {
            Content::Sealed(sealed) => {
                sealed.restamp(stamp);
                sealed.bytes().clone()
            }
            Content::Plain(_) => Bytes::new(),
        })
    }
}

/// Sequences begin at 0 again after the largest one.
pub(super) fn after(sequence: i32, count: i32) -> i32 {
    let room = i32::MAX - sequence;
    if count > room {
        count - room - 1
    } else {
        sequence + count
    }
}
