#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots the hostile guests beside the neighbour, on the same CPU and on another one, and prints the table of attacks and
outcomes.

  hostile.py [--build DIR] [--emulator qemu-svm|bochs-vmx|bochs-svm] [--boot NAME] [--mode shared|apart] [--measure]
  hostile.py --config BOOT MODE EMULATOR     prints a plinth.conf instead
  hostile.py --table                         prints what the last runs of all boots gave, as docs/isolation.md has it

Exit status 1 when any attack had another outcome than the table of this file says, or the neighbour noticed.
"""
import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "boot"))
import faults  # noqa: E402

EMULATORS = {"qemu-svm": ["run-qemu"], "bochs-vmx": ["run-bochs", "--cpu", "corei7_skylake_x"],
             "bochs-svm": ["run-bochs", "--cpu", "ryzen"]}
MODES = ("shared", "apart")
BOOTS = ("survive", "end", "endless")

# With --measure the test build says how long exits took (tests/faults/measure.c). In QEMU a tick is an instruction then,
# and 1 GHz of them is the TSC's rate, so that 50 us are 50,000; in Bochs it always is.
MEASURE = "measure:exits"
MEASURE_QEMU = ("-icount", "shift=0,sleep=off")
MEASURED = r"measured on CPU \d+: (exit (\d+) \(.*?\), pass (\d+), end (\d+))"
EXIT_LIMIT = 100000  # instructions, of an exit and of a pass of the CPU's loop
END_LIMIT = 3000000  # of a pass in which a guest ends, with its report on all consoles: once for each end

# Attacks that a guest survives: they run one after the other in two guests.
SWEEP = ["addresses", "page-tables", "unaligned-mmio", "ports", "devices", "string-io", "cpuid", "hypercalls",
         "control-registers", "reserved-bits", "task-priority", "xcr0", "instructions",
         "virtualization", "cache-control", "smis", "debug-registers", "descriptor-tables", "apic-registers", "apic-moves",
         "msrs"]
STORM = ["periodic-timer", "periodic-timer-halted", "deadline-in-the-past", "old-timers", "self-ipis", "nmis", "foreign-cpus",
         "console-flood", "exits", "long-strings", "cmos-alarms", "strings-on-devices", "spin-interrupts-off"]
LONG = ["cmos-alarms", "strings-on-devices", "long-strings", "console-flood"]  # the small form of --measure

# Attacks that end the guest, and what the hypervisor must say of it: a guest each.
RESET = r"stopped: asked for a reset"
DELIVERY = r"failed: the delivery of vector \d+ touches guest-physical 0x\w+, which is not memory"
TRIPLE = r"failed: triple fault"
WATCHDOG = r"failed: it never halted a CPU for 300 ms"
END = {
    "triple-fault": TRIPLE,
    "idt-in-device": r"failed: ",
    "idt-fault": DELIVERY,
    "idt-in-apic": DELIVERY,
    "gdt-in-device": r"failed: ",
    "stack-in-device": DELIVERY,
    "push-in-device": r"failed: ",
    "stack-in-apic": DELIVERY,
    "stack-nowhere": TRIPLE,
    "root-in-device": r"failed: ",
    "root-beyond": r"failed: ",
    "walk-in-device": r"stopped: powered off",
    "walk-in-apic": r"stopped: powered off",
    "code-in-device": r"failed: ",
    "code-in-apic": r"failed: ",
    "code-over-edge": r"failed: ",
    "jump-nowhere": TRIPLE,
    "halt-for-good": r"stopped: halted with interrupts off",
    "reset-cf9": RESET,
    "reset-64": RESET,
    "reset-92": RESET,
    "reset-dword": RESET,
    "init-to-itself": RESET,
    "init-to-all": RESET,
    "init-by-ioapic": r"stopped: ",
    "debug-exit": r"failed: ended itself through the debug-exit port with 0x2a",
    "sleep-states": r"stopped: ",
    "apic-onto-code": r"stopped: ",
    "no-gates": TRIPLE,
    "clear-pae": TRIPLE,
    "clear-pg": r"failed: ",
}
# Those in the local APIC's page, where VMX's CPU serves it (quirks = none): a boot of their own.
APIC = {name: END[name] for name in ("idt-in-apic", "stack-in-apic", "walk-in-apic", "code-in-apic", "apic-onto-code")}
# Attacks without an end: the guest's watchdog ends them. A boot of their own.
ENDLESS = {name: WATCHDOG for name in ("endless-db-data", "endless-db-code", "endless-ac", "spin")}
OWN_FILE = {"endless-ac": "hostile-ac-32.elf"}
RANDOM_SEEDS = (1,)


# QEMU 7.2 itself aborts ("qemu_mutex_iothread_locked") when a nested guest writes CR8 while an interrupt waits; it lets
# guests set reserved bits of CR4, with which VMRUN then fails, and ends the guest at reserved bits of CR3 (#VMEXIT -1).
# QEMU 7.2 has no alignment checks, and no breakpoints on what the delivery of an exception does.
NOT_ON = {"qemu-svm": ("task-priority", "reserved-bits", "endless-ac", "endless-db-data", "endless-db-code")}


def ends_on(emulator, boot="end"):
    attacks = {"endless": ENDLESS, "apic": APIC}.get(boot, END)
    return {name: said for name, said in attacks.items() if name not in NOT_ON.get(emulator, ())}


def hostile_guests(boot, emulator):
    """(name, file, command line) of each."""
    if boot == "longest":
        return [("storm", "hostile-storm.elf", "attack=" + ",".join(LONG))]
    if boot == "survive":
        sweep = [name for name in SWEEP if name not in NOT_ON.get(emulator, ())]
        return [("sweep", "hostile-sweep.elf", "attack=" + ",".join(sweep)), ("storm", "hostile-storm.elf", "")]
    return ([(name, OWN_FILE.get(name, "hostile-end.elf"), f"attack={name}") for name in ends_on(emulator, boot)] +
            [(f"random-{seed}", "hostile-random.elf", f"seed={seed} streams=3000") for seed in RANDOM_SEEDS if boot == "end"])


def code_of(name):
    """The code in front of what the hypervisor says, where an attack leads to one code on both vendors' CPUs."""
    codes = {TRIPLE: "P0300: ", DELIVERY: "P0307: ", WATCHDOG: "P0309: "}
    return {"debug-exit": "P0306: "}.get(name, codes.get(ENDLESS.get(name, END.get(name)), ""))


