"""Infinite domains, singularities, oscillation, peaks, regions, many dimensions, several outputs: the classical values."""

import mpmath as mp

from ways import product, quad, radial, reduced, sphere, tensor, way

INF, PI = mp.inf, mp.pi


def gauss(width, centre, low=0, high=1):
    """The integral of exp(-width (x - centre)^2)."""
    root = mp.sqrt(width)
    return mp.sqrt(PI) / (2 * root) * (mp.erf(root * (high - centre)) - mp.erf(root * (low - centre)))


def peaks(d, width, centres, scale=1):
    """A sum of equal Gaussian peaks on the diagonal: error functions, and one quadrature a peak."""
    width = mp.mpf(width)
    centres = [mp.mpf(c) for c in centres]
    closed = scale * mp.fsum(gauss(width, c) ** d for c in centres)

    def one(c):
        ends = sorted({mp.mpf(0), mp.mpf(1)} | {p for k in (-6, -2, 0, 2, 6) if 0 < (p := c + k / mp.sqrt(width)) < 1})
        return quad(lambda x: mp.exp(-width * (x - c) ** 2), *ends) ** d

    def second():
        return scale * mp.fsum(one(c) for c in centres)

    def same(x):
        return scale * mp.fsum(mp.exp(-width * mp.fsum((v - c) ** 2 for v in x)) for c in centres)

    return closed, reduced("one 30-digit quadrature a peak, to the power of the dimension", second, same)


def ball(d):
    return PI ** (mp.mpf(d) / 2) / mp.gamma(mp.mpf(d) / 2 + 1)


def ball_by_slices(d):
    """The volume from the one a dimension lower, slice by slice."""
    volume = mp.mpf(2)
    for n in range(2, d + 1):
        volume *= 2 * quad(lambda t: mp.cos(t) ** n, 0, PI / 2)
    return volume


def ball_value(d):
    same = (lambda x: mp.mpf(mp.fsum(c * c for c in x) < 1))
    return ball(d), reduced("slice by slice, one quadrature a dimension", lambda: ball_by_slices(d), same)


def simplex_value(d):
    def second():
        # The volume of {sum < s} is a polynomial: integrated d times with exact fractions.
        coefficient = mp.mpf(1)
        for n in range(d):
            coefficient *= quad(lambda s: s**n, 0, 1)
        return coefficient

    return 1 / mp.factorial(d), reduced("one quadrature a dimension", second, lambda x: mp.mpf(mp.fsum(x) < 1))


def keister(d):
    """Keister, B. D. (1996), Multidimensional quadrature algorithms, Computers in Physics 10, 119."""

    def closed():
        # cos in a series of powers of the radius, whose moments are gamma functions.
        half = mp.mpf(d) / 2
        terms = mp.nsum(lambda k: (-1) ** k * mp.gamma(half + k) / mp.factorial(2 * k), [0, INF])
        return PI**half / mp.gamma(half) * terms

    return closed(), radial(lambda r: mp.cos(r) * mp.exp(-r * r), 0, 2, 5, 12)


def student(d):
    """(1 + r^2)^(-(d + 1) / 2), the Cauchy distribution in d dimensions without its constant."""
    half = mp.mpf(d + 1) / 2
    return PI**half / mp.gamma(half), radial(lambda r: (1 + r * r) ** -half, 0, 1, 10, INF)


def robbins():
    # The mean distance of two points of the unit cube.
    root2, root3 = mp.sqrt(2), mp.sqrt(3)
    return (4 + 17 * root2 - 6 * root3 - 7 * PI) / 105 + mp.log(1 + root2) / 5 + 2 * mp.log(2 + root3) / 5


def robbins_again():
    # E sqrt(s) is the integral of (1 - E exp(-s t^2)) / (t^2 sqrt(pi)); s is a sum over three coordinates, and the difference of
    # two coordinates has a triangular density, whose transform is g. Below 1e-4 the integrand is 1/2 to eight digits.
    def f(t):
        g = mp.sqrt(PI) * mp.erf(t) / t + mp.expm1(-t * t) / t**2
        return (1 - g**3) / t**2

    low = mp.mpf("1e-4")
    return (low / 2 + quad(f, low, 0.5, 2, 8, 40, INF)) / mp.sqrt(PI)


def box_norm():
    # The mean of |x| over the unit cube: Bailey, Borwein and Crandall (2007), Box integrals.
    return mp.sqrt(3) / 4 + mp.log(2 + mp.sqrt(3)) / 2 - PI / 24


