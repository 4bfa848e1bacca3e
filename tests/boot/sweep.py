#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every named fault in both vendors' emulators, on a machine with two serial ports: each gives its code, its sentence and
its end on both, and none is silent. Prints a line per fault and emulator, and the table's sum. (make faults)

    tests/boot/sweep.py [--ordinary] [--emulator NAME] [--list] [NAME...]        NAME: the beginning of a fault's name

Three kinds: what the test build makes happen (faults.FAULTS), entries that the CPU refuses (faults.ENTRIES_*: many in a
boot), and what emulator, files and config force (faults.FORCED: cases of the ordinary run, which are not copied here).
"""

import argparse
import dataclasses
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import faults  # noqa: E402
import pool  # noqa: E402
import run  # noqa: E402
import series  # noqa: E402
from script import COM2, EMULATORS  # noqa: E402

CODE = re.compile(r"\bP0\d{3}\b")
# What tests/run does: an emulator for each vendor.
ORDINARY = ("qemu-svm", "bochs-vmx")
NOTHING_STARTED = r"^Plinth: nothing was started"


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault in an emulator, and what each channel must show."""

    name: str
    code: int  # 0: it is survived
    texts: tuple
    start: int = None  # in a series: the number of the start that has it


@dataclasses.dataclass
class Boot:
    case: cases.Case
    emulator: str
    rows: list


def end_of(code):
    if code == 0:
        return r"plinth: result ok"
    return r"plinth: returned to the firmware" if faults.returns(code) else r"plinth: result failed"


def row_of(name, code, text):
    said = rf"\bP{code:04d}\b(?s:.*?){text}" if code else text or "Plinth "
    return Row(name, code, (said, end_of(code)))


def firmware_row(fault, start=None):
    """A call to the firmware that fails: the test build says when it does."""
    row = row_of(fault.name, fault.code, fault.text)
    end = row.texts[1] if start is None else NOTHING_STARTED
    return Row(fault.name, fault.code, (rf"^FAULT {fault.name}$", row.texts[0], end), start)


def firmware_boots(emulator, wanted):
    """Those that return to the firmware follow each other in one boot; those that are survived come all at once."""
    mine = [fault for fault in faults.FIRMWARE if emulator in fault.emulators and wanted(fault.name)]
    returning = [fault for fault in mine if fault.returns and fault.smp == 1]
    survived = [fault for fault in mine if fault.code == 0 and not fault.text]
    if returning:
        rows = [firmware_row(fault, start) for start, fault in enumerate(returning)]
        yield Boot(cases.series_case([fault.name for fault in returning], (emulator,)), emulator, rows)
    if survived:
        joined = dataclasses.replace(survived[0], name="+".join(fault.name for fault in survived))
        case = dataclasses.replace(cases.fault_case(joined, (emulator,)), name="fault-survived")
        yield Boot(case, emulator, [firmware_row(fault) for fault in survived])
    for fault in mine:
        if fault not in returning and fault not in survived:
            yield Boot(cases.fault_case(fault, (emulator,)), emulator, [firmware_row(fault)])


def made_boots(wanted, ordinary):
    for fault in faults.FAULTS:
        if fault not in faults.FIRMWARE and wanted(fault.name):
            for emulator in fault.emulators if not (ordinary and fault.name in faults.NO_VENDORS) else ORDINARY[:1]:
                yield Boot(cases.fault_case(fault, (emulator,)), emulator, [row_of(fault.name, fault.code, fault.text)])
    for emulator in EMULATORS:
        yield from firmware_boots(emulator, wanted)


def entry_boots(wanted):
    for case, entries in cases.entries_cases():
        rows = [Row(f"entry:{guest}", 301, (rf"P0301: guest {guest} failed: the CPU refused to enter", end_of(301)))
                for guest in entries]
        if any(wanted(row.name) for row in rows):
            yield Boot(case, case.emulators[0], rows)


