//! First form of these functions, on the standard library.
//!
//! Replaced by kernels with the same bits on every processor.

#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    x.exp()
}

#[inline(always)]
pub(crate) fn sinh(x: f64) -> f64 {
    x.sinh()
}

#[inline(always)]
pub(crate) fn cosh(x: f64) -> f64 {
    x.cosh()
}

#[inline(always)]
pub(crate) fn tanh(x: f64) -> f64 {
    x.tanh()
}
