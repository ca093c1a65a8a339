"""The six families of Genz in several dimensions: closed forms, and quadratures axis by axis.

Genz, A. (1987), A package for testing multiple integration subroutines, in: Numerical Integration, pp. 337-340.
"""

import mpmath as mp

from ways import product, quad, reduced, tensor

# Per family and dimension: the first a, and what each further axis adds.
SLOPES = {
    "oscillatory": {2: (15, 5), 5: (1.5, 0.25), 8: (0.4, 0.05), 20: (0.05, 0.001)},
    "product_peak": {2: (60, 30), 5: (4, 0.4), 8: (1, 0.05), 20: (0.6, 0.02)},
    "corner_peak": {2: (20, 10), 5: (3, 0.5), 8: (1, 0.1), 20: (0.25, 0)},
    "gaussian": {2: (20, 5), 5: (3, 0.5), 8: (1.5, 0.1), 20: (0.8, 0.02)},
    "continuous": {1: (20, 0), 5: (5, 0.5), 8: (2, 0.1), 20: (0.5, 0.05)},
    "discontinuous": {1: (5, 0), 2: (5, 1), 8: (1, 0.1), 13: (0.5, 0.05), 20: (0.2, 0.05)},
}
PHASE = 0.3


def slope(family, d, axis):
    first, more = SLOPES[family][d]
    return mp.mpf(str(first)) + axis * mp.mpf(str(more))


def centre(axis):
    return mp.mpf(2 + 3 * axis % 7) / 10


def edge(axis):
    return mp.mpf(3 + 2 * axis) / 10


def oscillatory(a):
    phase = 2 * mp.pi * mp.mpf("0.3")
    closed = mp.cos(phase + mp.fsum(a) / 2) * mp.fprod(mp.sin(s / 2) / (s / 2) for s in a)

    def second():
        parts = [quad(lambda x: mp.expj(s * x), *mp.linspace(0, 1, 9)) for s in a]
        return mp.re(mp.expj(phase) * mp.fprod(parts))

    def same(x):
        return mp.cos(phase + mp.fsum(s * c for s, c in zip(a, x)))

    return closed, reduced("real part of the product of one complex quadrature an axis", second, same)


def product_peak(a):
    closed = mp.fprod(s * (mp.atan(s * (1 - centre(i))) + mp.atan(s * centre(i))) for i, s in enumerate(a))
    return closed, product(lambda i, x: 1 / (a[i] ** -2 + (x - centre(i)) ** 2), lambda i: [centre(i)])


def corner_peak(a):
    d = len(a)
    if len(set(a)) == 1:
        # Equal slopes: the 2^d corners are d + 1 different ones. Terms cancel, hence the digits.
        with mp.workdps(80):
            terms = [(-1) ** k * mp.binomial(d, k) / (1 + k * a[0]) for k in range(d + 1)]
    else:
        terms = [(-1) ** bin(corner).count("1") / (1 + mp.fsum(s for i, s in enumerate(a) if corner >> i & 1)) for corner in range(2**d)]
    closed = mp.fsum(terms) / (mp.factorial(d) * mp.fprod(a))

    def second():
        return quad(lambda t: t**d * mp.exp(-t) * mp.fprod(-mp.expm1(-s * t) / (s * t) for s in a), 0, 1, 10, 100, mp.inf) / mp.factorial(d)

    def same(x):
        return (1 + mp.fsum(s * c for s, c in zip(a, x))) ** -(d + 1)

    return closed, reduced("one quadrature of the Laplace transform", second, same)


def gaussian(a):
    closed = mp.fprod(mp.sqrt(mp.pi) / (2 * s) * (mp.erf(s * (1 - centre(i))) + mp.erf(s * centre(i))) for i, s in enumerate(a))
    return closed, product(lambda i, x: mp.exp(-((a[i] * (x - centre(i))) ** 2)), lambda i: [centre(i)])


def continuous(a):
    closed = mp.fprod((2 - mp.exp(-s * centre(i)) - mp.exp(-s * (1 - centre(i)))) / s for i, s in enumerate(a))
    return closed, product(lambda i, x: mp.exp(-a[i] * abs(x - centre(i))), lambda i: [centre(i)])


def discontinuous(a):
    ends = [edge(i) if i < 2 else mp.mpf(1) for i in range(len(a))]
    closed = mp.fprod(mp.expm1(s * end) / s for s, end in zip(a, ends))
    return closed, product(lambda i, x: mp.exp(a[i] * x) if x <= ends[i] else mp.mpf(0), lambda i: [ends[i]] if i < 2 else [])


VALUES = {}
for family, of in list(SLOPES.items()):
    for d in of:
        closed, second = globals()[family]([slope(family, d, axis) for axis in range(d)])
        if d <= 2 and family in ("oscillatory", "product_peak", "gaussian"):
            second = tensor([0.2], [0.5], step=0.02)
        VALUES[f"genz_{family}_{d}"] = (closed, second)
