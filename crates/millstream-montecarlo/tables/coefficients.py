#!/usr/bin/env python3
"""Computes every polynomial of src/kernels: near-minimax fits at 60 digits, rounded to doubles.

  tables/coefficients.py > src/kernels/coefficients.rs

Prints the largest error of each fit, with its rounded coefficients, on stderr. Needs mpmath.
"""

import sys

from mpmath import (asin, atan, chebyfit, cos, erf, erfc, erfinv, exp, findroot, ln, log, lu_solve, matrix, mp, mpf, pi,
                    sin, sinh, sqrt, tanh)

mp.dps = 60


def series(f, low, high, terms):
    """Coefficients of a polynomial near f, constant first."""
    return [float(c) for c in reversed(chebyfit(f, [low, high], terms))]


def value(coefficients, x):
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + mpf(c)
    return total


def nodes(low, high, count):
    return [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def rational(f, low, high, top, bottom):
    """Coefficients of a ratio near f, the bottom one beginning with 1: least squares, weights iterated."""
    points = nodes(mpf(low), mpf(high), 6 * (top + bottom))
    values = [f(x) for x in points]
    weights = [1 / abs(v) for v in values]
    for _ in range(8):
        rows = matrix(len(points), top + bottom - 1)
        right = matrix(len(points), 1)
        for i, (x, v, w) in enumerate(zip(points, values, weights)):
            for j in range(top):
                rows[i, j] = w * x**j
            for j in range(1, bottom):
                rows[i, top + j - 1] = -w * v * x**j
            right[i] = w * v
        solved = lu_solve(rows, right)
        over = [solved[j] for j in range(top)]
        under = [mpf(1)] + [solved[top + j] for j in range(bottom - 1)]
        weights = [1 / abs(v * value(under, x)) for x, v in zip(points, values)]
    return [float(c) for c in over], [float(c) for c in under]


def tell(name, f, approximate, low, high, weight=lambda x: 1):
    """The largest relative error, times the share that the fitted part has in the result."""
    worst = max(abs((approximate(x) - f(x)) / f(x)) * weight(x) for x in nodes(mpf(low), mpf(high), 301))
    print(f"{name:12} 2^{float(log(worst, 2)):.1f}", file=sys.stderr)


def show(name, doc, coefficients):
    print(f"\n/// {doc}\npub(super) const {name}: [f64; {len(coefficients)}] = [")
    for c in coefficients:
        print(f"    {c!r},")
    print("];")


def polynomial(name, doc, f, low, high, terms, weight=lambda x: 1):
    coefficients = series(f, low, high, terms)
    tell(name, f, lambda x: value(coefficients, x), low, high, weight)
    show(name, doc, coefficients)


def ratio(name, doc, f, low, high, top, bottom, weight=lambda x: 1):
    over, under = rational(f, low, high, top, bottom)
    tell(name, f, lambda x: value(over, x) / value(under, x), low, high, weight)
    show(f"{name}_OVER", f"{doc}: above the line.", over)
    show(f"{name}_UNDER", f"{doc}: below the line.", under)


def odd(f):
    """(f(x) - x) / x^3 as a function of x^2."""
    return lambda z: (f(sqrt(z)) - sqrt(z)) / sqrt(z) ** 3


def quantile(p):
    """Normal quantile of a probability in (0, 0.5], as exact as asked."""
    start = -sqrt(-2 * ln(p)) if p < mpf("0.01") else sqrt(2) * erfinv(2 * p - 1)
    if p >= mpf("0.01"):
        return start
    x = start
    for _ in range(60):
        tail = erfc(-x / sqrt(2)) / 2
        step = (ln(tail) - ln(p)) * tail / (exp(-x * x / 2) / sqrt(2 * pi))
        x -= step
        if abs(step) < mpf(10) ** -50:
            break
    return x


print('''//! Coefficients of the kernels, constant first. Written by `tables/coefficients.py`; not edited by hand.
//!
//! Each is a near-minimax fit, computed with 60 digits and rounded to doubles. What each stands for is said above it; `t`, `z`, `r` are
//! the variables of the kernel that uses it.''')

tiny = mpf(10) ** -12
half_ln2 = ln(2) / 2 + mpf("1e-6")
polynomial("EXP", "(exp(r) - 1 - r) / r^2 for |r| up to half of ln 2.", lambda r: (exp(r) - 1 - r) / r**2 if r else mpf(0.5),
           -half_ln2, half_ln2, 10, lambda r: r * r / 2)
s2 = (sqrt(2) - 1) ** 2 / (sqrt(2) + 1) ** 2 * mpf("1.001")
log_tail = lambda z: (ln((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z) - 2) / z
polynomial("LN", "(ln((1 + s) / (1 - s)) / s - 2) / s^2 as a function of s^2.", log_tail, tiny, s2, 7, lambda z: z / 3)
polynomial("LN_LONG", "The same less 2/3, divided by s^2.", lambda z: (log_tail(z) - mpf(2) / 3) / z, tiny, s2, 8,
           lambda z: z * z / 3)
quarter2 = (pi / 4) ** 2 * mpf("1.001")
polynomial("SIN", "(sin(r) - r) / r^3 as a function of r^2.", odd(sin), tiny, quarter2, 7, lambda z: z / 6)
polynomial("COS", "(cos(r) - 1 + r^2 / 2) / r^4 as a function of r^2.", lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2,
           tiny, quarter2, 6, lambda z: z * z / 24)
polynomial("ASIN", "(asin(x) - x) / x^3 as a function of x^2 up to 1/4.", odd(asin), tiny, mpf(1) / 4, 13, lambda z: z / 6)
polynomial("ATAN", "(atan(x) - x) / x^3 as a function of x^2, x up to tan(pi/8).", odd(atan), tiny, mpf("0.1718"), 12,
           lambda z: z / 3)
polynomial("SINH", "(sinh(x) - x) / x^3 as a function of x^2 up to 1.", odd(sinh), tiny, mpf(1), 8, lambda z: z / 6)
polynomial("TANH", "(tanh(x) - x) / x^3 as a function of x^2, x up to 5/8.", odd(tanh), tiny, mpf(25) / 64, 12,
           lambda z: z / 3)
polynomial("CBRT", "A first guess of x^(-1/3) from 1 to 8.", lambda x: x ** (-mpf(1) / 3), mpf(1), mpf(8), 7)
first = 2 / sqrt(pi)
polynomial("ERF", "(erf(x) / x - 2 / sqrt(pi)) / x^2 as a function of x^2 up to 1.",
           lambda z: (erf(sqrt(z)) / sqrt(z) - first) / z, tiny, mpf(1), 13, lambda z: z * mpf("0.35"))


def scaled(t):
    """exp(x^2) erfc(x) (1 + 2 x) where t = (x - 4) / (x + 4)."""
    x = 4 * (1 + t) / (1 - t)
    return exp(x * x) * erfc(x) * (1 + 2 * x)


polynomial("ERFC", "exp(x^2) erfc(x) (1 + 2 x) as a function of (x - 4) / (x + 4), x up to 28.", scaled, mpf(-1), mpf("0.75"), 24)
WIDE = mpf("0.180625")


def central(w):
    """(ninv(1/2 + q) / q - sqrt(2 pi)) / q^2 where w = 0.425^2 - q^2: in w no sum of the fit cancels."""
    z = max(WIDE - w, mpf(10) ** -20)
    return (-quantile(mpf("0.5") - sqrt(z)) / sqrt(z) - sqrt(2 * pi)) / z


ratio("NINV", "(ninv(1/2 + q) / q - sqrt(2 pi)) / q^2 as a function of 0.425^2 - q^2, q up to 0.425", central, 0, WIDE, 8, 8,
      lambda w: mpf("0.25") * (WIDE - w) / WIDE)
gap = lambda r: r + quantile(exp(-r * r / 2))
ratio("NINV_NEAR", "r + ninv(p) as a function of r = sqrt(-2 ln p), from 2.27 to 5.6", gap, mpf("2.27"), mpf("5.6"), 8, 8,
      lambda r: mpf("0.6"))
FAR = lambda r: (r - 14) / (r + 14)
polynomial("NINV_FAR", "r + ninv(p) as a function of (r - 14) / (r + 14), r = sqrt(-2 ln p) from 5.6 to 38.7",
           lambda t: gap(14 * (1 + t) / (1 - t)), FAR(mpf("5.6")), FAR(mpf("38.7")), 24, lambda t: mpf("0.2"))
