# SPDX-License-Identifier: MIT
"""Runs an emulator with its serial port on our terminal and judges how the run ended. Used by run-qemu and run-bochs.

The contract with the hypervisor, on the serial port:

    plinth: result ok                   its last line; then it powers the machine off. All guests ended as expected.
    plinth: result failed               its last line otherwise. After a panic the machine halts and does not power off.
    plinth: returned to the firmware    an error before the hand-over; the firmware goes on to its boot menu.

Only the last line that is not empty counts, and `ok` only with a power-off, so a guest that prints one of these
changes nothing. The exit status is 0 for ok, 1 for everything else that ended, 124 for the time limit.

A machine can be saved where tests/boot/launcher.c says that it is ready (--save), and a run can go on from there with
another image (--resume): tests/boot/saved.py does both, and keeps what is saved.

A run ends for one of the reasons of `class Verdict`. Whatever happens, also to this process, the emulator dies with
it: it runs in a process group of its own that is killed at the end, and asks the kernel to be killed with its parent.
"""

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
import tty

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_TIMEOUT = 0, 1, 2, 124
RESULT_OK, RESULT_FAILED = "plinth: result ok", "plinth: result failed"
RETURNED = "plinth: returned to the firmware"
READY = "launcher: ready"  # tests/boot/launcher.c: the machine can be saved now
ASKS_FOR_KEY = "or when a key is pressed"
# What OVMF prints when nothing was started, or when what it started came back without our line.
FIRMWARE_IDLE = re.compile(r"BdsDxe: (failed to (start|load)|No bootable option)|UEFI Interactive Shell|^Shell> ")
ESCAPES = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=><78cM\\]|[\x0f\x18]")
LINE_BYTES_MAX = 4096
HALT_GRACE_S = 1.5  # silence after "result failed" that means: it halted and will not power off
SECOND_GRACE_S = 60  # how long the second serial port may take to say the same
FIRMWARE_GRACE_S = 0.3  # lets what is on its way arrive
EXIT_GRACE_S = 120.0  # only a hang reaches it
ANSWER_GRACE_S = 0.1  # between a terminal's answers
KEY_CTRL_A = 0x01
PR_SET_PDEATHSIG = 1


def size_bytes(text):
    """512M, 16G, or mebibytes without a suffix, as QEMU takes them."""
    found = re.fullmatch(r"(\d+)([KMGTkmgt]?)", text)
    if not found:
        raise ValueError(f"'{text}' is not a size like 512M or 16G")
    return int(found[1]) << {"K": 10, "M": 20, "": 20, "G": 30, "T": 40}[found[2].upper()]


class SerialLines:
    """Follows the stream and knows its last line that is not empty, without escape sequences."""

    def __init__(self):
        self.partial = b""
        self.last = ""
        self.entered = False  # the hypervisor took the machine over: what looks like the firmware is a guest
        self.given_back = ""  # why nothing more can come: the firmware has the machine
        self.given_back_since = 0.0

    def feed(self, data):
        lines = (self.partial + data).split(b"\n")
        self.partial = lines.pop()[-LINE_BYTES_MAX:]
        for line in lines:
            self.line(line)

    @staticmethod
    def clean(line):
        text = ESCAPES.sub(b"", line).decode("utf-8", "replace").strip("\r\0 \t")
        return text.rpartition("\r")[2].strip()

    def line(self, raw):
        text = self.clean(raw)
        if not text:
            return
        self.last = text
        if text.startswith("plinth: ") and text != RETURNED:
            self.entered = True
        if not self.entered and not self.given_back:
            self.note_firmware(text)

    def note_firmware(self, text):
        if text == RETURNED:
            self.given_back = "the hypervisor gave the machine back to the firmware"
        elif FIRMWARE_IDLE.search(text):
            self.given_back = f"the firmware has no system to start: {text}"
        self.given_back_since = time.monotonic()

    def final(self):
        """The last line, the one without a line end included."""
        return self.clean(self.partial) or self.last


