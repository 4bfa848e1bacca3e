#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a Linux boot costs under Plinth: the ratio to the same kernel and initramfs booted by QEMU directly.

Both runs count instructions instead of time (`-icount shift=0`: one tick of the TSC is one instruction), so the
figures repeat and do not depend on the host's load. Both end where the initramfs prints the TSC, just before the shell.

Under Plinth the guest's TSC starts with 0 at its first instruction, so what it prints is the cost, the hypervisor's
own instructions included. QEMU's own boot has the firmware before the kernel: a breakpoint at the kernel's 32-bit
entry, through QEMU's debugger port, and one RDTSC executed there give the start.

The machine has no graphics card in both runs. A third run has one, because the hypervisor then also draws what the
guests print: the difference is what the screen console costs.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import cases
import run
import script

ICOUNT = ("-icount", "shift=0,sleep=off")
MEMORY = "256M"
ENTRY_32 = 0x100000  # Linux boot protocol: a bzImage's protected-mode code is loaded and entered here
RDTSC = b"\x0f\x31"
SHELL_LINE = re.compile(r"tsc at the shell: (\d+)")
LIMIT_S = 900
RAX, RDX, RIP = 0, 3, 16  # places in the debugger's register block, 8 bytes each


class Debugger:
    """As much of GDB's remote protocol as this needs."""

    def __init__(self, path, deadline):
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.socket.settimeout(LIMIT_S)
        self.buffer = b""

    def byte(self):
        while not self.buffer:
            self.buffer = self.socket.recv(4096)
            if not self.buffer:
                raise run.CaseError("QEMU closed its debugger port")
        first, self.buffer = self.buffer[:1], self.buffer[1:]
        return first

    def packet(self):
        while self.byte() != b"$":
            pass
        out = b""
        while (one := self.byte()) != b"#":
            out += one
        self.byte(), self.byte()
        self.socket.sendall(b"+")
        return out.decode()

    def send(self, text):
        self.socket.sendall(b"$" + text.encode() + b"#%02x" % (sum(text.encode()) & 0xFF))

    def ask(self, text):
        self.send(text)
        return self.packet()

    def expect(self, text, start):
        answer = self.ask(text)
        if not answer.startswith(start):
            raise run.CaseError(f"QEMU's debugger answered '{answer}' to '{text}'")
        return answer

    def tsc_at(self, address):
        """Runs to the address, executes one RDTSC in its place, puts everything back. The value of the TSC."""
        self.ask("?")
        self.ask("qXfer:features:read:target.xml:0,ffb")  # QEMU writes single registers only after this was asked
        self.expect(f"Z1,{address:x},1", "OK")
        self.expect("c", "T")
        self.expect(f"z1,{address:x},1", "OK")
        registers = self.ask("g")
        memory = self.ask(f"m{address:x},{len(RDTSC)}")
        self.expect(f"M{address:x},{len(RDTSC)}:{RDTSC.hex()}", "OK")
        self.expect("s", "T")
        after = bytes.fromhex(self.ask("g"))
        low, high = (int.from_bytes(after[8 * place:8 * place + 4], "little") for place in (RAX, RDX))
        self.expect(f"M{address:x},{len(RDTSC)}:{memory}", "OK")
        for place in (RAX, RDX, RIP):
            self.expect(f"P{place:x}={registers[16 * place:16 * place + 16]}", "OK")
        return high << 32 | low

    def go_on(self):
        self.expect("D", "OK")
        self.socket.close()


def wait_for_shell(process, log):
    """Reads serial output to the TSC line. The TSC at the shell."""
    session = run.Session(process, log, [script.Expect(SHELL_LINE.pattern + r"\s*\n")])
    deadline = time.monotonic() + LIMIT_S
    while session.steps and time.monotonic() < deadline and session.read():
        session.advance()
    found = SHELL_LINE.search(session.text)
    if not found:
        raise run.CaseError(f"the shell was not reached; {log.name}")
    return int(found[1]), session


def boot_directly(folder):
    gdb = os.path.join(folder, "gdb")
    command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", MEMORY, "-display", "none",
               "-vga", "none", "-net", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio", *ICOUNT, "-S",
               "-chardev", f"socket,id=gdb,path={gdb},server=on,wait=off", "-gdb", "chardev:gdb",
               "-kernel", run.built_path(cases.LINUX), "-initrd", run.built_path(cases.INITRAMFS),
               "-append", "console=ttyS0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        debugger = Debugger(gdb, time.monotonic() + 20)
        start = debugger.tsc_at(ENTRY_32)
        debugger.go_on()
        with open(os.path.join(run.LOGS, "bench-boot-direct.log"), "wb") as log:
            end, _ = wait_for_shell(process, log)
        return end - start
    finally:
        process.kill()
        process.wait()


def boot_under_plinth(*extra):
    case = cases.linux_case("bench", cases.linux_conf(MEMORY), emulators=script.QEMU, extra=(*ICOUNT, *extra))
    case.timeout_s = LIMIT_S
    image = run.make_stick(case)
    log_path = os.path.join(run.LOGS, "bench-boot-plinth.log")
    process = subprocess.Popen(run.command_line(case, "qemu-svm", image, log_path), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        with open(log_path, "wb") as log:
            ticks, session = wait_for_shell(process, log)
            session.steps = [script.Expect(cases.PROMPT), script.Send("poweroff\n")]
            session.run(time.monotonic() + LIMIT_S)
        exits = re.search(r"(\d+) exits", session.text)
        return ticks, int(exits[1]) if exits else None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.makedirs(run.LOGS, exist_ok=True)
    os.makedirs(run.STICKS, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="plinth-bench-") as folder:
            direct = boot_directly(folder)
        print(f"QEMU -kernel: {direct / 1e6:10.1f} M ticks from the kernel's entry to the shell", flush=True)
        plinth, exits = boot_under_plinth("-vga", "none")
        more = f", {exits} exits of the guest until its end" if exits is not None else ""
        print(f"under Plinth: {plinth / 1e6:10.1f} M ticks{more}", flush=True)
        screen, _ = boot_under_plinth()
    except run.CaseError as error:
        print(f"bench-boot: {error}", file=sys.stderr)
        return 1
    print(f"... with the screen: {screen / 1e6:3.1f} M ticks")
    print(f"ratio: {plinth / direct:.3f}, with the screen {screen / direct:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
