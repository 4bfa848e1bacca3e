#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What an operator sees at a terminal: boots machines in QEMU within tmux (80 columns, 24 rows, as programs expect it),
types, and reads the terminal back. Prints `ok terminal-NAME (seconds)` or `FAILED terminal-NAME: reason`.

    demo        the demo as the README has it: how to leave is on the screen, the shell works, Ctrl-] n meets hello, and
                when it has ended nothing is typed into the shell from which it was started
    programs    an editor and a process list in a Linux that has the focus, with lines of another guest and of the
                hypervisor between: each is drawn right, comes back, and leaves every line that was said
    attacked    a guest prints to deceive and to blind while another one has the focus: its lines alone show it, and what
                the terminal would answer is typed into neither
    attacker-focused    the same, and the attacker has the focus
    alone       the attacker is the only guest: the hypervisor's last lines are there and can be read
"""

import os
import re
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import run  # noqa: E402
from script import Case  # noqa: E402

COLUMNS, ROWS = 80, 24
WIDE_COLUMNS = 240  # no line wraps: tmux forgets of a row that it wraps while the alternate screen is shown
PICTURE_COLUMNS = 150
LIMIT_S = 200  # only a hang reaches it
LOOK_EVERY_S = 0.2
SOCKET = "plinth-terminal-test"
ESCAPE = "C-]"


class TerminalError(Exception):
    """Why a test failed, in a sentence."""


class Terminal:
    """A tmux server of our own with one window, in which a command runs; the window stays when it has ended."""

    def __init__(self, command, name, columns=COLUMNS):
        self.socket = f"{SOCKET}-{os.getpid()}-{name}"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(ROWS),
                  f"{command}; echo \"exit status $?\"; sleep 1000")
        self.tmux("set-option", "-g", "history-limit", "20000")
        self.tmux("set-option", "-g", "status", "off")

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-L", self.socket, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        return done.stdout

    def close(self):
        self.tmux("kill-server")

    def type(self, *keys):
        """Keys by tmux's names; a text of several characters as it is."""
        for key in keys:
            self.tmux("send-keys", *(["-l"] if len(key) > 1 and not re.fullmatch(r"C-.|Escape|Enter|Up|Down", key) else []), key)

    def screen(self):
        return self.tmux("capture-pane", "-p").split("\n")[:ROWS]

    def all_lines(self):
        """With what has scrolled off; wrapped rows are joined."""
        return [line.rstrip() for line in self.tmux("capture-pane", "-p", "-J", "-S", "-").split("\n")]

    def wait(self, what, holds):
        """Until `holds(screen)`."""
        end = time.monotonic() + LIMIT_S
        while not holds(self.screen()):
            if time.monotonic() > end:
                raise TerminalError(f"{what} did not come; the screen is:\n" + "\n".join(f"    | {line}" for line in self.screen()))
            time.sleep(LOOK_EVERY_S)

    def wait_for(self, pattern):
        self.wait(f"'{pattern}'", lambda screen: any(re.search(pattern, line) for line in screen))

    def wait_for_line(self, pattern):
        end = time.monotonic() + LIMIT_S
        while not any(re.search(pattern, line) for line in self.all_lines()):
            if time.monotonic() > end:
                raise TerminalError(f"'{pattern}' did not come")
            time.sleep(LOOK_EVERY_S)


def machine(name, config, files, smp):
    """The command that boots it, with its stick made."""
    case = Case(f"terminal-{name}", config, [], files=files)
    os.makedirs(run.STICKS, exist_ok=True)
    os.makedirs(run.LOGS, exist_ok=True)
    image = run.make_stick(case)
    return shlex.join([os.path.join(run.ROOT, "tools", "run-qemu"), "--cpu", "max", "--smp", str(smp), "--timeout", str(LIMIT_S), image])


def row_is(row, pattern):
    return lambda screen: re.match(pattern, screen[row]) is not None


def expect_lines(lines, *patterns):
    """All of them, in this order."""
    at = 0
    for pattern in patterns:
        found = next((i for i in range(at, len(lines)) if re.search(pattern, lines[i])), None)
        if found is None:
            raise TerminalError(f"no line '{pattern}' where it should be; the end is:\n" + "\n".join(f"    | {line}" for line in lines[-30:]))
        at = found + 1