def box_norm_again():
    # Three equal pyramids seen from the corner; the norm grows with the distance, so each is a quarter of that over its face.
    with mp.workdps(18):
        return mp.mpf(3) / 4 * quad(lambda y: quad(lambda z: mp.sqrt(1 + y * y + z * z), 0, 1), 0, 1)


def helium():
    # Both electrons in exp(-2 r): mean of 1 / r12 over the densities, by shells.
    def shells(r):
        inner = quad(lambda s: s * s * mp.exp(-2 * s), 0, r) / r
        outer = quad(lambda s: s * mp.exp(-2 * s), r, r + 5, r + 40)
        return r * r * mp.exp(-2 * r) * (inner + outer)

    with mp.workdps(18):
        return 16 * quad(shells, 0, 1, 5, 40)


def alternating_products(n):
    """Bratley, Fox and Niederreiter (1992): sum of (-1)^i x_1 .. x_i."""
    def same(x):
        total, term = mp.mpf(0), mp.mpf(1)
        for i, c in enumerate(x):
            term *= c
            total += (-1) ** (i + 1) * term
        return total

    closed = -mp.mpf(1) / 3 * (1 - (-mp.mpf(1) / 2) ** n)
    return closed, reduced("term by term", lambda: mp.fsum((-1) ** i * quad(lambda x: x, 0, 1) ** i for i in range(1, n + 1)), same)


def orthant3():
    # Plackett: over the second and third given the first, by a bivariate quadrature of conditional normals.
    rho = [mp.mpf("0.5"), mp.mpf("0.3"), mp.mpf("0.2")]
    return mp.mpf(1) / 8 + mp.fsum(mp.asin(r) for r in rho) / (4 * PI)


@way("double-exponential quadrature of the formula, every axis")
def orthant3_again(integral):
    return tensor([1], [1], [1], step=0.08)(integral)


def watson():
    # Watson (1939), the body-centred cubic lattice.
    return mp.gamma(mp.mpf(1) / 4) ** 4 / (4 * PI**3)


def watson_again():
    # 1 / (1 - abc) over the period is a square of a complete elliptic integral at 1/2, by the arithmetic-geometric mean.
    return (1 / mp.agm(1, mp.sqrt(mp.mpf(1) / 2))) ** 2


def zeta3():
    return reduced("quadrature over the density of the product", lambda: quad(lambda p: mp.log(p) ** 2 / 2 / (1 - p), 0, 0.5, 1), lambda x: 1 / (1 - mp.fprod(x)))


def linear(d):
    same = lambda x: mp.fsum(x)
    return mp.mpf(d) / 2, reduced("axis by axis", lambda: d * quad(lambda x: x, 0, 1), same)


def g_function(d):
    """Sobol's g function with a = i^2."""
    def factor(axis, x):
        return (abs(4 * x - 2) + axis * axis) / (1 + mp.mpf(axis * axis))

    return mp.mpf(1), product(factor, lambda axis: [0.5])


def geometric_exp(d):
    a = [mp.mpf(2) ** -(i + 1) for i in range(d)]
    return mp.fprod(mp.expm1(s) / s for s in a), product(lambda i, x: mp.exp(a[i] * x))


def many(function):
    @way("each output by 30-digit quadrature")
    def value(integral):
        return function()
    return value


def ball4_moments():
    s = sphere(4)
    return [s * quad(lambda r: r**3, 0, 1), s * quad(lambda r: r**5, 0, 1)]


def gauss_moments():
    m0 = quad(lambda x: mp.exp(-x * x), -INF, 0, INF)
    m2 = quad(lambda x: x * x * mp.exp(-x * x), -INF, 0, INF)
    return [m0 * m0, m2 * m0, m2 * m2]


def trig3():
    whole = quad(lambda x: mp.expj(x), 0, 1) ** 3
    return [mp.re(whole), mp.im(whole)]


def trig3_closed():
    f = (2 * mp.sin(mp.mpf(1) / 2)) ** 3
    return [mp.cos(mp.mpf(3) / 2) * f, mp.sin(mp.mpf(3) / 2) * f]


def steinmetz():
    # Three cylinders: over the octant, by the smaller of the two heights.
    return 16 * (quad(lambda t: quad(lambda r: r * mp.sqrt(1 - (r * mp.cos(t)) ** 2), 0, 1), 0, PI / 4))


def corner_arc():
    # 1 / |x| over the unit square in polar coordinates: the length of the ray.
    return 2 * quad(lambda t: 1 / mp.cos(t), 0, PI / 4)


def disc_annulus():
    return PI * (1 - mp.mpf("0.81"))


