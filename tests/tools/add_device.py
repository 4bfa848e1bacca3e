#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The example of docs/devices.md, "To add a device", done: its four pieces are added to a copy of the tree, which is built;
the example's own test, the tests of the bus and of the whole PC, and the checks of the source must pass, and
hv/dev/devices.h must be the only file that was there before and is different now.

Prints `ok NAME` or `FAILED NAME: reason` per test, as all of tests/run does.
"""
import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.path.join(TOP, os.environ.get("BUILD", "build")))
LOG = os.path.join(BUILD, "logs", "add-device.log")
LIST = "hv/dev/devices.h"
TESTS = ("test_egg_timer", "test_bus", "test_platform")
CHECKS = ("tools/check-layers", "tools/check-fences", "tools/check-functions")


def pieces():
    """The pieces of the page, by the path of the file that each is or goes to."""
    with open(os.path.join(TOP, "docs", "devices.md"), encoding="utf-8") as page:
        text = page.read().split("## To add a device")[1].split("\n## ")[0]
    found = re.findall(r"`((?:hv|tests)/[a-z_/]+\.[ch])`[^\n]*\n\n```c\n(.*?)```", text, re.S)
    if len(found) != 4:
        sys.exit(f"FAILED add-device: the page has {len(found)} pieces, not 4")
    return dict(found)


def copy_tree(to):
    """What git knows and what is new, and the native objects, so that little is compiled twice."""
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=TOP, check=True,
                           capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if os.path.exists(os.path.join(TOP, name)):
            os.makedirs(os.path.join(to, os.path.dirname(name)), exist_ok=True)
            shutil.copy2(os.path.join(TOP, name), os.path.join(to, name))
    if os.path.isdir(os.path.join(BUILD, "native")):
        shutil.copytree(os.path.join(BUILD, "native"), os.path.join(to, "build", "native"))


def add(to, parts):
    """New files as they are; the lines of the list to their places in it."""
    for path, text in parts.items():
        target = os.path.join(to, path)
        if path != LIST:
            with open(target, "x", encoding="utf-8") as file:
                file.write(text)
            continue
        include, line = text.rstrip("\n").split("\n")
        with open(target, encoding="utf-8") as file:
            old = file.read()
        new = old.replace('#include "hv/dev/hpet.h"', include + '\n#include "hv/dev/hpet.h"', 1)
        new = re.sub(r"(#define PLATFORM_DEVICES\(DEVICE\) *\\\n)", lambda m: m.group(1) + line + " \\\n", new, count=1)
        if new.count("egg_timer") != 3:
            sys.exit(f"FAILED add-device: {LIST} does not look as the page takes for granted")
        with open(target, "w", encoding="utf-8") as file:
            file.write(new)


def changed(to):
    """Files of the tree that are different in the copy, and files that only the copy has."""
    different, new = [], []
    for folder, folders, files in os.walk(to):
        folders[:] = [f for f in folders if os.path.join(folder, f) != os.path.join(to, "build") and f != ".git"]
        for name in files:
            path = os.path.relpath(os.path.join(folder, name), to)
            ours = os.path.join(TOP, path)
            if not os.path.exists(ours):
                new.append(path)
            elif not filecmp.cmp(ours, os.path.join(to, path), shallow=False):
                different.append(path)
    return sorted(different), sorted(new)


def run(log, to, *command):
    """True where the command ends well; what it says is in the log."""
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    environment = dict(os.environ, BUILD="build")
    return subprocess.run(command, cwd=to, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False).returncode == 0


def result(name, good, reason=""):
    print(f"ok {name}" if good else f"FAILED {name}: {reason}; {LOG}", flush=True)
    return good


def main():
    parts = pieces()
    good = True
    os.makedirs(os.path.dirname(LOG), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="plinth-add-device-") as to, open(LOG, "w", encoding="utf-8") as log:
        copy_tree(to)
        run(log, to, "git", "init", "-q")  # some checks list files by git
        add(to, parts)
        # The layout of the long macro is clang-format's business.
        formatted = run(log, to, "clang-format", "-i", LIST) and \
            run(log, to, "clang-format", "--dry-run", "-Werror", *[p for p in parts if p != LIST])
        good &= result("add-device-format", formatted, "the example is not formatted as the tree is")
        built = run(log, to, "make", f"-j{os.cpu_count()}", *[f"build/unit/{t}" for t in TESTS])
        good &= result("add-device-build", built, "the tree with the example does not build")
        for test in TESTS if built else ():
            good &= result(f"add-device-{test}", run(log, to, f"build/unit/{test}"), "it fails with the example's device")
        for check in CHECKS:
            good &= result(f"add-device-{os.path.basename(check)}", run(log, to, check), "the example breaks a rule")
        different, new = changed(to)
        log.write(f"different: {different}\nnew: {new}\n")
        good &= result("add-device-files", different == [LIST] and new == sorted(set(parts) - {LIST}),
                       f"different: {' '.join(different)}; new: {' '.join(new)}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