# The firmware's lines come before ours.
def own_lines(lines):
    start = next(i for i, line in enumerate(lines) if line.startswith("plinth: Plinth "))
    end = next(i for i, line in enumerate(lines) if line.startswith("exit status "))
    return [line for line in lines[start:end] if line]


def expect_names(lines, names):
    """Every line is the hypervisor's or has its guest's name."""
    for line in lines:
        if not re.match(r"plinth: |\[(" + "|".join(names) + r")\]( |$)", line):
            raise TerminalError(f"a line without a name: '{line}'")


def edit(terminal):
    """vi: what is typed is where it belongs, also after a line of the hypervisor's came between."""
    terminal.type("vi /tmp/x", "Enter")
    terminal.wait("vi's screen", lambda screen: screen[1].startswith("~") and screen[22].startswith("~") and "/tmp/x" in screen[23])
    terminal.type("i", "first words", "Enter", "second line", "Escape")
    terminal.wait("the text", lambda screen: screen[0].rstrip() == "first words" and screen[1].rstrip() == "second line")
    terminal.wait("the command mode", row_is(23, "- "))
    terminal.type(ESCAPE, "s")
    terminal.wait_for_line(r"^plinth: end of the status")
    terminal.wait("the page after the status", lambda screen: screen[0].rstrip() == "first words" and screen[2].startswith("~"))
    terminal.type("A", " and third", "Escape")
    terminal.wait("the command mode", row_is(23, "- "))
    terminal.type("Up", "x")
    terminal.wait("the changed text", lambda screen: screen[1].rstrip() == "second line and third" and screen[0].rstrip() != "first words")
    terminal.type(":wq", "Enter")
    terminal.wait_for(r"^\[linux\] linux# $|^\[linux\] linux#$")


def list_processes(terminal):
    """top: it draws again and again, from the first row on."""
    terminal.type("top", "Enter")
    terminal.wait("top's screen", lambda screen: screen[0].startswith("Mem:") and any(re.search(r"PID +PPID", line) for line in screen[:6]))
    terminal.wait("the other guest's line", lambda screen: any("[beat]" in line for line in terminal.all_lines()))
    terminal.wait("top again", row_is(0, "Mem:"))
    terminal.type("q")
    terminal.wait_for(r"^\[linux\] linux#")


def programs():
    config = cases.linux_conf(more="cpus = 0,\n") + ("[guest beat]\nkernel = neighbour.elf\nmemory = 16M\ncpus = 1,\n"
                                                     "cmdline = ticks=3000\n")
    files = {"vmlinuz": cases.LINUX, "initramfs.cpio": cases.INITRAMFS, "neighbour.elf": cases.Built("guests/neighbour.elf")}
    terminal = Terminal(machine("programs", config, files, 2), "programs")
    try:
        terminal.wait_for(r"^\[linux\] linux#")
        edit(terminal)
        terminal.type("cat /tmp/x; clear", "Enter")
        terminal.wait_for(r"linux#")
        terminal.type("echo $((6 * 7)) after", "Enter")
        terminal.wait_for(r"^42 after")
        list_processes(terminal)
        terminal.type("poweroff", "Enter")
        terminal.wait_for(r"^exit status \d")
        lines = own_lines(terminal.all_lines())
        expect_names(lines, ("linux", "beat"))
        expect_lines(lines, r"^plinth: status of 2 guests", r"^plinth: end of the status", r"^\[linux\] linux# cat /tmp/x; clear",
                     r"^\[linux\] first words?", r"^\[linux\] second line and third", r"^\[linux\] 42 after", r"^\[beat\] PASS neighbour",
                     r"^plinth: result ok")
    finally:
        terminal.close()


