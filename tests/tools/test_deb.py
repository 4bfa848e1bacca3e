#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian package and the release, one line each: `ok deb: PROMISE` or `FAILED ...`. `make release` makes both with a key that
is made for it, lintian has no complaint, and what is unpacked works: the tools, their manual pages, completion."""

import glob
import os
import re
import subprocess
import sys
import tempfile

import promises

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", "build")
TOOLS = ("plinth-check", "plinth-mkusb", "plinth-mkguest", "plinth-run-qemu", "plinth-run-bochs")
KEY = "release-test@example.org"


def said(*command, status=0, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    assert done.returncode == status, (command, done.returncode, done.stdout[-900:])
    return done.stdout


class Release:
    """Made once."""

    def __init__(self, folder):
        self.root, keys = os.path.join(folder, "root"), os.path.join(folder, "keys")
        os.mkdir(keys, 0o700)
        self.environment = {**os.environ, "GNUPGHOME": keys}
        said("gpg", "--batch", "--passphrase", "", "--quick-generate-key", KEY, env=self.environment)
        self.output = said("make", "-C", ROOT, f"BUILD={BUILD}", "release", f"KEY={KEY}", env=self.environment)
        self.folder = os.path.join(ROOT, BUILD, "release")
        self.package, = glob.glob(os.path.join(self.folder, "*.deb"))
        said("dpkg-deb", "-x", self.package, self.root)

    def program(self, name):
        return os.path.join(self.root, "usr/bin", name)


def lintian_has_no_complaint(release):
    said("lintian", "--allow-root", "--fail-on", "error,warning", release.package)


def checksums_and_signature_hold_and_a_change_is_seen(release):
    names = {os.path.basename(path) for path in glob.glob(os.path.join(release.folder, "*"))}
    assert len(names) == 4 and {"SHA256SUMS", "SHA256SUMS.asc"} <= names, names
    said("sha256sum", "-c", "SHA256SUMS", cwd=release.folder)
    verify = ("gpg", "--verify", os.path.join(release.folder, "SHA256SUMS.asc"))
    said(*verify, os.path.join(release.folder, "SHA256SUMS"), env=release.environment)
    changed = os.path.join(release.root, "changed")
    with open(os.path.join(release.folder, "SHA256SUMS"), encoding="ascii") as sums, open(changed, "w", encoding="ascii") as out:
        out.write(sums.read().replace("0", "1", 1))
    said(*verify, changed, status=1, env=release.environment)


def what_is_unpacked_works(release):
    example = os.path.join(release.root, "usr/share/doc/plinth/examples/hello.conf")
    assert "hello" in said(release.program("plinth-check"), example)
    image = os.path.join(release.root, "hello.img")
    said(release.program("plinth-mkusb"), "-c", example, "-o", image)
    assert os.path.getsize(image) > 30 << 20
    for name in TOOLS:
        assert said(release.program(name), "--version").split()[0] == name


def every_tool_has_a_page_with_its_options(release):
    for name in TOOLS:
        path = os.path.join(release.root, f"usr/share/man/man1/{name}.1.gz")
        page = said("man", "--warnings", "-l", path, env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
        page = re.sub(".\b", "", page)
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said(release.program(name), "--help")))
        assert options and options <= set(re.findall(r"--[a-z][a-z-]*", page.replace("‐", "-"))), (name, options)
    page = said("man", "-l", os.path.join(release.root, "usr/share/man/man5/plinth.conf.5.gz"), env={**os.environ, "LC_ALL": "C.UTF-8"})
    for key in ("kernel", "on-crash", "watchdog", "when-all-stopped"):
        assert key in re.sub(".\b", "", page).replace("‐", "-"), key


def options_and_files_are_completed(release):
    for name in TOOLS:
        path = os.path.join(release.root, "usr/share/bash-completion/completions", name)
        script = f"source '{path}'; COMP_WORDS=({name} --v); COMP_CWORD=1; _{name.replace('-', '_')}; echo \"${{COMPREPLY[@]}}\""
        assert said("bash", "-c", script).strip() == "--version", name
    script = (f"source '{path}'; compopt() {{ :; }}; cd '{release.root}/usr/share/doc/plinth/examples'; COMP_WORDS=(x smp); "
              'COMP_CWORD=1; _plinth_run_bochs; echo "${COMPREPLY[@]}"')
    assert said("bash", "-c", script).strip() == "smp.conf"


TESTS = [lintian_has_no_complaint, checksums_and_signature_hold_and_a_change_is_seen, what_is_unpacked_works,
         every_tool_has_a_page_with_its_options, options_and_files_are_completed]


def main():
    failed = 0
    with tempfile.TemporaryDirectory(prefix="plinth-deb-") as folder:
        release = Release(folder)
        for test in TESTS:
            failed += promises.fails("deb", test, release)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
