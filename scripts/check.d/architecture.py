"""ARCHITECTURE.md, of the project and of packages that have their own: 250 lines at most; each path it names exists; each bullet of "Not obvious" names its test, which exists."""

import fnmatch
import re

PAGE = "ARCHITECTURE.md"
LINES = 250
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"^[\w.*-]+(/[\w.*-]+)+/?$|^[\w-]+\.(rs|md|toml)$")
TEST = re.compile(r"\btests?:? +((?:`[^`\n]+`(?:, | and )?)+)", re.I)


def check(tree):
    if PAGE not in tree.files:
        yield f"{PAGE}:1: is missing"
    for page in tree.files:
        if page == PAGE or page.endswith(f"/{PAGE}"):
            lines = tree.text(page).splitlines()
            if len(lines) > LINES:
                yield f"{page}:{LINES}: {len(lines)} lines, {LINES} at most"
            yield from paths(tree, page, lines)
            yield from guards(tree, page, lines)


def paths(tree, page, lines):
    """A path is given from the root, or from a package's folder, or from its src; `*` stands for any name."""
    known = tree.files + sorted({name.rsplit("/", depth)[0] for name in tree.files for depth in range(1, name.count("/") + 1)})
    for number, line in enumerate(lines, 1):
        for found in CODE.finditer(line):
            path = found[1].rstrip("/")
            if PATH.match(found[1]) and not any(fnmatch.fnmatch(name, path) or fnmatch.fnmatch(name, f"*/{path}") for name in known):
                yield f"{page}:{number}: {found[1]} does not exist"


def guards(tree, page, lines):
    names = {name for file in tree.rust() for name, start, _, _ in file.functions() if file.in_tests(start)}
    inside, bullets = False, []
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            inside = "not obvious" in line.lower()
        elif inside and re.match(r"[-*] ", line):
            bullets.append((number, line))
        elif inside and bullets and line.startswith(" "):
            bullets[-1] = (bullets[-1][0], bullets[-1][1] + " " + line.strip())
    for number, bullet in bullets:
        found = TEST.findall(bullet)
        if not found:
            yield f"{page}:{number}: this bullet names no test (test: `name`)"
        for test in CODE.findall(" ".join(found)):
            if test.split("::")[-1] not in names:
                yield f"{page}:{number}: there is no test {test}"


TESTED = {"crates/a/tests/it/b.rs": "#[test]\nfn offsets_only_grow() {}\n"}
PLANTED = [
    ({}, ["ARCHITECTURE.md:1"]),
    ({PAGE: "See `crates/a/src/gone.rs` and `tests/it/b.rs`, `crates/a`, `it/*.rs`.\n"} | TESTED, ["ARCHITECTURE.md:1"]),
    ({PAGE: "## Not obvious\n- Offsets\n  grow. Test: `b::offsets_only_grow`.\n- No test.\n- Wrong test: `gone`.\n"} | TESTED,
     ["ARCHITECTURE.md:4", "ARCHITECTURE.md:5"]),
    ({PAGE: "line\n" * 251}, ["ARCHITECTURE.md:250"]),
    ({PAGE: "line\n", f"crates/a/{PAGE}": "`src/gone.rs`\n"}, ["crates/a/ARCHITECTURE.md:1"]),
]
