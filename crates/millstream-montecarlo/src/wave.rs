//! A wave: the samples between two decisions of a job.
//!
//! A wave is cut into *tiles* of about [`TILE`] samples. A tile's bits depend on the wave and the tile's number and on nothing else; tiles
//! are merged along a fixed tree, so it does not matter who computes which, how many at a time, or how often.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::map::Map;
use crate::plan::Plan;
use crate::registry::Registry;
use crate::strata::Strata;
use crate::tile::Prepared;
use crate::{Error, tile};

/// Samples of a tile.
pub const TILE: u64 = 1 << 14;
/// Independent randomisations of a Sobol sequence; their spread is the error bar.
pub const REPLICATES: usize = 16;
/// Points of the sequence in a tile: each in every replicate.
pub const TILE_POINTS: u64 = TILE / REPLICATES as u64;
/// Regions of a cubature in a tile.
pub const TILE_REGIONS: usize = 64;

/// A wave of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// What is integrated.
    pub plan: Plan,
    /// The number of the wave in its job; it keys the random streams of [`Work::Plain`] and [`Work::Strata`].
    pub iteration: u32,
    /// Every output is multiplied by its power of two before it is summed: whose squares would overflow is made small. One
    /// exponent per output; none stands for all zero.
    pub scale: Vec<i32>,
    /// How samples are drawn.
    pub work: Work,
}

/// How the samples of a wave are drawn, and what their sums keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Independent uniform samples; through `map` when there is one. Gives [`Sums::Plain`](crate::Sums::Plain).
    Plain {
        /// Tiles in the wave.
        tiles: u64,
        /// An adapted density to draw from.
        map: Option<Map>,
    },
    /// A number of samples in each stratum, through a map. Gives [`Sums::Strata`](crate::Sums::Strata).
    Strata {
        /// The density to draw from.
        map: Map,
        /// The strata of the unit cube before the map, and how many samples each has.
        strata: Strata,
        /// Whether the sums keep what refines the map.
        adapt: bool,
    },
    /// A run of a Sobol sequence in each of [`REPLICATES`] randomisations. Gives [`Sums::Replicates`](crate::Sums::Replicates).
    Replicates {
        /// An adapted density to draw from.
        map: Option<Map>,
        /// The first point; a multiple of [`TILE_POINTS`].
        first: u64,
        /// Points per replicate; a multiple of [`TILE_POINTS`].
        points: u64,
    },
    /// A deterministic rule on each region. Gives [`Sums::Regions`](crate::Sums::Regions).
    Regions {
        /// Boxes in the unit cube.
        regions: Vec<Region>,
    },
    /// Random points against what the rule's points say of them. Gives [`Sums::Checks`](crate::Sums::Checks).
    Checks {
        /// Regions to which the rule was applied; one that needs more points is there more than once.
        checks: Vec<Check>,
    },
}

/// A region, and how many random points it is checked with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The region whose rule is checked.
    pub region: Region,
    /// The part of it that the points are drawn from.
    pub part: Region,
    /// Points; at most [`BLOCK`](crate::BLOCK).
    pub points: u16,
    /// The share of the unit cube that they stand for.
    pub share: f64,
}

/// A box in the unit cube.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Its lower corner.
    pub lower: Vec<f64>,
    /// Its upper corner.
    pub upper: Vec<f64>,
}

impl Wave {
    /// Its name: two waves with the same one have the same bits.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }

    /// Tiles in the wave.
    pub fn tiles(&self) -> u64 {
        match &self.work {
            Work::Plain { tiles, .. } => *tiles,
            Work::Strata { strata, .. } => strata.tiles(),
            Work::Replicates { points, .. } => points / TILE_POINTS,
            Work::Regions { regions } => regions.len().div_ceil(TILE_REGIONS) as u64,
            Work::Checks { checks } => checks.len().div_ceil(TILE_REGIONS) as u64,
        }
    }

    /// Samples in the wave.
    pub fn samples(&self) -> u64 {
        match &self.work {
            Work::Plain { tiles, .. } => tiles * TILE,
            Work::Strata { strata, .. } => strata.samples(),
            Work::Replicates { points, .. } => points * REPLICATES as u64,
            Work::Regions { regions } => {
                regions.len() as u64 * tile::rule_points(self.plan.domain.dim())
            }
            Work::Checks { checks } => {
                let rule = checks.len() as u64 * tile::rule_points(self.plan.domain.dim());
                rule + checks
                    .iter()
                    .map(|check| u64::from(check.points))
                    .sum::<u64>()
            }
        }
    }

    /// Compiles the integrand and builds the tables, once for all tiles.
    ///
    /// # Errors
    /// Other numerics than this program's, an expression that cannot be used, or a wave whose parts do not fit together.
    pub fn prepare(&self, functions: &Registry) -> Result<Prepared, Error> {
        Prepared::new(self, functions)
    }
}
