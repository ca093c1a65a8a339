"""Advisories of RustSec against Cargo.lock, where its database is: target/advisory-db or $RUSTSEC_DB; `ignore` in deny.toml.

The database comes by `git clone --depth 1 https://github.com/rustsec/advisory-db target/advisory-db`, which needs the network beyond the package registries; .ci/run does without.
cargo-deny does the same and more, but takes minutes to build. Without a database the rule says so and judges nothing.
"""

import os
import pathlib
import re
import tomllib

FRONT = re.compile(r"\A```toml\n(.*?)\n```", re.S)
# Kinds that are no vulnerability: told by cargo-deny in other ways, and of no use as a failure here.
NOTICES = {"unmaintained", "notice"}


def check(tree):
    ignored = set(tomllib.loads(tree.text("deny.toml"))["advisories"]["ignore"])
    folder = database(tree)
    if folder is None:
        print("       advisories are NOT checked: there is no database, see scripts/check.d/advisories.py")
        return
    for package in tomllib.loads(tree.text("Cargo.lock"))["package"]:
        for path in sorted((folder / "crates" / package["name"]).glob("*.md")):
            front = tomllib.loads(FRONT.match(path.read_text(encoding="utf-8"))[1])
            advisory, safe = front["advisory"], front["versions"]
            skipped = advisory["id"] in ignored or "withdrawn" in advisory or advisory.get("informational") in NOTICES
            if skipped or any(meets(package["version"], each) for each in safe["patched"] + safe.get("unaffected", [])):
                continue
            yield f"Cargo.lock:1: {package['name']} {package['version']} has {advisory['id']} ({advisory.get('url', path.name)})"


def database(tree):
    for folder in (os.environ.get("RUSTSEC_DB"), tree.root / "target" / "advisory-db"):
        if folder and (pathlib.Path(folder) / "crates").is_dir():
            return pathlib.Path(folder)
    return None


def numbers(version):
    """A version in an order that Python compares: 1.2.0-rc.1 before 1.2.0."""
    plain, _, pre = version.split("+")[0].partition("-")
    parts = [int(part) for part in plain.split(".")]
    return (parts + [0, 0])[:3], pre == "", pre


def meets(version, requirement):
    return all(meets_one(numbers(version), part.strip()) for part in requirement.split(","))


def meets_one(found, part):
    operator, bound = re.match(r"(>=|<=|>|<|=|\^|~|)\s*(.*)", part).groups()
    if bound == "*":
        return True
    given, wanted = bound.split("-")[0].count("."), numbers(bound)
    same = lambda places: found[0][:places] == wanted[0][:places]  # noqa: E731
    first = next((i for i, part in enumerate(wanted[0]) if part), given)
    return {
        ">=": found >= wanted,
        "<=": found <= wanted,
        ">": found > wanted,
        "<": found < wanted,
        "=": found == wanted,
        "~": found >= wanted and same(min(given, 1) + 1),
        "^": found >= wanted and same(min(first, given) + 1),
        "": found >= wanted and same(min(first, given) + 1),
    }[operator]


def planted(version, patched, extra=""):
    advisory = f'```toml\n[advisory]\nid = "RUSTSEC-1"\npackage = "a"\n{extra}\n[versions]\npatched = [{patched}]\n```\n'
    return {
        "deny.toml": '[advisories]\nignore = ["RUSTSEC-2"]\n',
        "Cargo.lock": f'[[package]]\nname = "a"\nversion = "{version}"\n[[package]]\nname = "b"\nversion = "1.0.0"\n',
        "target/advisory-db/crates/a/RUSTSEC-1.md": advisory,
    }


FOUND = ["Cargo.lock:1"]
PLANTED = [
    (planted("1.2.3", '">= 1.3.0"'), FOUND),
    (planted("1.3.0", '">= 1.3.0"'), []),
    (planted("1.3.0-rc.1", '">= 1.3.0"'), FOUND),
    (planted("1.2.9", '">= 1.2.4, < 1.3.0", ">= 1.3.7"'), []),
    (planted("1.3.1", '">= 1.2.4, < 1.3.0", ">= 1.3.7"'), FOUND),
    (planted("0.3.9", '"^0.3.7"'), []),
    (planted("0.4.0", '"^0.3.7"'), FOUND),
    (planted("1.2.0", "", 'informational = "unmaintained"'), []),
    (planted("1.2.0", "").copy() | {"deny.toml": '[advisories]\nignore = ["RUSTSEC-1"]\n'}, []),
]
