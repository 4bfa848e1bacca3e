#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a stock Linux' network, disk and idleness cost in exits, and a ping in instructions: `make bench-net`.

Guests with the stock kernel, each on a CPU of its own, where time is instructions (QEMU's `-icount shift=0`; or Bochs): two on
one network, the first with a disk too, and one without any device, to compare with. The exits are those that the hypervisor itself counts (Ctrl-] s): each row asks before and after, and shows the
difference, less that of a command which is as long, prints as much and does nothing. One virtual nanosecond is an
instruction of either CPU, so what ping prints as time is instructions of both CPUs, guests and hypervisor together.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time

import cases
import devices
import run
import script

ICOUNT = ("-icount", "shift=0,sleep=off", "-vga", "none")
LIMIT_S = 1800
MIB = 1 << 20
PINGS = 200
PROMPT = r"\[one\] linux# "
STATUS = re.compile(r"plinth: status of 3 guests(.*?)plinth: end of the status", re.DOTALL)
GUEST = re.compile(r"guest (\w+) \w+; (\d+) ms since its start.*?(\d+) exits, ([^\n]*)", re.DOTALL)


class Bench:
    """Booted guests, of whose first a shell is asked."""

    def __init__(self, process, log, options):
        self.process, self.session, self.options = process, run.Session(process, log, []), options

    def do(self, *steps):
        self.session.steps = list(script.steps_of(steps))
        deadline = time.monotonic() + LIMIT_S
        while self.session.steps:
            self.session.advance()
            if self.session.steps and (not self.session.read() or time.monotonic() > deadline):
                raise run.CaseError(f"'{self.session.steps[0].regex.pattern}' did not appear; {self.session.log.name}")

    def status(self):
        """Of each guest: ms since its start, and exits by kind."""
        start = self.session.at
        self.do(script.Send("\x1ds"), script.Expect(r"plinth: end of the status\s*\n"))
        text = STATUS.search(self.session.text, start)[1]
        return {name: (int(ms), int(total), {kind: int(count) for kind, count in re.findall(r"([^,]+?) (\d+) \(", kinds)})
                for name, ms, total, kinds in GUEST.findall(text)}

    def command(self, line, answer):
        self.do(script.Answer(PROMPT, line, rf"(?:\[one\] )?{answer}"))


def difference(before, after, names):
    """Of these guests together: exits in all and by kind; and the ms between."""
    total, kinds = 0, {}
    for name in names:
        total += after[name][1] - before[name][1]
        for kind, number in after[name][2].items():
            kinds[kind.strip()] = kinds.get(kind.strip(), 0) + number - before[name][2].get(kind, 0)
    return total, kinds, after["one"][0] - before["one"][0]


def measured(bench, line, answer):
    before = bench.status()
    bench.command(line, answer)
    return before, bench.status()


def show(name, figure, kinds):
    text = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]) if count)
    print(f"{name:40}{figure:>22}   {text}".rstrip(), flush=True)


def typing(bench, line, answer):
    """Exits of a command that is as long and prints as much, and does nothing."""
    nothing = f"echo {answer} #".ljust(len(line), "x")
    return difference(*measured(bench, nothing, answer), ("one", "two"))[0]


def stream(bench, name, line):
    """So many MiB by one TCP stream, and the exits of each guest, those of typing included."""
    typed, mib = typing(bench, line, "done 3"), bench.options.mib
    statuses = measured(bench, line, r"(?s:.*?)done 3")
    total = difference(*statuses, ("one", "two"))[0] - typed
    show(name, f"{total / mib:.1f} exits per MiB", {})
    show("  one exit for", f"{mib * MIB / total / 1024:.1f} KiB", {})
    for guest in ("one", "two"):
        show(f"  {guest}, with the typing of {typed}" if guest == "one" else f"  {guest}", "", difference(*statuses, (guest,))[1])


def measure(bench):
    # Times as ping prints them: milliseconds with three decimals, so 1,000 instructions each.
    line, answer = f"ping -c {PINGS} -i 0.01 10.0.0.2 | tail -1", "round-trip min/avg/max = 0.057/0.069/0.230 ms"
    typed = typing(bench, line, answer)
    total, kinds, _ = difference(*measured(bench, line, r"round-trip min/avg/max = .*"), ("one", "two"))
    times = re.findall(r"min/avg/max = [\d.]+/([\d.]+)/[\d.]+ ms", bench.session.text)
    show("ping, round trip and the wait for the next", f"{(total - typed) / PINGS:.1f} exits", kinds)
    show("  instructions of both CPUs", f"{float(times[-1]) * 1e6:,.0f}", {})
    # wget asks busybox' httpd of guest two, which sends a file of the page cache by sendfile(); nc reads and writes 1 KiB.
    stream(bench, "TCP stream, sendfile", "wget -q -O /dev/null http://10.0.0.2/f && echo done 3")
    stream(bench, "TCP stream, writes of 1 KiB", "nc 10.0.0.2 7 </tmp/f | grep -c - && echo done 3")
    statuses = measured(bench, f"sleep {bench.options.idle}; echo done 4", "done 4")
    for name, has in (("two", "a card"), ("bare", "no device")):
        total, kinds, ms = difference(*statuses, (name,))
        show(f"idle guest with {has}", f"{total * 1000 / ms:.1f} exits a second", kinds)


def boot(options):
    config = (devices.linux("one", "net = lan\ndisk = disk.img\ncpus = 0,\n", " address=10.0.0.1") +
              devices.linux("two", "net = lan\ncpus = 1,\n", " address=10.0.0.2") + devices.linux("bare", "cpus = 2,\n"))
    case = script.Case("bench-net", config, [], files=devices.FILES, smp=3, extra=ICOUNT if options.emulator == "qemu-svm" else (),
                       whole_boot=True, timeout_s=LIMIT_S)
    image = run.make_stick(case)
    log_path = os.path.join(run.LOGS, "bench-net.log")
    process = subprocess.Popen(run.command_line(case, options.emulator, image, log_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        with open(log_path, "wb") as log:
            bench = Bench(process, log, options)
            two, file = r"\[two\] linux# ", f"head -c {options.mib * MIB} /dev/zero >/tmp/f"
            bench.do(script.Expect(r"\A(?s:(?=.*\[one\] linux# )(?=.*\[two\] linux# )(?=.*\[bare\] linux# ).*)"),
                     script.Send("\x1d2\n"), script.Expect(two), script.Answer(two, f"{file}; httpd -h /tmp; echo ok 1", r".*ok 1"),
                     script.Send("\x1d1\n"), script.Expect(PROMPT), script.Answer(PROMPT, f"{file}; echo ok 2", r".*ok 2"))
            measure(bench)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emulator", default="qemu-svm", choices=list(script.EMULATORS))
    parser.add_argument("--mib", type=int, default=32, help="of a TCP stream (default: %(default)s)")
    parser.add_argument("--idle", type=int, default=300, help="seconds of idleness, of the guests' (default: %(default)s)")
    options = parser.parse_args()
    run.prepare()
    try:
        boot(options)
    except run.CaseError as error:
        print(f"bench-net: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
