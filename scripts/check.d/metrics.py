"""docs/metrics.md: names the metrics of every metrics.rs, all of them and no others."""

import re

PAGE = "docs/metrics.md"
CONSTANT = re.compile(r'const \w+: &str =\s*"((?:millstream|montecarlo)_\w+)"')
NAMED = re.compile(r"^\| `((?:millstream|montecarlo)_\w+)` \|")


def check(tree):
    constants = {}
    for name in tree.files:
        if name.startswith("crates/") and "/src/" in name and name.endswith("/metrics.rs"):
            text = tree.text(name)
            for found in CONSTANT.finditer(text):
                constants[found[1]] = f"{name}:{text.count(chr(10), 0, found.start()) + 1}"
    lines = tree.text(PAGE).splitlines() if PAGE in tree.files else []
    named = {found[1]: number for number, line in enumerate(lines, 1) if (found := NAMED.match(line))}
    for metric in sorted(constants.keys() - named.keys()):
        yield f"{constants[metric]}: {metric} is not in {PAGE}"
    for metric in sorted(named.keys() - constants.keys()):
        yield f"{PAGE}:{named[metric]}: there is no metric {metric}"


SOURCE = {"crates/a/src/metrics.rs": '/// A.\npub const A: &str = "millstream_a_total";\npub const B: &str =\n    "millstream_b";\n'}
PLANTED = [
    ({"crates/a/src/b/metrics.rs": 'const A: &str = "montecarlo_a_total";\n', PAGE: ""}, ["crates/a/src/b/metrics.rs:1"]),
    (SOURCE | {PAGE: "| `millstream_a_total` | |\n| `millstream_c` | |\n"}, ["crates/a/src/metrics.rs:3", f"{PAGE}:2"]),
]
