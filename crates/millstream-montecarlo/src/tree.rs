//! The fixed tree along which partial results are merged.
//!
//! A run of n tiles is cut at the largest power of two below n, and so are its parts. An aligned run of 2^k tiles is then a whole
//! subtree, whatever n is: chunks of any such size, arriving in any order and more than once, give the same bits.

use std::ops::Range;

use crate::Error;
use crate::digest::Digest;
use crate::partial::Partial;

/// Where a run of `n` tiles is cut: the largest power of two below `n`, which is at least 2.
pub(crate) const fn cut(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// The chunks of a wave as they come in.
#[derive(Debug)]
pub struct Fold {
    tiles: u64,
    chunk_tiles: u64,
    arrived: Vec<Option<(Digest, Partial)>>,
    left: usize,
}

/// What adding a chunk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was missing.
    New,
    /// It was here, with the same bits.
    Duplicate,
}

impl Fold {
    /// A wave of `tiles` in chunks of `chunk_tiles`, a power of two; the last chunk may be shorter.
    ///
    /// # Errors
    /// A size that is no power of two.
    pub fn new(tiles: u64, chunk_tiles: u64) -> Result<Self, Error> {
        if !chunk_tiles.is_power_of_two() {
            return Err(Error::Request {
                field: "chunk_tiles".into(),
                reason: format!(
                    "{chunk_tiles}, expected a power of two: only such runs are whole subtrees"
                ),
            });
        }
        let chunks = usize::try_from(tiles.div_ceil(chunk_tiles)).unwrap_or(usize::MAX);
        Ok(Self {
            tiles,
            chunk_tiles,
            arrived: vec![None; chunks],
            left: chunks,
        })
    }

    /// The number of chunks.
    pub const fn chunks(&self) -> u64 {
        self.arrived.len() as u64
    }

    /// The tiles of a chunk.
    pub fn tiles_of(&self, chunk: u64) -> Range<u64> {
        let first = chunk * self.chunk_tiles;
        first..self.tiles.min(first + self.chunk_tiles)
    }

    /// Adds a chunk's result. The first one holds.
    ///
    /// # Errors
    /// [`Error::Nondeterminism`] when it is here with other bits; [`Error::Mismatch`] when the wave has no such chunk.
    pub fn add(&mut self, chunk: u64, partial: Partial) -> Result<Added, Error> {
        let slot = usize::try_from(chunk)
            .ok()
            .and_then(|chunk| self.arrived.get_mut(chunk));
        let slot = slot.ok_or(Error::Mismatch)?;
        let digest = partial.digest();
        match slot {
            Some((known, _)) if *known == digest => Ok(Added::Duplicate),
            Some(_) => Err(Error::Nondeterminism { chunk }),
            None => {
                *slot = Some((digest, partial));
                self.left -= 1;
                Ok(Added::New)
            }
        }
    }

    /// Whether every chunk is here.
    pub const fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// The chunks that are not here.
    pub fn missing(&self) -> impl Iterator<Item = u64> {
        self.arrived
            .iter()
            .zip(0..)
            .filter(|(slot, _)| slot.is_none())
            .map(|(_, chunk)| chunk)
    }

    /// The result of the whole wave.
    ///
    /// # Errors
    /// [`Error::Incomplete`] while a chunk is missing; [`Error::Mismatch`] when they are of different waves.
    pub fn finish(self) -> Result<Partial, Error> {
        if self.left > 0 {
            return Err(Error::Incomplete {
                missing: self.left as u64,
            });
        }
        // Equal neighbours are merged as they come, what is left from the right: the same tree as cutting from the top.
        let mut stack: Vec<(u64, Partial)> = Vec::new();
        for (_, partial) in self.arrived.into_iter().flatten() {
            let mut node = (1, partial);
            while let Some((_, left)) = stack.pop_if(|(size, _)| *size == node.0) {
                node = (2 * node.0, left.merge(node.1)?);
            }
            stack.push(node);
        }
        let mut whole: Option<Partial> = None;
        while let Some((_, left)) = stack.pop() {
            whole = Some(match whole {
                Some(right) => left.merge(right)?,
                None => left,
            });
        }
        whole.ok_or(Error::Incomplete { missing: 0 })
    }
}
