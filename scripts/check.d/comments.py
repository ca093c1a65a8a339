"""Comments: no tags but SAFETY: and NOTE:, nothing left to do, no code commented out, no bare #[allow]."""

import re

TAG = re.compile(r"^(?://[/!]?|/\*+)\s*([A-Z]{3,})\b\s*[:(]")
ALLOWED = {"SAFETY", "NOTE"}
UNDONE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# A line comment that ends like a statement and has no words around it.
DEAD_CODE = re.compile(r"^//\s*(?:let |use |pub |fn |if |for |match |return\b|\w+(?:\.\w+)*\().*[;{}]\s*$")


def check(tree):
    for file in tree.rust():
        for start, end in file.comments:
            text = file.text[start:end]
            tag = TAG.match(text)
            undone = UNDONE.search(text)
            if undone:
                yield f"{file.place(start + undone.start())}: {undone[1]}: an issue is the place for what is left to do"
            elif tag and tag[1] not in ALLOWED:
                yield f"{file.place(start)}: comment tag {tag[1]}, only SAFETY: and NOTE: are used"
            elif DEAD_CODE.match(text):
                yield f"{file.place(start)}: code is commented out"
        for found in re.finditer(r"#!?\[allow\(", file.code):
            yield f"{file.place(found.start())}: #[expect(.., reason = \"..\")] takes the place of #[allow]"


PLANTED = [
    ({"a.rs": "// TODO: more\n// SAFETY: checked above\n// WARNING: odd\n/// NOTE: fine\n"}, ["a.rs:1", "a.rs:3"]),
    ({"a.rs": "// let a = b();\n// let it be; then go on\n"}, ["a.rs:1"]),
    ({"a.rs": "#[allow(dead_code)]\nfn a() {}\nconst A: &str = \"// TODO\";\n"}, ["a.rs:1"]),
]
