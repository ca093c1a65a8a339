"""Prices of options: Black and Scholes, and what follows from it, against quadrature.

All with spot 100 and rate 0.05 unless a formula says otherwise. Black, F. and Scholes, M. (1973), The pricing of options and
corporate liabilities; Margrabe, W. (1978), The value of an option to exchange one asset for another; Kemna, A. and Vorst, A.
(1990), A pricing method for options based on average asset values.
"""

import mpmath as mp
import numpy as np
from scipy import interpolate, special

from ways import product, quad, reduced, tensor

S, RATE = mp.mpf(100), mp.mpf("0.05")


def black_scholes(strike, sigma, years=1, spot=S, rate=RATE, drift=None):
    """Price, delta and vega of a call; `drift` of the spot when it is not the rate."""
    drift = rate if drift is None else drift
    spread = sigma * mp.sqrt(years)
    d1 = (mp.log(spot / strike) + (drift + sigma * sigma / 2) * years) / spread
    forward = spot * mp.exp((drift - rate) * years)
    price = forward * mp.ncdf(d1) - strike * mp.exp(-rate * years) * mp.ncdf(d1 - spread)
    return price, mp.ncdf(d1), spot * mp.npdf(d1) * mp.sqrt(years)


def payoff(function, sigma, *breaks, years=1):
    """The discounted mean of a payoff of the final spot, by quadrature over the normal variable."""
    sigma = mp.mpf(sigma)

    def density(z):
        return function(S * mp.exp((RATE - sigma**2 / 2) * years + sigma * mp.sqrt(years) * z), z) * mp.npdf(z)

    return mp.exp(-RATE * years) * quad(density, -40, -8, *breaks, 8, 40)


def strike_at(strike, sigma, years=1):
    sigma = mp.mpf(sigma)
    return (mp.log(strike / S) - (RATE - sigma**2 / 2) * years) / (sigma * mp.sqrt(years))


def call(strike, sigma):
    return lambda: payoff(lambda s, z: max(s - strike, 0), sigma, strike_at(strike, sigma))


def digital_d2():
    sigma = mp.mpf("0.2")
    return mp.exp(-RATE) * mp.ncdf((mp.log(S / 110) + RATE - sigma**2 / 2) / sigma)


def put():
    return black_scholes(100, mp.mpf("0.2"))[0] - S + 100 * mp.exp(-RATE)


def greeks():
    at, sigma = strike_at(100, 0.2), mp.mpf("0.2")
    return [
        call(100, "0.2")(),
        payoff(lambda s, z: s / S if s > 100 else mp.mpf(0), sigma, at),
        payoff(lambda s, z: s * (z - sigma) if s > 100 else mp.mpf(0), sigma, at),
    ]


def margrabe():
    spread = mp.sqrt(mp.mpf("0.04") + mp.mpf("0.09"))
    d1 = (mp.log(mp.mpf(100) / 95) + spread**2 / 2) / spread
    return 100 * mp.ncdf(d1) - 95 * mp.ncdf(d1 - spread)


def margrabe_again():
    # Given the second asset, a call on the first struck there.
    def given(z):
        return black_scholes(95 * mp.exp(-mp.mpf("0.045") + mp.mpf("0.3") * z), mp.mpf("0.2"), rate=mp.mpf(0))[0] * mp.npdf(z)

    return quad(given, -12, -4, 0, 4, 12)


def geometric_asian(dates):
    # The mean of the logarithms is normal: with d dates, (d + 1) / 2d of the drift and (d + 1)(2d + 1) / 6d^2 of the variance.
    sigma = mp.mpf("0.2")
    mean = mp.log(S) + (RATE - sigma**2 / 2) * mp.mpf(dates + 1) / (2 * dates)
    deviation = sigma * mp.sqrt(mp.mpf((dates + 1) * (2 * dates + 1)) / (6 * dates**2))
    return lognormal_call(mean, deviation, 100)


def lognormal_call(mean, deviation, strike):
    d2 = (mean - mp.log(strike)) / deviation
    return mp.exp(-RATE) * (mp.exp(mean + deviation**2 / 2) * mp.ncdf(d2 + deviation) - strike * mp.ncdf(d2))


def lognormal_call_again(weights, drift):
    """The mean and variance summed from the weights of the normals, the call by quadrature."""

    def value():
        deviation = mp.sqrt(mp.fsum(w * w for w in weights))
        mean = mp.log(S) + drift
        at = (mp.log(100) - mean) / deviation
        return mp.exp(-RATE) * quad(lambda z: (mp.exp(mean + deviation * z) - 100) * mp.npdf(z), at, 4, 8, 40)

    return value


def asian_weights(dates):
    sigma = mp.mpf("0.2")
    return [sigma * mp.sqrt(mp.mpf(1) / dates) * mp.mpf(dates - j) / dates for j in range(dates)]


BASKET = [mp.mpf(2 + axis) / 10 for axis in range(6)]


def geometric_basket():
    deviation = mp.sqrt(mp.fsum(s * s for s in BASKET)) / 6
    mean = mp.log(S) + mp.fsum(RATE - s * s / 2 for s in BASKET) / 6
    return lognormal_call(mean, deviation, 100)


def normal_grid(step=0.1):
    z = np.arange(-10, 10 + step / 2, step)
    return z, step * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def forward_call(spot, strike, drift, deviation):
    """The undiscounted mean of max(spot * growth - strike, 0) for arrays; a strike below zero is always exceeded."""
    safe = np.maximum(strike, 1e-300)
    d1 = (np.log(spot / safe) + drift) / deviation + deviation
    value = spot * np.exp(drift + deviation**2 / 2) * special.ndtr(d1) - strike * special.ndtr(d1 - deviation)
    return np.where(strike > 0, value, spot * np.exp(drift + deviation**2 / 2) - strike)