def survivors(boot):
    return (("storm", LONG),) if boot == "longest" else (("sweep", SWEEP), ("storm", STORM))


def required(boot, emulator):
    """Texts that the log of a boot must have, for tests/boot/cases.py."""
    rows = [r"^\[neighbour\] PASS neighbour$"]
    if boot in ("end", "endless", "apic"):
        return (*rows, *(rf"{code_of(name)}guest {name} {said}" for name, said in ends_on(emulator, boot).items()))
    return (*rows, *(rf"^\[{guest}\] survived {name}$" for guest, names in survivors(boot)
                     for name in names if name not in NOT_ON.get(emulator, ())))


def config(boot, mode, emulator):
    lines = ["[hypervisor]", "when-all-stopped = poweroff", "quirks = none" if boot == "apic" else "", ""]
    ticks = 40 if boot == "longest" else 150
    guests = [("neighbour", "neighbour.elf", f"ticks={ticks}")] + hostile_guests(boot, emulator)
    for name, file, cmdline in guests:
        cpu = 1 if mode == "apart" and name == "neighbour" else 0
        lines += [f"[guest {name}]", f"kernel = {file}",
                  "protocol = " + ("multiboot" if name in OWN_FILE else "elf"), "memory = 16M", f"cpus = {cpu},"]
        if cpu == 0:
            lines.append("slice = 5ms")
        if name in ENDLESS:
            lines.append("watchdog = halt 300ms")
        if boot in ("end", "apic"):
            lines.append("on-reset = stay")
        if name == "debug-exit":
            lines.append("debug-ports = yes")
        if cmdline:
            lines.append(f"cmdline = {cmdline}")
        lines.append("")
    return "\n".join(lines)


