# SPDX-License-Identifier: MIT
"""The files that the configs of config/examples name: each is built, or fetched from Debian, by make, and lies under the
build folder. stick.py puts them beside a copy of the example, so that an example boots where it lies."""

import os
import re
import shutil

import plinth_tree

FOLDER = os.path.join(plinth_tree.ROOT, "config", "examples")
FILE_LINE = re.compile(r"^(?:kernel|initrd|module|disk)\s*=\s*([^\s,#]+)", re.MULTILINE)
DEBIAN_KERNEL = "Debian's linux-image-cloud-amd64"
# name: where it lies in the build folder, and what it is.
FILES = {
    "vmlinuz": ("demo/vmlinuz", DEBIAN_KERNEL),
    "initramfs.cpio": ("demo/initramfs.cpio", "busybox"),
    "initrd.img": ("demo/initramfs.cpio", "busybox"),
    "disk.img": ("demo/disk.img", "4 MiB of ext4"),
    "hello.elf": ("guests/hello.elf", "the small guest of tests/guests"),
    "neighbour.elf": ("guests/neighbour.elf", "a guest of tests/guests"),
    "sensor.elf": ("guests/hello.elf", "the small guest of tests/guests, in place of yours"),
    "unikernel.elf": ("guests/hello.elf", "the small guest of tests/guests, in place of yours"),
    "vmlinuz-amd64": ("third-party/vmlinuz-amd64", "Debian's linux-image-amd64"),
    "initramfs-amd64.cpio": ("passthrough/initramfs.cpio", "busybox, and that kernel's drivers of real devices"),
    "vmlinuz-686-pae": ("third-party/vmlinuz-686-pae", "Debian's linux-image-686-pae"),
    "initramfs-i386.cpio": ("third-party/initramfs-i386.cpio", "Debian's busybox-static:i386"),
    "memtest86+x64.bin": ("third-party/memtest86+x64.bin", "Debian's memtest86+"),
    "memtest86+ia32.bin": ("third-party/memtest86+ia32.bin", "Debian's memtest86+"),
    "xen.gz": ("third-party/xen.gz", "Debian's xen-hypervisor-4.17-amd64"),
}
# A kernel and an initrd that know the disk, which the demo's do not.
FILES_OF = {"linux-disk.conf": {
    "vmlinuz": ("examples/debian-disk/vmlinuz", DEBIAN_KERNEL),
    "initrd.img": ("examples/debian-disk/initrd.img", "by tools/mkguest --debian --disk"),
    "root.img": ("examples/debian-disk/root.img", "by tools/mkguest --debian --disk"),
    "data.img": ("examples/data.img", "an empty ext4"),
}}


class ExampleError(Exception):
    """A sentence for the user."""


def is_example(config):
    return plinth_tree.IS_SOURCE and os.path.dirname(os.path.realpath(config)) == os.path.realpath(FOLDER)


def files_of(config):
    """(name, place in the build folder, what it is) of each file that the example names and that is known here."""
    with open(config, encoding="utf-8") as text:
        named = sorted(set(FILE_LINE.findall(text.read())))
    known = {**FILES, **FILES_OF.get(os.path.basename(config), {})}
    return [(name, *known[name]) for name in named if name in known]


def place(config, folder, say):
    """The path of a copy of the example, in the folder, with its files beside it. `say` is told of each."""
    files = files_of(config)
    missing = sorted({at for _, at, _ in files if not os.path.isfile(os.path.join(plinth_tree.BUILD, at))})
    if missing:
        say(f"making {', '.join(missing)}; what Debian has is fetched, which may take minutes")
    trouble = plinth_tree.make(sorted({at for _, at, _ in files}))
    if trouble:
        raise ExampleError(f"what {os.path.basename(config)} names could not be made:\n{trouble}")
    copy = os.path.join(folder, os.path.basename(config))
    shutil.copyfile(config, copy)
    for name, at, what in files:
        say(f"{name} is {os.path.relpath(os.path.join(plinth_tree.BUILD, at))}: {what}")
        os.symlink(os.path.join(plinth_tree.BUILD, at), os.path.join(folder, name))
    return copy
