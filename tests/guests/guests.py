#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guests of tests/guests as a table: what they are called, their files, and what plinth.conf says about them.

  guests.py list                         names, one a line
  guests.py config NAME... [--build DIR] a plinth.conf with these guests, for tools/mkusb -c (paths relative to DIR/guests)
  guests.py oracle [--build DIR] [NAME...]
                                         boots those that plain QEMU can boot, because a PC behaves as they say
"""
import argparse
import os
import pathlib
import subprocess
import sys

CMDLINE = "alpha beta=1"
MODULE = "module.txt one two"
ORACLE_LIMIT_S = 240  # only a hang reaches this
ENTRY = [f"cmdline = {CMDLINE}", f"module = {MODULE}"]

# name: (file, config lines, QEMU can boot it)
BOTH = ["ports", "apic-timer", "pic-timer", "exceptions", "reserved", "mmio", "fpu", "cpuid", "msr", "walk-oracle", "state",
        "smp", "nmi-shared"]
NOT_ON_TCG = {"reserved", "reserved-32"}  # QEMU's CPU does not check these, natively or nested
GUESTS = {
    "hello": ("hello.elf", ["protocol = elf"], True),
    "entry-elf64": ("entry-elf64.elf", ["protocol = elf"] + ENTRY, False),
    "entry-elf32": ("entry-elf32.elf.gz", ["protocol = elf"] + ENTRY, False),
    "entry-pvh": ("entry-pvh.elf", ["protocol = pvh"] + ENTRY, True),
    "entry-multiboot": ("entry-multiboot.elf", ENTRY, True),
    "entry-multiboot2": ("entry-multiboot2.elf.gz", ENTRY, False),
    "entry-flat16": ("entry-flat16.bin", ["protocol = flat", "load-address = 0x7c00", "entry = 0x7c00", "mode = 16"], False),
    "realmode": ("realmode.bin", ["protocol = flat", "load-address = 0x7c00", "entry = 0x7c00", "mode = 16"], True),
    "entry-flat32": ("entry-flat32.bin.gz", ["protocol = flat", "load-address = 0x8000", "entry = 0x8000", "mode = 32"] + ENTRY,
                     False),
    "entry-flat64": ("entry-flat64.bin",
                     ["protocol = flat", "load-address = 0x200000", "entry = 0x200000", "mode = 64"] + ENTRY, False),
    "entry-linux32": ("entry-linux32.bzimage.gz", [f"cmdline = {CMDLINE}", "initrd = module.txt"], False),
    "entry-linux64": ("entry-linux64.bzimage", [f"cmdline = {CMDLINE}", "initrd = module.txt"], False),
}
GUESTS["entry-vmlinux"] = ("entry-vmlinux.elf", ["protocol = linux", f"cmdline = {CMDLINE}", "initrd = module.txt"], False)
PC = sorted(path.stem for path in pathlib.Path(__file__).parent.glob("pc-*.c"))  # corners of a PC
PC_EXTRA = {"pc-testdev": ["debug-ports = yes"], "smp": ["cpus = 2"], "pc-watchdog": ["rng = yes"]}  # a PCI bus has the watchdog
for name in BOTH + PC:
    extra = PC_EXTRA.get(name, [])
    GUESTS[name] = (f"{name}.elf", ["protocol = elf", *extra], name not in NOT_ON_TCG)
    GUESTS[name + "-32"] = (f"{name}-32.elf", ["protocol = multiboot", *extra], name not in NOT_ON_TCG)
# What 64-bit code cannot do: task switches, other paging modes.
for name in ("task-32", "paging-32"):
    GUESTS[name] = (f"{name}.elf", ["protocol = multiboot"], True)

GUESTS["smp-x2apic"] = ("smp-x2apic.elf", ["protocol = elf", "cpus = 2"], False)  # QEMU's CPU has no x2APIC


def config(names):
    lines = ["[hypervisor]", "when-all-stopped = poweroff", ""]
    for name in names:
        file, extra, _ = GUESTS[name]
        lines += [f"[guest {name.replace('multiboot', 'mb')}]", f"kernel = {file}", "memory = 16M", *extra, ""]
    return "\n".join(lines)


def measures_time(name):
    return any(word in name for word in ("timer", "hpet", "pit"))


def run_oracle(build, name):
    """Boots one guest in QEMU; gives its last line."""
    file = GUESTS[name][0]
    command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "64", "-display", "none",
               "-serial", "stdio", "-net", "none", "-no-reboot"]
    if name.startswith("pc-watchdog"):
        command += ["-device", "i6300esb"]
    if name.startswith("smp"):
        command += ["-smp", "2"]
    if measures_time(name):
        command += ["-icount", "shift=1,sleep=off"]  # then times do not depend on the host's load
    if file.endswith(".bin"):
        command += ["-drive", f"file={file.replace('.bin', '.boot')},format=raw"]  # started by the BIOS
    else:
        command += ["-kernel", file]
    if name.startswith("entry-"):
        # Multiboot modules carry arguments; PVH's initrd is a plain file name.
        command += ["-append", CMDLINE, "-initrd", MODULE if "multiboot" in name else "module.txt"]
    try:
        done = subprocess.run(command, cwd=os.path.join(build, "guests"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=ORACLE_LIMIT_S, check=False)
        # QEMU's own warnings are not the guest's last word: they count only where the guest said nothing.
        lines = (done.stdout or done.stderr).decode(errors="replace").split("\n")
    except subprocess.TimeoutExpired:
        return f"no end within {ORACLE_LIMIT_S} s"
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1] if lines else "no output"


# The oracle shows that a PC can be as a guest says; it is no test of Plinth. QEMU's devices run beside its CPU by the
# host's clock, so on a busy host a guest that counts interrupts may once see one more.
ORACLE_TRIES = 3


def oracle_line(build, name):
    """The result line of one guest."""
    for _ in range(ORACLE_TRIES):
        last = run_oracle(build, name)
        good = last == f"PASS {name.removesuffix('-32')}"
        if good or last.startswith("no end"):
            break
    return f"ok guest-oracle-{name}" if good else f"FAILED guest-oracle-{name}: {last}"


def oracle(build, names):
    failed = 0
    for name in names or [n for n in GUESTS if GUESTS[n][2]]:
        line = oracle_line(build, name)
        failed += line.startswith("FAILED")
        print(line, flush=True)
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["list", "config", "oracle"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in GUESTS]
    if unknown:
        sys.exit(f"guests.py: no guest is called {unknown[0]}; there are: {', '.join(GUESTS)}")
    if arguments.command == "list":
        print("\n".join(GUESTS))
        return 0
    if arguments.command == "config":
        print(config(arguments.names or list(GUESTS)))
        return 0
    return oracle(arguments.build, arguments.names)


if __name__ == "__main__":
    sys.exit(main())