def forced_boots(wanted):
    known = {case.name: case for case in cases.CASES}
    for name, (code, emulators) in faults.FORCED.items():
        for emulator in emulators if wanted(name) else ():
            yield Boot(dataclasses.replace(known[name], emulators=(emulator,)), emulator, [row_of(name, code, "")])


def all_boots(options):
    def wanted(name):
        if options.ordinary and name in faults.ON_REQUEST:
            return False
        return not options.names or any(name.startswith(beginning) for beginning in options.names)

    emulators = options.emulator or (ORDINARY if options.ordinary else tuple(EMULATORS))
    forced = () if options.ordinary else forced_boots(wanted)
    for boot in [*made_boots(wanted, options.ordinary), *entry_boots(wanted), *forced]:
        if boot.emulator in emulators:
            name = f"sweep-{boot.case.name}-{boot.emulator}"
            case = dataclasses.replace(boot.case, name=name, second_says=boot.case.second_says or (r"\S",))
            yield dataclasses.replace(boot, case=case)


def boot_once(boot):
    """What COM1 and COM2 said, and what the case itself found wrong."""
    log = os.path.join(run.LOGS, boot.case.name + ".log")
    try:
        run.run_case(boot.case, boot.emulator, run.stick_of(boot.case), log)
        wrong = None
    except run.CaseError as error:
        wrong = str(error)
    return run.read_log(log), run.read_log(log + COM2), wrong


def part_of(text, row):
    return text if row.start is None else series.split(text).get(row.start, "")


def verdict_of(row, first, second, wrong):
    for channel, whole in (("COM1", first), ("COM2", second)):
        text = part_of(whole, row)
        for pattern in row.texts:
            if not re.search(pattern, text, re.MULTILINE):
                said = CODE.findall(text)
                return f"{channel} does not say '{pattern}'" + (f", but {said[-1]}" if said else ": silent")
    return wrong


def result_of(boot):
    began = time.monotonic()
    first, second, wrong = boot_once(boot)
    seconds = time.monotonic() - began
    lines = []
    for row in boot.rows:
        bad = verdict_of(row, first, second, wrong if len(boot.rows) == 1 else None)
        code = f"P{row.code:04d}" if row.code else "goes on"
        lines.append(f"{'FAILED' if bad else 'ok'} fault {code:7} {row.name:32} {boot.emulator:10} COM1, COM2 ({seconds:.0f} s)"
                     + (f": {bad}" if bad else ""))
    if wrong and len(boot.rows) > 1:
        lines.append(f"FAILED the boot of {len(boot.rows)} faults {boot.case.name} {boot.emulator}: {wrong}")
    return lines


def jobs_of(boots):
    return [run.job_of(boot.case, boot.emulator, boot.case.name, lambda boot=boot: result_of(boot)) for boot in boots]


def sum_of(boots, lines):
    lines = [line for line in lines if re.match(r"(ok|FAILED) (fault|the boot of) ", line)]
    names = {row.name for boot in boots for row in boot.rows}
    silent = sum("silent" in line for line in lines)
    return (f"{len(names)} named faults in {len(boots)} boots: {len(lines)} results, {pool.failed(lines)} failed, "
            f"{silent} silent")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--ordinary", action="store_true",
                        help="as in tests/run: an emulator for each vendor, without faults.ON_REQUEST and its boot cases")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("--emulator", action="append", choices=list(EMULATORS))
    parser.add_argument("--jobs", type=int, default=pool.SLOTS)
    options = parser.parse_args()
    boots = list(all_boots(options))
    if options.list:
        for boot in boots:
            for row in boot.rows:
                print(f"{row.name} {boot.emulator} P{row.code:04d}")
        print(f"{len({row.name for boot in boots for row in boot.rows})} named faults")
        return 0
    run.prepare()
    lines = pool.run(run.with_saved(jobs_of(boots)), options.jobs)
    print(sum_of(boots, lines))
    return pool.leave(1 if pool.failed(lines) else 0)


if __name__ == "__main__":
    sys.exit(main())
