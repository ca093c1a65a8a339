"""Arrows between packages: what is not listed here is forbidden (DESIGN, packages and arrows)."""

import pathlib
import re
import tomllib

USES = {
    "millstream": ["millstream-client"],
    "millstream-broker": [],
    "millstream-client": [],
    "millstream-montecarlo": [],
    "millstream-systems": ["millstream", "millstream-montecarlo"],
    "millstream-console": ["millstream"],
    "millstream-cli": ["millstream", "millstream-broker", "millstream-console", "millstream-systems"],
    "millstream-bench": ["millstream", "millstream-client"],
}
# Tests may start a broker; the library and the broker still meet only over TCP.
TESTS_USE = {
    "millstream": ["millstream-broker"],
    "millstream-client": ["millstream-broker"],
    "millstream-systems": ["millstream-broker"],
    "millstream-console": ["millstream-broker"],
}
# The Kafka client crate: only the library has it, in one module; tests and benchmarks use it as a client like any other.
CLIENT = "rdkafka"
CLIENT_ROOM = re.compile(r"crates/millstream/src/log/kafka(\.rs|/.*)$")
CLIENT_PACKAGES = ["millstream", "millstream-bench"]


def check(tree):
    yield from packages(tree)
    yield from client_crate(tree)
    yield from systems(tree)


def packages(tree):
    root = tomllib.loads(tree.text("Cargo.toml")) if "Cargo.toml" in tree.files else {}
    shared = root.get("workspace", {}).get("dependencies", {})
    for name in tree.files:
        if pathlib.PurePosixPath(name).name != "Cargo.toml" or name.startswith("fuzz/"):
            continue
        manifest = tomllib.loads(tree.text(name))
        if "package" not in manifest:
            continue
        package = manifest["package"]["name"]
        if package not in USES:
            yield f"{name}:1: package {package} is not among the packages of DESIGN"
            continue
        if pathlib.PurePosixPath(name).parent.name not in (package, package.removeprefix("millstream-")):
            yield f"{name}:1: package {package} is not in a folder of its name"
        for table, dependency in dependencies(manifest, shared):
            allowed = USES[package] + (TESTS_USE.get(package, []) if table == "dev-dependencies" else [])
            ours = dependency.startswith("millstream")
            if ours and dependency not in allowed:
                yield f"{place(tree, name, dependency)}: {package} must not use {dependency} ({table})"
            if dependency == CLIENT and table != "dev-dependencies" and package not in CLIENT_PACKAGES:
                yield f"{place(tree, name, dependency)}: only the library has the Kafka client crate"


def dependencies(manifest, shared):
    """(table, package) of every dependency; a name that was changed here or in the workspace is changed back."""
    tables = [manifest] + list(manifest.get("target", {}).values())
    for holder in tables:
        for table in ("dependencies", "build-dependencies", "dev-dependencies"):
            for key, value in holder.get(table, {}).items():
                for names in (value, shared.get(key)):
                    key = names.get("package", key) if isinstance(names, dict) else key
                yield table, key


def place(tree, name, word):
    for number, line in enumerate(tree.text(name).splitlines(), 1):
        if re.match(rf"\s*\"?{re.escape(word)}\b(?!-)", line) or f'"{word}"' in line:
            return f"{name}:{number}"
    return f"{name}:1"


def client_crate(tree):
    for file in tree.rust("crates/"):
        if "/src/" not in file.path or CLIENT_ROOM.match(file.path):
            continue
        for found in re.finditer(rf"\b{CLIENT}\b", file.code):
            if not file.in_tests(found.start()):
                yield f"{file.place(found.start())}: only millstream::log::kafka names {CLIENT}"


def systems(tree):
    base = "crates/millstream-systems/src/"
    files = list(tree.rust(base))
    names = {file.path[len(base):].split("/")[0] for file in files if "/" in file.path[len(base):]}
    for file in files:
        own = file.path[len(base):].split("/")[0]
        if own not in names:
            continue
        for found in re.finditer(r"\b(?:crate|super(?:::super)*|millstream_systems)::(\w+)", file.code):
            if found[1] in names and found[1] != own:
                yield f"{file.place(found.start())}: system {own} must not import from system {found[1]}"


MANIFEST = '[package]\nname = "{}"\n[{}]\n{}.workspace = true\n'
PLANTED = [
    ({"crates/millstream/Cargo.toml": MANIFEST.format("millstream", "dependencies", "millstream-broker")},
     ["crates/millstream/Cargo.toml:4"]),
    ({"crates/millstream/Cargo.toml": MANIFEST.format("millstream", "dev-dependencies", "millstream-broker")}, []),
    ({"crates/millstream-client/Cargo.toml": MANIFEST.format("millstream-client", "dependencies", "millstream-broker")},
     ["crates/millstream-client/Cargo.toml:4"]),
    ({"crates/millstream-client/Cargo.toml": MANIFEST.format("millstream-client", "dev-dependencies", "millstream-broker")}, []),
    ({"crates/millstream-cli/Cargo.toml": MANIFEST.format("millstream-cli", "dev-dependencies", "millstream-client")},
     ["crates/millstream-cli/Cargo.toml:4"]),
    ({"crates/millstream-cli/Cargo.toml": MANIFEST.format("millstream-cli", "dev-dependencies", "millstream-bench")},
     ["crates/millstream-cli/Cargo.toml:4"]),
    ({"Cargo.toml": '[workspace.dependencies]\nx = { package = "millstream-cli" }\n',
      "crates/millstream/Cargo.toml": MANIFEST.format("millstream", "dependencies", "x")}, ["crates/millstream/Cargo.toml:1"]),
    ({"crates/common/Cargo.toml": '[package]\nname = "millstream-common"\n'}, ["crates/common/Cargo.toml:1"]),
    ({"crates/lib/Cargo.toml": '[package]\nname = "millstream"\n'}, ["crates/lib/Cargo.toml:1"]),
    ({"crates/millstream-cli/Cargo.toml": MANIFEST.format("millstream-cli", "dependencies", "rdkafka")},
     ["crates/millstream-cli/Cargo.toml:4"]),
    ({"crates/millstream-broker/Cargo.toml": MANIFEST.format("millstream-broker", "dev-dependencies", "rdkafka")}, []),
    ({"crates/millstream/src/reader.rs": "//! rdkafka\n\nuse rdkafka::Message;\n",
      "crates/millstream/src/log/kafka.rs": "use rdkafka::Message;\n",
      "crates/millstream/src/log/kafka/settings.rs": "use rdkafka::Message;\n"},
     ["crates/millstream/src/reader.rs:3"]),
    ({"crates/millstream-systems/src/messages/send.rs": "use super::topics::A;\nuse crate::partitions::B;\n",
      "crates/millstream-systems/src/partitions/mod.rs": "use super::super::messages::C;\n"},
     ["crates/millstream-systems/src/messages/send.rs:2", "crates/millstream-systems/src/partitions/mod.rs:1"]),
]
