#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the CPU's virtual APIC saves: exits by kind and TSC ticks of a Linux boot in Bochs (VMX), with `virtual-apic`
and without. Bochs' TSC counts instructions while the CPU is not halted, and `quiet` keeps the serial port, which is
paced, out of the figures. Each boot goes to the shell and is switched off there.
"""

import argparse
import os
import re
import subprocess
import sys
import time

import cases
import run
import script

EXITS = re.compile(r"^plinth: +(\d+) exits: (.+)$", re.MULTILINE)
TOTAL = re.compile(r"ran \d+ ms, (\d+) exits")
SHELL = re.compile(r"tsc at the shell: (\d+)")
LIMIT_S = 900


def boot(name, virtual_apic):
    """Ticks at the shell, all exits, and exits by kind."""
    conf = "[hypervisor]\nlog = debug\nquirks = none\n" + cases.linux_conf(more=f"virtual-apic = {virtual_apic}\n")
    case = cases.linux_case(name, conf.replace("console=ttyS0", "console=ttyS0 quiet clearcpuid=xsavec"), emulators=script.BOCHS_VMX)
    case.timeout_s = LIMIT_S
    log_path = os.path.join(run.LOGS, name + ".log")
    command = run.command_line(case, "bochs-vmx", run.make_stick(case), log_path)
    with open(log_path, "wb") as log, open(log_path + ".stderr", "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        session = run.Session(process, log, [script.Expect(cases.PROMPT), script.Send("poweroff\n")])
        try:
            session.run(time.monotonic() + LIMIT_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    shell, total = SHELL.search(session.text), TOTAL.search(session.text)
    if not shell or not total:
        raise run.CaseError(f"the boot did not reach its end: {log_path}")
    return int(shell[1]), int(total[1]), {kind: int(count) for count, kind in EXITS.findall(session.text)}


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.makedirs(run.LOGS, exist_ok=True)
    os.makedirs(run.STICKS, exist_ok=True)
    try:
        plain = boot("bench-apicv-no", "no")
        virtual = boot("bench-apicv-yes", "yes")
    except run.CaseError as error:
        print(f"bench-apicv: {error}", file=sys.stderr)
        return 1
    print(f"{'':24}{'plain':>12}{'virtual APIC':>14}")
    print(f"{'M ticks to the shell':24}{plain[0] / 1e6:12.1f}{virtual[0] / 1e6:14.1f}")
    print(f"{'exits, all':24}{plain[1]:12}{virtual[1]:14}")
    for kind in sorted(set(plain[2]) | set(virtual[2]), key=lambda kind: -plain[2].get(kind, 0)):
        print(f"{'  ' + kind:24}{plain[2].get(kind, 0):12}{virtual[2].get(kind, 0):14}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
