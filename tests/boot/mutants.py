#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mutants of the example configs in QEMU: plinth-check, with the inventory that this machine writes of itself, and the target
come to the same verdict of each, with the same lines, and no bad one enters a guest. One boot judges them all; a few good
ones are then booted in the hypervisor as it is, up to their first guest. The mutants are those of
tests/unit/test_mutants.c, which compares all 10,000 natively.

    tests/boot/mutants.py [--count N] [--enter N]      (make mutants-boot)
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
import series  # noqa: E402
from script import QEMU, Case  # noqa: E402

NAMES = ("vmlinuz", "vmlinuz-amd64", "vmlinuz-686-pae", "hello.elf", "initramfs.cpio", "initramfs-i386.cpio", "xen.elf",
         "memtest86+x64.bin", "memtest86+ia32.bin")
SMP = 2
TARGET_S = 1200  # only a hang reaches it
CONFIG_CODE = "P0701"
GOOD_CODE = "P0901"  # the fault map-last: all was ready for the hand-over
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


def case_entered(index, text):
    """A good one, in the hypervisor as it is."""
    files = {name: cases.HELLO for name in NAMES} | {"empty": b""}
    return Case(f"mutant-{index}", text.decode("utf-8", "replace"), [FIRST_GUEST], files=files, emulators=QEMU, smp=SMP,
                timeout_s=60, status=None)


def judged_by_target(texts):
    """What the target says of each config: one boot of the test build, which starts the hypervisor's own efi_main() once for
    each (tests/faults/faults_series.c)."""
    packed = series.pack([("map-last", text) for text in texts])
    files = {name: cases.HELLO for name in NAMES} | {"empty": b"", series.FILE: packed}
    names = "".join(f"module = {name}\n" for name in [*NAMES, "empty", series.FILE] if name != "hello.elf")
    case = Case("mutants", cases.hello_conf() + names, [], status=None, files=files, emulators=QEMU, smp=SMP, fault="series",
                timeout_s=TARGET_S, required=(series.END,), forbidden=(r"plinth: guest", r"plinth: result"))
    case.script = [series.END]
    wrong = boot(case)
    if wrong:
        raise run.CaseError(f"the boot that judges them: {wrong}")
    with open(os.path.join(run.LOGS, "boot-mutants-qemu-svm.log"), encoding="utf-8", errors="replace") as log:
        return series.split(run.ESCAPES.sub("", log.read()))


def squeeze(text):
    """The firmware's console breaks lines at its width and has no characters beyond ASCII. How much memory is left differs by
    what the test build itself has taken since the machine's description was written."""
    flat = "".join("?" if ord(sign) > 0x7e else sign for sign in text if sign > " " and sign != "\x7f")
    return re.sub(r"only[\d.]+(?:bytes|[KMGT]iB)of", "onlysomuchof", flat)


# What plinth-check finds in the files and in the memory plan has a code of its own on the target.
CODES = {"missing-file": r"P071[123]|P0725", "empty-file": r"P0714", "bad-image": r"P072\d", "too-much-memory": r"P080[36]|P0716|P072[34]",
         "memory-not-free": r"P0807"}


def difference(lines, said):
    """Why two verdicts are not the same; None where they are."""
    code = re.findall(r"^(P\d{4}): ", said, re.MULTILINE)
    if len(code) != 1:
        return f"the target says {code or 'nothing'}"
    if (code[0] == GOOD_CODE) != (not lines):
        return f"plinth-check calls it {'bad: ' + lines[0] if lines else 'good'}, the target says {code[0]}"
    rules = {re.match(r":\d+:\d+: ([a-z-]+): ", line)[1] for line in lines}
    if not lines or (code[0] != CONFIG_CODE and any(re.match(CODES.get(rule, "never"), code[0]) for rule in rules)):
        return None
    flat = squeeze(said)
    told = [line for line in lines if squeeze("plinth.conf" + line) in flat]
    own = [line for line in lines if re.match(r":\d+:\d+: ([a-z-]+): ", line)[1] not in CODES]
    if code[0] != CONFIG_CODE or not told or not set(own) <= set(told):
        return f"the target says {code[0]} and {len(told)} of the lines {lines}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="how many are judged (default: %(default)s)")
    parser.add_argument("--enter", type=int, default=3, help="how many good ones are booted (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as desk:
        machine = describe_machine()
        texts = []
        for name in make_mutants(folder, options.count):
            with open(os.path.join(folder, name), "rb") as mutant:
                texts.append(mutant.read())
        verdicts = [verdict_of(desk, text, machine) for text in texts]
    said = judged_by_target(texts)
    differences = {index: difference(lines, said.get(index, "")) for index, lines in enumerate(verdicts)}
    good = [index for index, lines in enumerate(verdicts) if not lines]
    for index, wrong in differences.items():
        if wrong:
            print(f"FAILED mutant {index}: {wrong}", flush=True)
    not_entered = 0
    for index in good[:options.enter]:
        wrong = boot(case_entered(index, texts[index]))
        if wrong:
            not_entered += 1
            print(f"FAILED mutant {index}, which is good: {wrong}", flush=True)
    different = sum(wrong is not None for wrong in differences.values())
    print(f"{len(texts)} mutants, {len(good)} good and {len(texts) - len(good)} bad: {different} verdicts of the target differ, "
          f"no bad one entered; of {min(len(good), options.enter)} good ones that were booted {not_entered} entered no guest")
    return 1 if different or not_entered else 0


if __name__ == "__main__":
    sys.exit(main())
