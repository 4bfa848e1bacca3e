#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debugging as docs/debugging.md says: one boot of the small guest in QEMU under gdb (tools/run-gdb). A breakpoint on a
function of the hypervisor is hit with its source line; the callers of an exit's handler are the run loop's; a breakpoint
in the guest is hit with its source line, and the guest's memory there is the code of its file.

Prints `ok gdb (seconds)` or `FAILED gdb: reason`.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools"))
import plinth_tree  # noqa: E402

GUEST = os.path.join(plinth_tree.BUILD, "guests", "hello.elf")
LOG = os.path.join(plinth_tree.BUILD, "logs", "gdb.log")
LIMIT_S = 300  # only a hang reaches it
CODE_BYTES = 16
COMMANDS = (
    "tbreak hv_main", "continue",
    "tbreak exit_dispatch", "continue", "backtrace",
    "tbreak say_cpu", "continue", f"plinth guest-memory hello $pc {CODE_BYTES}",
)
EXPECTED = (
    r"^plinth: BOOTX64\.EFI was loaded at 0x[0-9a-f]+",
    r"^Temporary breakpoint \d+, efi_main \(.*\) at efi/efi_main\.c:\d+$",
    r"^Temporary breakpoint \d+, hv_main \(info=0x[0-9a-f]+\) at hv/hv_main\.c:\d+$",
    r"^Temporary breakpoint \d+, exit_dispatch \(.*\) at hv/[\w/]+\.c:\d+$",
    r"^#\d+ .*\bsvm_\w+ \(.*\) at hv/svm/\w+\.c:\d+$",
    r"^#\d+ .*\bcpu_loop_run \(.*\) at hv/[\w/]+\.c:\d+$",
    r"^#\d+ .*\bstart \(.*\) at hv/hv_main\.c:\d+$",
    r"^Temporary breakpoint \d+, say_cpu \(\) at (\./)?tests/guests/hello\.c:\d+$",
    r"^0x[0-9a-f]+:  (?P<code>[0-9a-f ]+)$",
)


def session(folder):
    """What gdb printed."""
    conf, image = os.path.join(folder, "plinth.conf"), os.path.join(folder, "hello.img")
    with open(conf, "w", encoding="utf-8") as out:
        out.write("[guest hello]\nmemory = 16M\nkernel = hello.elf\n")
    os.symlink(GUEST, os.path.join(folder, "hello.elf"))
    subprocess.run([os.path.join(plinth_tree.ROOT, "tools", "mkusb"), "-c", conf, "-o", image], check=True)
    command = [os.path.join(plinth_tree.ROOT, "tools", "run-gdb"), "--batch", "--guest", GUEST, image]
    for each in COMMANDS:
        command += ["--command", each]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT_S, text=True, check=False).stdout


def address_of(said):
    """Where the guest stopped: the address in the line that guest-memory printed."""
    return int(re.search(r"^(0x[0-9a-f]+):  ", said, re.MULTILINE)[1], 16)


def code_in_file(address):
    """The bytes that the ELF file has for this address. ELF64: program headers of 56 bytes, from the offset at 32 on."""
    with open(GUEST, "rb") as elf:
        data = elf.read()
    first, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    for at in range(first, first + 56 * count, 56):
        _, _, offset, start, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", data, at)
        if start <= address < start + size:
            return data[offset + address - start:][:CODE_BYTES]
    return b""


def check(said):
    at = 0
    for pattern in EXPECTED:
        found = re.compile(pattern, re.MULTILINE).search(said, at)
        assert found, f"gdb did not print, or not in this place: {pattern}"
        at = found.end()
    assert bytes.fromhex(found["code"]) == code_in_file(address_of(said)), "the guest's memory is not what its file has"


def main():
    began, said = time.monotonic(), ""
    os.makedirs(os.path.dirname(LOG), exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            said = session(folder)
        check(said)
        print(f"ok gdb ({time.monotonic() - began:.0f} s)")
        return 0
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"FAILED gdb: {error}; log {LOG}")
        print("\n".join(f"    | {line}" for line in said.splitlines()[-12:]))
        return 1
    finally:
        with open(LOG, "w", encoding="utf-8") as out:
            out.write(said)


if __name__ == "__main__":
    sys.exit(main())
