//! First form of these functions, on the standard library.
//!
//! Replaced by kernels with the same bits on every processor.

#[inline(always)]
pub(crate) fn sin(x: f64) -> f64 {
    x.sin()
}

#[inline(always)]
pub(crate) fn cos(x: f64) -> f64 {
    x.cos()
}

#[inline(always)]
pub(crate) fn tan(x: f64) -> f64 {
    x.tan()
}

#[inline(always)]
pub(crate) fn sin_far(x: f64) -> f64 {
    x.sin()
}

#[inline(always)]
pub(crate) fn cos_far(x: f64) -> f64 {
    x.cos()
}

#[inline(always)]
pub(crate) fn tan_far(x: f64) -> f64 {
    x.tan()
}

#[inline(always)]
pub(crate) fn far(_: f64) -> bool {
    false
}
