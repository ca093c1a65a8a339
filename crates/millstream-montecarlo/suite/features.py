"""Backgrounds with a feature, second peaks, heavy tails, integrals of zero, two scales: features.json and its values.

  python features.py          prints features.json anew; its numbers come from a generator of fixed seed

Every formula is a sum of terms, each a product of one factor an axis (or the indicator of a ball). The closed form integrates the
factors by hand, the second way by 30-digit quadrature between their break points. Both need the terms to be those of the formula, so
the sum of the terms is held against it, at points of the whole domain and at points around each feature.
"""

import json
import random

import mpmath as mp
import numpy as np

from classics import ball, ball_by_slices
from ways import quad, way

INF = mp.inf
DICE = random.Random(11)
VALUES = {}
REQUESTS = []


class Factor:
    """A function of one coordinate: its integral between the limits by hand, and where to cut the quadrature of it."""

    def __init__(self, function, closed, *breaks):
        self.function, self.closed, self.breaks = function, mp.mpf(closed), [mp.mpf(b) for b in breaks]

    def quadrature(self, low, high):
        ends = sorted({mp.mpf(low), mp.mpf(high), *(b for b in self.breaks if low < b < high)})
        return quad(self.function, *ends)


class Term:
    """A constant times a product of one factor an axis, or times the indicator of a ball; `near` is a box around what it adds."""

    def __init__(self, constant, factors, near=None):
        self.constant, self.factors, self.near = mp.mpf(constant), factors, near

    def at(self, x):
        return self.constant * mp.fprod(factor.function(c) for factor, c in zip(self.factors, x))

    def closed(self):
        return self.constant * mp.fprod(factor.closed for factor in self.factors)

    def again(self, lower, upper):
        sides = zip(self.factors, lower, upper)
        return self.constant * mp.fprod(factor.quadrature(low, high) for factor, low, high in sides)


class Ball:
    def __init__(self, height, centre, radius):
        self.height, self.centre, self.radius = mp.mpf(height), centre, mp.mpf(radius)
        self.near = [(c - radius, c + radius) for c in centre]

    def at(self, x):
        off = mp.fsum((c - at) ** 2 for c, at in zip(x, self.centre))
        return self.height if off < self.radius**2 else mp.mpf(0)

    def closed(self):
        return self.height * ball(len(self.centre)) * self.radius ** len(self.centre)

    def again(self, lower, upper):
        return self.height * ball_by_slices(len(self.centre)) * self.radius ** len(self.centre)


def must_equal(integral, terms):
    """Holds the sum of the terms against the formula, everywhere and around each feature."""
    draw = np.random.default_rng(21)
    places = [integral.points().T] + [
        np.array([[low + (high - low) * draw.random() for low, high in term.near] for _ in range(64)])
        for term in terms if term.near
    ]
    for x in np.concatenate(places):
        mine = float(mp.fsum(term.at([mp.mpf(float(c)) for c in x]) for term in terms))
        theirs = float(integral(x.reshape(-1, 1))[0][0])
        assert abs(mine - theirs) <= 1e-9 * (abs(theirs) + 1e-12), f"{integral.name}: {mine} is not {theirs} at {x}"


def add(name, expression, lower, upper, terms, source):
    @way("one 30-digit quadrature an axis and term (balls: slice by slice); the terms held against the formula, also at the feature")
    def second(integral):
        must_equal(integral, terms)
        return mp.fsum(term.again(lower, upper) for term in terms)

    closed = mp.fsum(term.closed() for term in terms)
    VALUES[name] = (closed, second)
    text = {INF: "inf", -INF: "-inf"}
    REQUESTS.append({
        "name": name, "expression": expression,
        "lower": [text.get(limit, limit) for limit in lower], "upper": [text.get(limit, limit) for limit in upper],
        "max_samples": 20000000, "exact": float(closed), "source": source,
    })


def digits(value):
    """Four digits: what stands in the formula is the number meant."""
    return float(f"{value:.4g}")


def scale(low, high):
    return digits(mp.exp(DICE.uniform(float(mp.log(low)), float(mp.log(high)))))


def between(low, high):
    return digits(DICE.uniform(float(low), float(high)))


