#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Secure Boot with a key of one's own, as docs/recipes.md has it, in QEMU with OVMF: signed by the key that the firmware has,
the hypervisor starts and its guest runs; not signed, or by another key, it is refused. Prints `ok secure-boot-NAME` or
`FAILED secure-boot-NAME: reason`. The commands are those of the recipe, read from it."""

import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import run  # noqa: E402

RECIPE = "## Secure Boot with a key of one's own\n"
LIMIT_S = 600  # only a hang reaches it
CONFIG = "[guest hello]\nmemory = 16M\nkernel = hello.elf\n"
REFUSED = "Access Denied|Security Violation"


def recipe():
    """The commands that make the key and sign."""
    with open(os.path.join(run.ROOT, "docs", "recipes.md"), encoding="utf-8") as text:
        section = text.read().partition(RECIPE)[2].partition("\n## ")[0]
    return re.search(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1]


def follow(folder):
    """A folder in which the recipe was followed, with what is built; each line must succeed."""
    os.symlink(os.path.join(run.ROOT, "tools"), os.path.join(folder, "tools"))
    os.symlink(run.BUILD, os.path.join(folder, "build"))
    os.symlink(os.path.join(run.BUILD, "guests", "hello.elf"), os.path.join(folder, "hello.elf"))
    with open(os.path.join(folder, "plinth.conf"), "w", encoding="ascii") as conf:
        conf.write(CONFIG)
    commands = [line for line in recipe().splitlines() if "run-qemu" not in line]
    done = subprocess.run(["bash", "-e", "-c", "\n".join(commands)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise run.CaseError(f"the recipe fails: {done.stdout[-600:]}")


def boot(folder, certificate, image, log):
    """Status and output of a run with Secure Boot on."""
    done = subprocess.run([os.path.join(run.ROOT, "tools", "run-qemu"), "--timeout", str(LIMIT_S), "--secure-boot",
                           os.path.join(folder, certificate), os.path.join(folder, image)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = run.ESCAPES.sub("", done.stdout.decode("utf-8", "replace"))
    with open(log, "w", encoding="utf-8") as out:
        out.write(text)
    return done.returncode, text


def signed(folder, log):
    status, text = boot(folder, "db.crt", "my.img", log)
    if status != 0 or not re.search(r"PASS hello", text):
        raise run.CaseError(f"what is signed does not run: exit status {status}")


def unsigned(folder, log):
    conf = os.path.join(folder, "plinth.conf")
    subprocess.run([os.path.join(run.ROOT, "tools", "mkusb"), "-c", conf, "-o", os.path.join(folder, "unsigned.img")], check=True)
    refused(folder, "db.crt", "unsigned.img", log)


def of_another_key(folder, log):
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=another/",
                    "-keyout", os.path.join(folder, "other.key"), "-out", os.path.join(folder, "other.crt")], check=True,
                   stderr=subprocess.DEVNULL)
    refused(folder, "other.crt", "my.img", log)


def refused(folder, certificate, image, log):
    status, text = boot(folder, certificate, image, log)
    if status != 1 or "plinth: " in text or not re.search(REFUSED, text):
        raise run.CaseError(f"it is not refused: exit status {status}")


TESTS = {"signed": signed, "unsigned": unsigned, "of-another-key": of_another_key}


def main():
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
        return 0
    os.makedirs(run.LOGS, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="plinth-secure-boot-") as folder:
        follow(folder)
        for name in sys.argv[1:] or TESTS:
            began, log = time.monotonic(), os.path.join(run.LOGS, f"secure-boot-{name}.log")
            try:
                TESTS[name](folder, log)
                print(f"ok secure-boot-{name} ({time.monotonic() - began:.0f} s)", flush=True)
            except run.CaseError as error:
                failed += 1
                print(f"FAILED secure-boot-{name}: {error}; log {log}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
