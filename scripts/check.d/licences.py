"""Licences, bans and sources of every dependency, by deny.toml, over `cargo metadata`.

The file is in cargo-deny's format; that tool takes minutes to build, so its checks are done here. Advisories have a rule of their own.
"""

import json
import re
import subprocess
import tomllib

# The planted trees bring their metadata as a file.
PLANTED_METADATA = "cargo-metadata.json"


def check(tree):
    rules = tomllib.loads(tree.text("deny.toml"))
    for package in metadata(tree)["packages"]:
        name = f"{package['name']} {package['version']}"
        expression = package.get("license")
        if not expression:
            yield f"Cargo.lock:1: {name} states no licence"
        elif not allowed(expression, set(rules["licenses"]["allow"])):
            yield f"Cargo.lock:1: {name} is under {expression}, which deny.toml does not allow"
        for ban in rules["bans"]["deny"]:
            if ban["crate"] == package["name"]:
                yield f"Cargo.lock:1: {name} is banned: {ban['reason']}"
        source = package["source"]
        if source and source.removeprefix("registry+") not in rules["sources"]["allow-registry"]:
            yield f"Cargo.lock:1: {name} comes from {source}"


def metadata(tree):
    if PLANTED_METADATA in tree.files:
        return json.loads(tree.text(PLANTED_METADATA))
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    # Offline first: the registry is asked only for what no build has fetched yet.
    for more in (["--offline"], []):
        done = subprocess.run(command + more, cwd=tree.root, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout)
    raise SystemExit(f"check: {' '.join(command)} failed: {done.stderr.strip()}")


def allowed(expression, allow):
    """True when an SPDX expression can be met with allowed licences (`a/b` is the old way to write OR)."""
    words = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    value, rest = either(words, allow)
    return value and not rest


def either(words, allow):
    value, rest = both(words, allow)
    while rest and rest[0] in ("OR", "/"):
        other, rest = both(rest[1:], allow)
        value = value or other
    return value, rest


def both(words, allow):
    value, rest = one(words, allow)
    while rest and rest[0] == "AND":
        other, rest = one(rest[1:], allow)
        value = value and other
    return value, rest


def one(words, allow):
    if words[0] == "(":
        value, rest = either(words[1:], allow)
        return value, rest[1:]
    name, rest = words[0], words[1:]
    if rest[:1] == ["WITH"]:
        name, rest = f"{name} WITH {rest[1]}", rest[2:]
    return name in allow, rest


DENY = """
licenses.allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
bans.deny = [{ crate = "chrono", reason = "why" }]
sources.allow-registry = ["https://index"]
"""


def planted(licence, name="a", source="registry+https://index"):
    package = {"name": name, "version": "1.0.0", "license": licence, "source": source}
    return {"deny.toml": DENY, PLANTED_METADATA: json.dumps({"packages": [package]})}


FOUND = ["Cargo.lock:1"]
PLANTED = [
    (planted("MIT"), []),
    (planted("GPL-3.0-only"), FOUND),
    (planted("MIT/Unlicense"), []),
    (planted("MIT AND Unicode-3.0"), FOUND),
    (planted("(MIT OR GPL-2.0) AND Apache-2.0 WITH LLVM-exception"), []),
    (planted(None), FOUND),
    (planted("MIT", name="chrono"), FOUND),
    (planted("MIT", source="git+https://elsewhere"), FOUND),
]