def asian_by_tensor():
    # Three dates by the trapezoid rule, the fourth by the formula of Black and Scholes: a smooth integrand.
    z, w = normal_grid()
    drift, deviation = (0.05 - 0.02) / 4, 0.1
    growth = np.exp(drift + deviation * z)
    total = 0.0
    for first, weight in zip(100 * growth, w):
        second = first * growth[:, None]
        third = second * growth[None, :]
        rest = forward_call(third, 400 - first - second - third, drift, deviation)
        total += weight * np.sum(rest * w[:, None] * w[None, :])
    return np.exp(-0.05) * total / 4


def asian_by_recursion():
    # The sum is S (R1 (1 + R2 (1 + ..))): one function of one variable a date, backwards (Carverhill and Clewlow, 1990).
    z, w = normal_grid(0.05)
    drift, deviation = (0.05 - 0.02) / 4, 0.1
    growth = np.exp(drift + deviation * z)
    mean = np.exp(0.05 / 4)
    k = np.linspace(0, 12, 12001)
    # The last date from the put, which is worth nothing at strike zero.
    d2 = (drift - np.log(np.maximum(k, 1e-300))) / deviation
    put = k * special.ndtr(-d2) - mean * special.ndtr(-d2 - deviation)
    value, expected = mean - k + put, mean
    for _ in range(3):
        spline = interpolate.CubicSpline(k, value)
        at = k[:, None] / growth[None, :] - 1
        inner = np.where(at < 0, expected - at, np.where(at > 12, 0, spline(np.clip(at, 0, 12))))
        value = (inner * growth) @ w
        expected = mean * (1 + expected)
    return float(np.exp(-0.05) * 25 * interpolate.CubicSpline(k, value)(4.0))


def basket_given(order):
    """Two assets by the trapezoid rule, the third by the formula of Black and Scholes."""

    def value():
        z, w = normal_grid(0.05)
        sigma = [0.2, 0.3, 0.4]
        a, b, last = order
        spots = [100 / 3 * np.exp(0.05 - sigma[i] ** 2 / 2 + sigma[i] * z) for i in (a, b)]
        left = 100 - spots[0][:, None] - spots[1][None, :]
        rest = forward_call(100 / 3, left, 0.05 - sigma[last] ** 2 / 2, sigma[last])
        return np.exp(-0.05) * np.sum(rest * w[:, None] * w[None, :])

    return value


def best_of_five():
    # The largest of five equal independent assets has the largest of five normals.
    return quad(lambda z: 100 * mp.exp(mp.mpf("0.2") * z - mp.mpf("0.02")) * 5 * mp.npdf(z) * mp.ncdf(z) ** 4, -12, -4, 0, 4, 12)


def best_of_five_again():
    # The mean of a positive variable is the integral of its tail.
    def tail(s):
        return 1 - mp.ncdf((mp.log(s / 100) + mp.mpf("0.02")) / mp.mpf("0.2")) ** 5

    return quad(tail, 0, 60, 100, 150, 300, 1000)


SIGMA = mp.mpf("0.2")
ASIAN_DRIFT = (RATE - SIGMA**2 / 2) * mp.mpf(13) / 24
VALUES = {
    "european_call": (black_scholes(100, SIGMA)[0], tensor([-8, -0.15, 8], step=0.05)),
    "european_call_ninv": (black_scholes(100, SIGMA)[0], reduced("30-digit quadrature over the normal variable", call(100, "0.2"))),
    "european_call_box_muller": (black_scholes(100, SIGMA)[0], reduced("30-digit quadrature over the normal variable", call(100, "0.2"))),
    "european_put_ninv": (put(), reduced("30-digit quadrature over the normal variable", lambda: payoff(lambda s, z: max(100 - s, 0), "0.2", strike_at(100, 0.2)))),
    "digital_call": (digital_d2(), reduced("30-digit quadrature over the normal variable", lambda: payoff(lambda s, z: mp.mpf(s > 110), "0.2", strike_at(110, "0.2")))),
    "deep_out_of_the_money": (black_scholes(200, SIGMA)[0], reduced("30-digit quadrature over the normal variable", call(200, "0.2"))),
    "far_out_of_the_money": (black_scholes(250, SIGMA)[0], reduced("30-digit quadrature over the normal variable", call(250, "0.2"))),
    "exchange_option": (margrabe(), reduced("given the second asset a call on the first, then quadrature", margrabe_again)),
    "geometric_asian_12": (geometric_asian(12), reduced("weights of the twelve normals summed, then quadrature", lognormal_call_again(asian_weights(12), ASIAN_DRIFT))),
    "arithmetic_asian_4": (asian_by_tensor(), reduced("backward recursion over the dates", asian_by_recursion)),
    "geometric_basket_6": (geometric_basket(), reduced("weights of the six normals summed, then quadrature", lognormal_call_again([s / 6 for s in BASKET], RATE - mp.fsum(s * s for s in BASKET) / 12))),
    "arithmetic_basket_3": (basket_given((0, 1, 2))(), reduced("conditioned on two other assets", basket_given((1, 2, 0)))),
    "best_of_five": (best_of_five(), reduced("quadrature of the tail of the largest", best_of_five_again)),
    "call_greeks": (list(black_scholes(100, SIGMA)), reduced("30-digit quadrature of each over the normal variable", greeks)),
}
