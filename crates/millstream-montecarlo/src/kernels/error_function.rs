//! First form of the error function, by its series and continued fraction.
//!
//! Replaced by kernels without loops.

#[inline(always)]
pub(crate) fn erf(x: f64) -> f64 {
    if x.abs() > 2.0 {
        return 1.0f64.copysign(x) - erfc(x.abs()).copysign(x);
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[inline(always)]
pub(crate) fn erfc(x: f64) -> f64 {
    if x < 2.0 {
        return 1.0 - erf(x.max(-6.0));
    }
    let mut fraction = x;
    for n in (1..80).rev() {
        fraction = x + f64::from(n) / 2.0 / fraction;
    }
    (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
}
