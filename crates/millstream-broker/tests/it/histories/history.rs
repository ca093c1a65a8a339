//! What clients did and saw: plain data, made by the clients of a run or by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A record's identity, which is its value. A copier numbers its transactions through all its incarnations, and the items of its
/// source from 0 on; a transaction that aborts leaves its items to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) copier: u32,
    pub(super) transaction: u64,
    pub(super) item: u64,
}

impl Name {
    pub(super) fn id(self) -> Id {
        (self.copier, self.transaction)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.copier, self.transaction, self.item)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let fields: Vec<u64> = text
            .split(' ')
            .map_while(|field| field.parse().ok())
            .collect();
        match fields[..] {
            [copier, transaction, item] => Ok(Name {
                copier: u32::try_from(copier).map_err(|_| text.to_owned())?,
                transaction,
                item,
            }),
            _ => Err(text.to_owned()),
        }
    }
}

/// A transaction: copier and number.
pub(super) type Id = (u32, u64);

/// What is known of how a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The commit was acknowledged.
    Committed,
    /// Nobody asked for a commit, or only after a successor was there or the broker had timed the transaction out, and that was refused.
    Aborted,
    /// A commit was asked for, and its answer did not come.
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) id: Id,
    /// The items of the source that it covers; the end is the offset that it commits.
    pub(super) items: Range<u64>,
    pub(super) outcome: Outcome,
}

/// A record as somebody met it; in the order of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sighting {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Committed,
    Uncommitted,
}

impl Level {
    pub(super) fn property(self) -> &'static str {
        match self {
            Level::Committed => "read_committed",
            Level::Uncommitted => "read_uncommitted",
        }
    }
}

/// All that one reader saw, in its order; it read every partition to the end.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) level: Level,
    pub(super) sightings: Vec<Sighting>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) transactions: Vec<Transaction>,
    /// Records whose delivery was acknowledged, and where.
    pub(super) acknowledged: Vec<Sighting>,
    pub(super) readings: Vec<Reading>,
    /// The offsets that an observer was told for each copier's group, in its order; the last one when all was over.
    pub(super) offsets: BTreeMap<u32, Vec<u64>>,
}
