#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The archive of `make dist` and the tree of `make install`, used where there is nothing else.

The archive is the same in two runs; unpacked in a folder whose path has a blank, its checksums are right, every tool
there says the version of this tree, plinth-check understands the example, and mkusb makes the image that the source tree's
mkusb makes. What is installed does the same. A tree without git says the number of VERSION alone, and one inside of
another project's git does not take that one's commit.

Prints `ok dist (seconds)` or `FAILED dist: reason`.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools"))
import plinth_tree  # noqa: E402

TOOLS = ("mkusb", "mkguest", "run-qemu", "run-bochs")
NEEDED = ("BOOTX64.EFI", "plinth-debug.efi", "README.md", "LICENSE", "CHANGELOG.md", "docs/config.md", "examples/linux.conf")
LIMIT_S = 600  # only a hang reaches it
# No variable of this run may help the tools to find anything.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("BUILD", "MAKEFLAGS", "MAKELEVEL")}


def said(*command, cwd=None, env=None):
    """What a command that succeeds prints."""
    done = subprocess.run(command, cwd=cwd, env=env or ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}: {done.stdout.strip()[-500:]}"
    return done.stdout


def make(*words):
    return said("make", "-s", "-C", plinth_tree.ROOT, f"BUILD={os.environ.get('BUILD', 'build')}", *words)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def make_archive():
    """The path of the archive, made twice."""
    twice = []
    for _ in range(2):
        path = os.path.join(plinth_tree.ROOT, make("dist").rpartition("\n")[0].rpartition("\n")[2].split(": ")[0])
        twice.append(content(path))
    assert twice[0] == twice[1], f"{path} is another one in the second run"
    return path


def wants_version(line, name, version):
    assert line.strip() == f"{name} (Plinth) {version}", f"{name} --version says: {line.strip()}"


def use_tools(check, tool, examples, image, version):
    """The checker, and the other tools by name, do their work on the example."""
    wants_version(said(check, "--version"), "plinth-check", version)
    for name in TOOLS:
        # argparse names a program by the name that it was called by.
        wants_version(said(tool(name), "--version"), os.path.basename(tool(name)), version)
    assert "hello" in said(check, os.path.join(examples, "hello.conf")), "plinth-check prints no plan of the example"
    said(tool("mkusb"), "-c", os.path.join(examples, "hello.conf"), "-o", image)


def look_at_archive(folder, version):
    said("tar", "-xJf", make_archive(), "-C", folder)
    trees = glob.glob(os.path.join(folder, "plinth-*"))
    assert [os.path.basename(tree) for tree in trees] == [f"plinth-{version}"], f"the archive has {trees}"
    tree, examples = trees[0], os.path.join(trees[0], "examples")
    for name in NEEDED:
        assert os.path.isfile(os.path.join(tree, name)), f"the archive has no {name}"
    said("sha256sum", "-c", "--quiet", "SHA256SUMS", cwd=tree)
    listed = {line.split("  ./", 1)[1] for line in content(os.path.join(tree, "SHA256SUMS")).decode().splitlines()}
    there = {os.path.relpath(os.path.join(at, name), tree) for at, _, names in os.walk(tree) for name in names}
    assert listed == there - {"SHA256SUMS"}, f"SHA256SUMS and the files differ: {listed ^ there}"
    images = [os.path.join(folder, f"{which}.img") for which in ("archive", "source")]
    use_tools(os.path.join(tree, "bin", "plinth-check"), lambda name: os.path.join(tree, "tools", name), examples, images[0],
              version)
    said(os.path.join(plinth_tree.ROOT, "tools", "mkusb"), "-c", os.path.join(examples, "hello.conf"), "-o", images[1],
         "--efi", os.path.join(tree, "BOOTX64.EFI"), env=dict(os.environ))
    assert content(images[0]) == content(images[1]), "the archive's mkusb makes another image than the source tree's"


def look_at_installed(folder, version):
    root = os.path.join(folder, "root of another")
    make("install", f"DESTDIR={root}", "PREFIX=/usr")
    programs = os.path.join(root, "usr", "bin")
    use_tools(os.path.join(programs, "plinth-check"), lambda name: os.path.join(programs, f"plinth-{name}"),
              os.path.join(root, "usr", "lib", "plinth", "examples"), os.path.join(folder, "installed.img"), version)
    assert os.path.isfile(os.path.join(root, "usr", "share", "doc", "plinth", "config.md")), "no documents are installed"
    make("uninstall", f"DESTDIR={root}", "PREFIX=/usr")
    left = [name for _, _, names in os.walk(root) for name in names]
    assert not left, f"make uninstall leaves {left}"


def look_at_versions(folder):
    """An archive of the source, alone and inside of another project's git."""
    number = content(os.path.join(plinth_tree.ROOT, "VERSION")).decode().strip()
    inner = os.path.join(folder, "other", "plinth")
    os.makedirs(os.path.join(inner, "tools"))
    for name in ("VERSION", "tools/version"):
        shutil.copy(os.path.join(plinth_tree.ROOT, name), os.path.join(inner, name))
    if shutil.which("git"):
        said("git", "init", "-q", cwd=os.path.dirname(inner))
        said("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "--allow-empty", "-m", "x",
             cwd=os.path.dirname(inner))
    assert said(os.path.join(inner, "tools", "version")).strip() == number, "an archive's version is not VERSION"


def main():
    began = time.monotonic()
    try:
        version = said(os.path.join(plinth_tree.ROOT, "tools", "version")).strip()
        with tempfile.TemporaryDirectory(prefix="plinth dist ") as folder:
            look_at_archive(folder, version)
            look_at_installed(folder, version)
            look_at_versions(folder)
        print(f"ok dist ({time.monotonic() - began:.0f} s)")
        return 0
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"FAILED dist: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
