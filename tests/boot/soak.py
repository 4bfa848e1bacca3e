#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots the small guest many times in QEMU and checks that every boot ends alike: exit status 0, and the same lines
of the hypervisor and the guest in the same order, numbers aside (times differ). `make soak-boot` runs it."""

import argparse
import collections
import concurrent.futures
import os
import re
import signal
import sys

import cases
import run

NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")
FIRST_OWN_LINE = re.compile(r"^Plinth|^plinth: ")


def essence(path):
    """What must be the same each time: from our first line on, numbers taken out."""
    with open(path, encoding="utf-8", errors="replace") as log:
        lines = [line.strip() for line in run.ESCAPES.sub("", log.read()).splitlines() if line.strip()]
    own = [index for index, line in enumerate(lines) if FIRST_OWN_LINE.search(line)]
    return tuple(NUMBER.sub("N", line) for line in lines[own[0] if own else 0:])


def boot(case, emulator, image, number):
    path = os.path.join(run.LOGS, f"soak-{number}.log")
    try:
        run.run_case(case, emulator, image, path)
        return None, essence(path), path
    except run.CaseError as error:
        return str(error), None, path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many boots (default: %(default)s)")
    parser.add_argument("--case", default="hello", help="a case of tests/boot/cases.py (default: %(default)s)")
    parser.add_argument("--emulator", default="qemu-svm")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    case = next(case for case in cases.CASES if case.name == options.case)
    os.makedirs(run.LOGS, exist_ok=True)
    os.makedirs(run.STICKS, exist_ok=True)
    image = run.make_stick(case)
    kinds, failures = collections.defaultdict(list), []
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        running = [pool.submit(boot, case, options.emulator, image, number) for number in range(options.count)]
        for done in concurrent.futures.as_completed(running):
            error, lines, path = done.result()
            if error:
                failures.append(f"{path}: {error}")
            else:
                kinds[lines].append(path)
    for failure in failures:
        print(f"    {failure}")
    if len(kinds) > 1:
        print("    not alike: " + "; ".join(f"{len(paths)} like {min(paths)}" for paths in kinds.values()))
    good = not failures and len(kinds) == 1
    print(f"{'ok' if good else 'FAILED'} soak-boot: {options.count} boots of {case.name}, {len(failures)} failed, "
          f"{len(kinds)} kind(s) of output")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
