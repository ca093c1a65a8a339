//! Inverse trigonometric functions.
//!
//! Arcsines near 1 come from a square root, arctangents from a quotient around pi/4 or pi/2; both carry the rounding error
//! of that step along. Zeros keep their sign.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use super::coefficients::{ASIN, ATAN};
use super::exact::{polynomial, sum, sum_ordered};

const PI_2_TAIL: f64 = 6.123_233_995_736_766e-17;

/// The square root of `(1 - size) / 2` as twice, and the rest: their sum is half of the arccosine of `size`.
#[inline(always)]
fn half_acos(size: f64) -> (f64, f64) {
    let z = 0.5 - 0.5 * size;
    let root = z.sqrt();
    let error = (-root).mul_add(root, z) / (root + root);
    let error = if root > 0.0 { error } else { 0.0 };
    (root, (root * z).mul_add(polynomial(z, &ASIN), error))
}

#[inline(always)]
fn small_asin(x: f64) -> f64 {
    let z = x * x;
    let z = if z > 0.25 { 0.25 } else { z };
    x * z * polynomial(z, &ASIN)
}

#[inline(always)]
pub(super) fn asin(x: f64) -> f64 {
    let size = x.abs();
    let small = size + small_asin(size);
    let (root, rest) = half_acos(size);
    let (high, error) = sum_ordered(FRAC_PI_2, -2.0 * root);
    let large = high - (2.0 * rest - PI_2_TAIL - error);
    (if size <= 0.5 { small } else { large }).copysign(x)
}

#[inline(always)]
pub(super) fn acos(x: f64) -> f64 {
    let size = x.abs();
    let small = FRAC_PI_2 - (x - (PI_2_TAIL - small_asin(x)));
    let (root, rest) = half_acos(size);
    let right = 2.0 * (root + rest);
    let left = 2.0 * ((FRAC_PI_2 - root) - (rest - PI_2_TAIL));
    let large = if x > 0.0 { right } else { left };
    if size <= 0.5 { small } else { large }
}

/// The angle of a point with positive coordinates, `across / along` its tangent; neither too large nor too small.
#[inline(always)]
fn angle(across: f64, along: f64) -> f64 {
    let steep = across > along * 2.414_213_562_373_095;
    let middle = across > along * 0.414_213_562_373_095;
    let (less, less_error) = sum(across, -along);
    let (more, more_error) = sum(across, along);
    let above = if middle { less } else { across };
    let below = if middle { more } else { along };
    let above = if steep { -along } else { above };
    let below = if steep { across } else { below };
    let between = middle & !steep;
    let above_low = if between { less_error } else { 0.0 };
    let below_low = if between { more_error } else { 0.0 };
    let base = if middle { FRAC_PI_4 } else { 0.0 };
    let base = if steep { FRAC_PI_2 } else { base };

    let inverse = 1.0 / below;
    let t = above * inverse;
    let miss = (-t).mul_add(below, above) + (-t).mul_add(below_low, above_low);
    let z = t * t;
    let rest = (t * z).mul_add(polynomial(z, &ATAN), miss * inverse * (1.0 - z));
    let (high, error) = sum_ordered(base, t);
    high + (base.mul_add(PI_2_TAIL / FRAC_PI_2, error) + rest)
}

#[inline(always)]
pub(super) fn atan(x: f64) -> f64 {
    let size = x.abs();
    let size = if size > 1e18 { 1e18 } else { size };
    angle(size, 1.0).copysign(x)
}

#[inline(always)]
pub(super) fn atan2(y: f64, x: f64) -> f64 {
    let (across, along) = (y.abs(), x.abs());
    let larger = if across > along { across } else { along };
    let factor = if larger > 1e290 {
        f64::from_bits(823 << 52)
    } else {
        1.0
    };
    let factor = if larger < 1e-240 {
        f64::from_bits(1823 << 52)
    } else {
        factor
    };
    let (far_across, far_along) = (across == f64::INFINITY, along == f64::INFINITY);
    let scaled_across = if far_along { 0.0 } else { across * factor };
    let scaled_along = if far_across { 0.0 } else { along * factor };
    let scaled_across = if far_across { 1.0 } else { scaled_across };
    let scaled_along = if far_along { 1.0 } else { scaled_along };
    let right = if scaled_across == 0.0 {
        0.0
    } else {
        angle(scaled_across, scaled_along)
    };
    let left = PI - (right - 2.0 * PI_2_TAIL);
    let value = if x.is_sign_negative() { left } else { right };
    if x.is_nan() | y.is_nan() {
        f64::NAN
    } else {
        value.copysign(y)
    }
}
