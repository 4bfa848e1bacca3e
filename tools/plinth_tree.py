# SPDX-License-Identifier: MIT
"""What the host tools share: where the tree is, where the things are that were built, and the version.

There are two kinds of trees. A source tree has a Makefile; what was built lies in the folder BUILD (of the environment;
`build` otherwise), relative to the tree. A tree that `make install` or `make dist` made has none of that: BOOTX64.EFI
lies at its top, plinth-check in its folder `bin`.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
IS_SOURCE = os.path.isfile(os.path.join(ROOT, "Makefile"))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))


def built(name):
    """The path of a file that the build makes: BOOTX64.EFI or plinth-check."""
    if IS_SOURCE:
        return os.path.join(BUILD, name)
    return os.path.join(ROOT, "bin", name) if name == "plinth-check" else os.path.join(ROOT, name)


def logs_folder():
    """The folder for logs, made where it is not there: with the other built things, or the current folder's; where
    neither can be written to, one for temporary files."""
    for folder in (*([os.path.join(BUILD, "logs")] if IS_SOURCE else []), os.path.abspath("plinth-logs")):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return tempfile.mkdtemp(prefix="plinth-logs-")


def build_checker():
    """Builds plinth-check where this is a source tree. Returns what make said where that failed, else nothing."""
    return make(["plinth-check"])


def make(names):
    """Makes files of the build folder, where this is a source tree. Returns what make said where that failed, else nothing.

    make takes blanks for the end of a name, so it is not told of the folders above the tree, which may have some.
    """
    if not IS_SOURCE or (all(os.path.exists(os.path.join(BUILD, name)) for name in names) and not os.access(BUILD, os.W_OK)):
        return ""
    folder = os.path.relpath(BUILD, ROOT)
    folder = BUILD if folder.startswith("..") else folder
    os.makedirs(BUILD, exist_ok=True)
    with open(os.path.join(BUILD, ".plinth-check.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several runs at once do not build into each other's files
        made = subprocess.run(["make", "-C", ROOT, "-s", f"BUILD={folder}", *(f"{folder}/{name}" for name in names)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return made.stdout.rstrip() if made.returncode != 0 else ""


def version_line(name):
    """What `NAME --version` prints; the version is that of the hypervisor's first line."""
    return subprocess.run([os.path.join(ROOT, "tools", "version"), name], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


class VersionAction(argparse.Action):
    """`--version`; git is asked only when the option is there."""

    def __init__(self, option_strings, dest, **more):
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="print the version and end", **more)

    def __call__(self, parser, namespace, values, option_string=None):
        print(version_line(parser.prog))
        parser.exit()


def argument_parser(**more):
    """argparse's parser with what all tools have: the text as it was written, and --version."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, **more)
    parser.add_argument("--version", action=VersionAction)
    return parser


def answer_questions(text):
    """For tools without options of that kind: answers --help with the text, and --version, and ends then."""
    word = sys.argv[1] if len(sys.argv) == 2 else ""
    if word in ("--help", "--version"):
        print(text.rstrip() if word == "--help" else version_line(os.path.basename(sys.argv[0])))
        sys.exit(0)
