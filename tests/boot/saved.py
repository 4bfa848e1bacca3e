# SPDX-License-Identifier: MIT
"""Saved machines: what the firmware does before it looks at the stick is done once for each kind of machine.

It is the same in every boot, and longer than most tests: 4 of 6 seconds in QEMU, 11 of 12 in Bochs. So a machine is booted
from a stick with tests/boot/launcher.c and saved while that waits; the tests that have such a machine go on from there. The
launcher has the firmware look at its disk controller again, with the test's own stick in it, and starts the hypervisor as
the boot manager does. What a test looks at begins there.

Some boot the whole way all the same: those whose case says so (at least one per emulator), those whose machine has
something of its own, and all with `run.py --whole`. A state is used as long as emulator, firmware, runners and launcher are
the same; it is kept in build/saved/.
"""

import collections
import fcntl
import hashlib
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
FOLDER = os.path.join(BUILD, "saved")
LAUNCHER = os.path.join(FOLDER, "launcher.efi")
TOOLS = os.path.join(ROOT, "tools")
EMULATORS = {"run-qemu": "qemu-system-x86_64", "run-bochs": "bochs-bin"}
FIRMWARE = {"run-qemu": "/usr/share/OVMF/OVMF_CODE_4M.fd", "run-bochs": "/usr/share/ovmf/OVMF.fd"}
USERS_MIN = 3  # a state is worth its making, which takes as long as two whole boots, from so many tests on
LIMIT_S = 900  # only a hang reaches it

# tests/boot/launcher.c knows its own stick by this text, at this sector of the volume, which begins at 1 MiB.
MARK, MARK_AT = b"PLINTH-LAUNCHER", (1 << 20) + 16 * 512
# The stick that a machine is saved with, whose size the firmware keeps in mind: a hole in the file. Bochs writes all of it
# into what it saves, so a test with a larger stick boots the whole way there.
STICK_BYTES = {"run-qemu": 4 << 30, "run-bochs": 512 << 20}

enabled = True  # False: nothing is saved, and nothing goes on from what was


class SaveError(Exception):
    """Why there is no state, in a sentence."""


def stamp(path):
    """What tells one version of a large file from another."""
    known = os.stat(path)
    return f"{path} {known.st_size} {known.st_mtime_ns}"


def fingerprint(machine):
    runner = machine[0]
    text = [*machine, stamp(shutil.which(EMULATORS[runner]) or EMULATORS[runner]), stamp(FIRMWARE[runner])]
    for path in (os.path.join(TOOLS, runner), os.path.join(TOOLS, "emulator.py"), LAUNCHER):
        with open(path, "rb") as content:
            text.append(hashlib.sha256(content.read()).hexdigest())
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:12]


def name_of(machine):
    """The runner and its options, as a file's name."""
    return "-".join(word.removeprefix("--") for word in machine).replace(",", "_").removeprefix("run-")


def path_of(machine):
    return os.path.join(FOLDER, f"{name_of(machine)}-{fingerprint(machine)}")


def state(machine, image=None):
    """The path for --resume, or None where this machine has not been saved, or with a smaller stick than this image."""
    if not enabled or (image and os.path.getsize(image) > STICK_BYTES[machine[0]]):
        return None
    try:
        path = path_of(machine)
    except OSError:
        return None  # no launcher, or another emulator
    return path if os.path.exists(path) else None


def worth_saving(machines):
    """Of the machines of all tests those that have no state yet, and enough tests."""
    counted = collections.Counter(machines)
    return [machine for machine, users in counted.items() if enabled and users >= USERS_MIN and not state(machine)]


def launcher_stick(folder, size):
    conf, image = os.path.join(folder, "plinth.conf"), os.path.join(folder, "launcher.img")
    with open(conf, "w", encoding="utf-8") as out:
        out.write("# nothing\n")
    subprocess.run([os.path.join(TOOLS, "mkusb"), "--no-check", "-c", conf, "-o", image, "--efi", LAUNCHER], check=True,
                   stdout=subprocess.DEVNULL)
    with open(image, "r+b") as stick:
        stick.seek(MARK_AT)
        stick.write(MARK)
        # QEMU's state has the size of the disk, and the firmware refuses a partition behind its end.
        stick.truncate(size)
    return image


def remove_older(machine, path):
    for name in os.listdir(FOLDER):
        if name.rpartition("-")[0] == name_of(machine) and os.path.join(FOLDER, name) != path:
            remove(os.path.join(FOLDER, name))


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.remove(path)


def save(machine, log, ended=lambda process: process.wait()):
    """Boots the machine and saves it, unless another process has done so in the meantime."""
    path = path_of(machine)
    work = path + ".new"
    with open(os.path.join(FOLDER, name_of(machine) + ".lock"), "w", encoding="ascii") as lock, open(log, "wb") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return
        remove_older(machine, path)
        remove(work)
        os.makedirs(work)
        to = os.path.join(work, "state")
        options = ["/dev/null" if word == "COM2" else word for word in machine[1:]]
        command = [os.path.join(TOOLS, machine[0]), *options, "--timeout", str(LIMIT_S), "--save", to, launcher_stick(work, STICK_BYTES[machine[0]])]
        if machine[0] == "run-bochs":
            command[1:1] = ["--log", log + ".bochs"]
        status = ended(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output))
        if status == 0 and os.path.exists(to):
            os.rename(to, path)
        remove(work)
    if status != 0:
        raise SaveError(f"{name_of(machine)}: the runner ended with status {status}")
