"""docs/faults.md: each test that it names exists."""

import re

PAGE = "docs/faults.md"
TEST = re.compile(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+){2,})`")


def check(tree):
    if PAGE not in tree.files:
        yield f"{PAGE}:1: is missing"
        return
    names = {name for file in tree.rust() for name, start, _, _ in file.functions() if file.in_tests(start)}
    for number, line in enumerate(tree.text(PAGE).splitlines(), 1):
        for found in TEST.finditer(line):
            if found[1] not in names:
                yield f"{PAGE}:{number}: there is no test {found[1]}"


TESTED = {"crates/a/tests/it/b.rs": "#[test]\nfn offsets_only_grow() {}\n"}
PLANTED = [
    ({}, [f"{PAGE}:1"]),
    ({PAGE: "| 1 | `offsets_only_grow` |\n| 2 | `offsets_never_shrink_back` |\n"} | TESTED, [f"{PAGE}:2"]),
]
