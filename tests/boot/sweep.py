#!/usr/bin/env python3
"""Every named fault in both vendors' emulators, on a machine with two serial ports: each gives its code, its sentence and
its end on both, and none is silent. Prints a line per fault and emulator, and the table's sum. (make faults)

    tests/boot/sweep.py [--emulator NAME] [--list] [NAME...]        NAME: the beginning of a fault's name

Three kinds: what the test build makes happen (faults.FAULTS), entries that the CPU refuses (faults.ENTRIES_*: many in a
boot), and what emulator, files and config force (faults.FORCED: cases of the ordinary run, which are not copied here).
"""

import argparse
import concurrent.futures
import dataclasses
import os
import re
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import faults  # noqa: E402
import run  # noqa: E402
from script import EMULATORS  # noqa: E402

CODE = re.compile(r"\bP0\d{3}\b")


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault in an emulator, and what each channel must show."""

    name: str
    code: int  # 0: it is survived
    texts: tuple


@dataclasses.dataclass
class Boot:
    case: cases.Case
    emulator: str
    rows: list


def end_of(code):
    if code == 0:
        return r"plinth: result ok"
    return r"plinth: returned to the firmware" if 600 <= code < 902 else r"plinth: result failed"


def row_of(name, code, text):
    said = rf"\bP{code:04d}\b(?s:.*?){text}" if code else text or "Plinth "
    return Row(name, code, (said, end_of(code)))


def made_boots():
    for fault in faults.FAULTS:
        for emulator in fault.emulators:
            yield Boot(cases.fault_case(fault, (emulator,), True), emulator, [row_of(fault.name, fault.code, fault.text)])


def entry_boots():
    for case, entries in cases.entries_cases():
        rows = [Row(f"entry:{guest}", 301, (rf"P0301: guest {guest} failed: the CPU refused to enter", end_of(301)))
                for guest in entries]
        yield Boot(case, case.emulators[0], rows)


def forced_boots():
    known = {case.name: case for case in cases.CASES}
    for name, (code, emulators) in faults.FORCED.items():
        for emulator in emulators:
            yield Boot(dataclasses.replace(known[name], emulators=(emulator,)), emulator, [row_of(name, code, "")])


def all_boots(options):
    for boot in [*made_boots(), *entry_boots(), *forced_boots()]:
        wanted = not options.names or any(row.name.startswith(name) for row in boot.rows for name in options.names)
        if wanted and (not options.emulator or boot.emulator in options.emulator):
            yield boot


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as output:
            return run.ESCAPES.sub("", output.read())
    except OSError:
        return ""


def boot_once(boot):
    """What COM1 and COM2 said, and what the case itself found wrong."""
    name = f"sweep-{boot.case.name}-{boot.emulator}"
    log = os.path.join(run.LOGS, name + ".log")
    second = log + ".com2"
    case = dataclasses.replace(boot.case, name=name, second_port=second)
    if os.path.exists(second):
        os.remove(second)
    try:
        run.run_case(case, boot.emulator, run.make_stick(case), log)
        wrong = None
    except run.CaseError as error:
        wrong = str(error)
    return read(log), read(second), wrong


def verdict_of(row, first, second, wrong):
    for channel, text in (("COM1", first), ("COM2", second)):
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
        lines.append(f"{'FAILED' if bad else 'ok    '} {code:7} {row.name:32} {boot.emulator:10} COM1, COM2 ({seconds:.0f} s)"
                     + (f": {bad}" if bad else ""))
    if wrong and len(boot.rows) > 1:
        lines.append(f"FAILED the boot of {len(boot.rows)} faults {boot.case.name} {boot.emulator}: {wrong}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("--emulator", action="append", choices=list(EMULATORS))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    boots = list(all_boots(options))
    names = {row.name for boot in boots for row in boot.rows}
    if options.list:
        for boot in boots:
            for row in boot.rows:
                print(f"{row.name} {boot.emulator} P{row.code:04d}")
        print(f"{len(names)} named faults")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    os.makedirs(run.LOGS, exist_ok=True)
    os.makedirs(run.STICKS, exist_ok=True)
    lines = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(result_of, boot) for boot in boots]):
            print("\n".join(done.result()), flush=True)
            lines += done.result()
    failed = sum(line.startswith("FAILED") for line in lines)
    silent = sum("silent" in line for line in lines)
    print(f"{len(names)} named faults in {len(boots)} boots: {len(lines)} results, {failed} failed, {silent} silent")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
