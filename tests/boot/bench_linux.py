#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What Plinth costs a Linux: tests/bench/linux_work.c as init, in QEMU alone and as a guest. One vCPU, a tick of the TSC is
an instruction (`-icount shift=0`), the same kernel, without mitigations. Prints a Markdown table: instructions of one piece
of work, the exits that it makes by kind, and the goal: of issue 17 with nested paging, of issue 18 with `--paging shadow`,
where the CPU has no nested paging.

Exits are the difference of two statuses of the hypervisor, less those of the work `nothing`.

With COUNT=FILE in the environment each instruction is counted, too, in FILE-bare and FILE-guest-nested: window 2N+1 of these
is the work N, from 0 on (tests/bench/count-functions shows it by function).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import bench_boot
import cases
import run
import script

sys.path.insert(0, os.path.join(run.ROOT, "tools"))
import newc  # noqa: E402  (the folder is in no package)

PROGRAM = os.path.join(run.BUILD, "bench", "linux-work")
WORKS = ("nothing", "touch-4k", "touch-2m", "fork-exit", "fork-exec", "ping-pong", "compute", "getpid", "chase", "gettime",
         "sleep", "serial")
CMDLINE = "console=ttyS0 mitigations=off norandmaps nokaslr quiet"  # the same work in each run
MEMORY = "256M"
STATUS = "\x1ds"
RESULT = re.compile(r"work ([\w-]+) count (\d+) ticks (\d+)")
EXITS = re.compile(r"\d+ exits, (.*)")

CPUS = {"nested": "max", "shadow": "max,-npt"}
SLEEP_TICKS = 1000000  # what `sleep` waits for, beside its work
MORE, RATIO = "instructions more than bare for one piece of work", "of bare"
# What is asked, as it is printed; how it is measured, the limit, and exits of one piece of work.
GOALS = {
    "shadow": {
        "boot": ("1.05 of bare, 20,000 exits", RATIO, 1.05, 20000),
        "touch-4k": ("1,200 more, 1.3 exits", MORE, 1200, 1.3),
        "touch-2m": ("no more exits than 215 for 32", MORE, None, 215 / 32),
        "fork-exit": ("120,000 more, 30 exits", MORE, 120000, 30),
        "fork-exec": ("120,000 more, 35 exits", MORE, 120000, 35),
        "ping-pong": ("700 more", MORE, 700, None),
        "compute": ("1.001 of bare", RATIO, 1.001, None),
        "getpid": ("1.001 of bare", RATIO, 1.001, None),
        "chase": ("1.001 of bare", RATIO, 1.001, None),
    },
    "nested": {
        "boot": ("0.90 of bare", RATIO, 0.90, None),
        "touch-4k": ("1.004 of bare", RATIO, 1.004, None),
        "touch-2m": ("1.004 of bare", RATIO, 1.004, None),
        "fork-exit": ("1.004 of bare", RATIO, 1.004, None),
        "fork-exec": ("1.004 of bare", RATIO, 1.004, None),
        "ping-pong": ("1.003 of bare", RATIO, 1.003, None),
        "compute": ("1.001 of bare", RATIO, 1.001, None),
        "getpid": ("1.001 of bare", RATIO, 1.001, None),
        "chase": ("1.001 of bare", RATIO, 1.001, None),
        "gettime": ("1.001 of bare", RATIO, 1.001, None),
        "sleep": ("1,500 more", MORE, 1500, None),
        "serial": ("5 of bare", RATIO, 5, None),
    },
}


def count_options(name):
    """For QEMU: each instruction is counted, for tests/bench/count-functions."""
    if "COUNT" not in os.environ:
        return ()
    return ("-plugin", f"{os.path.join(run.BUILD, 'bench', 'qemu-count.so')},out={os.environ['COUNT']}-{name}")


def make_initramfs(path):
    with open(path, "wb") as out, open(PROGRAM, "rb") as program:
        archive = newc.Archive(out)
        archive.add("dev", newc.MODE_FOLDER)
        archive.add("dev/console", newc.MODE_CHARACTER, device=newc.CONSOLE)
        archive.add("init", newc.MODE_PROGRAM, program.read())
        archive.end()


def steps(ask_status):
    """Each work after a line; before it, and at the end, the status where there is a hypervisor."""
    for name in (*WORKS, "the end"):
        yield script.Expect(rf"ready for {name}\s*\n")
        if ask_status:
            yield script.Send(STATUS)
            yield script.Expect(r"end of the status")
        yield script.Send("\n")


def results_of(text):
    return {found[1]: (int(found[2]), int(found[3])) for found in RESULT.finditer(text)}


