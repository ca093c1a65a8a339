//! The exponential function and the hyperbolic ones.
//!
//! `exp(x) = 2^k exp(r)` with `|r|` up to half of ln 2, a polynomial in `r`, and the power of two applied in two steps, so
//! that results below the normal range are rounded once.

use super::coefficients::{EXP, SINH, TANH};
use super::exact::{ROUND, polynomial, scale};

const LN_2_TAIL: f64 = 2.319_046_813_846_299_6e-17;

/// `x` kept where 2^k exists; nan stays.
#[inline(always)]
fn clamp(x: f64) -> f64 {
    let x = if x > 720.0 { 720.0 } else { x };
    if x < -800.0 { -800.0 } else { x }
}

/// The whole number of ln 2 in `x`, twice, and what is left, without the tail of ln 2.
#[inline(always)]
fn reduce(x: f64) -> (i64, f64, f64) {
    let shifted = x.mul_add(std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let k = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i64;
    (k, n, (-n).mul_add(std::f64::consts::LN_2, x))
}

/// `k` and `p`, where `exp(x)` is `p * 2^k`; `p` from 0.7 to 1.42.
#[inline(always)]
fn parts(x: f64) -> (i64, f64) {
    let (k, n, r) = reduce(clamp(x));
    let r = (-n).mul_add(LN_2_TAIL, r);
    (k, 1.0 + (r * r).mul_add(polynomial(r, &EXP), r))
}

#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    let (k, p) = parts(x);
    scale(p, k)
}

/// `exp(high + low)` as `k` and a number with its rounding error.
#[inline(always)]
pub(super) fn exp_long(high: f64, low: f64) -> (i64, f64, f64) {
    let (k, n, r_high) = reduce(clamp(high));
    let r_low = (-n).mul_add(LN_2_TAIL, low);
    let r = r_high + r_low;
    let rest = (r * r).mul_add(polynomial(r, &EXP), (r_high - r) + r_low);
    let less_one = r + rest;
    let p = 1.0 + less_one;
    (k, p, ((1.0 - p) + less_one) + ((r - less_one) + rest))
}

/// Half of `exp(x)`, also where `exp(x)` itself overflows.
#[inline(always)]
fn half_exp(x: f64) -> f64 {
    let (k, p) = parts(x);
    scale(p, k.wrapping_sub(1))
}

#[inline(always)]
pub(super) fn sinh(x: f64) -> f64 {
    let size = x.abs();
    let square = size * size;
    let small = (size * square).mul_add(polynomial(square, &SINH), size);
    let half = half_exp(size);
    let large = half - 0.25 / half;
    (if size < 1.0 { small } else { large }).copysign(x)
}

#[inline(always)]
pub(super) fn cosh(x: f64) -> f64 {
    let half = half_exp(x.abs());
    half + 0.25 / half
}

#[inline(always)]
pub(super) fn tanh(x: f64) -> f64 {
    let size = x.abs();
    let square = size * size;
    let small = (size * square).mul_add(polynomial(square, &TANH), size);
    let large = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    (if size < 0.625 { small } else { large }).copysign(x)
}
