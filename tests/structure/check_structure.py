#!/usr/bin/env python3
"""Fails when an include points the wrong way, or when committed text carries the build machine in it.

ctest runs it twice: over the tree, and with --self-test, which shows that each rule can fail.
"""

import os
import re
import subprocess
import sys
import tempfile

# Folder -> the other folders of ours it may include.
MAY_INCLUDE = {
    "protocol": set(),
    "router": {"protocol"},
    "cdc": {"protocol", "router"},
    "rebalancer": {"protocol", "router", "cdc"},
    "proxy": {"protocol", "router", "cdc", "rebalancer"},
    "shuntctl": {"protocol", "router"},
}

# Library header -> the folders that may know it. protocol/ and router/ have no sockets and no logs.
LIBRARIES = {
    "pg_query": {"router"},
    "rocksdb/": {"router", "cdc", "rebalancer"},
    "libpq-fe.h": {"cdc", "rebalancer", "proxy"},
    "openssl/ssl.h": {"cdc", "proxy"},
    "sys/socket.h": {"cdc", "proxy"},
    "sys/epoll.h": {"cdc", "proxy"},
    "spdlog/": {"cdc", "rebalancer", "proxy"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Home and work folders of whoever built this. System paths such as /usr/lib are fine.
MACHINE_PATH = re.compile(r"(?<![\w.$}\-])/(?:home|Users|root|work)/\w")


def tree_files(root):
    """What git tracks or would add; without git (a source archive) all but what builds leave."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
                            capture_output=True)
    if listed.returncode == 0:
        return [f for f in listed.stdout.decode().split("\0")
                if f and os.path.isfile(os.path.join(root, f))]
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [d for d in folders if d not in ("build", ".state", ".git")]
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return found


def check_includes(path, text):
    parts = path.split("/")
    # A folder's tests may look where the folder itself may look.
    home = parts[1] if parts[0] == "tests" else parts[0]
    if home not in MAY_INCLUDE:
        home = None
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, header = match.groups()
        folder = header.split("/")[0]
        where = f"{path}:{number}"
        if bracket == '"':
            if "/" not in header or header.startswith("."):
                yield f"{where}: write includes from the root of the tree: {header}"
            elif home and folder not in MAY_INCLUDE[home] | {home, "tests"}:
                yield f"{where}: {home}/ may not include {folder}/: {header}"
            elif folder == "tests" and parts[0] != "tests":
                yield f"{where}: only tests include tests/: {header}"
        elif folder in MAY_INCLUDE:
            yield f"{where}: headers of ours stand in quotes: {header}"
        elif parts[0] in MAY_INCLUDE:
            for library, folders in LIBRARIES.items():
                if header.startswith(library) and parts[0] not in folders:
                    yield f"{where}: {parts[0]}/ may not know <{header}>"


def check_text(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line):
            yield f"{path}:{number}: a path of one machine: {line.strip()[:80]}"


def check(root):
    problems = []
    for path in sorted(tree_files(root)):
        if path.startswith("tests/fuzz/corpus/") or path.startswith("tests/structure/"):
            continue
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
        if b"\0" in data:
            continue
        text = data.decode("utf-8", "replace")
        if path.endswith((".h", ".cc")):
            problems += check_includes(path, text)
        problems += check_text(path, text)
    return problems


def self_test():
    good = {
        "router/a.cc": '#include "protocol/frame.h"\n#include "router/a.h"\n#include <pg_query.h>\n',
        "proxy/b.cc": '#include "router/a.h"\n// see /usr/lib/postgresql\n',
        "tests/router/a_test.cc": '#include "router/a.h"\n#include "tests/support/x.h"\n',
        "dev": "cd $HOME/src/x; cat build/home/x\n",
    }
    bad = {
        "protocol/a.h": '#include "router/a.h"\n',
        "router/b.cc": '#include "proxy/net/stream.h"\n',
        "router/c.cc": '#include "frame.h"\n',
        "proxy/d.cc": "#include <protocol/frame.h>\n",
        "proxy/e.cc": '#  include "tests/support/x.h"\n',
        "proxy/f.cc": "#include <pg_query.h>\n",
        "protocol/g.cc": "#include <sys/socket.h>\n",
        "tests/protocol/h_test.cc": '#include "proxy/net/stream.h"\n',
        "docs/i.md": "run it in /home/somebody/pgshunt\n",
    }
    with tempfile.TemporaryDirectory() as root:
        for path, text in (good | bad).items():
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w") as file:
                file.write(text)
        blamed = sorted(problem.split(":")[0] for problem in check(root))
    assert blamed == sorted(bad), f"blamed {blamed}"


def main():
    if "--self-test" in sys.argv:
        self_test()
        return 0
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    problems = check(root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
