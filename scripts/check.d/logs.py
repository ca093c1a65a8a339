"""Logs: the event is a lower-case literal without interpolation, facts are fields (`info!(topic, "topic created")`)."""

import re

MACROS = ["trace", "debug", "info", "warn", "error"]
# Words that are written in capitals wherever they stand.
PROPER = re.compile(r"(?:[A-Z]{2,}\b|I/O\b)")


def check(tree):
    for file in tree.rust():
        for name, at, start, end in file.macro_calls(MACROS):
            before = file.code[max(0, at - 9):at]
            if file.in_tests(at) or before.endswith("macro_rules! "):
                continue
            event = None
            for first, last in file.strings:
                if start <= first < end and top_level(file.code, start, first) and positional(file.code, start, first):
                    event = (first, file.text[first:last])
            if event is None and re.search(r"\bmessage\s*=", file.code[start:end]):
                # A text that a caller chose among its own literals.
                continue
            if event is None:
                # `error!(%problem)` alone would log no event at all.
                yield f"{file.place(at)}: {name}! has no event text"
                continue
            place, literal = event
            text = literal.strip('r#"')
            if "{" in text:
                yield f"{file.place(place)}: the event interpolates; put facts into fields"
            if text[:1].isupper() and not PROPER.match(text):
                yield f"{file.place(place)}: the event begins with a capital"
            if text.endswith("."):
                yield f"{file.place(place)}: the event ends with a full stop"


def top_level(code, start, at):
    depth = 0
    for char in code[start:at]:
        depth += (char in "([{") - (char in ")]}")
    return depth == 0


def positional(code, start, at):
    """The literal stands alone between commas: it is no field's value."""
    before = code[start:at].rstrip()
    return before == "" or before.endswith(",")


PLANTED = [
    ({"a.rs": 'fn a() {\n    info!("Started");\n}\n'}, ["a.rs:2"]),
    ({"a.rs": 'fn a() {\n    tracing::warn!(\n        topic,\n        "lost {topic}"\n    );\n}\n'}, ["a.rs:4"]),
    ({"a.rs": 'fn a() {\n    error!(error = %problem);\n}\n'}, ["a.rs:2"]),
    ({"a.rs": 'fn a() {\n    info!(state = "Ready", what = f("X", 1), "topic created");\n    warn!("ENOSPC from the disk");\n'
              '    info!(count, message = event);\n}\n'}, []),
    ({"a.rs": 'fn a() {\n    info!("done.");\n}\n#[cfg(test)]\nmod tests {\n    fn b() { info!("X"); }\n}\n'}, ["a.rs:2"]),
]
