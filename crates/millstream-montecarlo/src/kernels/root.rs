//! The cube root.
//!
//! The exponent is divided by three; the inverse cube root of what is left, from 1 to 8, is a polynomial made better by two
//! steps of third order without a division; a last step in twice the precision settles the rounding.

use super::coefficients::CBRT;
use super::exact::{polynomial, power_of_two, product};

#[inline(always)]
pub(super) fn cbrt(x: f64) -> f64 {
    let size = x.abs();
    let small = size < f64::MIN_POSITIVE;
    let bits = (if small {
        size * 18_014_398_509_481_984.0
    } else {
        size
    })
    .to_bits();
    let exponent = bits >> 52;
    let third = exponent.wrapping_mul(43_691) >> 17;
    let over = exponent.wrapping_sub(third.wrapping_mul(3));
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | over.wrapping_add(1023) << 52);
    let inverse = better(m, better(m, polynomial(m, &CBRT)));
    let root = m * inverse * inverse;
    let (square, square_error) = product(root, root);
    let (cube, cube_error) = product(square, root);
    let missing = (m - cube) - square_error.mul_add(root, cube_error);
    let root = (missing * (inverse * inverse)).mul_add(1.0 / 3.0, root);
    let scaled = root * power_of_two((third as i64).wrapping_sub(if small { 359 } else { 341 }));
    let value = if (size > 0.0) & (size < f64::INFINITY) {
        scaled
    } else {
        size
    };
    value.copysign(x)
}

/// A guess of the inverse cube root of `m`, with three times as many digits.
#[inline(always)]
fn better(m: f64, guess: f64) -> f64 {
    let miss = (-m * guess).mul_add(guess * guess, 1.0);
    (guess * miss).mul_add(miss.mul_add(2.0 / 9.0, 1.0 / 3.0), guess)
}
