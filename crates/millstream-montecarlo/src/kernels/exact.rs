//! Steps that kernels share: polynomials, sums and products with their rounding error, powers of two.
//!
//! Every function is inlined and free of branches, so that loops over it become vector instructions.
#![expect(
    clippy::indexing_slicing,
    reason = "coefficient tables of fixed length"
)]

/// Adding and subtracting it rounds to a whole number; the low bits of the sum are that number.
pub(super) const ROUND: f64 = 6_755_399_441_055_744.0;

/// The polynomial with coefficients `c`, constant first: even and odd powers apart, so that two chains run at once.
#[inline(always)]
pub(super) fn polynomial<const N: usize>(x: f64, c: &[f64; N]) -> f64 {
    let square = x * x;
    let (mut a, mut b) = (c[N - 1], c[N - 2]);
    let mut left = N - 2;
    while left >= 2 {
        a = a.mul_add(square, c[left - 1]);
        b = b.mul_add(square, c[left - 2]);
        left -= 2;
    }
    if left == 1 {
        b.mul_add(x, a.mul_add(square, c[0]))
    } else {
        a.mul_add(x, b)
    }
}

/// `a + b` and its rounding error, where `a` is the larger or zero.
#[inline(always)]
pub(super) fn sum_ordered(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// `a + b` and its rounding error.
#[inline(always)]
pub(super) fn sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `a * b` and its rounding error.
#[inline(always)]
pub(super) fn product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// `x * 2^k` for `k` from -2046 to 2046, rounded once: in two steps, as one factor could not be a double.
#[inline(always)]
pub(super) fn scale(x: f64, k: i64) -> f64 {
    let half = (k.wrapping_add(2048) as u64 >> 1).wrapping_sub(1024) as i64;
    x * power_of_two(half) * power_of_two(k.wrapping_sub(half))
}

/// `2^k` for `k` from -1022 to 1023.
#[inline(always)]
pub(super) fn power_of_two(k: i64) -> f64 {
    f64::from_bits((k.wrapping_add(1023) as u64) << 52)
}

/// A whole number below 2^52 as a double.
#[inline(always)]
pub(super) fn whole(k: u64) -> f64 {
    f64::from_bits(0x4330_0000_0000_0000 | k) - 4_503_599_627_370_496.0
}
