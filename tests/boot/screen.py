#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What can be seen of Plinth where there is only the screen: boots images in QEMU, takes pictures of the screen, and reads the text back
by comparing each cell with the font's characters. Prints `ok screen-NAME (seconds)` or `FAILED screen-NAME: reason`.

    no-serial    a machine whose only serial port hangs: progress, a line per guest with its state, the end
    panic        a fault after the hand-over: code, sentence and remedy, in large letters; after a reset the next start
                 tells of it
    machine-check   an error that the machine reports by itself: what its bank says
    failed       a guest's failure stays on the screen for a while, with its sentence, though the machine is to go off
    keyboard     a machine without a serial port, typed on by QEMU's `sendkey`
    power-button...  QEMU's `system_powerdown`: the guests end in an orderly way, and the machine goes off
    mode-...     other screens than the firmware's usual one: small and of 24 bits, very large and of 16 bits, and red first
    framebuffer  a guest that has the screen draws on it, and the hypervisor does not any more; then it has the registers of
                 the display, too
    two-displays two display adapters: one has the run from its first line to its last, and says so
    faults       (only where it is named) every fault of faults.py that the hypervisor's own screen has to show
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import faults  # noqa: E402
import pool  # noqa: E402
import run  # noqa: E402

sys.path.insert(0, os.path.join(run.ROOT, "tools"))
import emulator  # noqa: E402

CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
CELL_WIDTH, CELL_HEIGHT = 8, 16
LIMIT_S = 180  # only a hang reaches it
PICTURE_EVERY_S = 0.7
# A bank's words: valid, uncorrected, enabled, with an address and a further word, the context lost. SDM 3B 16.3.2.2.
BANK_STATUS, BANK_ADDRESS, BANK_MISC = 0xbe00000000000135, 0x1234000, 0x8c
SCALES = (1, 2, 3)


def read_font():
    """Dots of a cell, as a tuple of rows -> the character."""
    with open(os.path.join(run.BUILD, "gen", "console_font.c"), encoding="ascii") as source:
        rows = re.findall(r"^    \{(.*)\},$", source.read(), re.MULTILINE)
    return {tuple(int(dots, 16) for dots in row.split(",")): chr(0x20 + i) for i, row in enumerate(rows)}


def read_picture(path):
    """Width, height, bytes of a PPM file (P6, 8 bits)."""
    with open(path, "rb") as picture:
        data = picture.read()
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    return int(header[1]), int(header[2]), data[header.end():]


