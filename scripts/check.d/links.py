"""Links: every relative link in a Markdown file leads to a file that exists, and its #anchor to a heading."""

import pathlib
import posixpath
import re

LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"^[a-z]+:")


def check(tree):
    names = set(tree.files)
    folders = {str(parent) for name in names for parent in pathlib.PurePosixPath(name).parents}
    for name in tree.files:
        if not name.endswith(".md"):
            continue
        for number, line in prose(tree.text(name)):
            for found in LINK.finditer(line):
                target = found[1] or found[2]
                if ELSEWHERE.match(target):
                    continue
                path, _, anchor = target.partition("#")
                path = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
                if path not in names and path not in folders:
                    yield f"{name}:{number}: {target} leads nowhere"
                elif anchor and path.endswith(".md") and anchor not in anchors(tree.text(path)):
                    yield f"{name}:{number}: {path} has no heading for #{anchor}"


def prose(text):
    """The numbered lines outside code blocks, with `code` blanked."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", lambda found: "`" * len(found[0]), line)


def anchors(text):
    found = set()
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if line.startswith("#") and not fenced:
            heading = line.lstrip("#").strip().lower()
            found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return found


PLANTED = [
    ({"a.md": "See [b](docs/b.md) and [c](docs/c.md).\n", "docs/b.md": "# B\n"}, ["a.md:1"]),
    ({"a.md": "[b](docs/b.md#the-words)\n[b](docs/b.md#other)\n[up](docs)\n", "docs/b.md": "# The words\n[a](../a.md)\n"},
     ["a.md:2"]),
    ({"a.md": "`[x](y)`\n```\n[x](y)\n```\n[x](https://example.com)\n"}, []),
]
