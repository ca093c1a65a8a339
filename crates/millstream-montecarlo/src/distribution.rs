//! The two distributions behind an interval: Student's t and chi squared.
//!
//! They decide when a job stops, so they are on the path of a result: only the crate's own kernels, no libm. Accuracy is
//! about 1e-10, far beyond what a statistic of samples can use.

use crate::kernels::scalar::{exp, ln};

/// Two-sided 95 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Terms after which a series or a continued fraction is as good as it gets.
const TERMS: u32 = 300;

/// The `t` with 95 % of Student's distribution of `dof` degrees of freedom between `-t` and `t`. Below one degree there
/// is no interval: infinite.
pub(crate) fn t95(dof: f64) -> f64 {
    if dof.is_nan() || dof < 1.0 {
        return f64::INFINITY;
    }
    if dof > 400.0 {
        return expansion(dof);
    }
    let (mut low, mut high) = (1.9, 13.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle, dof) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Fisher's expansion of the quantile in powers of 1/dof (Abramowitz and Stegun 26.7.5).
fn expansion(dof: f64) -> f64 {
    let z2 = Z * Z;
    let first = Z * (z2 + 1.0) / 4.0;
    let second = Z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
    let third = Z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
    Z + (first + (second + third / dof) / dof) / dof
}

/// The share of Student's distribution outside `-t` to `t`: the incomplete beta function I_x(dof/2, 1/2).
fn two_sided(t: f64, dof: f64) -> f64 {
    let x = dof / (dof + t * t);
    let (a, b) = (dof / 2.0, 0.5);
    let front = exp(ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * ln(x) + b * ln(1.0 - x));
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut value) = (1.0, d);
    for m in 1..TERMS {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

fn guard(value: f64) -> f64 {
    if value.abs() < 1e-300 { 1e-300 } else { value }
}

/// The probability of a chi squared of at least `chi2` with `dof` degrees of freedom; 1 without any.
pub(crate) fn chi2_q(chi2: f64, dof: f64) -> f64 {
    if dof < 1.0 || chi2.is_nan() || chi2 <= 0.0 {
        return 1.0;
    }
    if chi2 == f64::INFINITY {
        return 0.0;
    }
    let (a, x) = (dof / 2.0, chi2 / 2.0);
    let front = exp(a * ln(x) - x - ln_gamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..10 * TERMS {
            term *= x / (a + f64::from(n));
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / guard(b));
    let mut value = d;
    for n in 1..10 * TERMS {
        let n = f64::from(n);
        let term = -n * (n - a);
        b += 2.0;
        d = 1.0 / guard(term * d + b);
        c = guard(b + term / c);
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * value).clamp(0.0, 1.0)
}

/// The logarithm of the gamma function of a positive number: Stirling's series after a shift beyond 12.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 1.0);
    while x < 12.0 {
        shift *= x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y / 1680.0))) / x;
    let half_ln_two_pi = 0.918_938_533_204_672_7;
    (x - 0.5) * ln(x) - x + half_ln_two_pi + series - ln(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of scipy.stats.t.ppf(0.975, dof), to ten digits.
    #[test]
    fn student_has_its_tabled_quantiles() {
        let table = [
            (1.0, 12.706_204_736_2),
            (2.0, 4.302_652_729_9),
            (5.0, 2.570_581_835_6),
            (15.0, 2.131_449_545_6),
            (100.0, 1.983_971_518_5),
            (400.0, 1.965_912_343_2),
            (1e6, 1.959_966_356_9),
        ];
        for (dof, t) in table {
            assert!((t95(dof) - t).abs() < 2e-6, "{dof}: {}", t95(dof));
        }
        assert_eq!(t95(0.0), f64::INFINITY);
        assert!((t95(400.0) - expansion(400.0)).abs() < 1e-9);
    }

    /// With two degrees of freedom it is an exponential; with one, erfc(sqrt(x/2)).
    #[test]
    fn chi_squared_has_its_closed_forms() {
        for chi2 in [0.1, 1.0, 2.0, 5.0, 30.0, 200.0] {
            assert!(
                (chi2_q(chi2, 2.0) / (-chi2 / 2.0).exp() - 1.0).abs() < 1e-9,
                "{chi2}"
            );
        }
        assert!((chi2_q(3.841_458_820_694_124, 1.0) - 0.05).abs() < 1e-10);
        assert!((chi2_q(24.995_790_139_728_62, 15.0) - 0.05).abs() < 1e-10);
        assert_eq!(
            (
                chi2_q(0.0, 3.0),
                chi2_q(f64::INFINITY, 3.0),
                chi2_q(7.0, 0.0)
            ),
            (1.0, 0.0, 1.0)
        );
    }
}
