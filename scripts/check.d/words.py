"""Words: plain names for files, and plain English in documents, rustdoc, help texts and log events (STYLE 26 and 27).

No folder or file is called common, core, types, util, utils, helpers or manager; scripts parse. Each phrase that made a reader
stumble once is listed with what to say instead, and is looked for in Markdown, in doc comments and in the strings of programs.
"""

import pathlib
import re
import subprocess

from links import prose

FORBIDDEN = {"common", "core", "types", "util", "utils", "helpers", "manager", "misc"}

# A phrase, and what to say instead. The list grows with each stumble that somebody reports.
PHRASES = [
    (r"(?:when|if|unless|where) not said", "say `Default: ..`"),
    (r"unless said(?: here| otherwise)?", "say `Default: ..`"),
    (r"(?:when|if|unless|where) (?:it|this|that) is not said", "say `Default: ..`"),
    (r"told (?:with|by)", "say `reported with`"),
    (r"with so many threads", "say `with this number of threads`"),
    (r"Not said:", "say `Default: ..`"),
    (r"(?:is|are|was|were|be|been) told(?! apart)", "say `is reported`, `is logged`, `is printed`"),
    (r"told to (?:stop|end|start|fail)", "say `asked to`, `set to`"),
    (r"who wants? to", "say `for anyone who ..`"),
    (r"for who (?!m)", "say `for anyone who ..`"),
    (r"that (?:is|are) none", "say `not a valid ..`, `if none is set`"),
    (r"so long as", "say `as long as`, `until`"),
    (r"(?:is|are|was|were|read|reads|told|exist|exists) no more(?! than)", "say `no longer`"),
    (r"goes? bad|went bad", "say `fails`"),
    (r"in vain", "say what was not reached"),
    (r"(?:without a|a) farewell|says? goodbye", "say `leaves the group`"),
    (r"ended with killed", "say `was killed (signal 9)`"),
    (r"the aim (?:was|is) not reached", "say `target error not reached`"),
    (r"(?:;|\band) answers (?:what|all|how|the|whether|true|false)", "say `returns`"),
    (r"with growing pauses", "say `with exponential backoff`"),
    (r"(?:handler|worker)(?:'s|s)? wish(?:es)?", "say `requests`"),
    (r"leaves? \S+ away", "say `remove ..`"),
    (r"rooms? of the house", "say `the structure of the code`"),
    (r"choke[sd]?|steer(?:s|ed)?", "say what it does, without a metaphor"),
]
BANNED = [(re.compile(r"\b" + phrase + r"\b" if phrase[0].isalpha() else phrase, re.I), instead) for phrase, instead in PHRASES]

# Where somebody is still at work on the words: nothing is looked for below these.
PENDING = ("crates/millstream-client/",)


def check(tree):
    for name in tree.files:
        path = pathlib.PurePosixPath(name)
        if name.endswith(".rs") and {*path.parts[:-1], path.stem} & FORBIDDEN:
            yield f"{name}:1: a name that says nothing; name what lives there"
        if not path.suffix and tree.text(name).startswith("#!/usr/bin/env bash"):
            done = subprocess.run(["bash", "-n", str(tree.root / name)], capture_output=True, text=True)
            if done.returncode:
                yield f"{name}:1: {done.stderr.strip()}"
        if name.endswith(".md") and not name.startswith(PENDING):
            for number, line in prose(tree.text(name)):
                yield from banned(f"{name}:{number}", line)
    for file in tree.rust():
        if file.path.startswith(PENDING) or file.is_test_file():
            continue
        for start, end in file.comments:
            if re.match(r"//[/!](?!/)", file.text[start:end]):
                yield from banned(file.place(start), file.text[start:end])
        for start, end in file.strings:
            if not file.in_tests(start):
                yield from banned(file.place(start), re.sub(r"\\\n\s*", "", file.text[start:end]))


def banned(place, text):
    for phrase, instead in BANNED:
        for found in phrase.finditer(text):
            yield f"{place}: `{found[0]}`: {instead}"


PLANTED = [
    ({"src/util.rs": "", "src/common/a.rs": "", "src/log.rs": ""}, ["src/common/a.rs:1", "src/util.rs:1"]),
    ({"run": "#!/usr/bin/env bash\nif true\n"}, ["run:1"]),
    ({"a.md": "The file is read.\nIt is 1 when not said.\n```\nwhen not said\n```\n`when not said`\n"}, ["a.md:2"]),
    ({"src/a.rs": '//! For anyone.\n\n/// The address.\n/// For who wants to run it.\nfn a() {\n    // Nobody is told.\n'
                  '    info!(a, "the peer is told");\n    let help = "1 when \\\n        not said";\n}\n'
                  '#[cfg(test)]\nmod tests {\n    const A: &str = "is told";\n}\n',
      "tests/it/b.rs": "//! Who is told.\n"},
     ["src/a.rs:4", "src/a.rs:4", "src/a.rs:7", "src/a.rs:8"]),
]
