"""What all rules share: the files of the tree, and a Rust file with its strings and comments told from its code."""

import pathlib
import re
import subprocess

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<string>\b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)|(?:\b[bc])?"(?:[^"\\]|\\.)*")
      | (?P<char>b?'(?:[^'\\\n]|\\u\{[0-9a-fA-F_]*\}|\\x[0-9a-fA-F]{2}|\\.)')""",
    re.S | re.X,
)
OPEN, CLOSE = "([{", ")]}"


class Tree:
    """The files under version control (and new ones that git does not ignore), by their path from the root."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        listed = None
        if (self.root / ".git").exists():
            command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        if listed is None:
            listed = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        self.files = sorted({name for name in listed if (self.root / name).is_file()})

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def rust(self, under=""):
        """Every Rust file below a folder, parsed."""
        for name in self.files:
            if name.endswith(".rs") and name.startswith(under):
                yield Rust(name, self.text(name))

    def exceptions(self, rule):
        """The allow-list of a rule: {(path, item)} from lines `path [item] : reason` of check.d/<rule>.allow."""
        name = f"scripts/check.d/{rule}.allow"
        allowed = set()
        for line in self.text(name).splitlines() if name in self.files else []:
            if line.strip() and not line.startswith("#"):
                what, _, reason = line.partition(" : ")
                if not reason.strip():
                    raise SystemExit(f"{name}: `{line}` gives no reason")
                path, _, item = what.strip().partition(" ")
                allowed.add((path, item.strip()))
        return allowed


class Rust:
    """One file: `text` as it is, `code` of the same length with the inside of strings and comments blanked."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.strings, self.comments = [], []  # (start, end)
        pieces, last = [], 0
        for token in TOKEN.finditer(text):
            kind, start, end = token.lastgroup, token.start(), token.end()
            kind = "string" if token["string"] is not None else "comment" if token["comment"] is not None else "char"
            if kind == "string":
                self.strings.append((start, end))
            if kind == "comment":
                self.comments.append((start, end))
            blank = re.sub(r"[^\n]", " ", text[start:end])
            if kind != "comment":
                blank = '"' + blank[1:-1] + '"'
            pieces += [text[last:start], blank]
            last = end
        self.code = "".join(pieces) + text[last:]
        self._tests = None

    def line(self, at):
        return self.text.count("\n", 0, at) + 1

    def place(self, at):
        return f"{self.path}:{self.line(at)}"

    def matching(self, at):
        """The place of the bracket that closes the one at `at`."""
        depth = 0
        for i in range(at, len(self.code)):
            if self.code[i] in OPEN:
                depth += 1
            elif self.code[i] in CLOSE:
                depth -= 1
                if depth == 0:
                    return i
        return len(self.code) - 1

    def is_test_file(self):
        parts = pathlib.PurePosixPath(self.path).parts
        return "tests" in parts[:-1] or parts[-1] == "tests.rs"

    def tests(self):
        """The stretches of the file that only tests compile: all of a test file, else its `#[cfg(test)]` items."""
        if self.is_test_file():
            return [(0, len(self.text))]
        if self._tests is None:
            self._tests = []
            for found in re.finditer(r"#\[cfg\((?:all\()?test\b[^\]]*\]", self.code):
                stop = re.compile(r"[{;]").search(self.code, found.end())
                if stop:
                    end = self.matching(stop.start()) if stop[0] == "{" else stop.start()
                    self._tests.append((found.start(), end + 1))
        return self._tests

    def in_tests(self, at):
        return any(start <= at < end for start, end in self.tests())

    def functions(self):
        """(name, start, body start, body end) of every function that has a body."""
        for found in re.finditer(r"\bfn\s+(\w+)", self.code):
            at, depth = found.end(), 0
            while at < len(self.code):
                char = self.code[at]
                if char in "([":
                    depth += 1
                elif char in ")]":
                    depth -= 1
                elif char == ";" and depth == 0:
                    break
                elif char == "{" and depth == 0:
                    yield found[1], found.start(), at, self.matching(at)
                    break
                at += 1

    def macro_calls(self, names):
        """(name, place of the name, start and end of the arguments) of every call of one of these macros."""
        for found in re.finditer(r"\b(%s)!\s*([(\[{])" % "|".join(names), self.code):
            yield found[1], found.start(), found.end(), self.matching(found.end() - 1)
