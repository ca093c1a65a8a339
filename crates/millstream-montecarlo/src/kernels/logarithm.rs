//! First form of these functions, on the standard library.
//!
//! Replaced by kernels with the same bits on every processor.

#[inline(always)]
pub(crate) fn ln(x: f64) -> f64 {
    x.ln()
}

#[inline(always)]
pub(crate) fn log10(x: f64) -> f64 {
    x.log10()
}
