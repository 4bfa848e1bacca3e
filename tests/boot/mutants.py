#!/usr/bin/env python3
"""Boots mutants of the example configs in QEMU: what plinth-check refuses for that machine is refused there with the same
lines and enters no guest, and what it calls good gets to its guests. The mutants are those of tests/unit/test_mutants.c,
which compares all 10,000 natively.

    tests/boot/mutants.py [--count N]      (make mutants-boot)
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import run  # noqa: E402
from script import QEMU, Case, Send  # noqa: E402

NAMES = ("vmlinuz", "vmlinuz-amd64", "vmlinuz-686-pae", "hello.elf", "initramfs.cpio", "initramfs-i386.cpio", "xen.elf",
         "memtest86+x64.bin", "memtest86+ia32.bin")
SMP = 2
# A mutant may ask for a guest that never ends, so a good one is seen to its first guest and no further.
FIRST_GUEST = r"^plinth: guest \S+: CPU [\d,]+, .* tables"


def make_mutants(folder, count):
    environment = {**os.environ, "PLINTH_MUTANTS": str(count), "PLINTH_MUTANTS_DIR": folder}
    subprocess.run([os.path.join(run.BUILD, "unit", "test_mutants")], cwd=run.ROOT, env=environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return sorted(os.listdir(folder), key=lambda name: int(name.partition(".")[0]))[:count]


def boot(case):
    os.makedirs(run.STICKS, exist_ok=True)
    os.makedirs(run.LOGS, exist_ok=True)
    image = run.make_stick(case)
    try:
        run.run_case(case, "qemu-svm", image, os.path.join(run.LOGS, f"boot-{case.name}-qemu-svm.log"))
    except run.CaseError as error:
        return str(error)
    return None


def describe_machine():
    """machine.txt of the QEMU machine that the mutants are for."""
    texts = []

    def keep(_build, image):
        texts.append(cases.file_on(image, "/plinth/machine.txt"))

    wrong = boot(cases.hello_case("mutants-machine", "[hypervisor]\ninventory = yes\n" + cases.hello_conf(), smp=SMP,
                                  emulators=QEMU, after=keep))
    if wrong or not texts or not texts[0]:
        raise run.CaseError(f"the machine's inventory cannot be had: {wrong}")
    return texts[0]


def verdict_of(folder, text, machine):
    """plinth-check's lines for this config on that machine; none where it is good."""
    for name in NAMES:
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            os.symlink(os.path.join(run.BUILD, "guests", "hello.elf"), path)
    open(os.path.join(folder, "empty"), "wb").close()
    conf, inventory = os.path.join(folder, "plinth.conf"), os.path.join(folder, "machine.txt")
    with open(conf, "wb") as out:
        out.write(text)
    with open(inventory, "w", encoding="utf-8") as out:
        out.write(machine)
    made = subprocess.run([os.path.join(run.BUILD, "plinth-check"), "--machine", inventory, conf], check=False,
                          stdout=subprocess.PIPE)
    output = made.stdout.decode("utf-8", "replace")
    return [] if made.returncode == 0 else [line[len(conf):] for line in output.splitlines()]


def case_of(index, text, lines):
    files = {name: cases.HELLO for name in NAMES} | {"empty": b""}
    if not lines:
        return Case(f"mutant-{index}", text.decode("utf-8", "replace"), [FIRST_GUEST], files=files, emulators=QEMU, smp=SMP,
                    timeout_s=40, status=None)
    rules = [line for line in lines if not re.search(r": (missing-file|empty-file|bad-image|too-much-memory): ", line)]
    first = re.match(r"(:\d+:\d+: \S+: )", rules[0])[1] if rules else None
    return Case(f"mutant-{index}", text.decode("utf-8", "replace"),
                [r"plinth\.conf" + re.escape(first) if first else r"P0\d{3}: ", r"when a key is pressed", Send("\r"),
                 r"plinth: returned to the firmware"], status=1, files=files, emulators=QEMU, smp=SMP, timeout_s=60,
                forbidden=(r"plinth: guest", r"plinth: result"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="how many (default: %(default)s)")
    options = parser.parse_args()
    failed = {True: 0, False: 0}
    seen = {True: 0, False: 0}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as desk:
        machine = describe_machine()
        for index, name in enumerate(make_mutants(folder, options.count)):
            with open(os.path.join(folder, name), "rb") as mutant:
                text = mutant.read()
            lines = verdict_of(desk, text, machine)
            wrong = boot(case_of(index, text, lines))
            seen[not lines] += 1
            if wrong:
                failed[not lines] += 1
                print(f"FAILED mutant {index}, which plinth-check calls {'bad' if lines else 'good'}: {wrong}", flush=True)
    print(f"{seen[True]} good mutants, {failed[True]} not entered; {seen[False]} bad mutants, {failed[False]} not refused alike")
    return 1 if failed[True] or failed[False] else 0


if __name__ == "__main__":
    sys.exit(main())