def resonance(x):
    return 1 / ((x - mp.mpf("0.3")) ** 2 + mp.mpf("1e-6"))


def breit_wigner():
    return 1000 * (mp.atan(mp.mpf(700)) + mp.atan(mp.mpf(300)))


GAUSS4 = peaks(4, 100, ["0.5"])
HALF = mp.mpf(1) / 2
THIRD = mp.mpf(1) / 3

VALUES = {
    # Infinite and half-infinite domains.
    "gauss_line": (mp.sqrt(PI), tensor(step=0.05)),
    "gauss_space_off_centre": (PI**1.5 / 6, product(lambda i, x: mp.exp(-(((i + 1) * (x - (3, -2, 5)[i])) ** 2)), lambda i: [(3, -2, 5)[i]])),
    "gamma_5": (mp.mpf(24), tensor(step=0.05)),
    "gamma_half": (mp.sqrt(PI), tensor([1])),
    "cauchy_line": (PI, reduced("twice the integral to one, since x -> 1/x maps the rest onto it", lambda: 4 * quad(lambda x: 1 / (1 + x * x), 0, 1), lambda x: 1 / (1 + mp.mpf(x[0]) ** 2))),
    "cauchy_plane": student(2),
    "cauchy_space": student(3),
    "student_5": (PI ** mp.mpf(2.5) / mp.gamma(mp.mpf(4)) * mp.gamma(mp.mpf(1.5)), radial(lambda r: (1 + r * r) ** -4, 0, 1, 10, INF)),
    "planck": (PI**4 / 15, reduced("the series of zeta(4)", lambda: 6 * mp.zeta(4), lambda x: mp.mpf(x[0]) ** 3 / mp.expm1(x[0]))),
    "fermi": (mp.log(2), tensor()),
    "mixed_limits": (mp.sqrt(PI) / 6, product(lambda i, x: [lambda: mp.exp(-x), lambda: x * x * mp.exp(-x * x), lambda: x * x][i]())),
    "lower_half_line": (mp.mpf(2), tensor(step=0.05)),
    "pareto_tail": (mp.mpf(1), tensor()),
    "pareto_mean": (mp.mpf(3), reduced("with x = 1 / u^2 a constant", lambda: quad(lambda u: mp.mpf(3), 0, 1), lambda x: mp.mpf(1.5) * mp.mpf(x[0]) ** mp.mpf(-1.5))),
    "orthant_3": (orthant3(), orthant3_again),
    "helium_repulsion": (mp.mpf(5) / 8, reduced("shell by shell", helium)),
    "keister_3": keister(3),
    "keister_8": keister(8),
    "expectation_of_square": (mp.mpf(10), reduced("term by term", lambda: 10 * quad(lambda x: x * x * mp.npdf(x), -40, 0, 40))),
    # Singular but integrable.
    "root_singularity": (mp.mpf(2), tensor()),
    "logarithm": (mp.mpf(-1), tensor()),
    "strong_singularity": (mp.mpf(5), reduced("with x = u^5 a constant", lambda: quad(lambda u: mp.mpf(5), 0, 1), lambda x: mp.mpf(x[0]) ** mp.mpf("-0.8"))),
    "three_roots": (mp.mpf(8), product(lambda i, x: 1 / mp.sqrt(x))),
    "arcsine": (PI / 2, reduced("with x = sin(t) a constant", lambda: quad(lambda t: mp.mpf(1), 0, PI / 2), lambda x: 1 / mp.sqrt(1 - mp.mpf(x[0]) ** 2))),
    "inverse_distance": (2 * mp.log(1 + mp.sqrt(2)), reduced("in polar coordinates", corner_arc, lambda x: 1 / mp.hypot(*x))),
    "diagonal_singularity": (mp.mpf(8) / 3, reduced("over the density of the difference", lambda: quad(lambda u: 2 * (1 - u) / mp.sqrt(u), 0, 1), lambda x: 1 / mp.sqrt(abs(mp.mpf(x[0]) - x[1])))),
    "zeta_2": (PI**2 / 6, reduced("quadrature over the density of the product", lambda: quad(lambda p: -mp.log(p) / (1 - p), 0, 0.5, 1), lambda x: 1 / (1 - mp.fprod(x)))),
    "zeta_3": (mp.zeta(3), zeta3()),
    "euler_gamma": (mp.euler, tensor([1], step=0.05)),
    "watson_lattice": (watson(), reduced("by the arithmetic-geometric mean", watson_again)),
    "box_norm_3": (box_norm(), reduced("over a face of the cube", box_norm_again, lambda x: mp.sqrt(mp.fsum(mp.mpf(c) ** 2 for c in x)))),
    "robbins": (robbins(), reduced("by the transform of the square root", robbins_again)),
    # Oscillatory.
    "sine_squared_50": (HALF - mp.sin(100) / 200, reduced("30-digit quadrature over each of fifty pieces", lambda: quad(lambda x: mp.sin(50 * x) ** 2, *mp.linspace(0, 1, 51)), lambda x: mp.sin(50 * mp.mpf(x[0])) ** 2)),
    "cosine_of_product": (mp.si(20) / 20, tensor([0.25, 0.5, 0.75], [0.25, 0.5, 0.75], step=0.05)),
    "bessel_waves": (mp.besselj(0, 10), reduced("30-digit quadrature over each of twenty pieces", lambda: quad(lambda x: mp.cos(10 * mp.sin(PI * x)), *mp.linspace(0, 1, 21)), lambda x: mp.cos(10 * mp.sin(PI * mp.mpf(x[0]))))),
    "fresnel": (mp.fresnelc(3), tensor([1, 2], step=0.05)),
    "exponential_waves": (mp.mpf(1) / 17, product(lambda i, x: mp.exp(-x) * mp.cos(4 * x), lambda i: [mp.mpf(k) for k in range(1, 60)])),
    # Peaks.
    "gauss4": GAUSS4,
    "double_gauss4": peaks(4, 50, [THIRD, 2 * THIRD]),
    "sharp_gauss6": peaks(6, 1000, ["0.45"]),
    "three_gauss6": peaks(6, 75, ["0.23", "0.39", "0.74"]),
    "three_gauss10": peaks(10, 200, ["0.23", "0.39", "0.74"]),
    "three_gauss10_hints": peaks(10, 200, ["0.23", "0.39", "0.74"]),
    "breit_wigner": (breit_wigner(), reduced("30-digit quadrature", lambda: quad(resonance, 0, 0.29, 0.299, 0.3, 0.301, 0.31, 1), lambda x: resonance(x[0]))),
    # Regions.
    "disc": ball_value(2),
    "ball_3": ball_value(3),
    "ball_5": ball_value(5),
    "ball_8": ball_value(8),
    "simplex_3": simplex_value(3),
    "simplex_6": simplex_value(6),
    "simplex_10": simplex_value(10),
    "steinmetz": (8 * (2 - mp.sqrt(2)), reduced("in polar coordinates", steinmetz)),
    "annulus": (disc_annulus(), reduced("quadrature over the radius", lambda: 2 * PI * quad(lambda r: r, 0.9, 1))),
    "step_1": (THIRD, reduced("30-digit quadrature", lambda: quad(lambda x: mp.mpf(1), THIRD, 2 * THIRD))),
    # Many dimensions.
    "roos_arnold_10": (mp.mpf(1), product(lambda i, x: abs(4 * x - 2), lambda i: [0.5])),
    "morokoff_caflisch_20": (mp.mpf(1), product(lambda i, x: mp.mpf(21) / 20 * mp.mpf(x) ** (mp.mpf(1) / 20))),
    "morokoff_caflisch_40": (mp.mpf(1), product(lambda i, x: mp.mpf(41) / 40 * mp.mpf(x) ** (mp.mpf(1) / 40))),
    "alternating_products_10": alternating_products(10),
    "geometric_exp_20": geometric_exp(20),
    "linear_64": linear(64),
    "g_function_64": g_function(64),
    "sine_product_12": (mp.mpf(1), product(lambda i, x: PI / 2 * mp.sin(PI * x))),
    # Very large and very small.
    "huge_values": (mp.mpf("1e300") * (1 - mp.exp(-1)), product(lambda i, x: mp.mpf("1e300") * mp.exp(-x))),
    "tiny_values": (mp.mpf("1e-300") * (mp.e - 1) ** 2, product(lambda i, x: mp.exp(x), constant=mp.mpf("1e-300"))),
    "wide_domain": (mp.sqrt(PI) * 1000, reduced("the same over the line, since nothing lies beyond", lambda: quad(lambda x: mp.exp(-((x / 1000) ** 2)), -INF, 0, INF))),
    # Several outputs.
    "gauss_moments": ([PI, PI / 2, PI / 4], many(gauss_moments)),
    "cosine_and_sine": (trig3_closed(), many(trig3)),
    "ball4_moments": ([PI**2 / 2, PI**2 / 3], many(ball4_moments)),
}
