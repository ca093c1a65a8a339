"""Topics: a system's topics are declared in its topics.rs, and no other file of it writes a topic's name."""

import re

BASE = "crates/millstream-systems/src/"


def check(tree):
    files = list(tree.rust(BASE))
    names = {}
    for file in files:
        for found in re.finditer(r"\bTopic::new\(\s*\"", file.code):
            if file.in_tests(found.start()):
                continue
            start = found.end() - 1
            literal = next(file.text[a:b] for a, b in file.strings if a == start)
            if file.path.endswith("/topics.rs"):
                names[literal] = file.path
            else:
                yield f"{file.place(start)}: topic {literal} is declared outside topics.rs"
    for file in files:
        for start, end in file.strings:
            literal = file.text[start:end]
            home = names.get(literal)
            if home and file.path != home and not file.in_tests(start):
                yield f"{file.place(start)}: topic {literal} is named outside {home}"


TOPICS = 'pub static A: Topic<(), ()> = Topic::new(\n    "rust-messages", &NoKey, &Json);\n'
PLANTED = [
    ({BASE + "messages/topics.rs": TOPICS, BASE + "messages/send.rs": 'const A: &str = "rust-messages";\n'},
     [BASE + "messages/send.rs:1"]),
    ({BASE + "messages/send.rs": TOPICS}, [BASE + "messages/send.rs:2"]),
    ({BASE + "messages/topics.rs": TOPICS, BASE + "messages/send.rs": "#[cfg(test)]\nmod tests {\n" + TOPICS + "}\n"}, []),
]