def measuring_image(build):
    """The test build that measures exits."""
    path = os.path.join(build, "guests", "measure.efi")
    with open(os.path.join(build, "faults", "BOOTX64.EFI"), "rb") as image:
        content = faults.image_with(image.read(), MEASURE)
    with open(path, "wb") as out:
        out.write(content)
    return path


def make_image(build, boot, mode, emulator, measure):
    folder = os.path.join(build, "guests")
    path = os.path.join(folder, f"hostile-{boot}-{mode}-{emulator}.conf")
    efi = measuring_image(build) if measure else os.path.join(build, "BOOTX64.EFI")
    with open(path, "w", encoding="utf-8") as out:
        out.write(config(boot, mode, emulator))
    image = path.replace(".conf", ".img")
    subprocess.run([os.path.join(ROOT, "tools/mkusb"), "-c", path, "-o", image, "--efi", efi],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "BUILD": build})
    return image


def run(build, emulator, boot, mode, timeout, measure):
    image = make_image(build, boot, mode, emulator, measure)
    runner, *options = EMULATORS[emulator]
    command = [os.path.join(ROOT, "tools", runner), *options, "--smp", "2" if mode == "apart" else "1", "--timeout",
               str(timeout), image]
    if measure and runner == "run-qemu":
        command += ["--", *MEASURE_QEMU]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          env={**os.environ, "BUILD": build})
    os.makedirs(os.path.join(build, "logs"), exist_ok=True)
    with open(log_of(build, boot, mode, emulator), "wb") as log:
        log.write(done.stdout + done.stderr)
    return done.returncode, done.stdout.decode(errors="replace").replace("\r", "")


def reports(text, name):
    """What the hypervisor said of a guest's end."""
    found = re.search(rf"guest {re.escape(name)} ((?:stopped|failed): .*)", text)
    return found[1].strip() if found else "no report"


def judge_survive(emulator, text):
    rows = []
    for guest, names in (("sweep", SWEEP), ("storm", STORM)):
        for name in names:
            if name in NOT_ON.get(emulator, ()):
                continue
            lived = re.search(rf"^\[{guest}\] survived {name}$", text, re.M)
            rows.append((name, "harmless" if lived else f"did not come back: {reports(text, guest)}", bool(lived)))
    return rows


def judge_end(emulator, text, boot):
    rows = []
    for name, wanted in ends_on(emulator, boot).items():
        said = reports(text, name)
        rows.append((name, said, re.match(wanted, said) is not None))
    for seed in RANDOM_SEEDS if boot == "end" else ():
        said = reports(text, f"random-{seed}")
        rows.append((f"random-{seed}", said, said != "no report"))
    return rows


def judge(emulator, boot, status, text, measure):
    rows = judge_survive(emulator, text) if boot == "survive" else judge_end(emulator, text, boot)
    if measure:
        rows.append(("longest", *longest_exit(text)))
    neighbour = re.search(r"^\[neighbour\] (\d+ ticks .*)$", text, re.M)
    passed = re.search(r"^\[neighbour\] PASS neighbour$", text, re.M) is not None
    rows.append(("neighbour", neighbour[1] if neighbour else "no figures", passed))
    panic = re.search(r"^plinth: error: (panic .*)$", text, re.M)
    wanted = 0 if boot == "survive" else 1
    rows.append(("hypervisor", panic[1] if panic else f"ends with status {status}", not panic and status == wanted))
    return rows