def attacked(name, focused):
    confs = [cases.console_conf("bank", 0, "attack=listen ms=3000"), cases.console_conf("evil", 1, "attack=forge,ask,blind")]
    terminal = Terminal(machine(name, "".join(confs if focused == "bank" else reversed(confs)), cases.CONSOLE_FILES, 2), name, WIDE_COLUMNS)
    try:
        terminal.wait_for(r"^exit status \d")
        lines = own_lines(terminal.all_lines())
        expect_names(lines, ("bank", "evil"))
        expect_lines(lines, r"^plinth: first guest instruction", r"^\[evil\] .*forged by backspaces", r"^\[bank\] PASS hostile-console", r"^plinth: result ok")
        expect_lines(lines, r"^\[bank\] 0 bytes were typed to it:$")
        forged = [line for line in lines if "forged" in line and not line.startswith("[evil] ")]
        if forged:
            raise TerminalError(f"a forged line: '{forged[0]}'")
        expect_lines(lines[-1:], r"^plinth: result ok$")
    finally:
        terminal.close()


def alone():
    """Its bytes pass as they are; the lines after it are the hypervisor's, on the main screen, and nothing hides them."""
    terminal = Terminal(machine("alone", cases.console_conf("evil", 0, "attack=blind"), cases.CONSOLE_FILES, 1), "alone")
    try:
        terminal.wait_for(r"^exit status \d")
        screen = [line.rstrip() for line in terminal.screen() if line.strip()]
        expect_lines(screen, r"^plinth: guest evil stopped: ", r"^plinth: all guests have stopped", r"^plinth: result ok$", r"^exit status 0$")
    finally:
        terminal.close()


def keep(lines, step):
    """For docs/pictures.md, where `make pictures` asks for it."""
    folder = os.environ.get("PLINTH_PICTURES")
    if folder:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, step), "w", encoding="utf-8") as out:
            out.write("\n".join(lines))


def demo():
    """`./build.sh run` without the build, from an ordinary shell."""
    terminal = Terminal("PS1='shell> ' bash --norc --noprofile -i", "demo", PICTURE_COLUMNS)
    began = time.monotonic()
    try:
        terminal.wait_for(r"^shell>")
        terminal.type(shlex.join([os.path.join(run.ROOT, "tools", "run-qemu"), "--timeout", str(LIMIT_S),
                                  os.path.join(run.BUILD, "plinth.img")]), "Enter")
        terminal.wait_for_line(r"^run-qemu: Ctrl-a x ends the machine; Ctrl-\] \? lists")
        seen_s = time.monotonic() - began
        terminal.wait_for(r"^\[linux\] linux#")
        keep(terminal.screen(), "prompt")
        prompt_s = time.monotonic() - began
        terminal.type(ESCAPE, "n", "k")
        terminal.wait_for(r"^\[hello\] hello: you typed k")
        keep(terminal.screen(), "hello")
        terminal.type(ESCAPE, "n", "echo $((6 * 7)) back", "Enter")
        terminal.wait_for(r"^\[linux\] 42 back|^42 back")
        terminal.type(ESCAPE, "s")
        terminal.wait_for(r"^plinth: end of the status")
        keep(terminal.screen(), "status")
        terminal.type("poweroff", "Enter")
        terminal.wait("the shell's prompt", lambda screen: [row for row in screen if row.strip()][-1].startswith("shell>"))
        terminal.type("echo status $? colon", "Enter")
        terminal.wait_for(r"^status 0 colon$")
        keep(terminal.screen(), "end")
        lines = terminal.all_lines()
        expect_lines(lines, r"^plinth: guest hello still ran$", r"^plinth: result ok$", r"^shell> echo status \$\? colon$", r"^status 0 colon$")
        start, = (i for i, line in enumerate(lines) if line.startswith("plinth: Plinth "))
        first, = (i for i, line in enumerate(lines) if line.startswith("plinth: first guest instruction"))
        keep([line for line in lines[start:first + 1] if line], "start")
        print(f"    something on the screen after {seen_s:.1f} s, the prompt of Linux after {prompt_s:.1f} s")
    finally:
        terminal.close()


TESTS = {
    "demo": demo,
    "programs": programs,
    "attacked": lambda: attacked("attacked", "bank"),
    "attacker-focused": lambda: attacked("attacker-focused", "evil"),
    "alone": alone,
}


def main():
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
        return 0
    failed = 0
    for name in sys.argv[1:] or TESTS:
        began = time.monotonic()
        try:
            TESTS[name]()
            print(f"ok terminal-{name} ({time.monotonic() - began:.0f} s)", flush=True)
        except (TerminalError, run.CaseError, StopIteration) as error:
            failed += 1
            print(f"FAILED terminal-{name}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
