"""Tests: no `matches!` as a statement that asserts nothing, no `assert!(x.is_err())`, no port but 0 where something is opened."""

import re

PORT = re.compile(r"(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1?\]):(\d+)")


def check(tree):
    allowed = {path for path, _ in tree.exceptions("asserts")}
    for file in tree.rust():
        for _, at, _, end in file.macro_calls(["matches"]):
            after = file.code[end + 1:].lstrip()[:1]
            before = file.code[:at].rstrip()[-1:]
            if file.in_tests(at) and after == ";" and before in "{};":
                yield f"{file.place(at)}: this matches! asserts nothing"
        for found in re.finditer(r"\bassert!\([^;]*?\.is_err\(\)\s*\)\s*;", file.code):
            if file.in_tests(found.start()):
                yield f"{file.place(found.start())}: assert the exact error, not is_err()"
        for start, end in file.strings:
            opens = re.search(r"\b(bind|connect|listen|start|serve)\w*\(\s*$", file.code[max(0, start - 40):start])
            if not file.in_tests(start) or not (opens or file.is_test_file() and "/tests/" in f"/{file.path}"):
                continue
            for port in PORT.finditer(file.text[start:end]):
                # Port 1 is where nobody ever listens: what tests use for a broker that is not there.
                if port[1] not in ("0", "1") and file.path not in allowed:
                    yield f"{file.place(start)}: a fixed port in a test"


PLANTED = [
    ({"tests/it/a.rs": "fn a() {\n    matches!(b, C);\n    assert!(matches!(b, C));\n    let x = matches!(b, C);\n}\n"},
     ["tests/it/a.rs:2"]),
    ({"tests/it/a.rs": "fn a() {\n    assert!(b.is_err());\n    assert!(c.is_none());\n}\n"}, ["tests/it/a.rs:2"]),
    ({"src/a.rs": 'const A: &str = "127.0.0.1:9092";\n#[cfg(test)]\nmod tests {\n    const B: &str = "127.0.0.1:9092";\n'
                  '    fn c() {\n        TcpListener::bind("127.0.0.1:9092");\n        bind("127.0.0.1:0");\n    }\n}\n',
      "tests/it/b.rs": 'const A: &str = "localhost:9092";\nconst B: &str = "localhost:1";\n'},
     ["src/a.rs:6", "tests/it/b.rs:1"]),
]
