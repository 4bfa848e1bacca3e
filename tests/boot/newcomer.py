#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a newcomer does: the README's section "Your own guest, from the beginning", its commands pasted into a shell in a copy
of the tree with what is built so far. They all work, and the output has the lines that the section shows, in their order.

Prints `ok newcomer (seconds)` or `FAILED newcomer: reason`.
"""

import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import pool  # noqa: E402
import run  # noqa: E402

sys.path.insert(0, os.path.join(run.ROOT, "tools"))
import emulator  # noqa: E402

SECTION = "## Your own guest, from the beginning\n"
NOT_COPIED = shutil.ignore_patterns("logs", "boot", "unit", "sanitized", "repeatable", "coverage", "newcomer", "fuzz*", "analyze",
                                    "saved", "another-folder", "cppcheck")
LIMIT_S = 600  # only a hang reaches it


def blocks_of(kind):
    """The code blocks of this kind in the section."""
    with open(os.path.join(run.ROOT, "README.md"), encoding="utf-8") as readme:
        text = readme.read().partition(SECTION)[2].partition("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def copy_tree(to):
    """The files of the tree as they are now, and the build folder with its times, so that nothing is built again."""
    shutil.rmtree(to, ignore_errors=True)
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=run.ROOT, check=True,
                           stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(os.path.isfile, (os.path.join(run.ROOT, name) for name in names if name)):
        copy = os.path.join(to, os.path.relpath(name, run.ROOT))
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy2(name, copy)
    shutil.copytree(run.BUILD, os.path.join(to, "build"), symlinks=True, ignore=NOT_COPIED)


def replay(folder, log):
    """Runs the commands; their output and exit status."""
    environment = {name: value for name, value in os.environ.items() if name not in ("BUILD", "MAKEFLAGS", "MAKELEVEL")}
    with open(log, "w", encoding="utf-8") as output:
        process = emulator.start(["bash", "-e", "-o", "pipefail"], stdin=subprocess.PIPE, stdout=output, stderr=output,
                                 cwd=folder, env=environment)
        try:
            # The whole is one command, so that no program reads the rest of the script as its input.
            process.communicate(("{\n" + "".join(blocks_of("sh")) + "} </dev/null\n").encode(), timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise run.CaseError("it does not end") from error
        finally:
            emulator.kill_group(process)
    with open(log, encoding="utf-8", errors="replace") as output:
        return run.ESCAPES.sub("", output.read()), process.returncode


def check(text, status):
    if status != 0:
        raise run.CaseError(f"exit status {status}")
    lines, at = text.splitlines(), 0
    shown = [line for block in blocks_of("text") for line in block.splitlines()]
    if not shown:
        raise run.CaseError("the README shows no output")
    for line in shown:
        if line not in lines[at:]:
            raise run.CaseError(f"'{line}' did not appear, or not in its place")
        at = lines.index(line, at) + 1


def result():
    began, log = time.monotonic(), os.path.join(run.LOGS, "newcomer.log")
    folder = os.path.join(run.BUILD, "newcomer")
    try:
        copy_tree(folder)
        check(*replay(folder, log))
        shutil.rmtree(folder)
        return [f"ok newcomer ({time.monotonic() - began:.0f} s)"]
    except run.CaseError as error:
        return [f"FAILED newcomer: {error}; log {log}", *(f"    | {line}" for line in run.tail(log))]


def main():
    run.prepare()
    lines = result()
    pool.show(lines)
    return 1 if pool.failed(lines) else 0


if __name__ == "__main__":
    sys.exit(main())
