# SPDX-License-Identifier: MIT
"""What the tests of the tools' promises share: a folder to work in, and a line for each promise."""

import os
import subprocess
import tempfile

WRONG_MAX = 900  # characters of what a failed test says


class Folder:
    """A folder of a test's own."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as out:
            out.write(text)
        return self.path(name)


def fails(tool, test, *arguments):
    """Runs a test, whose name is its promise, and prints how it went."""
    name = test.__name__.replace("_", " ")
    try:
        test(*arguments)
    except (AssertionError, OSError, ValueError, TypeError, LookupError, SyntaxError, subprocess.SubprocessError) as error:
        print(f"FAILED {tool}: {name}: {error!r}"[:WRONG_MAX], flush=True)
        return True
    print(f"ok {tool}: {name}", flush=True)
    return False


def keep(tool, tests, desk):
    """Runs each test with desk(an empty folder); the exit status of the program."""
    failed = 0
    for test in tests:
        with tempfile.TemporaryDirectory(prefix=f"{tool}-") as folder:
            failed += fails(tool, test, desk(folder))
    return 1 if failed else 0
