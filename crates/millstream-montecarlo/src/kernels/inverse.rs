//! First form of these functions, on the standard library.
//!
//! Replaced by kernels with the same bits on every processor.

#[inline(always)]
pub(crate) fn asin(x: f64) -> f64 {
    x.asin()
}

#[inline(always)]
pub(crate) fn acos(x: f64) -> f64 {
    x.acos()
}

#[inline(always)]
pub(crate) fn atan(x: f64) -> f64 {
    x.atan()
}

#[inline(always)]
pub(crate) fn atan2(y: f64, x: f64) -> f64 {
    y.atan2(x)
}
