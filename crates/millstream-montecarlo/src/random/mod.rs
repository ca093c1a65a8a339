//! Where samples come from: counters, streams and sequences, all keyed, none with a state that outlives a tile.
//!
//! Philox turns (seed, place, purpose) into bits and is used sparingly: to key the eight lanes of xoshiro256++ that a tile's
//! uniform numbers come from, and to randomise Sobol sequences. The number of lanes is eight on every processor.

mod philox;
pub(crate) mod sobol;
mod sobol_table;
mod xoshiro;

pub(crate) use philox::Key;
pub(crate) use xoshiro::Stream;

/// What random bits are for; the same place gives different bits for each.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// Samples of a tile of plain sampling.
    Plain = 1,
    /// Samples of a tile of strata.
    Strata = 2,
    /// The matrix scramble of a replicate.
    Scramble = 3,
    /// The digital shift of a replicate.
    Shift = 4,
    /// Random points that check a rule.
    Check = 5,
}

/// The number in the middle of the `bits`-th of 2^52 equal cells of (0, 1): never 0, never 1, exact.
#[inline(always)]
pub(crate) fn centred(bits: u64) -> f64 {
    f64::from_bits(bits | 0x3ff0_0000_0000_0000) - (1.0 - f64::EPSILON / 2.0)
}
