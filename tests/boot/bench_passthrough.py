#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a Linux pays for a device of the machine that it has: exits for each NVMe command and for each packet of an e1000e.
The same guest on QEMU alone has none.

One boot. The shell reads the disk without the kernel's cache, a block at a time, and fetches a file from an HTTP server on
the loopback address; the hypervisor's status (Ctrl-] s) says before and after what the guest's exits were, kind by kind. What
an equally long line costs that does nothing is taken off, and the rest divided by the commands or packets that the kernel has counted.
Instructions are counted instead of time (-icount), so the figures do not depend on the host's load.
"""

import argparse
import re
import sys

import cases
import passthrough
import run
import script

STATUS = re.compile(r"^plinth: +\d+ exits, (.+)$", re.MULTILINE)
KIND = re.compile(r"(.+?) (\d+) \(\d+%\)(?:, |$)")
COUNTED = re.compile(r"^(?:\[\w+\] )?counted (\d+) (\d+)", re.MULTILINE)
COMMANDS = 2000
LIMIT_S = 1800
READS = f"dd if=/dev/nvme0n1 of=/dev/null bs=4k count={COMMANDS} iflag=direct"
FETCH = f"fetch {script.PORT}"
FETCHED = "fetch 40000"  # as it is typed
# Commands, and packets: what the kernel has counted so far.
COUNT = ["c() { cut -c1-9 /sys/block/nvme0n1/stat; }", "p() { cat /sys/class/net/eth0/statistics/[rt]x_packets; }",
         "n() { set -- $(c) $(p); echo counted $1 $(($2 + $3)); }"]


def steps():
    """Status, a line that does nothing, status, reads, status, counts, fetch, status, counts. Each line ends with a word that its
    echo does not have: a shell may show its prompt more than once."""
    numbers = iter(range(1, 100))

    def line(text):
        number = next(numbers)
        return [script.Send(f"{text}; echo end-$(({number}))\n"), script.Expect(rf"end-{number}\s")]

    def status():
        return [script.Send("\x1ds"), script.Expect(r"end of the status"), *line(":")]

    return [script.Expect(cases.PROMPT), *[step for text in COUNT for step in line(text)], *line("n"),
            *status(), *line(":" * len(READS)), *status(), *line(READS), *status(), *line("n"),
            *status(), *line(":" * len(FETCHED)), *status(), *line(FETCH), *status(), *line("n"), script.Send("poweroff\n")]


def boot(iommu):
    """What the session printed."""
    config = passthrough.generic("linux", "pci = nvme\npci = net\n", " address=eth0,10.0.2.15/24")
    case = script.Case(f"bench-passthrough-{iommu}", config, steps(), files=passthrough.GENERIC, serves=passthrough.SERVED,
                       extra=(*passthrough.IOMMUS[iommu], *passthrough.NVME, *passthrough.USER_CARD, "-icount", "shift=0,sleep=off"))
    return run.printed_by(case, LIMIT_S)


def less(later, earlier):
    return {kind: later.get(kind, 0) - earlier.get(kind, 0) for kind in {*later, *earlier}}


def show(title, exits, count):
    print(f"{title}: {count}, {sum(exits.values()) / count:.2f} exits each")
    for kind in sorted(exits, key=lambda kind: -abs(exits[kind])):
        if abs(exits[kind]) * 100 >= count:
            print(f"    {exits[kind] / count:8.2f} {kind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iommu", choices=list(passthrough.IOMMUS), default="intel", help="which of QEMU's models")
    iommu = parser.parse_args().iommu
    run.prepare()
    try:
        text = boot(iommu)
    except run.CaseError as error:
        print(f"bench-passthrough: {error}", file=sys.stderr)
        return 1
    exits = [{kind: int(count) for kind, count in KIND.findall(line)} for line in STATUS.findall(text)]
    counted = [tuple(map(int, found)) for found in COUNTED.findall(text)]
    reads, fetch = (less(less(exits[i + 2], exits[i + 1]), less(exits[i + 1], exits[i])) for i in (0, 3))
    show("NVMe commands", reads, counted[1][0] - counted[0][0])
    show("packets of the e1000e", fetch, counted[2][1] - counted[1][1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
