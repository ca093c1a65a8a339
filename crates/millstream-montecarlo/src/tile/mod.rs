//! What a worker computes: one tile, or a run of them on all cores.
//!
//! A [`Prepared`] wave holds the compiled integrand and the tables; a tile is a pure function of it and the tile's number.
//! Neighbours are merged along the fixed tree (`tree`), in parallel wherever the tree forks, so the pool's size changes no
//! bit. What a tile does with its samples depends on its kind, one file each.

mod block;
mod checks;
mod far_out;
mod model;
mod plain;
mod regions;
mod replicates;
mod rules;
mod strata;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use rules::rule_points;

use self::block::{Buffers, Notes};
use self::rules::Rule;
use crate::map::{Map, Table};
use crate::partial::{Partial, Sums};
use crate::random::sobol::Replicate;
use crate::registry::Registry;
use crate::tree;
use crate::wave::{Check, REPLICATES, TILE_POINTS, Wave, Work};
use crate::{BLOCK, Error, Integrand};

/// A wave, ready to be computed by any number of threads.
pub struct Prepared {
    wave: Wave,
    tiles: u64,
    integrand: Arc<dyn Integrand>,
    map: Option<Table>,
    tables: Tables,
}

/// What the tiles of a kind look up.
enum Tables {
    Plain,
    /// The first box of each tile.
    Strata(Vec<usize>),
    Replicates(Vec<Replicate>),
    Regions(Rule),
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Prepared {
    pub(crate) fn new(wave: &Wave, functions: &Registry) -> Result<Self, Error> {
        let plan = &wave.plan;
        plan.check()?;
        let dim = plan.domain.dim();
        let integrand = functions.resolve(&plan.expression, Some(dim), &plan.params)?;
        if !(wave.scale.is_empty() || wave.scale.len() == integrand.outputs()) {
            return Err(Error::Mismatch);
        }
        let fits = |map: &Map| {
            if map.dim() == dim {
                Ok(map.table())
            } else {
                Err(Error::Mismatch)
            }
        };
        let (map, tables) = match &wave.work {
            Work::Plain { map, .. } => (map.as_ref().map(fits).transpose()?, Tables::Plain),
            Work::Strata { map, strata, .. } if strata.dim() == dim => {
                (Some(fits(map)?), Tables::Strata(strata.tile_starts()))
            }
            Work::Replicates { map, first, points } if (first | points) % TILE_POINTS == 0 => {
                let replicates =
                    (0..REPLICATES).map(|number| Replicate::new(dim, plan.seed, number));
                (
                    map.as_ref().map(fits).transpose()?,
                    Tables::Replicates(replicates.collect()),
                )
            }
            Work::Regions { regions } => {
                let whole = |side: &Vec<f64>| side.len() == dim;
                if !regions
                    .iter()
                    .all(|region| whole(&region.lower) && whole(&region.upper))
                {
                    return Err(Error::Mismatch);
                }
                (None, Tables::Regions(Rule::new(dim)?))
            }
            Work::Checks { checks } => {
                let whole = |side: &Vec<f64>| side.len() == dim;
                let fits = |check: &Check| {
                    let mut regions = [&check.region, &check.part].into_iter();
                    regions.all(|region| whole(&region.lower) && whole(&region.upper))
                        && usize::from(check.points) <= BLOCK
                };
                if !checks.iter().all(fits) {
                    return Err(Error::Mismatch);
                }
                (None, Tables::Regions(Rule::new(dim)?))
            }
            _ => return Err(Error::Mismatch),
        };
        Ok(Self {
            wave: wave.clone(),
            tiles: wave.tiles(),
            integrand,
            map,
            tables,
        })
    }

    /// The wave.
    pub const fn wave(&self) -> &Wave {
        &self.wave
    }

    /// Values of the integrand at a point.
    pub fn outputs(&self) -> usize {
        self.integrand.outputs()
    }

    /// Computes a run of tiles on all threads of the current pool. The run must be a subtree to be merged with others: 2^k
    /// tiles that begin at a multiple of 2^k, or what is left of such a run at the end of the wave.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the wave has no such tiles.
    pub fn chunk(&self, tiles: Range<u64>) -> Result<Partial, Error> {
        if tiles.is_empty() || tiles.end > self.tiles {
            return Err(Error::Mismatch);
        }
        self.subtree(tiles)
    }

    fn subtree(&self, tiles: Range<u64>) -> Result<Partial, Error> {
        let count = tiles.end - tiles.start;
        if count == 1 {
            return BUFFERS.with_borrow_mut(|buffers| Ok(self.tile(tiles.start, buffers)));
        }
        let middle = tiles.start + tree::cut(count);
        let (left, right) = rayon::join(
            || self.subtree(tiles.start..middle),
            || self.subtree(middle..tiles.end),
        );
        left?.merge(right?)
    }

    fn tile(&self, tile: u64, buffers: &mut Buffers) -> Partial {
        let mut notes = Notes::new(self.outputs());
        buffers.fit(self.wave.plan.domain.dim(), self.outputs());
        let sums = match (&self.tables, &self.wave.work) {
            (Tables::Plain, _) => Sums::Plain(self.plain(tile, buffers, &mut notes)),
            (Tables::Strata(starts), Work::Strata { strata, adapt, .. }) => {
                let first = usize::try_from(tile).unwrap_or(usize::MAX);
                let from = starts.get(first).copied().unwrap_or(0);
                let to = starts
                    .get(first + 1)
                    .copied()
                    .unwrap_or(strata.counts().len());
                Sums::Strata(self.strata(tile, (strata, from..to, *adapt), buffers, &mut notes))
            }
            (Tables::Replicates(replicates), Work::Replicates { first, .. }) => {
                self.replicates(replicates, first + tile * TILE_POINTS, buffers, &mut notes)
            }
            (Tables::Regions(rule), Work::Regions { regions }) => {
                Sums::Regions(self.regions(rule, tile, regions, (buffers, &mut notes)))
            }
            (Tables::Regions(rule), Work::Checks { checks }) => {
                Sums::Checks(self.checks(rule, tile, checks, (buffers, &mut notes)))
            }
            // `new` made the tables for the work.
            _ => Sums::Regions(Vec::new()),
        };
        notes.partial(sums)
    }
}

#[cfg(test)]
mod tests;