class Colours:
    """The sentences of the hypervisor's errors are red and those of its warnings yellow, on a terminal and without NO_COLOR
    (https://no-color.org). Nothing is held back: the colour begins behind the word that asks for it, and ends with the line.
    """

    WORDS = {b"plinth: error:": b"\x1b[31m", b"plinth: warning:": b"\x1b[33m"}
    NONE = b"\x1b[0m"

    def __init__(self, wanted=None):
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.wanted = (os.isatty(sys.stdout.fileno()) and not plain) if wanted is None else wanted
        self.line = b""  # as far as it can decide
        self.on = False

    def piece(self, piece):
        """`piece` is of one line, and may be its end."""
        before = len(self.line)
        self.line = (self.line + piece)[:max(map(len, self.WORDS))]
        for word, colour in self.WORDS.items():
            if before < len(word) and self.line.startswith(word):
                piece = piece[:len(word) - before] + colour + piece[len(word) - before:]
                self.on = True
        if not piece.endswith(b"\n"):
            return piece
        if self.on:
            piece = piece[:-1] + self.NONE + b"\n"
        self.line, self.on = b"", False
        return piece

    def paint(self, data):
        return b"".join(map(self.piece, re.findall(rb"[^\n]*\n|[^\n]+", data))) if self.wanted else data


