"""Sizes: 500 lines a file without its tests, 60 lines of code a function, test functions included; sizes.allow has the exceptions."""

FILE, FUNCTION = 500, 60


def check(tree):
    allowed = tree.exceptions("sizes")
    for file in tree.rust():
        if not file.is_test_file():
            lines = file.text.count("\n")
            lines -= sum(file.text.count("\n", start, end) + 1 for start, end in file.tests())
            if lines > FILE and (file.path, "") not in allowed:
                yield f"{file.path}:1: {lines} lines without tests, {FILE} at most"
        for name, start, body, end in file.functions():
            lines = sum(1 for line in file.code[body:end].splitlines()[1:] if line.strip())
            if lines > FUNCTION and (file.path, name) not in allowed:
                yield f"{file.place(start)}: function {name} has {lines} lines, {FUNCTION} at most"
    names = set(tree.files)
    for path, item in allowed:
        if path not in names:
            yield f"scripts/check.d/sizes.allow:1: {path} {item} is gone"


LONG = "fn long() {\n" + "    step();\n" * 61 + "}\n"
PLANTED = [
    ({"a.rs": "//! a\n" * 501}, ["a.rs:1"]),
    ({"a.rs": "//! a\n" * 490 + "#[cfg(test)]\nmod tests {\n" + "\n" * 100 + "}\n"}, []),
    ({"a.rs": "//! a\n\nstruct A;\n\n" + LONG}, ["a.rs:5"]),
    ({"a.rs": LONG.replace("    step();\n", "    // why\n\n", 2)}, []),
    ({"a.rs": LONG, "scripts/check.d/sizes.allow": "a.rs long : a table\n"}, []),
    ({"scripts/check.d/sizes.allow": "gone.rs : was large\n"}, ["scripts/check.d/sizes.allow:1"]),
]