def work_in(command, log_name, ask_status, start=None):
    """All of the work. The session's text, and what `start` found before the first instruction of the kernel."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        at_entry = start() if start else 0
        with open(os.path.join(run.LOGS, log_name), "wb") as log:
            session = run.Session(process, log, steps(ask_status))
            session.run(time.monotonic() + bench_boot.LIMIT_S)
        if f"work {WORKS[-1]} " not in session.text:
            raise run.CaseError(f"the work did not end; {log_name}")
        return session.text, at_entry
    finally:
        process.kill()
        process.wait()


def directly(folder, initramfs, cpu):
    gdb = os.path.join(folder, "gdb")

    def start():
        debugger = bench_boot.Debugger(gdb, time.monotonic() + 20)
        ticks = debugger.tsc_at(bench_boot.ENTRY_32)
        debugger.go_on()
        return ticks

    command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", cpu, "-m", MEMORY, "-display", "none",
               "-vga", "none", "-net", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio", *bench_boot.ICOUNT,
               "-S", "-chardev", f"socket,id=gdb,path={gdb},server=on,wait=off", "-gdb", "chardev:gdb",
               "-kernel", run.built_path(cases.LINUX), "-initrd", initramfs, "-append", CMDLINE, *count_options("bare")]
    text, at_entry = work_in(command, "bench-linux-direct.log", False, start)
    found = results_of(text)
    return {**found, "boot": (1, found["boot"][1] - at_entry)}


def counts_of(line):
    """`CPUID 5 (3%), port I/O 7 (4%)` as numbers by kind."""
    return {found[1].strip(): int(found[2]) for found in re.finditer(r"([^,]+?) (\d+) \(\d+%\)", line)}


def under_plinth(initramfs, paging):
    with open(initramfs, "rb") as content:
        config = cases.linux_conf(MEMORY, f"paging = {paging}\n").replace("console=ttyS0", CMDLINE)
        case = script.Case(f"bench-linux-{paging}", config, [], cpu=CPUS[paging], emulators=script.QEMU,
                           files={"vmlinuz": cases.LINUX, "initramfs.cpio": content.read()},
                           extra=(*bench_boot.ICOUNT, "-vga", "none", *count_options(f"guest-{paging}")))
    case.timeout_s = bench_boot.LIMIT_S
    image = run.make_stick(case)
    log_path = os.path.join(run.LOGS, f"bench-linux-{paging}-plinth.log")
    text, _ = work_in(run.command_line(case, "qemu-svm", image, log_path), os.path.basename(log_path), True)
    return results_of(text), [counts_of(line) for line in EXITS.findall(text)]


def more(after, before, count, nothing):
    """Exits of one piece of work, by kind."""
    kinds = {kind: (after[kind] - before.get(kind, 0) - nothing.get(kind, 0)) / count for kind in after}
    return {kind: value for kind, value in kinds.items() if value * count >= 1}


def is_met(goal, bare, guest, exits):
    _, measure, limit, exit_limit = goal
    cost = guest / bare if measure == RATIO else guest - bare
    return (limit is None or cost <= limit) and (exit_limit is None or exits <= exit_limit)


def row(name, goals, bare, guest, exits):
    waited = SLEEP_TICKS if name == "sleep" else 0
    one, other = (ticks / count - waited for count, ticks in (bare[name], guest[name]))
    total = sum(exits.values())
    kinds = ", ".join(f"{kind} {value:,.2f}" if value < 100 else f"{kind} {value:,.0f}"
                      for kind, value in sorted(exits.items(), key=lambda item: -item[1])[:4])
    verdict = f"{goals[name][0]} | {'met' if is_met(goals[name], one, other, total) else 'not met'}" if name in goals else " | "
    print(f"| {name} | {one:,.0f} | {other:,.0f} | {other / one:.4f} | {other - one:,.0f} | {total:,.2f} ({kinds}) | {verdict} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paging", choices=sorted(CPUS), default="nested")
    paging = parser.parse_args().paging
    os.makedirs(run.LOGS, exist_ok=True)
    os.makedirs(run.STICKS, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="plinth-bench-") as folder:
            initramfs = os.path.join(folder, "initramfs.cpio")
            make_initramfs(initramfs)
            bare = directly(folder, initramfs, CPUS[paging])
            guest, statuses = under_plinth(initramfs, paging)
    except run.CaseError as error:
        print(f"bench-linux: {error}", file=sys.stderr)
        return 1
    goals = GOALS[paging]
    print(f"| work | bare | {paging} | ratio | more | exits | goal | |\n|---|---|---|---|---|---|---|---|")
    row("boot", goals, bare, guest, statuses[0])
    nothing = more(statuses[1], statuses[0], 1, {})
    for i, name in enumerate(WORKS[1:], 1):
        row(name, goals, bare, guest, more(statuses[i + 1], statuses[i], bare[name][0], nothing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
