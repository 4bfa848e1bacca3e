#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every link of README.md, CONTRIBUTING.md and docs/ to a file of the tree leads to one, and one with a # to a heading of it.
docs/README.md, the users' index, answers at least ten questions by such headings. Prints `ok links: ...` or `FAILED links: ...`.
"""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
QUESTIONS_MIN = 10


def text_of(path):
    with open(path, encoding="utf-8") as page:
        return FENCED.sub("", page.read())


def anchors_of(path):
    """The names that GitHub and most viewers give the headings: small letters, digits, dashes for blanks."""
    headings = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page):
    for link in LINK.findall(text_of(page)):
        file, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(page), file)) if file else page
        if not os.path.exists(path):
            yield f"{os.path.relpath(page, ROOT)}: {link} leads to no file"
        elif anchor and anchor not in anchors_of(path):
            yield f"{os.path.relpath(page, ROOT)}: {link} leads to no heading"


def lost_tests():
    """What docs/jobs.md names and what is not there: a script, or a row of the boot tests."""
    with open(os.path.join(ROOT, "tests", "boot", "cases.py"), encoding="utf-8") as rows, \
            open(os.path.join(ROOT, "tests", "boot", "devices.py"), encoding="utf-8") as more:
        known = rows.read() + more.read()
    for script, row in re.findall(r"`(tests/[\w/]+\.py)(?: ([\w-]+))?`", text_of(os.path.join(ROOT, "docs", "jobs.md"))):
        if not os.access(os.path.join(ROOT, script), os.X_OK):
            yield f"docs/jobs.md: {script} is no program"
        elif script == "tests/boot/run.py" and not any(f'"{name}"' in known or f"'{name}'" in known for name in names_of(row)):
            yield f"docs/jobs.md: no row is called {row}"


def names_of(row):
    """Rows of a family are written in two parts: f"stick-{kind}"."""
    return (row, row.rpartition("-")[2])


def main():
    pages = [*glob.glob(os.path.join(ROOT, "*.md")), *glob.glob(os.path.join(ROOT, "docs", "*.md"))]
    findings = [finding for page in sorted(pages) for finding in broken(page)]
    findings += lost_tests()
    questions = re.findall(r"^\| [^|]*\? \| .*\)", text_of(os.path.join(ROOT, "docs", "README.md")), re.MULTILINE)
    if len(questions) < QUESTIONS_MIN:
        findings.append(f"docs/README.md answers {len(questions)} questions")
    for finding in findings:
        print(f"FAILED links: {finding}")
    if not findings:
        print(f"ok links: {len(pages)} pages, {len(questions)} questions of users")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
