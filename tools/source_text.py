# SPDX-License-Identifier: MIT
"""What the check-* scripts share: which C files the tree has, and a source text without its comments and strings."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What goes into the image. Tests and host tools are ordinary C programs and have more freedom.
IMAGE_FOLDERS = ("hv", "efi", "config", "guest-loader")

FUNCTION_NAME = re.compile(r"(\w+)\s*\(")
TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def all_files():
    """Paths under the root: tracked by git or not yet, but not ignored. In a source archive: all but what was built."""
    if os.path.exists(os.path.join(ROOT, ".git")):
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
        return sorted({path for path in listed if os.path.isfile(os.path.join(ROOT, path))})
    found = []
    for folder, folders, names in os.walk(ROOT):
        inside = os.path.relpath(folder, ROOT)
        folders[:] = [name for name in folders if name != "__pycache__" and
                      not (inside == "." and (name == "build" or name.startswith("build-")))]
        found += [os.path.normpath(os.path.join(inside, name)) for name in names]
    return sorted(found)


def files(*endings, folders=None):
    """Those of them with one of these endings, in these folders of the root."""
    return [path for path in all_files() if path.endswith(endings) and
            (folders is None or path.split("/")[0] in folders)]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as source:
        return source.read()


def list_lines(path):
    """The lines of a list file (tools/*.list), comments and blank ones left out."""
    return [line.strip() for line in read(path).splitlines() if line.strip() and not line.startswith("#")]


def blank(match):
    """Keeps line ends, so that line numbers stay, and the quotes of an include."""
    return re.sub(r"[^\n]", " ", match[0])


def code_only(text):
    return TOKENS.sub(blank, text)


def code_and_includes(text):
    """Comments blanked, strings kept."""
    return TOKENS.sub(lambda match: match[0] if match[0][0] in "\"'" else blank(match), text)


def functions(path):
    """(name, first line, number of lines) of every function, from its opening brace to its closing one. Relies on
    clang-format's layout: these braces stand alone in column 1."""
    lines = code_only(read(path)).split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{" and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            if line.rstrip() == "}":
                yield _function_name(lines, start), start, number - start + 1
            start = None


def _function_name(lines, start):
    for number in range(start - 2, max(start - 12, -1), -1):
        found = FUNCTION_NAME.search(lines[number])
        if found and not lines[number].startswith((" ", "\t")):
            return found[1]
    return "?"


def code_lines(text):
    """How many lines have code: neither blank nor nothing but comment. This is what the tree's figures count by."""
    return sum(bool(line.strip()) for line in code_and_includes(text).split("\n"))


def opening_comment(text):
    """The comment that a C file begins with, behind its licence; empty where there is none."""
    found = re.match(r"(?:/\* SPDX-[^\n]*\*/\n)?(/\*.*?\*/)", text, re.DOTALL)
    return found[1] if found else ""


def report(name, findings):
    """Prints the findings and returns the exit status."""
    for finding in findings:
        print(finding)
    if findings:
        print(f"{name}: {len(findings)} finding(s)")
    return 1 if findings else 0


if __name__ == "__main__":  # for shell scripts: the names of all files, or of those with one of these endings
    print("\n".join(files(*sys.argv[1:]) if sys.argv[1:] else all_files()))
