//! The normal quantile.
//!
//! Around 1/2 a ratio of polynomials in `q = p - 1/2`. In the tails `sqrt(-2 ln p)` less a small correction, so that its error is
//! that of the root; tails beyond 1.6e-7 are rare and done one by one.

use super::coefficients::{NINV_FAR, NINV_NEAR_OVER, NINV_NEAR_UNDER, NINV_OVER, NINV_UNDER};
use super::exact::polynomial;
use super::logarithm::ln;

const ROOT_TWO_PI: f64 = 2.506_628_274_631_000_7;
const ROOT_TWO_PI_TAIL: f64 = -1.832_857_998_045_916_7e-16;
const RARE: f64 = 1.6e-7;

#[inline(always)]
pub(super) fn ninv(p: f64) -> f64 {
    let q = p - 0.5;
    let z = q * q;
    let ratio = polynomial(0.180_625 - z, &NINV_OVER) / polynomial(0.180_625 - z, &NINV_UNDER);
    let value = q.mul_add(ROOT_TWO_PI, q * z.mul_add(ratio, ROOT_TWO_PI_TAIL));
    let h = 0.5 * value * value;
    let steepness = ROOT_TWO_PI * h.mul_add(h.mul_add(h.mul_add(1.0 / 6.0, 0.5), 1.0), 1.0);
    let central = (p - (q + 0.5)).mul_add(steepness, value);

    let (r, r_low) = root(p);
    let gap = polynomial(r, &NINV_NEAR_OVER) / polynomial(r, &NINV_NEAR_UNDER);
    let tail = ((r - gap) + r_low).copysign(q);
    if q.abs() <= 0.425 { central } else { tail }
}

/// `sqrt(-2 ln p)` of the smaller of `p` and `1 - p`, and its rounding error.
#[inline(always)]
fn root(p: f64) -> (f64, f64) {
    let least = if p < 0.5 { p } else { 1.0 - p };
    let square = -2.0 * ln(least);
    let r = square.sqrt();
    (r, (-r).mul_add(r, square) / (r + r))
}

/// Far tails, and what is no probability.
#[inline(always)]
pub(super) fn rare(p: f64) -> bool {
    !(RARE..=1.0 - RARE).contains(&p)
}

/// The quantile of rare probabilities; nan outside 0 to 1.
pub(super) fn slow(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return f64::INFINITY.copysign(p - 0.5);
    }
    let (r, r_low) = root(p);
    let gap = polynomial((r - 14.0) / (r + 14.0), &NINV_FAR);
    ((r - gap) + r_low).copysign(p - 0.5)
}
