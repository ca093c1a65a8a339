"""Computes every exact value of the suite twice, and holds both against the file.

  scripts/integrals            all; prints each way and the digits that agree
  scripts/integrals NAME..     only these

The first value is the closed form that `source` names, the second another way (ways.py). Fails when a value of integrals.json or
features.json differs from either by more than 2e-10 of itself, when an integral has no two values, or when the catalogue of the producer says
anything else than the suite. What diverges has no value: divergent.json is only read.
"""

import json
import pathlib
import sys

import mpmath as mp

import classics
import cuba
import features
import finance
import genz
from ways import Integral

HERE = pathlib.Path(__file__).resolve().parent
CATALOGUE = HERE.parents[2] / "config" / "montecarlo" / "catalogue.json"
VALUES = genz.VALUES | cuba.VALUES | finance.VALUES | classics.VALUES | features.VALUES
AGREE = 2e-10


def several(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def difference(one, other):
    """The largest relative difference of any output."""
    one, other = several(one), several(other)
    if len(one) != len(other):
        return float("inf")
    return max(float(abs(mp.mpf(a) - mp.mpf(b)) / (abs(mp.mpf(a)) or 1)) for a, b in zip(one, other))


def check(request):
    """The way in words and the worse of the two differences."""
    closed, second = VALUES[request["name"]]
    if not request.get("source"):
        raise AssertionError("no source")
    again = second(Integral(request))
    exact = request["exact"]
    return second.text, difference(exact, closed), difference(exact, again)


def catalogue_problems(suite):
    """The catalogue repeats integrals of the suite; the tolerances may be its own."""
    if not CATALOGUE.exists():
        return []
    known = {request["name"]: request for request in suite}
    problems = []
    for request in json.loads(CATALOGUE.read_text()):
        mine = known.get(request["name"])
        for key in ("expression", "lower", "upper", "params", "exact", "hints"):
            if mine is None or request.get(key) != mine.get(key):
                problems.append(f"catalogue: {request['name']}: `{key}` is not the suite's")
    return problems


def main():
    suite = [request for name in ("integrals.json", "features.json") for request in json.loads((HERE / name).read_text())]
    divergent = json.loads((HERE / "divergent.json").read_text())
    names = [request["name"] for request in suite + divergent]
    problems = [f"{name}: twice" for name in set(names) if names.count(name) > 1]
    problems += [f"{name}: has a value and no integral" for name in VALUES if name not in names]
    problems += [f"{request['name']}: a divergent integral with a value" for request in divergent if "exact" in request]
    for request in divergent:
        Integral(request)(Integral(request).points())
    problems += catalogue_problems(suite)
    for request in suite:
        name = request["name"]
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            text, closed, again = check(request)
        except Exception as error:
            problems.append(f"{name}: {type(error).__name__}: {error}")
            continue
        print(f"{name:28} closed form {closed:7.0e}   second way {again:7.0e}   {text}", flush=True)
        if not max(closed, again) <= AGREE:
            problems.append(f"{name}: {request['exact']} differs by {closed:.1e} from the closed form, by {again:.1e} from the second way")
    for problem in problems:
        print(f"FAILED {problem}")
    print(f"integrals: {len(suite)} with exact values, {len(divergent)} that diverge, {len(problems)} problem(s)")
    sys.exit(1 if problems else 0)


main()
