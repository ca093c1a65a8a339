//! Powers, as the exponential function of a long logarithm.
//!
//! Edges follow IEEE 754: anything to the power of 0 is 1, and so is 1 to any power; a negative base has whole powers only.

use super::exact::{product, scale};
use super::exponential::exp_long;
use super::logarithm::ln_long;

#[inline(always)]
pub(super) fn pow(x: f64, y: f64) -> f64 {
    let size = x.abs();
    let (high, low) = ln_long(size);
    let (exponent, error) = product(y, high);
    let rest = y.mul_add(low, error);
    let beyond = exponent.abs() > 800.0;
    let exponent = if exponent > 800.0 { 800.0 } else { exponent };
    let exponent = if exponent < -800.0 { -800.0 } else { exponent };
    let (k, p, p_low) = exp_long(exponent, if beyond { 0.0 } else { rest });
    let inside = scale(p + p_low, k);

    let at_zero = if y > 0.0 { 0.0 } else { f64::INFINITY };
    let at_infinity = if y > 0.0 { f64::INFINITY } else { 0.0 };
    let value = if size == 0.0 { at_zero } else { inside };
    let value = if size == f64::INFINITY {
        at_infinity
    } else {
        value
    };
    let value = if size == 1.0 { 1.0 } else { value };

    let whole = y.floor() == y;
    let odd = whole & ((0.5 * y).floor() != 0.5 * y);
    let value = if odd { value.copysign(x) } else { value };
    let impossible = (x < 0.0) & !whole & (size != f64::INFINITY);
    let value = if impossible { f64::NAN } else { value };
    let value = if x.is_nan() | y.is_nan() {
        f64::NAN
    } else {
        value
    };
    if (y == 0.0) | (x == 1.0) { 1.0 } else { value }
}
