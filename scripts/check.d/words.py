"""Words: no folder or file is called common, core, types, util, utils, helpers or manager; scripts parse."""

import pathlib
import subprocess

FORBIDDEN = {"common", "core", "types", "util", "utils", "helpers", "manager", "misc"}


def check(tree):
    for name in tree.files:
        path = pathlib.PurePosixPath(name)
        if name.endswith(".rs") and {*path.parts[:-1], path.stem} & FORBIDDEN:
            yield f"{name}:1: a name that says nothing; name what lives there"
        if not path.suffix and tree.text(name).startswith("#!/usr/bin/env bash"):
            done = subprocess.run(["bash", "-n", str(tree.root / name)], capture_output=True, text=True)
            if done.returncode:
                yield f"{name}:1: {done.stderr.strip()}"


PLANTED = [
    ({"src/util.rs": "", "src/common/a.rs": "", "src/log.rs": ""}, ["src/common/a.rs:1", "src/util.rs:1"]),
    ({"run": "#!/usr/bin/env bash\nif true\n"}, ["run:1"]),
]