def background(d, number):
    """A constant or a product of cosines, as text and term, and its integral."""
    level = between(0.5, 2)
    if number % 2 == 0:
        return f"{level}", Term(level, [Factor(lambda x: mp.mpf(1), 1)] * d), level
    slope = between(0.1, 0.9)
    text = f"{level}*" + "*".join(f"cos({slope}*x{axis})" for axis in range(d))
    factor = Factor(lambda x: mp.cos(slope * x), mp.sin(slope) / mp.mpf(slope))
    return text, Term(level, [factor] * d), level * float(mp.sin(slope) / slope) ** d


def inside(low, high):
    return Factor(lambda x: mp.mpf(low < x < high), mp.mpf(high) - mp.mpf(low), low, high)


def below(high):
    return Factor(lambda x: mp.mpf(x < high), high, high)


ONE = Factor(lambda x: mp.mpf(1), 1)


def height_of(value, share):
    """The feature adds a thousandth to all of the background."""
    return scale(1e-3 * value / share, value / share)


def slabs(count):
    for number in range(count):
        d = number % 4 + 1
        text, term, value = background(d, number)
        half = scale(5e-4, 0.05)
        centre, axis = between(half, 1 - half), number % d
        height = height_of(value, 2 * half)
        factors = [ONE] * d
        centre_, half_ = mp.mpf(centre), mp.mpf(half)
        factors[axis] = inside(centre_ - half_, centre_ + half_)
        near = [(0, 1)] * d
        near[axis] = (centre - 2 * half, centre + 2 * half)
        add(f"slab_{number + 1}", f"{text}+{height}*if(abs(x{axis}-{centre})<{half},1,0)", [0] * d, [1] * d,
            [term, Term(height, factors, near)], "a slab on a background: its width times its height")


def balls(count):
    for number in range(count):
        d = number % 5 + 2
        text, term, value = background(d, number)
        volume = float(ball(d))
        radius = digits((scale(1e-3, min(0.1, volume * 0.4**d)) / volume) ** (1 / d))
        centre = [between(radius, 1 - radius) for _ in range(d)]
        height = height_of(value, volume * radius**d)
        squares = "+".join(f"(x{axis}-{c})^2" for axis, c in enumerate(centre))
        add(f"ball_on_background_{number + 1}", f"{text}+{height}*if(sqrt({squares})<{radius},1,0)", [0] * d, [1] * d,
            [term, Ball(height, centre, radius)], "a ball on a background: its volume times its height")


def corners(count):
    for number in range(count):
        d = number % 6 + 1
        text, term, value = background(d, number)
        side = digits(scale(1e-3, 0.1) ** (1 / d))
        height = height_of(value, side**d)
        largest = "x0"
        for axis in range(1, d):
            largest = f"max({largest},x{axis})"
        near = [(0, min(1, 1.2 * side))] * d
        add(f"corner_{number + 1}", f"{text}+{height}*if({largest}<{side},1,0)", [0] * d, [1] * d,
            [term, Term(height, [below(side)] * d, near)], "a corner on a background: its volume times its height")


def bell(centre, width, low, high):
    """exp(-((x - centre) / width)^2)."""
    c, w = mp.mpf(centre), mp.mpf(width)
    closed = w * mp.sqrt(mp.pi) / 2 * (mp.erf((high - c) / w) - mp.erf((low - c) / w))
    return Factor(lambda x: mp.exp(-(((x - c) / w) ** 2)), closed, *(c + k * w for k in (-8, -3, 0, 3, 8)))


def gaussians(count):
    for number in range(count):
        d = number % 5 + 1
        text, term, value = background(d, number)
        width = min(digits(scale(3e-3, 3e-2) ** (1 / d) / 2.5), 0.12)
        centre = [between(0.2, 0.8) for _ in range(d)]
        height = height_of(value, width**d * 1.7**d)
        squares = "+".join(f"((x{axis}-{c})/{width})^2" for axis, c in enumerate(centre))
        near = [(max(0, c - 2 * width), min(1, c + 2 * width)) for c in centre]
        add(f"gaussian_{number + 1}", f"{text}+{height}*exp(-({squares}))", [0] * d, [1] * d,
            [term, Term(height, [bell(c, width, 0, 1) for c in centre], near)], "a Gaussian on a background: error functions")


def far_peaks(count):
    for number in range(count):
        far = scale(5, 2000) * (-1) ** number
        width, height = between(0.7, 3), scale(0.05, 2)
        near = [(far - width, far + width)]
        add(f"far_peak_{number + 1}", f"exp(-x0^2)+{height}*exp(-((x0-({far}))/{width})^2)", [-INF], [INF],
            [Term(1, [bell(0, 1, -INF, INF)], [(-2, 2)]), Term(height, [bell(far, width, -INF, INF)], near)],
            "two Gaussians on the line: sqrt(pi) times width times height")


