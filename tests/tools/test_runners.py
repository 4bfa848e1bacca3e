#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What run-qemu and run-bochs promise before the emulator starts, one line each: `ok runners: PROMISE` or `FAILED ...`.

In the emulators' place stand programs that keep their command line and end: how the machine was made is looked at, and
nothing boots. BUILD is the build folder, with the demo's kernel and the guests in it.
"""

import importlib
import os
import pty
import re
import select
import subprocess
import sys
import tty

import promises

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" >"$STARTED.$$"
for word; do case $word in */bochsrc) cat "$word" >>"$STARTED.$$" ;; esac; done
"""
TWO = "[guest a]\nkernel = hello.elf\n[guest b]\nkernel = hello.elf\nmemory = {}\n"
LIMIT_S = 600  # only a hang reaches it


class Desk(promises.Folder):
    """A folder whose path has a blank, a kernel in it, and stand-ins for the emulators."""

    def __init__(self, folder):
        super().__init__(os.path.join(folder, "my guests"))
        self.temporary, self.programs = os.path.join(folder, "tmp"), os.path.join(folder, "bin")
        for made in (self.folder, self.temporary, self.programs):
            os.mkdir(made)
        for name in ("qemu-system-x86_64", "bochs"):
            with open(os.path.join(self.programs, name), "w", encoding="utf-8") as out:
                out.write(STAND_IN)
            os.chmod(os.path.join(self.programs, name), 0o755)
        os.symlink(os.path.join(BUILD, "guests", "hello.elf"), self.path("hello.elf"))

    def begin(self, runner, *words):
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", "TMPDIR": self.temporary,
                       "STARTED": os.path.join(self.temporary, "started")}
        return subprocess.Popen([os.path.join(ROOT, "tools", runner), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, env=environment)

    def run(self, runner, *words):
        """What it said, its status, and the words that the emulator was started with (None: it was not)."""
        process = self.begin(runner, *words)
        said = process.communicate(timeout=LIMIT_S)[0]
        started = self.take_started()
        return said, process.returncode, started[0] if started else None

    def take_started(self):
        """The emulators' command lines since the last time; nothing else is left in the folder for temporary files."""
        texts = []
        for name in os.listdir(self.temporary):
            assert name.startswith("started"), f"{name} is left in the folder for temporary files"
            with open(os.path.join(self.temporary, name), encoding="utf-8") as text:
                texts.append(text.read())
            os.unlink(os.path.join(self.temporary, name))
        return texts


def machine_of(started):
    """CPUs and MiB of the machine that a stand-in was started for."""
    bochs = re.search(r"^megs: (\d+)$.*^cpu: .*count=(\d+)", started, re.MULTILINE | re.DOTALL)
    if bochs:
        return int(bochs[2]), int(bochs[1])
    words = started.splitlines()
    return int(words[words.index("-smp") + 1]), int(words[words.index("-m") + 1])


def a_config_is_booted_on_the_machine_that_it_needs(desk):
    conf = desk.write("two.conf", TWO.format("1G"))
    before = sorted(os.listdir(desk.folder))
    for runner in ("run-qemu", "run-bochs"):
        said, _, started = desk.run(runner, conf)
        cpus, megabytes = machine_of(started)
        assert cpus == 2 and 1024 + 256 + 128 <= megabytes <= 1024 + 256 + 512, (runner, cpus, megabytes, said)
    assert sorted(os.listdir(desk.folder)) == before, "something was written beside the config"


def a_small_config_gets_the_usual_machine(desk):
    for runner in ("run-qemu", "run-bochs"):
        started = desk.run(runner, desk.write("one.conf", "[guest a]\nkernel = hello.elf\nmemory = 4M\n"))[2]
        assert machine_of(started) == (1, 1024), (runner, machine_of(started))


def options_make_another_machine(desk):
    conf = desk.write("two.conf", TWO.format("1G"))
    for words, wanted in ((("--smp", "3"), 3), (("--mem", "1536M"), 1536), (("--smp", "3", "--mem", "1.5G"), None)):
        for runner in ("run-qemu", "run-bochs"):
            said, status, started = desk.run(runner, *words, conf)
            if wanted is None:
                assert started is None and status == 2 and "1.5G" in said, said
            else:
                assert wanted in machine_of(started), (runner, words, machine_of(started))
    for word in ("0", "-1", "two"):
        said, status, started = desk.run("run-qemu", "--smp", word, conf)
        assert status == 2 and started is None and "number of CPUs" in said, said


def an_image_remembers_what_it_needs(desk):
    conf, image = desk.write("two.conf", TWO.format("1G")), desk.path("two.img")
    mkusb = [os.path.join(ROOT, "tools", "mkusb"), "-c", conf, "-o", image]
    subprocess.run(mkusb, check=True)
    for runner in ("run-qemu", "run-bochs"):
        assert machine_of(desk.run(runner, image)[2]) == machine_of(desk.run(runner, conf)[2]), runner
        assert machine_of(desk.run(runner, "--smp", "7", "--mem", "600M", image)[2]) == (7, 600), runner
    subprocess.run([*mkusb, "--no-check"], check=True)
    assert machine_of(desk.run("run-qemu", image)[2]) == (1, 1024), "an image that was not checked gets the usual machine"


def a_config_with_errors_starts_nothing_and_says_where(desk):
    for text, says in (("[guest a]\nkernel = helo.elf\n", "wrong.conf:2:10: missing-file: "), ("", "wrong.conf:1:1: no-guest: "),
                       ("[guest a]\nkernel = hello.elf\nmemroy = 1G\n", "wrong.conf:3:1: unknown-key: ")):
        conf = desk.write("wrong.conf", text)
        for runner in ("run-qemu", "run-bochs"):
            said, status, started = desk.run(runner, conf)
            assert status == 2 and started is None and says in said and "Traceback" not in said, (runner, status, said)


def wrong_words_are_said_with_a_remedy(desk):
    good, image = desk.write("good.conf", "[guest a]\nkernel = hello.elf\n"), desk.path("good.img")
    subprocess.run([os.path.join(ROOT, "tools", "mkusb"), "-c", good, "-o", image], check=True)
    large = desk.write("large.conf", TWO.format("3G"))
    for runner, words, says in (
            ("run-qemu", [desk.path("none.conf")], "none.conf is not there; name a plinth.conf"),
            ("run-bochs", [desk.path("none.img")], "none.img is not there; name a plinth.conf"),
            ("run-qemu", ["--write", good], "--write keeps what the machine writes in an image; make one with tools/mkusb"),
            ("run-qemu", ["--efi", good, image], "--efi goes with a config"),
            ("run-qemu", ["--efi", desk.path("none.efi"), good], "none.efi cannot be read: No such file or directory"),
            ("run-bochs", [large], "Bochs has at most 2048M; give a guest less memory, or use run-qemu")):
        said, status, started = desk.run(runner, *words)
        assert status == 2 and started is None and says in said and "Traceback" not in said, (runner, words, status, said)


def module_of_examples():
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    return importlib.import_module("examples")


def an_example_runs_where_it_lies(desk):
    """With files that the build makes. Every file of every example is one of these, and what it is is said."""
    examples = os.path.join(ROOT, "config", "examples")
    before = sorted(os.listdir(examples))
    said, _, started = desk.run("run-qemu", os.path.join(examples, "smp.conf"))
    assert machine_of(started)[0] == 4 and "vmlinuz is " in said and "demo/vmlinuz" in said, said
    said, _, started = desk.run("run-qemu", os.path.join(examples, "time-sliced.conf"))
    assert started and "hello.elf is " in said and "the small guest of tests/guests" in said, said
    made_of = set()
    for name in before:
        if not name.endswith(".conf"):
            continue
        conf = os.path.join(examples, name)
        with open(conf, encoding="utf-8") as text:
            named = set(re.findall(r"^(?:kernel|initrd|module|disk)\s*= *([\w.+-]+)", text.read(), re.MULTILINE))
        placed = module_of_examples().files_of(conf)
        assert {file for file, _, _ in placed} == named, (name, named, placed)
        made_of |= {f"{os.environ.get('BUILD', 'build')}/{at}" for _, at, _ in placed}
    made = subprocess.run(["make", "-n", "-C", ROOT, *sorted(made_of)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert made.returncode == 0, made.stdout
    assert sorted(os.listdir(examples)) == before


def several_run_at_once(desk):
    """Each with its own image; none sees another's."""
    confs = [desk.write(f"{number}.conf", f"[guest a]\nkernel = hello.elf\ncpus = {number}\n") for number in range(1, 5)]
    runs = [desk.begin("run-qemu", conf) for conf in confs]
    for run in runs:
        run.communicate(timeout=LIMIT_S)
    assert sorted(machine_of(started)[0] for started in desk.take_started()) == [1, 2, 3, 4]


def a_terminal_is_told_how_to_leave_and_gets_no_stray_answers(desk):
    """The stand-in asks where the cursor is and ends at once; what the terminal answers after that is not left for the
    shell. Without a terminal there is no such line."""
    conf = desk.write("one.conf", "[guest a]\nkernel = hello.elf\n")
    assert "Ctrl-a x" not in desk.run("run-qemu", conf)[0]
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # so that what is left can be seen without a line's end
    program = os.path.join(desk.programs, "qemu-system-x86_64")
    with open(program, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\nprintf '\\033[6n\\n'\n")
    environment = {**os.environ, "PATH": f"{desk.programs}:{os.environ['PATH']}", "TMPDIR": desk.temporary}
    process = subprocess.Popen([os.path.join(ROOT, "tools", "run-qemu"), conf], stdin=theirs, stdout=theirs, stderr=theirs,
                               env=environment)
    said = b""
    while b"exit status" not in said:
        said += os.read(ours, 65536)
        if b"\x1b[6n" in said and b"answered" not in said:
            os.write(ours, b"\x1b[24;80R")
            said += b"answered"
    process.wait(LIMIT_S)
    assert b"run-qemu: Ctrl-a x ends the machine" in said, said
    assert not select.select([theirs], [], [], 0)[0], "the terminal's answer was left for the shell"
    os.close(ours)
    os.close(theirs)


def errors_and_warnings_have_colours_on_a_terminal(desk):
    """In whatever pieces the bytes come; other lines, and a word in the middle of one, have none."""
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    colours = importlib.import_module("emulator").Colours
    stream = b"plinth: start\r\nplinth: error: P0300: it failed\r\n~ # echo plinth: error: no\r\nplinth: warning: odd\r\nplinth: end"
    painted = (b"plinth: start\r\nplinth: error:\x1b[31m P0300: it failed\r\x1b[0m\n~ # echo plinth: error: no\r\n"
               b"plinth: warning:\x1b[33m odd\r\x1b[0m\nplinth: end")
    for size in (1, 2, 3, 7, 16, len(stream)):
        painter = colours(True)
        assert b"".join(painter.paint(stream[i:i + size]) for i in range(0, len(stream), size)) == painted, size
    assert colours(False).paint(stream) == stream
    assert not colours().wanted, "standard output is no terminal here"


TESTS = [a_config_is_booted_on_the_machine_that_it_needs, a_small_config_gets_the_usual_machine, options_make_another_machine,
         an_image_remembers_what_it_needs, a_config_with_errors_starts_nothing_and_says_where, wrong_words_are_said_with_a_remedy,
         an_example_runs_where_it_lies, several_run_at_once, a_terminal_is_told_how_to_leave_and_gets_no_stray_answers,
         errors_and_warnings_have_colours_on_a_terminal]


if __name__ == "__main__":
    sys.exit(promises.keep("runners", TESTS, Desk))
