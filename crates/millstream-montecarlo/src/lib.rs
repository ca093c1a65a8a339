//! Monte Carlo integration: from a typed formula to an honest error bar.
//!
//! Pure mathematics: no async, no I/O, no clock, no Kafka. What a request computes is a function of the request alone; the
//! same bits come out on one thread, on seven, and on any number of machines, because every number belongs to a *tile*
//! (a fixed run of samples with a random stream of its own) and tiles are merged along one fixed binary tree.

mod answer;
mod digest;
mod distribution;
mod domain;
mod error;
mod estimate;
mod formula;
mod integrand;
pub mod isa;
mod job;
pub mod kernels;
mod largest;
mod map;
mod method;
mod partial;
mod peaks;
mod plan;
mod random;
mod registry;
mod request;
mod run;
mod strata;
mod sweep;
mod tile;
mod tree;
mod wave;

pub use answer::{Answer, Interval, Status};
pub use digest::Digest;
pub use domain::{Domain, Limit, MOST_AXES, Volume};
pub use error::Error;
pub use formula::{Formula, FormulaError};
pub use integrand::{BLOCK, Closure, Integrand};
pub use job::Job;
pub use largest::Largest;
pub use map::{INCREMENTS, Map};
pub use partial::{Bad, BadPoint, CheckSum, Moments, Partial, RegionSum, StrataSums, Sums};
pub use plan::Plan;
pub use registry::Registry;
pub use request::{
    DEFAULT_CAREFUL, DEFAULT_MAX_SAMPLES, DEFAULT_REL_ERROR, Each, Method, OnBad, Request,
    StoredMap,
};
pub use run::{Control, Progress, run};
pub use strata::Strata;
pub use sweep::Sweep;
pub use tile::Prepared;
pub use tree::{Added, Fold};
pub use wave::{Check, REPLICATES, Region, TILE, TILE_POINTS, TILE_REGIONS, Wave, Work};

/// The version of everything that decides a bit of a result: kernels, streams, merge order, maps. Two versions never mix
/// in one job; a change to any of them raises it.
pub const NUMERICS: u32 = 3;
