#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/pictures.md: what a terminal shows at each step of the demo, and the plan of each example as a picture.

    make pictures              boots the demo under tmux and writes the page and docs/pictures/*.svg
    tests/tools/pictures.py --plans   draws the plans only
    tests/tools/pictures.py    writes nothing: says whether each example has its picture, and the picture its guests. Prints
                               `ok pictures` or `FAILED pictures: reason`
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import examples  # noqa: E402

PAGE = os.path.join(ROOT, "docs", "pictures.md")
PLANS = os.path.join(ROOT, "docs", "pictures")
SCREENS = os.path.join(BUILD, "pictures")
DISK_BYTES = 64 << 20  # of a disk that is not there: a plan asks for its size only
# The steps of tests/boot/terminal.py demo, in order, and what is said of each.
STEPS = {
    "start": ("The start", "The hypervisor says which CPU and memory it has found, and where each guest is. The last lines come "
                           "after the firmware was left."),
    "prompt": ("Linux is up", "Lines of two guests carry their names."),
    "hello": ("Another guest has the keyboard", "`Ctrl-] n` moves it; `hello` answers a key."),
    "status": ("The status", "`Ctrl-] s`: what each guest is, where its CPUs are, and what it cost."),
    "end": ("The end", "`poweroff` in the Linux; the command's exit status is 0."),
}
GUEST_TEXT = re.compile(r"CPU \d+|.* vCPU \d+|.*: .*, \d+ vCPUs?")


def draw(name, folder):
    """The picture of an example. A file that is not built is stood in for by one of its kind."""
    conf = os.path.join(folder, name)
    shutil.copyfile(os.path.join(examples.FOLDER, name), conf)
    for file, at, _ in examples.files_of(conf):
        path, place = os.path.join(folder, file), os.path.join(BUILD, at)
        if os.path.lexists(path):
            os.unlink(path)
        if os.path.isfile(place) and not file.endswith(".img"):
            os.symlink(place, path)
        elif file.endswith(".img"):
            with open(path, "wb") as out:
                out.truncate(DISK_BYTES)
        else:
            kind = "demo/initramfs.cpio" if file.endswith(".cpio") else "demo/vmlinuz" if "vmlinuz" in file else "guests/hello.elf"
            os.symlink(os.path.join(BUILD, kind), path)
    svg = os.path.join(folder, name.replace(".conf", ".svg"))
    done = subprocess.run([os.path.join(BUILD, "plinth-check"), "--svg", svg, name], cwd=folder, stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        raise ValueError(f"{name}: {done.stdout.strip()}")
    return svg


def names():
    return sorted(os.path.basename(path) for path in glob.glob(os.path.join(examples.FOLDER, "*.conf")))


def guests_of(svg):
    """What a picture says of guests and their CPUs; addresses and the hypervisor's own memory change with every version."""
    with open(svg, encoding="utf-8") as picture:
        return {text for text in re.findall(r"<text[^>]*>([^<]*)", picture.read()) if GUEST_TEXT.fullmatch(text)}


def check():
    with tempfile.TemporaryDirectory(prefix="plinth-pictures-") as folder:
        with open(PAGE, encoding="utf-8") as page:
            text = page.read()
        for name in names():
            kept = os.path.join(PLANS, name.replace(".conf", ".svg"))
            if not os.path.isfile(kept) or f"(pictures/{os.path.basename(kept)})" not in text:
                raise ValueError(f"{name} has no picture; run make pictures")
            drawn = guests_of(draw(name, folder))
            if drawn != guests_of(kept) or not drawn:
                raise ValueError(f"the picture of {name} is another one; run make pictures")


def write_plans():
    os.makedirs(PLANS, exist_ok=True)
    for old in glob.glob(os.path.join(PLANS, "*.svg")):
        os.unlink(old)
    with tempfile.TemporaryDirectory(prefix="plinth-pictures-") as folder:
        for name in names():
            shutil.copyfile(draw(name, folder), os.path.join(PLANS, name.replace(".conf", ".svg")))


def screen_of(step):
    with open(os.path.join(SCREENS, step), encoding="utf-8") as file:
        return "\n".join(line.rstrip() for line in file.read().rstrip().splitlines())


def about(name):
    """The comment at the top of an example."""
    with open(os.path.join(examples.FOLDER, name), encoding="utf-8") as conf:
        lines = []
        for line in conf:
            if not line.startswith("#"):
                break
            lines.append(line[1:].strip())
    return " ".join(lines)


def write_page():
    parts = ["# Pictures\n\nMade by `make pictures`: the demo in QEMU under tmux, read back from the terminal, and `plinth-check --svg` "
             "of each example.\n\n## The demo, step by step\n"]
    for step, (title, text) in STEPS.items():
        parts.append(f"\n### {title}\n\n{text}\n\n```text\n{screen_of(step)}\n```\n")
    parts.append("\n## The plan of each example\n\nEach on a machine that has what it needs; `--machine FILE` draws it on yours.\n")
    for name in names():
        parts.append(f"\n### {name}\n\n{about(name)}\n\n![The plan of {name}](pictures/{name.replace('.conf', '.svg')})\n")
    with open(PAGE, "w", encoding="utf-8") as page:
        page.write("".join(parts))


def main():
    if "--plans" in sys.argv or "--write" in sys.argv:
        write_plans()
        if "--write" in sys.argv:
            write_page()
        return 0
    try:
        check()
        print("ok pictures")
        return 0
    except (OSError, ValueError) as error:
        print(f"FAILED pictures: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
