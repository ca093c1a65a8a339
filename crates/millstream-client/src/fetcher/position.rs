//! One partition that is read: where it stands, what was fetched and not taken yet, and what must be asked before the next fetch.
//!
//! ```text
//! Seeking --offset found--> Fetching <--position is good-- Validating
//!    ^                        |  ^------------------------------^ the leader has a new epoch (KIP-320)
//!    |----out of range--------|
//! Halted: nothing is fetched until a seek
//! ```
//!
//! Every seek, halt, change of leader and change of what is assigned begins a new generation. An answer that belongs to an earlier one finds nothing.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::clock::Time;
use crate::cluster::Topic;
use crate::wire::Malformed;
use crate::wire::batch::Header;
use crate::wire::records::{Record, Records};

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record that is not older than so many milliseconds since 1970.
    Timestamp(i64),
    /// At this offset.
    Offset(Position),
}

/// The next record to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its offset.
    pub offset: i64,
    /// The leader's epoch of the record before it, -1 if it is not known. With it a truncated log is noticed.
    pub epoch: i32,
}

impl Position {
    /// A position of which no epoch is known.
    pub fn at(offset: i64) -> Self {
        Self { offset, epoch: -1 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// An offset is asked for.
    Seeking(Start),
    /// The log of the leader of this epoch is compared with the position.
    Validating(i32),
    Fetching,
    /// Nothing is fetched until a seek.
    Halted,
}

/// Records of one batch of one partition, lent from the response that brought them.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Their topic.
    pub topic: Topic,
    /// Their partition.
    pub partition: i32,
    pub(crate) header: Header,
    /// The records, decompressed.
    pub(crate) data: Bytes,
    /// A response holds whole batches; what is before the position was read earlier.
    pub(crate) from: i64,
}

impl Chunk {
    /// The records, in order. An error names damage that the checksum did not cover.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, Malformed>> {
        let from = self.from;
        Records::new(self.header, &self.data)
            .filter(move |record| record.as_ref().map_or(true, |record| record.offset >= from))
    }

    /// Where reading goes on when all its records are done: what a group commits.
    pub fn next(&self) -> Position {
        Position {
            offset: self.header.next_offset(),
            epoch: self.header.leader_epoch,
        }
    }
}

/// What was fetched at once and is not all taken.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) records: Bytes,
    /// Aborted transactions that are not open yet: first offset, producer; the first one last.
    pub(crate) aborted: Vec<(i64, i64)>,
    /// Whether a batch of it was taken.
    pub(crate) started: bool,
}

/// One partition that is read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) generation: u64,
    pub(crate) stage: Stage,
    pub(crate) paused: bool,
    /// The next record to hand out.
    pub(crate) position: Position,
    /// The next record to fetch.
    pub(crate) ahead: Position,
    /// The leader's epoch with which the position was validated.
    pub(crate) validated: i32,
    pub(crate) fetched: VecDeque<Fetch>,
    pub(crate) buffered: usize,
    /// Producers whose transaction was aborted and has not ended where reading stands.
    pub(crate) aborting: Vec<i64>,
    /// The question about this partition that is on its way.
    pub(crate) asked: bool,
    pub(crate) retry_at: Time,
    pub(crate) attempts: u32,
    pub(crate) high_watermark: i64,
    /// A position that was out of range, until it is known by how much.
    pub(crate) lost: Option<i64>,
}

impl Reading {
    pub(crate) fn new(generation: u64, start: Start) -> Self {
        let mut reading = Self {
            generation,
            stage: Stage::Halted,
            paused: false,
            position: Position::at(-1),
            ahead: Position::at(-1),
            validated: -1,
            fetched: VecDeque::new(),
            buffered: 0,
            aborting: Vec::new(),
            asked: false,
            retry_at: Time::ZERO,
            attempts: 0,
            high_watermark: -1,
            lost: None,
        };
        reading.seek(generation, start);
        reading
    }

    /// Starts again somewhere else. Whether it is paused does not change.
    pub(crate) fn seek(&mut self, generation: u64, start: Start) {
        self.generation = generation;
        self.drop_fetched();
        self.asked = false;
        self.retry_at = Time::ZERO;
        self.attempts = 0;
        self.lost = None;
        self.validated = -1;
        match start {
            Start::Offset(position) => {
                self.position = position;
                self.ahead = position;
                self.stage = match position.epoch {
                    -1 => Stage::Fetching,
                    _ => Stage::Validating(-1),
                };
            }
            start => self.stage = Stage::Seeking(start),
        }
    }

    /// Forgets what was fetched and not taken.
    pub(crate) fn drop_fetched(&mut self) {
        self.fetched.clear();
        self.buffered = 0;
        self.aborting.clear();
        self.ahead = self.position;
    }

    /// The position, once it is known.
    pub(crate) fn known_position(&self) -> Option<Position> {
        let sought = matches!(self.stage, Stage::Seeking(_));
        (!sought && self.position.offset >= 0).then_some(self.position)
    }

    /// The leader has another epoch: the position is compared with its log before anything more is fetched, and what the leader before says counts no longer.
    /// Whether that begins a generation.
    pub(crate) fn led_by(&mut self, epoch: i32, next: u64) -> bool {
        match self.stage {
            Stage::Fetching if self.validated < epoch => {
                let same = self.validated < 0 && self.ahead.epoch == epoch;
                if self.ahead.epoch < 0 || same {
                    self.validated = epoch;
                } else {
                    self.stage = Stage::Validating(epoch);
                }
            }
            Stage::Validating(asked) if asked < epoch => self.stage = Stage::Validating(epoch),
            _ => return false,
        }
        self.asked = false;
        self.generation = next;
        true
    }

    /// Nothing is fetched until a seek.
    pub(crate) fn halt(&mut self, generation: u64) {
        self.drop_fetched();
        self.generation = generation;
        self.asked = false;
        self.stage = Stage::Halted;
    }
}
