"""The ways by which a value is computed a second time, and the reader of formulas that they share.

A way is a function of an `Integral` (one object of integrals.json) that returns its value or values, with a text that
says what it does. Where a way does not evaluate the formula itself but factors or a reduction of it, the factors are
first held against the formula, as it stands in the file, at random points of the domain.
"""

import math
import re

import mpmath as mp
import numpy as np
from scipy import special

mp.mp.dps = 30
POINTS = 64


def _if(condition, yes, no):
    return np.where(condition, yes, no)


NAMES = {
    "if_": _if, "pi": math.pi, "e": math.e, "min": np.minimum, "max": np.maximum, "abs": np.abs, "ln": np.log, "sign": np.sign,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "erf": special.erf, "erfc": special.erfc,
    "ninv": special.ndtri,
} | {name: getattr(np, name) for name in "exp log10 sin cos tan sinh cosh tanh sqrt cbrt floor ceil".split()}


class Integral:
    """One object of the file, with its formula as a function of an array of coordinates."""

    def __init__(self, request):
        self.name, self.text = request["name"], request["expression"]
        self.lower = [float(limit) for limit in request["lower"]]
        self.upper = [float(limit) for limit in request["upper"]]
        self.dim = len(self.lower)
        self.params = request.get("params", {})
        assert self.dim == len(self.upper) == request.get("dim", self.dim), f"{self.name}: dimensions differ"
        python = re.sub(r"\bif\s*\(", "if_(", self.text.replace("^", "**"))
        self.code = [compile(part.strip(), self.name, "eval") for part in python.split(";")]

    def __call__(self, x):
        names = dict(NAMES, **self.params, **{f"x{axis}": x[axis] for axis in range(self.dim)}, **dict(zip("xyz", x)))
        with np.errstate(all="ignore"):
            return [eval(code, {"__builtins__": {}}, names) + np.zeros_like(x[0]) for code in self.code]

    def points(self):
        """Random points of the domain; on infinite axes they lie around the finite end."""
        random = np.random.default_rng(20)
        columns = []
        for low, high in zip(self.lower, self.upper):
            if math.isfinite(low) and math.isfinite(high):
                columns.append(low + (high - low) * random.random(POINTS))
            elif math.isfinite(low):
                columns.append(low + random.exponential(size=POINTS))
            elif math.isfinite(high):
                columns.append(high - random.exponential(size=POINTS))
            else:
                columns.append(random.normal(size=POINTS))
        return np.array(columns)

    def must_equal(self, function, output=0):
        """Holds `function(x)` of a point against the formula."""
        x = self.points()
        mine = np.array([float(function([float(c) for c in point])) for point in x.T])
        theirs = self(x)[output]
        worst = np.max(np.abs(mine - theirs) / (np.abs(theirs) + 1e-9 * np.max(np.abs(theirs)) + 1e-300))
        assert worst < 1e-9, f"{self.name}: the factors differ from the formula by {worst:.1e}"


def way(text):
    """Names what a way does."""

    def named(function):
        function.text = text
        return function

    return named


def nodes(low, high, step):
    """Double-exponential nodes and weights of one panel, either end of which may be infinite."""
    if math.isfinite(low) and math.isfinite(high):
        t = np.arange(-4.0, 4.0 + step / 2, step)
        q = np.exp(-np.pi * np.sinh(np.abs(t)))
        near = (high - low) * q / (1 + q)
        x = np.where(t < 0, low + near, high - near)
        w = (high - low) * np.pi * np.cosh(t) * q / (1 + q) ** 2
        inside = (x > low) & (x < high)
        return x[inside], step * w[inside]
    if math.isfinite(low):
        t = np.arange(-4.5, 4.5 + step / 2, step)
        g = np.exp(np.pi / 2 * np.sinh(t))
        return low + g, step * np.pi / 2 * np.cosh(t) * g
    if math.isfinite(high):
        x, w = nodes(-high, math.inf, step)
        return -x, w
    t = np.arange(-4.5, 4.5 + step / 2, step)
    return np.sinh(np.pi / 2 * np.sinh(t)), step * np.pi / 2 * np.cosh(t) * np.cosh(np.pi / 2 * np.sinh(t))


def tensor(*breaks, step=0.1):
    """The formula itself, by double-exponential quadrature in every axis between the given break points."""

    @way("double-exponential quadrature of the formula, every axis")
    def value(integral):
        axes = []
        for axis in range(integral.dim):
            inner = list(breaks[axis]) if axis < len(breaks) else []
            ends = [integral.lower[axis], *inner, integral.upper[axis]]
            panels = [nodes(low, high, step) for low, high in zip(ends, ends[1:])]
            axes.append([np.concatenate(part) for part in zip(*panels)])
        sums = np.zeros(len(integral.code))
        rest = np.meshgrid(*(x for x, _ in axes[1:]), indexing="ij")
        weight = np.ones(()) if integral.dim == 1 else 1
        for _, w in axes[1:]:
            weight = np.multiply.outer(weight, w) if np.ndim(weight) else w
        for x, w in zip(*axes[0]):
            first = np.full(rest[0].shape if rest else (), x)
            for output, f in enumerate(integral(np.array([first, *rest]))):
                f = np.where(np.isfinite(f), f, 0)
                sums[output] += w * np.sum(f * weight)
        return list(sums)

    return value


def quad(function, *ends):
    """One-dimensional quadrature in 30 digits."""
    return mp.quad(function, list(ends))


def product(factor, breaks=lambda axis: [], constant=1):
    """The formula is `constant` times the product over the axes of `factor(axis, x)`: one quadrature an axis."""

    @way("the product of one 30-digit quadrature an axis; its factors held against the formula")
    def value(integral):
        integral.must_equal(lambda x: constant * mp.fprod(factor(axis, c) for axis, c in enumerate(x)))
        found = mp.mpf(constant)
        for axis, (low, high) in enumerate(zip(integral.lower, integral.upper)):
            found *= quad(lambda x: factor(axis, x), mp.mpf(low), *breaks(axis), mp.mpf(high))
        return found

    return value


def sphere(d):
    """The surface of the unit sphere in `d` dimensions."""
    return 2 * mp.pi ** (mp.mpf(d) / 2) / mp.gamma(mp.mpf(d) / 2)


def radial(h, *ends):
    """The formula is `h(|x|)` on the whole space, or zero beyond the last of `ends`: one quadrature over the radius."""

    @way("one 30-digit quadrature over the radius; its integrand held against the formula")
    def value(integral):
        last = ends[-1]
        integral.must_equal(lambda x: h(r) if (r := mp.sqrt(mp.fsum(c * c for c in x))) < last else 0)
        return sphere(integral.dim) * quad(lambda r: h(r) * r ** (integral.dim - 1), *ends)

    return value


def reduced(text, function, same=None):
    """Another value by `function()`, a reduction that `text` tells; `same(x)` is held against the formula when given."""

    @way(text)
    def value(integral):
        if same is not None:
            integral.must_equal(same)
        return function()

    return value
