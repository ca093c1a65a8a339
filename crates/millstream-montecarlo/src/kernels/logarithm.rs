//! Logarithms, one of them with twice the precision for powers.
//!
//! `x = 2^k m` with `m` from sqrt(1/2) to sqrt(2), and `ln m` as a series in `s = (m - 1) / (m + 1)`. Near 1 no digit is
//! lost since `k` is 0 there and `m - 1` exact.

use super::coefficients::{LN, LN_LONG};
use super::exact::{polynomial, product, sum_ordered, whole};

/// ln 2 in 37 bits, so that whole multiples are exact, and the rest.
const LN_2_HIGH: f64 = 0.693_147_180_558_298_7;
const LN_2_LOW: f64 = 1.646_594_958_289_708_2e-12;
const TWO_THIRDS_LOW: f64 = 3.700_743_415_417_188e-17;
const LOG10_E_LOW: f64 = 1.098_319_650_216_765e-17;

/// `k` and `m` of a positive finite number.
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let small = x < f64::MIN_POSITIVE;
    let scaled = if small {
        x * 18_014_398_509_481_984.0
    } else {
        x
    };
    let offset = scaled
        .to_bits()
        .wrapping_sub(ROOT_HALF)
        .wrapping_add(1024 << 52);
    let mantissa = (offset & 0x000f_ffff_ffff_ffff).wrapping_add(ROOT_HALF);
    let bias = if small { 1078.0 } else { 1024.0 };
    (whole(offset >> 52) - bias, f64::from_bits(mantissa))
}

#[inline(always)]
pub(super) fn ln(x: f64) -> f64 {
    let (k, m) = split(x);
    let f = m - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let series = z.mul_add(polynomial(z, &LN), half_square);
    let rest = s.mul_add(series, k * LN_2_LOW);
    at_edges(x, k.mul_add(LN_2_HIGH, f - (half_square - rest)))
}

/// The logarithm at 0, infinity, nan and below 0, or else `inside`.
#[inline(always)]
fn at_edges(x: f64, inside: f64) -> f64 {
    let value = if x < f64::INFINITY { inside } else { x };
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    if x < 0.0 { f64::NAN } else { value }
}

/// `ln x` of a positive finite number, to about 64 bits.
#[inline(always)]
pub(super) fn ln_long(x: f64) -> (f64, f64) {
    let (k, m) = split(x);
    let f = m - 1.0;
    let below = m + 1.0;
    let below_low = m - (below - 1.0);
    let inverse = 1.0 / below;
    let s = f * inverse;
    let s_low = (-s).mul_add(below_low, (-s).mul_add(below, f)) * inverse;
    let (z, z_error) = product(s, s);
    let z_low = (2.0 * s).mul_add(s_low, z_error);
    let (p, p_low) = sum_ordered(2.0 / 3.0, z * polynomial(z, &LN_LONG));
    let (u, u_error) = product(z, p);
    let u_low = u_error + z.mul_add(p_low + TWO_THIRDS_LOW, z_low * p);
    let (v, v_error) = product(s, u);
    let v_low = v_error + s.mul_add(u_low, s_low * u);
    let (series, series_error) = sum_ordered(2.0 * s, v);
    let series_low = series_error + 2.0f64.mul_add(s_low, v_low);
    let (high, error) = sum_ordered(k * LN_2_HIGH, series);
    sum_ordered(high, k.mul_add(LN_2_LOW, error + series_low))
}

#[inline(always)]
pub(super) fn log10(x: f64) -> f64 {
    let (high, low) = ln_long(x);
    let rest = high.mul_add(LOG10_E_LOW, low * std::f64::consts::LOG10_E);
    at_edges(x, high.mul_add(std::f64::consts::LOG10_E, rest))
}
