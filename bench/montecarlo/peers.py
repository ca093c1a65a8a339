"""The Python peers of the Monte Carlo benchmark: one process that does what its standard input asks, one JSON object a line.

  {"peer": "numpy", "case": "gauss4", "samples": 1000000, "seed": 1}   ->   {"value": .., "seconds": .., "samples": ..}

Peers: `numpy` (uniform samples in blocks of 2^14, one array a coordinate: as fast as numpy gets), `vegas` (vegas 6.4 with a batch
integrand, 5 iterations to adapt and 10 that count), `qmc_quad` (scipy's scrambled Sobol points, 16 replicates). The clock runs
around the integration alone: no start of the interpreter, no import, and everything has been called once before.
"""

import json
import sys
import time
import warnings

import numpy as np
import scipy
import vegas
from scipy import integrate, stats

BLOCK = 1 << 14
warnings.simplefilter("ignore")


def peaks(width, *centres):
    """A sum of Gaussian peaks on the diagonal; `x` has a row for each coordinate."""

    def f(x):
        total = 0.0
        for c in centres:
            total = total + np.exp(-width * sum((row - c) ** 2 for row in x))
        return total

    return f


def cuba2(x):
    return 1 / ((x[0] + x[1]) ** 2 + 0.003) * np.cos(x[1]) * np.exp(x[2])


# As in the acceptance suite, under the same names.
CASES = {
    "gauss4": (4, peaks(100, 0.5)),
    "double_gauss4": (4, peaks(50, 1 / 3, 2 / 3)),
    "sharp_gauss6": (6, peaks(1000, 0.45)),
    "cuba2": (3, cuba2),
    "three_gauss6": (6, peaks(75, 0.23, 0.39, 0.74)),
}


def with_numpy(dim, f, samples, seed):
    random = np.random.default_rng(seed)
    x = np.empty((dim, BLOCK))
    total = 0.0
    blocks = samples // BLOCK
    for _ in range(blocks):
        random.random(out=x)
        total += f(x).sum()
    return total / (blocks * BLOCK), blocks * BLOCK


def with_vegas(dim, f, samples, seed):
    # vegas draws from the generator that it is given; samples / 15 in each iteration.
    random = np.random.default_rng(seed)
    integrator = vegas.Integrator([[0, 1]] * dim, ran_array_generator=random.random)
    each = samples // 15
    batch = vegas.lbatchintegrand(lambda x: f(x.T))
    integrator(batch, nitn=5, neval=each)
    result = integrator(batch, nitn=10, neval=each)
    return result.mean, 5 * each + result.sum_neval


def with_qmc_quad(dim, f, samples, seed):
    points = 1 << max((samples // 16).bit_length() - 1, 4)
    engine = stats.qmc.Sobol(dim, rng=np.random.default_rng(seed))
    result = integrate.qmc_quad(f, np.zeros(dim), np.ones(dim), n_estimates=16, n_points=points, qrng=engine)
    return float(result.integral), 16 * points


PEERS = {"numpy": with_numpy, "vegas": with_vegas, "qmc_quad": with_qmc_quad}


def main():
    for dim, f in CASES.values():
        for peer in PEERS.values():
            peer(dim, f, 1 << 15, 1)
    print(json.dumps({"numpy": np.__version__, "vegas": vegas.__version__, "scipy": scipy.__version__}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        dim, f = CASES[order["case"]]
        began = time.perf_counter()
        value, samples = PEERS[order["peer"]](dim, f, order["samples"], order["seed"])
        seconds = time.perf_counter() - began
        print(json.dumps({"value": float(value), "seconds": seconds, "samples": int(samples)}), flush=True)


main()