def power(p):
    return Factor(lambda x: x ** -mp.mpf(p), 1 / (1 - mp.mpf(p)), *(mp.mpf(10) ** -k for k in (200, 100, 50, 20, 10, 5, 2, 1)))


def tails():
    for number in range(8):
        d, p = number % 3 + 1, between(0.2, 0.9)
        add(f"power_tail_{number + 1}", "*".join(f"x{axis}^(-{p})" for axis in range(d)), [0] * d, [1] * d,
            [Term(1, [power(p)] * d)], "a power at zero: 1 / (1 - p) an axis")
    for number in range(6):
        p = between(0.2, 1.5)
        factor = Factor(lambda x, p=p: (1 + x) ** -(1 + mp.mpf(p)), 1 / mp.mpf(p), *(mp.mpf(10) ** k for k in (0, 1, 2, 4, 8, 16, 32, 64)))
        add(f"far_tail_{number + 1}", f"(1+x0)^(-(1+{p}))", [0], [INF], [Term(1, [factor])], "a power at infinity: 1 / p")
    for number in range(4):
        d, k = number % 2 + 1, number // 2 + 1
        factor = Factor(lambda x, k=k: (-mp.log(x)) ** k, mp.factorial(k), *(mp.mpf(10) ** -k for k in (50, 20, 10, 5, 2)))
        add(f"logarithm_tail_{number + 1}", "*".join(f"(-ln(x{axis}))^{k}" for axis in range(d)), [0] * d, [1] * d,
            [Term(1, [factor] * d)], "a power of the logarithm: k! an axis")
    for number in range(2):
        wide = scale(0.01, 100)
        factor = Factor(lambda x, w=wide: 1 / (1 + (x / w) ** 2), mp.pi * mp.mpf(wide), *(s * wide * mp.mpf(10) ** k for k in range(0, 40, 4) for s in (-1, 1)))
        add(f"cauchy_tail_{number + 1}", f"1/(1+(x0/{wide})^2)", [-INF], [INF], [Term(1, [factor])], "Cauchy: pi times the width")


def odd(function):
    return Factor(function, 0, 0)


def zeros(count):
    for number in range(count):
        d = number % 5 + 1
        factor, terms, text = scale(1e-2, 1e2), [], []
        kinds = [
            (lambda x: x, "x{}"), (lambda x: x**3, "x{}^3"), (lambda x: mp.sin(3 * x), "sin(3*x{})"),
            (lambda x: mp.sinh(2 * x), "sinh(2*x{})"), (lambda x: x * mp.cos(x), "x{}*cos(x{})"),
        ]
        for axis in range(d):
            function, name = kinds[(axis + number) % len(kinds)]
            factors = [Factor(lambda x: mp.mpf(1), 2)] * d
            factors[axis] = odd(function)
            terms.append(Term(factor, factors))
            text.append(f"{factor}*" + name.replace("{}", str(axis)))
        add(f"zero_{number + 1}", "+".join(text), [-1] * d, [1] * d, terms, "odd along every axis: zero")


def two_scales(count):
    for number in range(count):
        d = number % 4 + 1
        names, factors = [], []
        for axis in range(d):
            narrow, wide = scale(1e-3, 3e-2), between(0.3, 3)
            height = scale(0.1 / narrow, 1 / narrow)
            names.append(f"(exp(-x{axis}/{wide})+{height}*exp(-x{axis}/{narrow}))")
            n, w, h = mp.mpf(narrow), mp.mpf(wide), mp.mpf(height)
            closed = -w * mp.expm1(-1 / w) - h * n * mp.expm1(-1 / n)
            function = lambda x, n=n, w=w, h=h: mp.exp(-x / w) + h * mp.exp(-x / n)
            factors.append(Factor(function, closed, n, 5 * n, 20 * n))
        add(f"two_scales_{number + 1}", "*".join(names), [0] * d, [1] * d,
            [Term(1, factors, [(0, 0.03)] * d)], "two exponentials an axis")


slabs(14)
balls(14)
corners(12)
gaussians(12)
far_peaks(8)
tails()
zeros(10)
two_scales(10)

if __name__ == "__main__":
    print("[\n" + ",\n".join("  " + json.dumps(request) for request in REQUESTS) + "\n]")