def longest_exit(text):
    """(sentence, whether all are below their limits), of a boot that was measured."""
    rows = re.findall(MEASURED, text)
    if not rows:
        return "nothing was measured", False
    exit_, pass_, end = (max(rows, key=lambda row, at=at: int(row[at])) for at in (1, 2, 3))
    good = int(exit_[1]) <= EXIT_LIMIT and int(pass_[2]) <= EXIT_LIMIT and int(end[3]) <= END_LIMIT
    return f"{exit_[0].split(', pass')[0]}; pass {pass_[2]}, end {end[3]} instructions", good


def exits_are_short(match):
    """For tests/boot/cases.py: None, or what is wrong."""
    said, good = longest_exit(match.string)
    return None if good else f"an exit, a pass or an end took too long: {said}"


def log_of(build, boot, mode, emulator):
    return os.path.join(build, "logs", f"hostile-{boot}-{mode}-{emulator}.log")


def short(outcome):
    """An outcome for a cell: without numbers that differ from run to run, and without what follows a colon in it."""
    outcome = re.sub(r"^(stopped|failed): ", "", outcome)
    outcome = re.sub(r"0x[0-9a-f]{3,}", "...", outcome)
    return outcome if len(outcome) < 60 else re.split(r"[:;,] ", outcome)[0]


def print_table(build):
    """Attacks in rows, boots in columns; from the logs of the last runs."""
    cells, columns = {}, []
    for emulator in EMULATORS:
        for mode in MODES:
            for boot in BOOTS:
                if not os.path.isfile(log_of(build, boot, mode, emulator)):
                    continue
                with open(log_of(build, boot, mode, emulator), encoding="utf-8", errors="replace") as log:
                    text = log.read().replace("\r", "")
                columns += [(emulator, mode)] if (emulator, mode) not in columns else []
                rows = judge_survive(emulator, text) if boot == "survive" else judge_end(emulator, text, boot)
                for name, outcome, good in rows:
                    cells.setdefault(name, {})[emulator, mode] = short(outcome) if good else "FAILED"
                late = re.search(r"latest (\d+) us late", text)
                name = f"neighbour's latest tick, {boot}"
                cells.setdefault(name, {})[emulator, mode] = f"{late[1]} us" if late else "FAILED"
    print("| attack |" + "".join(f" {emulator} {mode} |" for emulator, mode in columns))
    print("|---|" + "---|" * len(columns))
    for name, row in cells.items():
        first = next(column for column in columns if column in row)
        shown = ["same" if len(set(row.values())) == 1 and column in row and column != first else row.get(column, "-")
                 for column in columns]
        print(f"| {name} | " + " | ".join(shown) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.abspath(os.environ.get("BUILD", "build")))
    parser.add_argument("--emulator", action="append", choices=list(EMULATORS))
    parser.add_argument("--boot", action="append", choices=BOOTS)
    parser.add_argument("--mode", action="append", choices=MODES)
    parser.add_argument("--measure", action="store_true", help="how long exits take, in the test build")
    parser.add_argument("--timeout", type=int, default=0)
    parser.add_argument("--config", nargs=3, metavar=("BOOT", "MODE", "EMULATOR"))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print_table(options.build)
        return 0
    if options.config:
        print(config(*options.config))
        return 0
    failed = 0
    for emulator in options.emulator or EMULATORS:
        for boot in options.boot or BOOTS:
            for mode in options.mode or MODES:
                timeout = options.timeout or (200 if emulator == "qemu-svm" and not options.measure else 500)
                status, text = run(options.build, emulator, boot, mode, timeout, options.measure)
                for name, outcome, good in judge(emulator, boot, status, text, options.measure):
                    failed += not good
                    print(f"{'ok' if good else 'FAILED':6} {emulator:9} {mode:6} {name:22} {outcome}", flush=True)
    print(f"{failed} of the outcomes are not as expected" if failed else "every outcome is as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
