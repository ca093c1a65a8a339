//! First form of the normal quantile, by bisection of the distribution function.
//!
//! Replaced by a kernel without loops.

use super::error_function::erfc;

#[inline(always)]
pub(crate) fn ninv(p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return if p == 0.0 {
            f64::NEG_INFINITY
        } else if p == 1.0 {
            f64::INFINITY
        } else {
            f64::NAN
        };
    }
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..70 {
        let middle = 0.5 * (low + high);
        if 0.5 * erfc(-middle * std::f64::consts::FRAC_1_SQRT_2) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
