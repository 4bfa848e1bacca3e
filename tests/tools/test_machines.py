#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What plinth-check says of the machines in tests/machines, whose memory maps are those of real machines: docs/machines.md is that
table.

  test_machines.py            each machine has its row: prints `ok machines: ...` or `FAILED machines: ...`
  test_machines.py --write    writes the table

tests/unit/test_machines.c builds the hypervisor's own page tables for each of them.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PAGE = os.path.join(ROOT, "docs", "machines.md")
HEAD = """# Machines, and what is said of each

<!-- Written by `tests/tools/test_machines.py --write`; a test compares it with what plinth-check says. -->

Memory maps of real machines, as far as public start logs and tables show them (each file in `tests/machines` names its source
and what is guessed or invented; one machine is invented whole), and what
Plinth makes of them with two guests: `one` has 2 GiB and `cpus = 2 performance`, `two` has 1 GiB and `cpus = 2
efficient`. Where all CPUs are alike, each is of both kinds. Places of CPUs are invented where the log does not have them.
No machine of these was seen by Plinth itself.

`plinth-check --machine tests/machines/NAME.txt plinth.conf` plans for one of them. What lies in the host's page tables on each
(memory and ACPI's tables; no hole, no reserved range) is the unit test `test_machines`.

"""
COLUMNS = "| machine | what it is | CPUs | free for guests | guest `one` | guest `two` |\n|---|---|---|---|---|---|\n"
CONFIG = ("[guest one]\nkernel = hello.elf\nmemory = 2G\ncpus = 2 performance\n"
          "[guest two]\nkernel = hello.elf\nmemory = 1G\ncpus = 2 efficient\n")


def guest(text, name):
    """Its CPUs, pages and nodes, in a few words."""
    part = re.search(rf"^guest {name}: .*?(?=^guest |^CPU )", text, re.MULTILINE | re.DOTALL)[0]
    cpus = re.search(r"on CPUs? ([0-9,]+?),? ", part)[1]
    start = re.search(r"is host (0x[0-9a-f]+)", part)[1]
    leaves = re.search(r"leaves  (.*?);", part)[1]
    nodes = re.search(r"nodes   (.*)", part)
    pages = ", ".join(piece for piece in leaves.split(", ") if not piece.startswith("0 "))
    return f"CPUs {cpus}; at {start}, {pages}" + (f"; {nodes[1]}" if nodes else "")


def row(path, config):
    """A machine's row of the table."""
    with open(path, encoding="utf-8") as file:
        title = file.readline().removeprefix("# ").strip()
    made = subprocess.run([os.path.join(BUILD, "plinth-check"), "--machine", path, config], stdout=subprocess.PIPE, text=True,
                          check=False)
    name = os.path.basename(path).removesuffix(".txt")
    if made.returncode != 0:
        return f"| `{name}` | {title} | refused | {' '.join(made.stdout.split())} | | |\n"
    cpus, free = re.search(r": (\d+) CPUs, (.*?) free for guests", made.stdout).groups()
    return f"| `{name}` | {title} | {cpus} | {free} | {guest(made.stdout, 'one')} | {guest(made.stdout, 'two')} |\n"


def page():
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "plinth.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        os.symlink(os.path.join(BUILD, "guests", "hello.elf"), os.path.join(folder, "hello.elf"))
        paths = sorted(glob.glob(os.path.join(ROOT, "tests", "machines", "*.txt")))
        return HEAD + COLUMNS + "".join(row(path, config) for path in paths), len(paths)


def main():
    text, count = page()
    if sys.argv[1:] == ["--write"]:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(text)
        return 0
    with open(PAGE, encoding="utf-8") as file:
        there = file.read()
    if text != there:
        print("FAILED machines: docs/machines.md is not what plinth-check says; look at tests/tools/test_machines.py --write")
        return 1
    print(f"ok machines: {count} memory maps of real machines, and what is said of each")
    return 0


sys.exit(main())
