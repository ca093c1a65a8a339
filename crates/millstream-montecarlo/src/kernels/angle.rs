//! Sines, cosines and tangents.
//!
//! The argument less the nearest multiple of pi/2: below 2^40 by fused multiply-adds with three pieces of pi/2, in which the
//! first difference is exact; above, one by one with the bits of 2/pi that matter (M. H. Payne and R. N. Hanek, 1983).
//! Signs are put on at the end, so that zeros keep theirs.
#![expect(
    clippy::indexing_slicing,
    reason = "a table of fixed length, indexed by an exponent that fits it"
)]

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use super::coefficients::{COS, SIN};
use super::exact::{ROUND, polynomial, power_of_two, product};

const PI_2_SECOND: f64 = 6.123_233_995_736_766e-17;
const PI_2_THIRD: f64 = -1.497_384_904_859_169_8e-33;
/// From here on the argument is reduced one by one: 2^40.
const FAR: f64 = 1_099_511_627_776.0;

/// An angle as a number of right angles and what is left of it, with its rounding error.
#[derive(Clone, Copy)]
struct Reduced {
    quarter: u64,
    r: f64,
    low: f64,
}

#[inline(always)]
fn reduce(x: f64) -> Reduced {
    let shifted = x.mul_add(FRAC_2_PI, ROUND);
    let n = shifted - ROUND;
    let first = (-n).mul_add(FRAC_PI_2, x);
    let r = (-n).mul_add(PI_2_SECOND, first);
    let low = (-n).mul_add(PI_2_THIRD, (-n).mul_add(PI_2_SECOND, first - r));
    Reduced {
        quarter: shifted.to_bits(),
        r,
        low,
    }
}

#[inline(always)]
fn sine(r: f64, low: f64) -> f64 {
    let z = r * r;
    r + (z * r).mul_add(polynomial(z, &SIN), low)
}

#[inline(always)]
fn cosine(r: f64, low: f64) -> f64 {
    let z = r * r;
    let half = 0.5 * z;
    let most = 1.0 - half;
    most + ((1.0 - most) - half + (z * z).mul_add(polynomial(z, &COS), -r * low))
}

/// The sine of `quarter` right angles and `r`.
#[inline(always)]
fn turned(quarter: u64, at: Reduced) -> f64 {
    let (sine, cosine) = (sine(at.r, at.low), cosine(at.r, at.low));
    let value = if quarter & 1 == 0 { sine } else { cosine };
    f64::from_bits(value.to_bits() ^ ((quarter & 2) << 62))
}

#[inline(always)]
fn with_sign_of(value: f64, x: f64) -> f64 {
    f64::from_bits(value.to_bits() ^ (x.to_bits() & (1 << 63)))
}

#[inline(always)]
fn quotient(at: Reduced) -> f64 {
    let (sine, cosine) = (sine(at.r, at.low), cosine(at.r, at.low));
    let even = at.quarter & 1 == 0;
    (if even { sine } else { -cosine }) / (if even { cosine } else { sine })
}

#[inline(always)]
pub(super) fn sin(x: f64) -> f64 {
    let at = reduce(x.abs());
    with_sign_of(turned(at.quarter, at), x)
}

#[inline(always)]
pub(super) fn cos(x: f64) -> f64 {
    let at = reduce(x.abs());
    turned(at.quarter.wrapping_add(1), at)
}

#[inline(always)]
pub(super) fn tan(x: f64) -> f64 {
    with_sign_of(quotient(reduce(x.abs())), x)
}

/// Whether the argument is too large for the fast reduction.
#[inline(always)]
pub(super) fn far(x: f64) -> bool {
    x.abs() >= FAR
}

pub(super) fn sin_far(x: f64) -> f64 {
    reduce_far(x).map_or(f64::NAN, |at| with_sign_of(turned(at.quarter, at), x))
}

pub(super) fn cos_far(x: f64) -> f64 {
    reduce_far(x).map_or(f64::NAN, |at| turned(at.quarter.wrapping_add(1), at))
}

pub(super) fn tan_far(x: f64) -> f64 {
    reduce_far(x).map_or(f64::NAN, |at| with_sign_of(quotient(at), x))
}

/// The bits of 2/pi after the point.
const TWO_BY_PI: [u64; 20] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
    0xf0cf_bc20_9af4_361d,
];

/// 64 bits of 2/pi from the `at`th after the point; zeros before it.
fn bits_from(at: i64) -> u64 {
    let (word, shift) = (at.div_euclid(64), at.rem_euclid(64));
    let get = |word: i64| usize::try_from(word).map_or(0, |word| TWO_BY_PI[word]);
    if shift == 0 {
        get(word)
    } else {
        get(word) << shift | get(word + 1) >> (64 - shift)
    }
}

/// Any finite argument from 2^40 on; none for infinity.
fn reduce_far(x: f64) -> Option<Reduced> {
    if !x.is_finite() {
        return None;
    }
    let exponent = (x.abs().to_bits() >> 52) as i64 - 1075;
    let mantissa = u128::from(x.to_bits() & 0x000f_ffff_ffff_ffff | 1 << 52);
    // Bits of 2/pi that give whole turns are left out; of the product with the next 192, two bits are the quarter.
    let [w0, w1, w2] = [0, 64, 128].map(|word| u128::from(bits_from(exponent - 2 + word)));
    let low = mantissa * w2;
    let middle = mantissa * w1 + (low >> 64);
    let high = mantissa * w0 + (middle >> 64);
    let top = (high << 64) | (middle & u128::from(u64::MAX));
    let fraction = (top << 2 | (low & u128::from(u64::MAX)) >> 62).cast_signed();
    let quarter = ((top >> 126) as u64).wrapping_add(u64::from(fraction < 0));
    let size = fraction.unsigned_abs();
    let zeros = size.leading_zeros();
    let digits = size << zeros;
    let (first, second) = (
        (digits >> 75) as f64,
        (digits << 53 >> 75) as f64 * power_of_two(-53),
    );
    let (r, error) = product(first, FRAC_PI_2);
    let low = error + first.mul_add(PI_2_SECOND, second * FRAC_PI_2);
    let unit = power_of_two(-53 - i64::from(zeros)).copysign(if fraction < 0 { -1.0 } else { 1.0 });
    Some(Reduced {
        quarter,
        r: r * unit,
        low: low * unit,
    })
}