def text_of(path, font):
    """The lines of text in a picture; what is no character of the font is a `~`. Every dot may be drawn as 2x2 or 3x3: the
    size that gives the most characters is taken."""
    width, height, data = read_picture(path)
    lit = data[::3].translate(bytes(i >= 0x80 for i in range(256)))
    texts = [lines_of(width // scale, height // scale, smaller(lit, width, height, scale), font) for scale in SCALES]
    return max(texts, key=lambda lines: sum(len(line) - 2 * line.count("~") for line in lines))


def smaller(lit, width, height, scale):
    """Every scale-th dot of every scale-th line."""
    return b"".join(lit[y * width:y * width + width // scale * scale:scale] for y in range(0, height // scale * scale, scale))


def lines_of(width, height, lit, font):
    lines = []
    for top in range(0, height - CELL_HEIGHT + 1, CELL_HEIGHT):
        line = ""
        for left in range(0, width - CELL_WIDTH + 1, CELL_WIDTH):
            rows = []
            for y in range(top, top + CELL_HEIGHT):
                bits = lit[y * width + left:y * width + left + CELL_WIDTH]
                rows.append(any(bits) and int("".join(map(str, bits)), 2))
            line += font.get(tuple(rows), "~")
        lines.append(line.rstrip())
    return lines


class Machine:
    """One QEMU with its machine protocol on a socket."""

    def __init__(self, image, serial, extra=()):
        self.folder = tempfile.mkdtemp(prefix="plinth-screen-")
        variables, path = os.path.join(self.folder, "vars.fd"), os.path.join(self.folder, "qmp")
        shutil.copyfile(VARS, variables)
        self.serial = os.path.join(self.folder, "serial")
        self.process = emulator.start([
            "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "1024", "-net", "none", "-display", "none",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={CODE}",
            "-drive", f"if=pflash,format=raw,unit=1,file={variables}",
            "-drive", f"if=none,id=stick,format=raw,snapshot=on,file={image}", "-device", "ide-hd,drive=stick,bootindex=0",
            "-monitor", "none", "-serial", f"file:{self.serial}" if serial else "none",
            "-qmp", f"unix:{path},server=on,wait=off", *extra], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
        self.socket, self.buffer, self.events = self.connect(path), b"", []
        self.do("qmp_capabilities")

    @staticmethod
    def connect(path):
        for _ in range(200):
            try:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(path)
                return connection
            except OSError:
                connection.close()
                time.sleep(0.05)
        raise run.CaseError("QEMU does not start")

    def do(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.socket.settimeout(30)
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if not found:
                data = self.socket.recv(65536)
                if not data:
                    raise run.CaseError("QEMU ended")
                self.buffer += data
                continue
            self.buffer = rest
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer["event"])
            elif "return" in answer:
                return answer["return"]
            elif "error" in answer:
                raise run.CaseError(f"QEMU: {answer['error']['desc']}")

    def picture(self, font, device=None):
        path = os.path.join(self.folder, "screen.ppm")
        self.do("screendump", filename=path, **({"device": device} if device else {}))
        return text_of(path, font)

    def wait_for(self, font, *patterns, device=None):
        """Takes pictures until one has all of the patterns; returns its text and the texts before. `device`: of which
        adapter, by the name that it was given."""
        end, seen = time.monotonic() + LIMIT_S, []
        while time.monotonic() < end:
            lines = self.picture(font, device)
            text, unwrapped = "\n".join(lines), "".join(lines)
            seen.append(text)
            if all(re.search(pattern, text, re.MULTILINE) or re.search(pattern, unwrapped) for pattern in patterns):
                return text, seen
            time.sleep(PICTURE_EVERY_S)
        last = "\n    | ".join(line for line in seen[-1].splitlines() if line)
        raise run.CaseError(f"the screen never shows {patterns}; at last:\n    | {last}")

    def serial_text(self):
        with open(self.serial, encoding="utf-8", errors="replace") as output:
            return run.ESCAPES.sub("", output.read())

    def end(self):
        emulator.kill_group(self.process)
        self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def stick_of(name, config, fault=None, efi=None, files=None):
    os.makedirs(run.STICKS, exist_ok=True)
    files = files or {"hello.elf": cases.HELLO}
    return run.make_stick(cases.Case(f"screen-{name}", config, [], files=files, fault=fault, efi=efi))


class HungPort:
    """A COM3 that takes no byte: QEMU writes it into a pipe that is full and that is not read."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="plinth-hung-")
        path = os.path.join(self.folder, "pipe")
        os.mkfifo(path)
        self.pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            while True:
                os.write(self.pipe, b"x" * 65536)
        except BlockingIOError:
            pass
        self.options = ("-chardev", f"pipe,id=hung,path={path}", "-device", "isa-serial,iobase=0x3e8,irq=4,chardev=hung")

    def end(self):
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


def no_serial(font):
    """Everything that a serial line would have is on the screen; the one port that there is hangs, and is given up."""
    config = "[hypervisor]\nwhen-all-stopped = halt\n" + cases.hello_conf() + cases.hello_conf().replace("hello]", "second]")
    hung = HungPort()
    machine = Machine(stick_of("no-serial", config), serial=False, extra=hung.options)
    try:
        text, seen = machine.wait_for(font, r"plinth: result ok", r"safe to switch it off")
        for pattern in (r"^plinth: the serial port at 0x3e8 takes no bytes: given up", r"^plinth: TSC \d+", r"^plinth: guest hello: CPU 0, 16 MiB in ", r"^\[hello\] PASS hello",
                        r"^\[second\] PASS hello", r"^plinth: guest second stopped: "):
            if not re.search(pattern, text, re.MULTILINE):
                raise run.CaseError(f"the screen at the end has no '{pattern}':\n{text}")
        if text.splitlines()[-2:] != ["hello has stopped", "second has stopped"]:
            raise run.CaseError(f"the last two lines are no states of guests:\n{text}")
        if not any("hello runs" in picture.splitlines()[-2:] for picture in seen):
            raise run.CaseError("no picture shows a guest that runs")
    finally:
        machine.end()
        hung.end()


def panic(font):
    """The report is on both channels, and the next start tells of it."""
    machine = Machine(stick_of("panic", cases.hello_conf(), "entry:undefined"), serial=True)
    try:
        machine.wait_for(font, r"panic P0001 on CPU 0", r"invalid opcode .* in the hypervisor", r"what to do: this is a bug",
                         r"plinth: result failed")
        if "panic P0001 on CPU 0" not in machine.serial_text():
            raise run.CaseError("the serial line has no panic")
        machine.do("system_reset")
        end = time.monotonic() + LIMIT_S
        while not re.search(r"The last run ended with:(?s:.*)\| plinth: result failed", machine.serial_text()):
            if time.monotonic() > end:
                raise run.CaseError("after the reset no line tells of the panic")
            time.sleep(PICTURE_EVERY_S)
    finally:
        machine.end()


def machine_check(font):
    """An error that the emulated machine itself reports, to a CPU that has nothing to run: the bank's words on both
    channels (the screen breaks the line)."""
    config = "[guest spin]\nkernel = spin.elf\nmemory = 4M\ncpus = 0,\ncmdline = halt\n"
    stick = stick_of("machine-check", config, files={"spin.elf": cases.Built("guests/spin.elf")})
    machine = Machine(stick, serial=True, extra=("-smp", "2", "-no-shutdown"))
    bank = rf"bank 5: uncorrected error, status {BANK_STATUS:016x}"
    said = (bank, r"panic P0009 on CPU 1", r"machine check", r"check memory, cooling", r"plinth: result failed")
    try:
        machine.wait_for(font, r"CPUs: 2 of 2 ready", r"a key is typed")
        machine.do("human-monitor-command", **{"command-line": f"mce 1 5 {BANK_STATUS:#x} 5 {BANK_ADDRESS:#x} {BANK_MISC:#x}"})
        machine.wait_for(font, *said)
        for pattern in (*said, rf"{bank} +address {BANK_ADDRESS:016x} +misc {BANK_MISC:016x}"):
            if not re.search(pattern, machine.serial_text()):
                raise run.CaseError(f"the serial line does not say '{pattern}'")
    finally:
        machine.end()


def wait_for_serial(machine, *patterns):
    """The serial line's text when it has all of the patterns."""
    end = time.monotonic() + LIMIT_S
    while not all(re.search(pattern, machine.serial_text(), re.MULTILINE) for pattern in patterns):
        if time.monotonic() > end:
            raise run.CaseError(f"the serial line never has {patterns}:\n{machine.serial_text()[-2000:]}")
        time.sleep(PICTURE_EVERY_S)
    return machine.serial_text()


def wait_for_end(machine):
    """QEMU ends when the machine is switched off."""
    try:
        machine.process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        raise run.CaseError(f"the machine is never switched off:\n{machine.serial_text()[-2000:]}") from None


def press(machine, *keys):
    """Keys of the machine's own keyboard, by QEMU's names."""
    for key in keys:
        machine.do("human-monitor-command", **{"command-line": f"sendkey {key} 20"})
        time.sleep(0.1)  # it presses and releases in the machine's time


def keyboard(font):
    """A machine without a serial port is worked on by its own keyboard: a byte for the guest, then Plinth's own keys."""
    config = "[hypervisor]\nwhen-all-stopped = halt\n" + life_conf("life", "") + life_conf("other", "")
    machine = Machine(stick_of("keyboard", config, files=LIFE_FILES), serial=False)
    try:
        machine.wait_for(font, r"^plinth: keyboard: PS/2", r"^\[life\] ready", r"^\[other\] ready")
        press(machine, "a")
        machine.wait_for(font, r"^\[life\] awake")
        press(machine, "ctrl-bracket_right", "n", "shift-b")
        machine.wait_for(font, r"^\[other\] awake")
        press(machine, "ctrl-bracket_right", "p")
        machine.wait_for(font, r"guest other stopped: powered off \(ACPI S5\)", r"^other has stopped")
        press(machine, "ctrl-bracket_right", "k")
        machine.wait_for(font, r"plinth: result ok")
    finally:
        machine.end()


LIFE_FILES = {"life.elf": cases.Built("guests/life.elf")}
READY = (r"^\[life\] ready", r"^\[deaf\] ready")


def life_conf(name, more):
    return f"[guest {name}]\nkernel = life.elf\nmemory = 4M\n{more}"


def power_button(_font):
    """A press of the machine's button ends a guest that listens and, after its time, one that does not; then the machine is
    off, whatever the config says of guests and of their end."""
    config = ("[hypervisor]\nwhen-all-stopped = reboot\n" + life_conf("life", "on-stop = restart\n") +
              life_conf("deaf", "cmdline = deaf\nstop-time = 500ms\non-stop = restart\n"))
    machine = Machine(stick_of("power-button", config, files=LIFE_FILES), serial=True)
    try:
        wait_for_serial(machine, *READY)
        machine.do("system_powerdown")
        wait_for_end(machine)
        wait_for_serial(machine, r"plinth: the power button was pressed: the guests are asked", r"^\[life\] the power button was pressed",
                        r"guest life stopped: powered off \(ACPI S5\)", r"guest deaf stopped: killed: it was still on 500 ms",
                        r"all guests have stopped; the machine is switched off", r"plinth: result ok")
    finally:
        machine.end()


def power_button_twice(_font):
    """A second press does not wait."""
    config = life_conf("life", "cmdline = deaf\n") + life_conf("deaf", "cmdline = deaf\nstop-time = 3600s\n")
    machine = Machine(stick_of("power-button-twice", config, files=LIFE_FILES), serial=True)
    try:
        wait_for_serial(machine, *READY)
        machine.do("system_powerdown")
        wait_for_serial(machine, r"guest deaf: its power button is pressed")
        machine.do("system_powerdown")
        wait_for_end(machine)
        wait_for_serial(machine, r"the power button was pressed twice; the machine is switched off", r"guest deaf still ran")
    finally:
        machine.end()


def guest_failed(font):
    """A real machine (here: one whose CPU does not say that it is virtual) does not go off at once when a guest has failed."""
    config = "[guest bad]\nkernel = hostile-end.elf\nmemory = 16M\ncmdline = attack=triple-fault\n"
    stick = stick_of("failed", config, files={"hostile-end.elf": cases.Built("guests/hostile-end.elf")})
    machine = Machine(stick, serial=False, extra=("-cpu", "max,-hypervisor"))
    try:
        machine.wait_for(font, r"the screen stays for 60 s", r"^plinth: result failed", r"^bad has failed \(P0300\): triple fault")
    finally:
        machine.end()


# Mode that the test build sets -> what a line holds.
MODES = {"800x600x24": 800 // 8, "3840x2160x16": 3840 // 8 // 3, "1920x1080x32": 1920 // 8}


DIRECT_FILES = {"direct.elf": cases.Built("guests/direct.elf")}
DIRECT_COLOUR, DIRECT_PIXELS = bytes((0x33, 0x66, 0x99)), 0x40000


def direct_run(name, more, cmdline, *patterns):
    """A guest with devices of the machine runs to its end. Returns the beginning of the picture, and what QEMU says of PCI."""
    config = f"[hypervisor]\nwhen-all-stopped = halt\n[guest direct]\nkernel = direct.elf\nmemory = 4M\ncmdline = {cmdline}\n{more}"
    machine = Machine(stick_of(name, config, files=DIRECT_FILES), serial=True)
    try:
        text = wait_for_serial(machine, r"^plinth: result ok", *patterns)
        if "FAIL " in text:
            raise run.CaseError(f"the guest fails:\n{text[-2000:]}")
        path = os.path.join(machine.folder, "screen.ppm")
        machine.do("screendump", filename=path)
        return read_picture(path)[2], machine.do("human-monitor-command", **{"command-line": "info pci"})
    finally:
        machine.end()


def framebuffer(_font):
    """What the guest has drawn is there after the hypervisor's last line; then with the display's registers, whose place QEMU
    names."""
    picture, pci = direct_run("framebuffer", "framebuffer = yes\n", "framebuffer", r"the screen is a guest's from now on",
                              r"guest direct has the machine's memory .*, the framebuffer, at 0xf0000000", r"direct: drawn",
                              r"audit: no guest reaches anything but its own memory and the devices that it was given")
    if picture[:3 * DIRECT_PIXELS] != DIRECT_COLOUR * DIRECT_PIXELS:
        raise run.CaseError(f"the picture is not the guest's: it begins with {picture[:12].hex()}")
    registers = re.search(r"1234:1111(?s:.*?)BAR2: 32 bit memory at (0x[0-9a-f]+)", pci)
    if not registers:
        raise run.CaseError(f"QEMU names no registers of a display:\n{pci}")
    direct_run("mmio", f"mmio = {registers[1]} 4K 0xf8000000\n", "mmio", r"direct: the display's registers answer")


def in_mode(font, mode):
    """The whole run is read from this screen; the size of the letters is the one that hv/console/console_screen.h promises."""
    stick = stick_of(f"mode-{mode}", "[hypervisor]\nwhen-all-stopped = halt\n" + cases.hello_conf(),
                     efi=cases.Built("efi-screen/BOOTX64.EFI"))
    machine = Machine(stick, serial=False, extra=("-vga", "none", "-device", "VGA,vgamem_mb=64",
                                                  "-fw_cfg", f"name=opt/plinth/screen,string={mode}"))
    try:
        text, _ = machine.wait_for(font, r"^\[hello\] PASS hello$|^PASS hello$", r"^plinth: result ok$", r"^hello has stopped$")
        if not any(line == "-" * MODES[mode] for line in text.splitlines()):
            raise run.CaseError(f"no line of {MODES[mode]} dashes:\n{text}")
    finally:
        machine.end()


def two_displays(font):
    """One adapter is the PC's own, behind it lies one that only its own calls draw on, and before it a second one with a
    picture in memory. The firmware has its text on all; one of those that can be drawn on has all of ours."""
    config = "[hypervisor]\nwhen-all-stopped = halt\n" + cases.hello_conf()
    machine = Machine(stick_of("two-displays", config), serial=True, extra=(
        "-vga", "none", "-device", "secondary-vga,id=second,addr=3", "-device", "VGA,id=own,addr=5",
        "-device", "virtio-gpu-pci,id=calls,addr=6"))
    try:
        wait_for_serial(machine, r"^plinth: result ok")
        pictures = {device: "\n".join(machine.picture(font, device)) for device in ("second", "own", "calls")}
        shown = [device for device, text in pictures.items() if re.search(r"^plinth: result ok", text, re.MULTILINE)]
        if len(shown) != 1 or shown == ["calls"]:
            raise run.CaseError(f"these show the end: {shown}\n{pictures}")
        machine.wait_for(font, r"^plinth: screen: \d+x\d+, one of several, the firmware's console", r"PASS hello", device=shown[0])
    finally:
        machine.end()


def fault_on_both(font, fault):
    names = ["hello", "other"][:fault.guests]
    config = "".join(cases.hello_conf().replace("guest hello", f"guest {name}") for name in names)
    machine = Machine(stick_of("fault", config, fault.name), serial=True, extra=("-no-shutdown",))  # a failed guest ends it
    try:
        machine.wait_for(font, rf"\bP{fault.code:04d}\b", r"plinth: result failed")
        if not re.search(rf"\bP{fault.code:04d}\b", machine.serial_text()):
            raise run.CaseError("the serial line does not have the code")
    finally:
        machine.end()


def every_fault(font):
    """Those after the hand-over: before it the firmware draws the screen, with its own font."""
    failed = 0
    for fault in faults.FAULTS:
        if "qemu-svm" in fault.emulators and fault.code != 0 and not fault.returns and fault.smp == 1:
            began = time.monotonic()
            try:
                fault_on_both(font, fault)
                print(f"ok screen-fault {fault.name}: P{fault.code:04d} on the serial line and on the screen "
                      f"({time.monotonic() - began:.0f} s)", flush=True)
            except run.CaseError as error:
                failed += 1
                print(f"FAILED screen-fault {fault.name}: {error}", flush=True)
    return failed


TESTS = {"no-serial": no_serial, "panic": panic, "machine-check": machine_check, "failed": guest_failed,
         "keyboard": keyboard, "power-button": power_button, "power-button-twice": power_button_twice, "two-displays": two_displays, "framebuffer": framebuffer,
         **{f"mode-{mode}": lambda font, mode=mode: in_mode(font, mode) for mode in MODES}}


def result_of(name):
    began = time.monotonic()
    try:
        TESTS[name](read_font())
        return [f"ok screen-{name} ({time.monotonic() - began:.0f} s)"]
    except run.CaseError as error:
        return [f"FAILED screen-{name}: {error}"]


def jobs(names=tuple(TESTS)):
    return [pool.Job(f"screen-{name}", lambda name=name: result_of(name)) for name in names]


def main():
    if sys.argv[1:] == ["faults"]:
        return 1 if every_fault(read_font()) else 0
    run.prepare()
    return pool.leave(1 if pool.failed(pool.run(jobs(sys.argv[1:] or TESTS))) else 0)


if __name__ == "__main__":
    sys.exit(main())
