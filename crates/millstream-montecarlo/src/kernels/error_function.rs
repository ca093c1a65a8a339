//! The error function and its complement.
//!
//! Near 0 a series. Farther out `erfc(x) = exp(-x^2) p(t) / (1 + 2x)` with `t = (x - 4) / (x + 4)`, as M. M. Shepherd and
//! J. G. Laframboise proposed (Mathematics of Computation 36, 1981), the square and the quotients in twice the precision:
//! the complement is as good at 1e-300 as at 1.
#![expect(
    clippy::indexing_slicing,
    reason = "coefficient tables of fixed length"
)]

use super::coefficients::{ERF, ERFC};
use super::exact::{polynomial, product, scale, sum, sum_ordered};
use super::exponential::exp_long;

const TWO_BY_ROOT_PI_TAIL: f64 = 1.533_545_961_316_588e-17;

#[inline(always)]
fn small_erf(x: f64) -> f64 {
    let z = x * x;
    let z = if z > 1.0 { 1.0 } else { z };
    x.mul_add(
        std::f64::consts::FRAC_2_SQRT_PI,
        x * z.mul_add(polynomial(z, &ERF), TWO_BY_ROOT_PI_TAIL),
    )
}

/// `erfc(x)` for `x` from 0.2 on.
#[inline(always)]
fn large_erfc(x: f64) -> f64 {
    let x = if x > 28.0 { 28.0 } else { x };
    let (above, above_low) = sum(x, -4.0);
    let (below, below_low) = sum(x, 4.0);
    let inverse = 1.0 / below;
    let t = above * inverse;
    let miss = (-t).mul_add(below, above) + (-t).mul_add(below_low, above_low);
    let t_low = miss * inverse;

    let higher: &[f64; ERFC.len() - 1] = &HIGHER;
    let (p, p_error) = sum_ordered(ERFC[0], t * polynomial(t, higher));
    let (line, line_error) = sum(2.0 * x, 1.0);
    let line_inverse = 1.0 / line;
    let steepness =
        (2.0 * x).mul_add(p, 2.0 * p * line_inverse) - std::f64::consts::FRAC_2_SQRT_PI * line;
    let p_low = (0.125 * below * below * steepness).mul_add(t_low, p_error);

    let (square, square_error) = product(x, x);
    let (k, e, e_low) = exp_long(-square, -square_error);
    let (top, top_error) = product(e, p);
    let top_low = top_error + e.mul_add(p_low, e_low * p);
    let quotient = top * line_inverse;
    let rest = (-quotient).mul_add(line, top) + (-quotient).mul_add(line_error, top_low);
    scale(rest.mul_add(line_inverse, quotient), k)
}

/// The coefficients after the first.
const HIGHER: [f64; ERFC.len() - 1] = {
    let mut rest = [0.0; ERFC.len() - 1];
    let mut i = 0;
    while i < rest.len() {
        rest[i] = ERFC[i + 1];
        i += 1;
    }
    rest
};

#[inline(always)]
pub(super) fn erf(x: f64) -> f64 {
    let size = x.abs();
    let value = if size < 1.0 {
        small_erf(size)
    } else {
        1.0 - large_erfc(size)
    };
    value.copysign(x)
}

#[inline(always)]
pub(super) fn erfc(x: f64) -> f64 {
    let size = x.abs();
    let small = 1.0 - small_erf(x);
    let right = large_erfc(size);
    let large = if x < 0.0 { 2.0 - right } else { right };
    if size < 0.25 { small } else { large }
}
