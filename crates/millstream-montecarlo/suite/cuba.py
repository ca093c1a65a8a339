"""The eleven functions of Cuba's demonstration on the unit cube, in one or two dimensions fewer than they have.

Hahn, T. (2005), Cuba: a library for multidimensional numerical integration, Computer Physics Communications 168, 78-95.
"""

import mpmath as mp
import numpy as np

from ways import nodes, product, quad, reduced, tensor


def two():
    # Over z by hand, over x an arc tangent, over y by quadrature.
    root = mp.sqrt(mp.mpf("0.003"))
    return (mp.e - 1) * quad(lambda y: mp.cos(y) * (mp.atan((1 + y) / root) - mp.atan(y / root)) / root, 0, 0.05, 0.2, 1)


def three():
    # 1 / a is the integral of exp(-a t), and the mean of exp(t cos) over half a period is I0(t).
    return quad(lambda t: mp.exp(-mp.mpf("3.75") * t) * mp.besseli(0, t) ** 3, 0, 1, 10, 40, 100)


def three_again():
    # Over z by hand: the mean of 1 / (a - cos) is 1 / sqrt(a^2 - 1). The rest is periodic, for which the trapezoid converges exponentially.
    c = np.cos(np.pi * (np.arange(128) + 0.5) / 128)
    a = 3.75 - c[:, None] - c[None, :]
    return np.mean(1 / np.sqrt(a * a - 1))


def four():
    # The integral without the bars, and twice what lies inside the sphere.
    eighth, radius = mp.mpf(1) / 8, mp.sqrt(mp.mpf(1) / 8)
    return 1 - eighth + mp.pi * (eighth * radius**3 / 3 - radius**5 / 5)


def four_again():
    # The absolute value over z by hand at every point of a quadrant, then over the corner of the disc and the rest apart.
    def column(r2):
        b = mp.mpf(1) / 8 - r2
        if b <= 0:
            return mp.mpf(1) / 3 - b
        z = mp.sqrt(b)
        return 2 * (b * z - z**3 / 3) + mp.mpf(1) / 3 - b

    radius = mp.sqrt(mp.mpf(1) / 8)
    disc = mp.pi / 2 * quad(lambda r: r * (column(r * r) - (mp.mpf(1) / 3 - mp.mpf(1) / 8 + r * r)), 0, radius)
    return disc + mp.mpf(1) / 3 - mp.mpf(1) / 8 + mp.mpf(2) / 3


def six(c):
    return mp.polylog(3, 1 / c)


def of_product(h, *ends):
    """The mean of h(x y z): the product of three has the density ln(p)^2 / 2."""
    return lambda: quad(lambda p: h(p) * mp.log(p) ** 2 / 2, *(ends or (0, 1)))


def seven():
    # 1 - x, y and z have a sum s with the density of Irwin and Hall, and |x - y - z| = |1 - s|.
    pieces = [(0, 1, lambda s: s * s / 2), (1, 2, lambda s: (-2 * s * s + 6 * s - 3) / 2), (2, 3, lambda s: (3 - s) ** 2 / 2)]
    return mp.fsum(quad(lambda s: p(s) * mp.sqrt(abs(1 - s)), low, high) for low, high, p in pieces)


def seven_again():
    # Over x by hand, then y and z through the triangular density of their sum t.
    def over_x(t):
        return (t ** mp.mpf(1.5) + (1 - t) ** mp.mpf(1.5)) * 2 / 3 if t <= 1 else (t ** mp.mpf(1.5) - (t - 1) ** mp.mpf(1.5)) * 2 / 3

    return quad(lambda t: t * over_x(t), 0, 1) + quad(lambda t: (2 - t) * over_x(t), 1, 2)


def nine():
    # y and z enter by their sum t only, which has a triangular density.
    def plane(x):
        def f(t, weight):
            return weight * x * x / (mp.cos(x + t + 1) + 5)

        return quad(lambda t: f(t, t), 0, 1) + quad(lambda t: f(t, 2 - t), 1, 2)

    with mp.workdps(18):
        return quad(plane, 0, 1)


def ten():
    # y z has the density -ln(p); over x by hand.
    epsilon = mp.mpf("1e-5")

    def density(p):
        return -mp.log(p) * 2 * (mp.sqrt(p + epsilon) - mp.sqrt(p / 2 + epsilon)) / p

    return quad(density, 0, 1e-6, 1e-5, 1e-4, 1e-2, 1) + mp.mpf(2) / 3 * mp.mpf("0.5") ** 1.5 * mp.mpf(4) / 9


def ten_again():
    # As above, but over x by quadrature and over y by hand, with the density of z alone.
    x, wx = nodes(0.5, 1.0, 0.1)
    z, wz = nodes(0.0, 1.0, 0.05)
    f = np.array([2 * (np.sqrt(c * z + 1e-5) - np.sqrt(1e-5)) / (c * z) for c in x])
    upper = wx @ f @ wz
    lower = float(quad(lambda c: mp.sqrt(c), 0, mp.mpf("0.5")) * quad(lambda c: mp.sqrt(c), 0, 1) ** 2)
    return upper + lower


def eleven():
    return quad(lambda x: mp.pi / 4 * (1 - x * x), 0, 1)


TINY = 1 + mp.mpf("1e-10")
VALUES = {
    "cuba1": ((1 - mp.cos(1)) * mp.sin(1) * (mp.e - 1), product(lambda axis, x: [mp.sin, mp.cos, mp.exp][axis](x))),
    "cuba2": (two(), tensor([0.05, 0.2], [0.05, 0.2], step=0.05)),
    "cuba3": (three(), reduced("over z by hand, the rest by the trapezoid rule", three_again)),
    "cuba4": (four(), reduced("over z by hand, the rest by quadrature over the radius", four_again)),
    "cuba5": ((mp.sqrt(mp.pi) / 2 * mp.erf(1)) ** 3, product(lambda axis, x: mp.exp(-x * x))),
    "cuba6": (six(TINY), reduced("quadrature over the density of the product", of_product(lambda p: 1 / (TINY - p), 0, 0.5, 1 - 1e-4, 1 - 1e-8, 1))),
    "cuba7": (seven(), reduced("over x by hand, the rest by quadrature over y + z", seven_again)),
    "cuba8": (mp.nsum(lambda n: (-1) ** n / mp.factorial(n) / (n + 1) ** 3, [0, mp.inf]), reduced("quadrature over the density of the product", of_product(lambda p: mp.exp(-p)))),
    "cuba9": (nine(), tensor()),
    "cuba10": (ten(), reduced("over y by hand, the rest by quadrature", ten_again)),
    "cuba11": (mp.pi / 6, reduced("quadrature over quarter discs", eleven)),
}