class Verdict(Exception):
    """Ends the run: an exit status and, for people, why."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


LIBC = ctypes.CDLL(None)  # here, because a child between fork and exec should load nothing


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, **more):
    return subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent, **more)


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Terminal:
    """Our stdin: raw while the emulator runs, where it is a terminal; Ctrl-a x quits then, as in QEMU."""

    def __init__(self):
        self.descriptor = sys.stdin.fileno() if sys.stdin and not sys.stdin.closed else None
        self.saved = None
        self.prefix = False

    def __enter__(self):
        if self.descriptor is not None and os.isatty(self.descriptor):
            try:
                self.saved = termios.tcgetattr(self.descriptor)
                tty.setraw(self.descriptor, termios.TCSADRAIN)
                mode = termios.tcgetattr(self.descriptor)
                mode[1] |= termios.OPOST  # our own messages still end lines properly
                termios.tcsetattr(self.descriptor, termios.TCSADRAIN, mode)
            except termios.error:
                self.saved = None
        return self

    def __exit__(self, *_):
        if self.saved is not None:
            self.drain()
            termios.tcsetattr(self.descriptor, termios.TCSAFLUSH, self.saved)

    def drain(self):
        """The machine may have asked the terminal where its cursor is: the answer, which is still on its way, is not for
        the shell."""
        while select.select([self.descriptor], [], [], ANSWER_GRACE_S)[0]:
            if not os.read(self.descriptor, 1024):
                return

    def says_how_to_leave(self, name):
        if self.saved is not None:
            print(f"{name}: Ctrl-a x ends the machine; Ctrl-] ? lists what the hypervisor does with keys\n", file=sys.stderr)

    def read(self):
        """Bytes for the guest; None at the end of the input."""
        data = os.read(self.descriptor, 1024)
        if not data:
            self.descriptor = None
            return None
        return self.without_commands(data) if self.saved is not None else data

    def without_commands(self, data):
        out = bytearray()
        for byte in data:
            if self.prefix:
                self.prefix = False
                if byte in b"xX":
                    raise Verdict(EXIT_FAILED, "ended by Ctrl-a x")
                out.append(byte)  # Ctrl-a Ctrl-a sends one Ctrl-a
            elif byte == KEY_CTRL_A:
                self.prefix = True
            else:
                out.append(byte)
        return bytes(out)


class Run:
    """One run: `serial_in` is where the machine's serial output is read, `serial_out` where keys are written.

    `second` is the file with the second port's output, where there is one: a run has not ended before that says so, too.
    `watch()` is called several times a second and may return a sentence that ends the run as failed (a reset, an error
    in the emulator's log). `how_it_ended()` is asked after the emulator ended: "poweroff", or a sentence.
    """

    def __init__(self, process, serial_in, serial_out, timeout_s, watch, how_it_ended, second=None):
        self.process, self.serial_in, self.serial_out = process, serial_in, serial_out
        self.deadline = time.monotonic() + timeout_s if timeout_s else None
        self.timeout_s = timeout_s
        self.watch, self.how_it_ended, self.second = watch, how_it_ended, second
        self.lines = SerialLines()
        self.colours = Colours()
        self.keys = b""
        self.quiet_since = time.monotonic()
        self.pressed = False

    def press_key(self, terminal):
        """No key comes after an error before the hand-over, and nothing else is waited for: the firmware goes on."""
        asked = not self.lines.entered and ASKS_FOR_KEY in self.lines.final()
        if asked and not self.pressed and terminal.saved is None:
            self.keys += b"\r"
            self.pressed = True

    def show(self, data):
        self.quiet_since = time.monotonic()
        self.lines.feed(data)
        view = memoryview(self.colours.paint(data))
        while view:
            view = view[os.write(sys.stdout.fileno(), view):]

    def second_says(self, line):
        try:
            with open(self.second, "rb") as output:
                return output.read().rstrip().endswith(line.encode())
        except OSError:
            return False

    def is_halted(self, quiet_s):
        """Whether the machine halted after a failure. On a busy host one serial port may be long behind the other."""
        return (self.lines.final() == RESULT_FAILED and quiet_s > HALT_GRACE_S and
                (not self.second or quiet_s > SECOND_GRACE_S or self.second_says(RESULT_FAILED)))

    def check_end(self):
        quiet_s = time.monotonic() - self.quiet_since
        if self.is_halted(quiet_s):
            raise Verdict(EXIT_FAILED, "the hypervisor said that it failed, and halted")
        if self.lines.given_back and time.monotonic() - self.lines.given_back_since > FIRMWARE_GRACE_S:
            raise Verdict(EXIT_FAILED, self.lines.given_back)
        ended = self.watch()
        if ended:
            raise Verdict(EXIT_FAILED, ended)
        if self.deadline and time.monotonic() > self.deadline:
            raise Verdict(EXIT_TIMEOUT, f"time limit of {self.timeout_s:g} s")

    def exited(self):
        how = self.how_it_ended()
        final = self.lines.final()
        if how == "poweroff" and final == RESULT_OK:
            raise Verdict(EXIT_OK, "powered off, result ok")
        if how != "poweroff":
            raise Verdict(EXIT_FAILED, how)
        if final == RESULT_FAILED:
            raise Verdict(EXIT_FAILED, "the hypervisor said that it failed")
        raise Verdict(EXIT_FAILED, f"powered off, but the last line is no result: '{final[-200:]}'")

    def step(self, terminal):
        readers = [self.serial_in]
        if terminal.descriptor is not None and len(self.keys) < 4096:
            readers.append(terminal.descriptor)
        ready, writable, _ = select.select(readers, [self.serial_out] if self.keys else [], [], 0.2)
        if terminal.descriptor in ready:
            self.keys += terminal.read() or b""
        if self.serial_out in writable:
            self.keys = self.keys[os.write(self.serial_out, self.keys[:16]):]
        if self.serial_in in ready:
            try:
                data = os.read(self.serial_in, 65536)
            except OSError:
                data = b""
            if not data:
                self.finish()
            self.show(data)

    def finish(self):
        """The serial stream ended: the emulator is about to end as well."""
        try:
            self.process.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired as late:
            raise Verdict(EXIT_FAILED, "the emulator closed the serial port and did not end") from late
        self.exited()

    def loop(self, name):
        with Terminal() as terminal:
            terminal.says_how_to_leave(name)
            while True:
                self.step(terminal)
                self.press_key(terminal)
                self.check_end()
                if self.process.poll() is not None:
                    self.drain()
                    self.exited()

    def drain(self):
        """What the emulator wrote before it ended, until the end of the stream."""
        while select.select([self.serial_in], [], [], EXIT_GRACE_S)[0]:
            try:
                data = os.read(self.serial_in, 65536)
            except OSError:
                return
            if not data:
                return
            self.show(data)


def on_signal(number, _frame):
    raise Verdict(128 + number, f"ended by signal {number}")


def catch_signals():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, on_signal)


def judge(run, name):
    """Runs to the end and returns the verdict; says on stderr why, where it is not `ok`."""
    try:
        run.loop(name)
    except Verdict as verdict:
        result = verdict
    except BrokenPipeError:
        result = Verdict(EXIT_FAILED, "the output is not read any more")
    finally:
        kill_group(run.process)
    if result.status != EXIT_OK:
        print(f"\n{name}: {result.reason} (exit status {result.status})", file=sys.stderr)
    return result
