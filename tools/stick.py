# SPDX-License-Identifier: MIT
"""What run-qemu and run-bochs boot: a disk image, or a plinth.conf of which one is made; and the machine that it needs.

mkusb writes beside the config, as \\plinth\\needs.txt, what `plinth-check --needs` says: the CPUs and the memory that the
config needs. The runners size their machine by that, where --smp and --mem do not say otherwise. An image without it (one
that mkusb did not check, or another tool's) gets SMP_USUAL and MEMORY_USUAL.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

import emulator
import examples
import plinth_tree

SMP_USUAL, MEMORY_USUAL = 1, 1024 << 20
MEMORY_MORE = 128 << 20  # beside the plan's, for what this firmware keeps for itself
NEEDS = "needs.txt"
VOLUME_AT = 1 << 20  # where mkusb puts the boot volume
SECTOR = 512
HEAD_BYTES = 4096
CONFIG_ENDINGS = (".conf", ".txt", ".cfg", ".ini")


class StickError(Exception):
    """A sentence for the user."""


def is_image(path):
    """True for what begins as a disk or a volume does, or is no text; a file that is not there: by its name."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return not path.lower().endswith(CONFIG_ENDINGS)
    if head[SECTOR:SECTOR + 8] == b"EFI PART" or head[510:512] == b"\x55\xaa":
        return True
    return b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")) and not path.lower().endswith(CONFIG_ENDINGS)


def make_image(config, efi, folder):
    """The path of an image of the config in the folder. What mkusb says is the error."""
    if examples.is_example(config):
        try:
            config = examples.place(config, folder, lambda text: print(text, file=sys.stderr, flush=True))
        except examples.ExampleError as error:
            raise StickError(str(error)) from error
    image = os.path.join(folder, "plinth.img")
    command = [os.path.join(plinth_tree.ROOT, "tools", "mkusb"), "-c", config, "-o", image, *(["--efi", efi] if efi else [])]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if made.returncode != 0:
        raise StickError(made.stdout.rstrip())
    return image


def needs_of(image):
    """CPUs and bytes of memory that the image remembers; None for what it does not say."""
    if not shutil.which("mtype"):
        raise StickError("mtools is not installed (./build.sh installs it): what the image needs cannot be read; name "
                         "--smp and --mem, and it is not looked for")
    read = subprocess.run(["mtype", "-i", f"{image}@@{VOLUME_AT}", f"::/plinth/{NEEDS}"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"}, check=False)
    text = read.stdout.decode("ascii", "replace")
    cpus = re.search(r"^cpus = (\d{1,4})\s*$", text, re.MULTILINE)
    memory = re.search(r"^memory = (\d{1,9})M\s*$", text, re.MULTILINE)
    return int(cpus[1]) if cpus else None, int(memory[1]) << 20 if memory else None


def machine_of(image, smp, memory):
    """CPUs and bytes of memory of the machine to boot the image on: what was asked for, else what it needs."""
    cpus_needed, memory_needed = needs_of(image) if smp is None or memory is None else (None, None)
    if smp is None:
        smp = cpus_needed or SMP_USUAL
    if memory is None:
        memory = max(MEMORY_USUAL, (memory_needed or 0) + MEMORY_MORE)
    return smp, memory


def cpu_count(text):
    """--smp: a number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of CPUs")
    return int(text)


def memory_bytes(text):
    """--mem in bytes."""
    try:
        return emulator.size_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_arguments(parser, limit="512M or 16G"):
    parser.add_argument("image", metavar="plinth.conf|IMG", help="a config, or a disk image, as tools/mkusb writes it")
    parser.add_argument("--efi", metavar="FILE", help="the hypervisor, for a config (default: the one that was built)")
    parser.add_argument("--smp", type=cpu_count, metavar="N", help="number of CPUs (default: what the config needs)")
    parser.add_argument("--mem", type=memory_bytes, metavar="SIZE",
                        help=f"memory, {limit} (default: what the config needs, at least 1024M)")


def prepare(options, folder):
    """Makes options.image an image, in the folder where it is a config, and options.smp and options.mem numbers."""
    if not is_image(options.image):
        options.image = make_image(options.image, options.efi, folder)
    elif options.efi:
        raise StickError("--efi goes with a config; this image has a hypervisor already")
    options.smp, options.mem = machine_of(options.image, options.smp, options.mem)
