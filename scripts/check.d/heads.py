"""Heads: every file of code opens with `//!` lines, 3 to 25, that say what it owns; test files need none."""

LEAST, MOST = 3, 25


def check(tree):
    for file in tree.rust():
        if file.is_test_file():
            continue
        lines = 0
        for line in file.text.splitlines():
            if not line.startswith("//!"):
                break
            lines += 1
        # The front page of a library is its documentation and may be as long as it needs to be.
        most = 10_000 if file.path.endswith("src/lib.rs") else MOST
        if not LEAST <= lines <= most:
            yield f"{file.path}:1: opens with {lines} lines of //!, {LEAST} to {MOST} are wanted"


PLANTED = [
    ({"src/a.rs": "use b;\n"}, ["src/a.rs:1"]),
    ({"src/a.rs": "//! One.\n//! Two.\n\nfn a() {}\n"}, ["src/a.rs:1"]),
    ({"src/a.rs": "//! 1\n//! 2\n//! 3\n", "src/tests.rs": "", "tests/it/main.rs": "mod a;\n"}, []),
    ({"src/a.rs": "//! x\n" * 26, "src/lib.rs": "//! x\n" * 60}, ["src/a.rs:1"]),
]
