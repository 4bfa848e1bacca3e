# SPDX-License-Identifier: MIT
"""The words in which boot cases are written: what to put on the stick, what to type, what must and must not appear.

A case is a row; a row times its emulators is a test. Texts are regular expressions over the serial output without
escape sequences and carriage returns. `expect` steps match in order, each after the end of the one before.
"""

import dataclasses
import re

# Emulator -> (runner, its options). These are the machines that every case runs on, unless it says otherwise.
EMULATORS = {
    "qemu-svm": ("run-qemu", ["--cpu", "max"]),
    "bochs-vmx": ("run-bochs", ["--cpu", "corei7_skylake_x"]),
    "bochs-svm": ("run-bochs", ["--cpu", "ryzen"]),
}
COM2 = ".com2"
PORT = "@PORT@"  # in what is typed: where the case's HTTP server listens
# The usual memory of a machine. In Bochs a small one where the guests fit: what a saved machine has is read at each start.
MEMORY = "1024M"
BOCHS_SMALL_MEMORY = "512M"  # also the 400M of guests leave the firmware and the hypervisor what they need
BOCHS_SMALL_GUESTS_BYTES = 400 << 20
TOO_MUCH_BYTES = 32 << 30  # refused by any of the machines
UNITS = {"": 20, "K": 10, "M": 20, "G": 30}
ALL = tuple(EMULATORS)
QEMU = ("qemu-svm",)
BOCHS = ("bochs-vmx", "bochs-svm")
BOCHS_VMX = ("bochs-vmx",)

# Only a hang reaches these: many times what the slowest run takes on two busy cores.
SMALL_TIMEOUT_S = 600
LINUX_TIMEOUT_S = 900


class Expect:
    """Waits for a text. `check(match)` may return a sentence that says what is wrong with what was found."""

    def __init__(self, pattern, check=None):
        self.regex = re.compile(pattern, re.MULTILINE)
        self.check = check


class Send:
    """Types, as a person would, after everything before it was seen."""

    def __init__(self, text):
        self.text = text


# QEMU's monitor for Monitor steps, which goes into a case's `extra`.
MONITOR = ("-monitor", "unix:{folder}/monitor,server,nowait")


class Monitor:
    """Commands of QEMU's monitor, one after the other, after everything before it was seen: what happens to the machine from
    outside."""

    def __init__(self, *commands):
        self.commands = commands


class Again:
    """Types a question, again and again until what comes before the end of its answer is as wanted: `wanted(text)` of all
    the output so far. For what has no sign of its own, and takes as long as it takes."""

    def __init__(self, question, end, wanted):
        self.question, self.wanted = question, wanted
        self.regex = re.compile(end, re.MULTILINE)


class Answer:
    """One command, the line (or lines) that must come after its echo, and the next prompt.

    The pattern takes whole lines: output arrives in pieces, and half a line must not count as an answer.
    """

    def __init__(self, prompt, command, pattern, check=None):
        self.steps = [Send(command + "\n"), Expect(re.escape(command[-20:]) + r"\s*\n"), Expect(pattern + r"[ \t]*\n", check),
                      Expect(prompt)]


def steps_of(script):
    """Flattens answers, and takes a plain string as a text to expect."""
    for item in script:
        if isinstance(item, Answer):
            yield from item.steps
        else:
            yield Expect(item) if isinstance(item, str) else item


@dataclasses.dataclass(frozen=True)
class Built:
    """A file of the build folder."""

    path: str


@dataclasses.dataclass(frozen=True)
class Truncated:
    """The beginning of another file."""

    of: Built
    length: int


@dataclasses.dataclass
class Case:
    name: str
    config: str  # the text of plinth.conf; None: there is none on the stick
    script: list
    status: int = 0  # the exit status; None: the run ends when the last text was seen
    files: dict = dataclasses.field(default_factory=dict)  # name beside plinth.conf -> Built, Truncated or bytes
    emulators: tuple = ALL
    efi: Built = None  # another hypervisor than BOOTX64.EFI
    cpu: str = None  # another CPU model than the emulator's usual one
    smp: int = 1
    mem: str = None  # None: MEMORY, or BOCHS_SMALL_MEMORY
    timeout_s: int = SMALL_TIMEOUT_S
    passes: tuple = ()  # (guest, NAME): what this guest printed ends with PASS NAME
    required: tuple = ()  # texts that come in any order
    forbidden: tuple = ()
    extra: tuple = ()  # further options of QEMU; {folder} is one that the case has for itself
    runner: tuple = ()  # further options of tools/run-qemu
    second_says: tuple = ()  # texts: the machine has COM2, and they appear there too. Its output: the log's name + COM2
    serves: bytes = None  # an HTTP server on the loopback address answers with this to every question
    change: object = None  # a function of the image's path, called once it is written: what mkusb would not do
    whole_boot: bool = False  # never from a saved machine (saved.py)
    slow: bool = False  # only where it is named
    after: object = None  # a function of (build folder, image) called after the run, whose writes are kept (QEMU); it
    # returns a sentence that says what is wrong, or None
    timed: object = None  # a function of the output, called where time does not depend on the host's load: in Bochs. A
    # sentence that says what is wrong, or None
    fault: str = None  # a name of faults.py: boots the test build, which makes that fault


def memory_of(case, emulator):
    """The machine's memory, for --mem."""
    if case.mem or EMULATORS[emulator][0] != "run-bochs" or case.whole_boot:
        return case.mem or MEMORY
    sizes = re.findall(r"^memory *= *(\d+)([KMG]?)$", case.config or "", re.MULTILINE)
    guests = sum(int(size) << UNITS[unit] for size, unit in sizes)
    fit = guests <= BOCHS_SMALL_GUESTS_BYTES or guests > TOO_MUCH_BYTES
    return BOCHS_SMALL_MEMORY if fit and "memory-at" not in (case.config or "") else MEMORY


def machine_of(case, emulator):
    """The runner and the options that make the machine: tests that have the same ones can start from one saved state."""
    runner, options = EMULATORS[emulator]
    cpu = ("--cpu", case.cpu) if case.cpu else tuple(options)
    com2 = ("--com2", "COM2") if case.second_says else ()
    return (runner, *cpu, "--smp", str(case.smp), "--mem", memory_of(case, emulator), *com2)


def may_resume(case):
    """Whether the case can start from a saved machine: its own is the machine of its options, and nothing more."""
    return not (case.whole_boot or case.extra or case.runner)
