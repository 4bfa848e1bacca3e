#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What an IOMMU adds to the start on a machine of 64 devices, in emulated time: from the start of the hypervisor's file to the
first guest instruction, file reads not counted, on QEMU's q35 with 64 further PCI functions, without an IOMMU and with each model.

An instruction takes a nanosecond (-icount shift=0), and an access to a device no more than that, so the figures do not depend on
the host's load: they are instructions, the firmware's that the hypervisor calls among them. Waits for a clock last what they
say. QEMU has one unit.
"""

import re
import sys

import passthrough
import run
import script

LIMIT_S = 900
START = re.compile(r"^plinth: first guest instruction (\d+) us after the start", re.MULTILINE)
SLOTS, FUNCTIONS = range(16, 24), range(8)
DEVICES = tuple(word for slot in SLOTS for function in FUNCTIONS for word in (
    "-device", f"pci-testdev,addr={slot:x}.{function},multifunction=on"))


def boot(name, extra):
    """Microseconds from the start to the first guest instruction."""
    case = script.Case(f"bench-start-{name}", passthrough.HELLO, [script.Expect(r"first guest instruction .*\n")], whole_boot=True,
                       files={"hello.elf": script.Built("guests/hello.elf")}, extra=(*extra, "-icount", "shift=0,sleep=off"))
    return int(START.search(run.printed_by(case, LIMIT_S))[1])


def main():
    run.prepare()
    try:
        without = boot("none", DEVICES)
        print(f"no IOMMU: {without} us", flush=True)
        for iommu, unit in passthrough.IOMMUS.items():
            taken = boot(iommu, (*DEVICES, *unit))
            print(f"{iommu}-iommu: {taken} us, {taken - without:+} us", flush=True)
    except run.CaseError as error:
        print(f"bench-start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
