//! The newest offset of each key in the part of a log that was not compacted yet.
//!
//! Keys are kept as hashes of 128 bits with a seed of their own for each pass, so that memory does not depend on how long keys are and nobody
//! can choose two keys that collide. When there are as many as may be noted, the pass ends with the batch that is under way.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use super::aborts::Aborts;
use super::rewrite::Batches;
use crate::error::Error;
use crate::log::batch::Header;
use crate::log::records;
use crate::log::segment::Segment;

pub(super) struct Keys {
    newest: HashMap<(u64, u64), i64>,
    seeds: (RandomState, RandomState),
    begin: i64,
    end: i64,
    most: usize,
}

impl Keys {
    /// Notes keys from `begin` on, about `most` of them.
    pub(super) fn new(begin: i64, most: usize) -> Keys {
        Keys {
            newest: HashMap::new(),
            seeds: (RandomState::new(), RandomState::new()),
            begin,
            end: begin,
            most,
        }
    }

    /// The offset up to which keys were noted.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// Notes the keys of a segment; false when there is no room for more.
    pub(super) fn note(&mut self, segment: &Segment, aborts: &Aborts) -> Result<bool, Error> {
        let mut batches = Batches::of(segment)?;
        while let Some((header, batch)) = batches.next()? {
            if header.last_offset() < self.begin {
                continue;
            }
            if self.newest.len() >= self.most {
                return Ok(false);
            }
            if !header.is_control() && !aborts.hold(&header) {
                self.note_batch(&header, &batch)
                    .map_err(|error| segment.failed_inside(&header, error))?;
            }
            self.end = header.last_offset().saturating_add(1);
        }
        self.end = self.end.max(segment.shape().end);
        Ok(true)
    }

    fn note_batch(&mut self, header: &Header, batch: &[u8]) -> std::io::Result<()> {
        let bytes = records::inside(header, batch)?;
        for record in records::each(&bytes, header.count) {
            let record = record?;
            let offset = header.base_offset.saturating_add(record.offset_delta);
            if let Some(key) = record.key {
                let hash = self.hash(key);
                self.newest.insert(hash, offset);
            }
        }
        Ok(())
    }

    /// Whether a later record has the same key, of those that were noted.
    pub(super) fn is_replaced(&self, key: &[u8], offset: i64) -> bool {
        offset < self.end
            && self
                .newest
                .get(&self.hash(key))
                .is_some_and(|newest| offset < *newest)
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        (self.seeds.0.hash_one(key), self.seeds.1.hash_one(key))
    }
}
