#!/usr/bin/env python3
"""Computes the values that the kernels are held to, with mpmath at 60 digits and more.

  tables/reference.py [POINTS] > tables/reference.txt

A line is a function, its arguments and the value, each as the bits of a double in hexadecimal. Arguments are random with a
fixed seed: half of them spread over exponents, half even over the interesting range. Edges that are exact are tested by
hand, not here.
"""

import random
import struct
import sys

from mpmath import (acos, asin, atan, atan2, cbrt, cos, cosh, erf, erfc, erfinv, exp, ln, log10, mp, mpf, pi, power, sin, sinh,
                    sqrt, tan, tanh)

mp.dps = 60
points = int(sys.argv[1]) if len(sys.argv) > 1 else 300
draw = random.Random(20261121)


def bits(x):
    return struct.pack(">d", x).hex()


def spread(low, high):
    """Log-even from 2^low to 2^high."""
    return lambda: draw.uniform(1, 2) * 2.0 ** draw.uniform(low, high)


def signed(f):
    return lambda: draw.choice((-1, 1)) * f()


def even(low, high):
    return lambda: draw.uniform(low, high)


def ninv(p):
    if p > mpf("0.5"):
        return -ninv(1 - p)
    if p > mpf("1e-3"):
        return sqrt(2) * erfinv(2 * p - 1)
    x = -sqrt(-2 * ln(p))
    for _ in range(80):
        tail = erfc(-x / sqrt(2)) / 2
        step = (ln(tail) - ln(p)) * tail / (exp(-x * x / 2) / sqrt(2 * pi))
        x -= step
        if abs(step) < mpf(10) ** -45:
            break
    return x


ONE = {
    "exp": (exp, [signed(spread(-60, 9)), even(-745, 709.7), even(-2, 2)]),
    "ln": (ln, [spread(-1074, 1023), even(0.5, 2), even(0.99, 1.01)]),
    "log10": (log10, [spread(-1074, 1023), even(0.5, 2), even(0, 1000)]),
    "sin": (sin, [signed(spread(-60, 30)), even(-100, 100), signed(spread(30, 1023))]),
    "cos": (cos, [signed(spread(-60, 30)), even(-100, 100), signed(spread(30, 1023))]),
    "tan": (tan, [signed(spread(-60, 30)), even(-100, 100), signed(spread(30, 1023))]),
    "asin": (asin, [signed(spread(-60, -1)), even(-1, 1), even(0.45, 0.55)]),
    "acos": (acos, [signed(spread(-60, -1)), even(-1, 1), even(0.99, 1)]),
    "atan": (atan, [signed(spread(-60, 60)), even(-4, 4)]),
    "sinh": (sinh, [signed(spread(-60, 9)), even(-2, 2), even(-710.4, 710.4)]),
    "cosh": (cosh, [signed(spread(-60, 9)), even(-2, 2), even(-710.4, 710.4)]),
    "tanh": (tanh, [signed(spread(-60, 5)), even(-2, 2), even(0.5, 0.7)]),
    "cbrt": (lambda x: cbrt(x) if x >= 0 else -cbrt(-x), [signed(spread(-1074, 1023)), even(-8, 8)]),
    "erf": (erf, [signed(spread(-60, 3)), even(-3, 3)]),
    "erfc": (erfc, [signed(spread(-60, 4)), even(-3, 3), even(0, 27)]),
    "ninv": (ninv, [spread(-1074, -1), even(0, 1), lambda: 1 - spread(-53, -1)()]),
}
TWO = {
    "pow": (power, [(spread(-1074, 1023), signed(spread(-10, 0))), (even(0, 3), even(-20, 20)), (even(0.9, 1.1), even(-3000, 3000))]),
    "atan2": (atan2, [(signed(spread(-20, 20)), signed(spread(-20, 20))), (even(-1, 1), even(-1, 1)),
                      (signed(spread(-1000, 1000)), signed(spread(-1000, 1000)))]),
}

for name, (function, draws) in {**ONE, **TWO}.items():
    for i in range(points):
        pick = draws[i % len(draws)]
        arguments = [f() for f in pick] if isinstance(pick, tuple) else [pick()]
        try:
            value = float(function(*[mpf(x) for x in arguments]))
        except OverflowError:
            continue
        if 0 < abs(value) < float("inf"):
            print(name, *[bits(x) for x in arguments], bits(value))
