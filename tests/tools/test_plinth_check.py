#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plinth-check's promises, one line each: `ok plinth-check: PROMISE` or `FAILED ...`. BUILD is the build folder, with the
demo's kernel and the guests in it."""

import gzip
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import promises

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PROGRAM = os.path.join(BUILD, "plinth-check")
EXAMPLES = os.path.join(ROOT, "config", "examples")
FILES = {"vmlinuz": "demo/vmlinuz", "initramfs.cpio": "demo/initramfs.cpio", "disk.img": "demo/disk.img",
         "hello.elf": "guests/hello.elf"}
MACHINE = "cpus = 4\nmemory = 8G\n"
# What happens to machine.txt on its way, and what people write instead; file and place of the verdict.
DAMAGED = (
    ("cpus = 4\nregion = 0x100000 0x80000000 free\nregion = 0x1000000", '3:19: bad-machine: "" is not an address'),
    ("cpus = 4\nregion = 0x100000 0x80000000\n", '2:29: bad-machine: "" is no kind of memory; write free'),
    ("cpus = 4\nregion = 0x80000000 0x100000 free\n", "2:21: bad-machine: "),
    ("cpus = 4\nregion = 0x100000 0x80000000 ram\n", '2:30: bad-machine: "ram" is no kind of memory'),
    ("cpus = 4\nregion = 0x100000-0x80000000 free\n", "2:10: bad-machine: "),
    ("cpus = 4\nregion = 0 0x40000000000000 free\n", "2:12: bad-machine: "),
    ("cpus = 4\nregion = 0 1G free at last\n", '2:20: bad-machine: "at last" is too much'),
    ("cpus = 4\n", "1:1: bad-machine: The file does not say what memory"), ("", "1:1: bad-machine: The file does not say how many"),
    ("cpu = 4\nmemory = 8G\n", "1:7: bad-machine: \"4\" is not where a CPU is"),
    ("cpus = 4\ncpus = 2\nmemory = 8G\n", "2:1: duplicate-key: `cpus` was already written in line 1"),
    ("cpus = 4\nram = 8G\n", "2:1: unknown-key: A machine has no `ram`; did you mean `memory`?"),
    ("cpus = 4\nvirtualisation = vmx\nmemory = 8G\n", "2:1: unknown-key: A machine has no `virtualisation`; did you mean"),
    ("[guest a]\ncpus = 4\nmemory = 8G\n", "1:2: bad-line: A machine's description has no sections"),
    ("cpus = 4\nmem\0ory = 8G\n", "2:4: bad-character: "), ("\ufeffcpus = 0\nmemory = 8G\n", "1:8: bad-machine: "),
    ("cpus = 4\nvirtualization = VT-x\nmemory = 8G\n", '2:18: bad-machine: "VT-x"'),
)
SVG = "{http://www.w3.org/2000/svg}"

# Example -> guests and their CPUs on a machine with four.
PLANS = {
    "linux.conf": {"linux": [0]},
    "two-linuxes.conf": {"work": [0], "play": [1]},
    "linux-and-unikernel.conf": {"linux": [0], "hello": [1]},
    "smp.conf": {"linux": [0, 1, 2, 3]},
    "time-sliced.conf": {"linux": [0], "one": [0], "two": [0]},
    "demo.conf": {"linux": [0], "hello": [1]},
}


def check(*arguments, **more):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)


class Desk(promises.Folder):
    """A folder with the examples, the files that they name, and a machine."""

    def __init__(self, folder):
        super().__init__(folder)
        for name, built in FILES.items():
            os.symlink(os.path.join(BUILD, built), os.path.join(folder, name))
        for name in PLANS:
            shutil.copy(os.path.join(EXAMPLES, name), folder)
        self.machine = self.write("machine.txt", MACHINE)

    def plan(self, name):
        made = check("--json", "--machine", self.machine, self.path(name))
        plan = json.loads(made.stdout)
        assert made.returncode == 0 and plan["good"], plan["errors"]
        return plan


def every_example_is_good_and_placed_as_it_says(desk):
    for name, guests in PLANS.items():
        plan = desk.plan(name)
        assert {guest["name"]: guest["cpus"] for guest in plan["guests"]} == guests, name
        lines = [line for line in open(desk.path(name), encoding="utf-8") if line.strip()]
        assert len(lines) <= 24, f"{name} has {len(lines)} lines"
    assert all(guest["slice_us"] > 0 for guest in desk.plan("time-sliced.conf")["guests"])


def guests_get_disjoint_memory_of_the_machine(desk):
    for name in PLANS:
        plan = desk.plan(name)
        pieces = sorted((r["hpa"], r["hpa"] + r["bytes"]) for guest in plan["guests"] for r in guest["ranges"])
        assert all(one[1] <= next_[0] for one, next_ in zip(pieces, pieces[1:])), name
        free = [(piece["start"], piece["end"]) for piece in plan["host"] if piece["use"] == "free"]
        owned = sum(piece["end"] - piece["start"] for piece in plan["host"] if "guest" in piece)
        assert owned == sum(guest["memory_bytes"] for guest in plan["guests"]), name
        assert all(any(start >= low for low, _ in free) for start, _ in pieces), name


def files_may_lie_in_another_folder(desk):
    """--beside, for an example where it lies; what is beside the config comes first."""
    example = os.path.join(EXAMPLES, "linux.conf")
    assert check(example).returncode == 1
    listed = check("--files", "--beside", desk.folder, example)
    assert listed.returncode == 0, listed.stdout
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == [desk.path("vmlinuz"), desk.path("initramfs.cpio")], listed.stdout
    own = desk.path("own")
    os.mkdir(own)
    shutil.copy(desk.path("hello.elf"), own)
    conf = desk.write("own/one.conf", "[guest a]\nkernel = hello.elf\n")
    assert check("--files", "--beside", desk.folder, conf).stdout.startswith(os.path.join(own, "hello.elf"))


def leaves_and_tables_add_up(desk):
    for name in PLANS:
        for guest in desk.plan(name)["guests"]:
            backed = (guest["leaves_1g"] << 30) + (guest["leaves_2m"] << 21) + (guest["leaves_4k"] << 12)
            assert backed == guest["memory_bytes"], (name, guest["name"])
            assert guest["table_bytes"] % 4096 == 0 and guest["table_bytes"] >= 8192


def several_mistakes_give_a_line_each_plain_in_a_pipe(desk):
    conf = desk.write("wrong.conf", "[guest a]\nkernel = hello.elf\ncolour = blue\nmemory = lots\n[guest a]\nkernel = x\n")
    made = check(conf)
    lines = made.stdout.splitlines()
    assert made.returncode == 1 and len(lines) == 3, made.stdout
    for line, rule in zip(lines, ("3:1: unknown-key: ", "4:10: bad-size: ", "5:8: duplicate-name: ")):
        assert line.startswith(f"{conf}:{rule}"), line
    assert "\x1b" not in made.stdout
    errors = json.loads(check("--json", conf).stdout)["errors"]
    assert [(error["line"], error["rule"]) for error in errors] == [(3, "unknown-key"), (4, "bad-size"), (5, "duplicate-name")]


def a_terminal_gets_colours(desk):
    conf = desk.write("wrong.conf", "[guest a]\n")
    ours, theirs = pty.openpty()
    subprocess.run([PROGRAM, conf], stdout=theirs, check=False)
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[1;31mmissing-kernel\x1b[0m" in text, text


def a_terminal_that_wants_no_colours_gets_none(desk):
    conf = desk.write("wrong.conf", "[guest a]\n")
    for setting in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        ours, theirs = pty.openpty()
        subprocess.run([PROGRAM, conf], stdout=theirs, check=False, env={**os.environ, **setting})
        os.close(theirs)
        text = os.read(ours, 65536).decode()
        os.close(ours)
        assert "missing-kernel" in text and "\x1b" not in text, text


def json_is_well_formed_whatever_the_bytes(desk):
    """UTF-8 is kept, what is none is marked, and so is the half of a character at which a long word was cut."""
    conf = desk.path("odd.conf")
    for word, kept in ((b"caf\xc3\xa9", "caf\u00e9"), (b"b\xfcro", "b\ufffdro"), (b"\xf0\x9f\x90\xa7", "\U0001f427"),
                       (b"\xed\xa0\x80\xc0\x80", "\ufffd\ufffd"), (b'a"b\\', 'a"b\\'), (b"\xc3\xbc" * 40, "\u00fc\u00fc"),
                       (b"x" + b"\xe2\x82\xac" * 40, "\u20ac\ufffd"), (b"\xff" * 300, "\ufffd\ufffd")):
        with open(conf, "wb") as out:
            out.write(b"[guest a]\nkernel = hello.elf\nmode = " + word + b"\n")
        made = subprocess.run([PROGRAM, "--json", conf], stdout=subprocess.PIPE, check=False)
        errors = json.loads(made.stdout.decode("utf-8"))["errors"]
        assert made.returncode == 1 and any(kept in error["sentence"] for error in errors), (word, errors)


def what_is_not_understood_ends_with_2(desk):
    for arguments in ((), ("--nonsense", desk.path("linux.conf")), ("--machine",), (desk.path("linux.conf"), "another")):
        made = check(*arguments)
        assert made.returncode == 2 and "--help" in made.stderr and not made.stdout, arguments


def errors_beyond_the_list_are_counted(desk):
    conf = desk.write("wrong.conf", "[guest a]\nkernel = hello.elf\n" + "x = 1\n" * 40)
    made = check(conf)
    assert made.stdout.splitlines()[-1].endswith("and 8 more; mend these first."), made.stdout
    assert json.loads(check("--json", conf).stdout)["more_errors"] == 8


def files_that_are_missing_empty_or_no_image_are_named(desk):
    desk.write("empty", "")
    desk.write("garbage", "no kernel " * 1000)
    for file, rule in (("nowhere", "missing-file"), ("empty", "empty-file"), ("garbage", "bad-image")):
        made = check(desk.write("file.conf", f"[guest a]\nkernel = {file}\n"))
        assert made.returncode == 1 and f"file.conf:2:10: {rule}: " in made.stdout, made.stdout
    os.mkdir(desk.path("kernels"))
    for file, says in (("Helo.ELF", "did you mean hello.elf?"), ("helo.elf", "did you mean hello.elf?"),
                       ("kernels", "is a folder"), ("nowhere/hello.elf", "relative to the config file")):
        made = check(desk.write("file.conf", f"[guest a]\nkernel = {file}\n"))
        assert made.returncode == 1 and says in made.stdout, (file, made.stdout)


def a_disk_may_be_compressed_and_what_is_none_is_told(desk):
    """Memory is planned for what the image expands to; files that hold a disk, but are none, are warned of."""
    config = "[guest a]\nkernel = hello.elf\nmemory = 16M\n"
    whole = gzip.compress(bytes(3 << 20) + b"end")
    for name, content in (("whole.gz", whole), ("cut.gz", whole[:200]), ("damaged.gz", whole[:-9] + b"x" + whole[-8:]),
                          ("a.qcow2", b"QFI\xfb" + bytes(600)), ("a.zst", b"\x28\xb5\x2f\xfd" + bytes(9)), ("odd", bytes(513))):
        with open(desk.path(name), "wb") as file:
            file.write(content)
    lines = "".join(f"disk = {name}\n" for name in ("whole.gz", "whole.gz,ro", "a.qcow2", "a.zst", "odd"))
    out = check(desk.write("disks.conf", config + lines))
    assert out.returncode == 0, out.stdout
    for wanted in ("disk    whole.gz, expands to 3.0 MiB, 4 KiB without its zeroes\n",
                   "disk    whole.gz, read-only, expands to 3.0 MiB, 4 KiB without its zeroes\n", "disk    odd\n",
                   "disk    a.qcow2; warning: it is a disk image (qcow2)", "disk    a.zst; warning: it is a file compressed with zstd"):
        assert wanted in out.stdout, out.stdout
    for name in ("cut.gz", "damaged.gz"):
        out = check(desk.write("disks.conf", f"{config}disk = {name}\n"))
        assert out.returncode == 1 and f"4:8: bad-image: {name}: gzip: " in out.stdout + out.stderr, out.stdout + out.stderr


def zeroes_of_an_image_take_no_memory(desk):
    """What the plan takes for a disk of 256 MiB with 3 MiB in it, by its users and how it may be changed."""
    with open(desk.path("sparse.img"), "wb") as out:
        out.truncate(256 << 20)
        for at in (5, 100 << 20, 200 << 20):
            out.seek(at)
            out.write(b"x" * (1 << 20))
    config = "[guest a]\nkernel = hello.elf\nmemory = 16M\n"

    def needs(*disks):
        out = check("--needs", desk.write("sparse.conf", config + "".join(f"disk = sparse.img{disk}\n" for disk in disks)))
        assert out.returncode == 0, out.stdout + out.stderr
        return int(re.search(r"memory = ([0-9]+)M", out.stdout)[1])

    told = {disks: needs(*disks) for disks in ((), ("",), (",ro",), (",ro", ",ro"), (",changes=8M",), (",keep=no,changes=8M",))}
    assert told[("",)] - told[()] >= 256, told
    for disks in ((",ro",), (",ro", ",ro"), (",changes=8M",), (",keep=no,changes=8M",)):
        assert told[disks] - told[()] <= 128, told  # the least step
    out = check(desk.path("sparse.conf")).stdout
    assert "disk    sparse.img, as it was after each restart, 8 MiB for changes, 3.0 MiB without its zeroes" in out, out
    out = check(desk.write("sparse.conf", config + "disk = sparse.img\n")).stdout
    assert re.search(r"disk    sparse\.img; 252\.9 MiB of it are zeroes: with `changes=SIZE` only", out), out


def names_are_those_of_a_fat_volume(desk):
    """A stick knows no case, no dot or blank at a name's end and no file of 4 GiB; what it could not hold is refused here."""
    for name in ("hello.", " hello", "nul.elf", "other.elf"):
        shutil.copy(desk.path("hello.elf"), desk.path(name))
    for name, size in (("cut", (4 << 30) - 1), ("huge", 5 << 30)):
        with open(desk.path(name), "wb") as out:
            out.truncate(size)
    for kernel in ("HELLO.elf", "./Hello.Elf"):
        made = check("--files", desk.write("fat.conf", f"[guest a]\nkernel = {kernel}\n"))
        assert made.returncode == 0 and made.stdout.startswith(os.path.join(desk.folder, "")), made.stdout
        assert made.stdout.splitlines()[0].split("\t")[0].endswith("hello.elf"), made.stdout
    for value, rule in (("hello.", "bad-path"), ('" hello"', "bad-path"), ('"hello.elf "', "bad-path"), ("nul.elf", "bad-path"),
                        ("hello.elf/", "bad-path"), ("plinth.conf", "bad-path"), ("Machine.TXT", "bad-path")):
        made = check(desk.write("fat.conf", f"[guest a]\nkernel = {value}\n"))
        assert made.returncode == 1 and re.search(rf"fat.conf:2:1[01]: {rule}: ", made.stdout), (value, made.stdout)
    for name in ("cut", "huge"):
        made = check(desk.write("fat.conf", f"[guest a]\nkernel = hello.elf\ninitrd = {name}\n"))
        assert made.returncode == 1 and "fat.conf:3:10: large-file: " in made.stdout and "split -b 2G" in made.stdout, made.stdout
    os.mkdir(desk.path("in"))
    shutil.copy(desk.path("hello.elf"), desk.path("in/hello.elf"))
    shutil.copy(desk.path("hello.elf"), desk.path("OTHER.elf"))
    made = check(desk.write("fat.conf", "[guest a]\nkernel = other.elf\nmodule = OTHER.elf\n"))
    assert "fat.conf:3:10: file-twice: " in made.stdout and "(line 2)" in made.stdout, made.stdout
    made = check(desk.write("in/fat.conf", "[guest a]\nkernel = hello.elf\nmodule = ../hello.elf\n"))
    assert "fat.conf:3:10: file-twice: " in made.stdout, made.stdout


def a_wrong_machine_is_named_with_its_line(desk):
    for text, expected in (("cpus = 0\n", "1:8: bad-machine: "), ("cpus = 1\nregion = 1 2 free\n", "2:10: bad-machine: "),
                           ("cpus = 1\nmemroy = 8G\n", "2:1: unknown-key: "), ("memory = 8G\n", "1:1: bad-machine: "),
                           ("cpus = 1\nthat\n", "2:1: bad-line: "), ("cpus = 1\nlargest-leaf = 3G\n", "2:16: bad-machine: "),
                           ("cpu = 0 apic x package 0 core 0 thread 0\ncpus = 1\n", "1:7: bad-machine: "),
                           *DAMAGED):
        machine = desk.write("wrong.txt", text)
        made = check("--machine", machine, desk.path("linux.conf"))
        assert made.returncode == 1 and f"{machine}:{expected}" in made.stdout, (text, made.stdout)
        report = json.loads(check("--json", "--machine", machine, desk.path("linux.conf")).stdout)
        assert not report["good"] and report["errors"][0]["file"] == machine
    made = check("--machine", desk.path("none.txt"), desk.path("linux.conf"))
    assert made.returncode == 1 and "missing-file" in made.stdout


def real_machines_are_planned_for(desk):
    """Hybrid cores, two packages with more CPUs than Plinth uses, memory above 1 TiB, many holes, no memory below 4 GiB."""
    hybrid = "cpus = 24\nmemory = 64G\n" + "".join(
        f"cpu = {i} apic {i if i < 16 else 2 * i} package 0 core {i // 2 if i < 16 else i - 8} thread {i % 2 if i < 16 else 0}\n"
        for i in range(24))
    packages = "cpus = 512\nmemory = 2T\n" + "".join(f"cpu = {i} apic {i} package {i // 128} core {i // 2} thread {i % 2}\n"
                                                      for i in range(512))
    holes = "cpus = 4\n" + "".join(f"region = 0x{i << 25:x} 0x{(i << 25) + (16 << 20):x} free\n" for i in range(1, 500))
    high = "cpus = 4\nregion = 1M 16M free\nregion = 0x100000000 0x1f000000000 free\n"
    for machine, free in ((hybrid, 60 << 30), (packages, 2040 << 30), (holes, 499 * (16 << 20)), (high, 1900 << 30)):
        made = check("--json", "--machine", desk.write("real.txt", machine), desk.write(
            "four.conf", "[guest a]\nkernel = hello.elf\ncpus = 0-3\nmemory = 32M\n"))
        plan = json.loads(made.stdout)
        assert made.returncode == 0 and plan["machine"]["free_bytes"] >= free, (machine[:80], made.stdout[:200])
    text = check("--machine", desk.write("real.txt", hybrid), desk.path("four.conf")).stdout
    assert "CPU 3 (package 0, core 1, thread 1): a vCPU 3" in text and "CPU 23 (package 0, core 15, thread 0): free" in text
    two = desk.write("two.conf", "[guest a]\nkernel = hello.elf\n[guest b]\nkernel = hello.elf\ncpus = 1\n")
    made = check("--json", "--machine", desk.path("real.txt"), two)
    assert [guest["cpus"] for guest in json.loads(made.stdout)["guests"]] == [[0], [2]], "two guests on one core"
    assert "warning" not in check("--machine", desk.path("real.txt"), two).stdout
    desk.write("two.conf", "[guest a]\nkernel = hello.elf\ncpus = 0,\n[guest b]\nkernel = hello.elf\ncpus = 1,\n")
    made = check("--machine", desk.path("real.txt"), two)
    assert made.returncode == 1 and "shared-core" in made.stdout and "CPUs 0 and 1 are its threads" in made.stdout, made.stdout
    desk.write("two.conf", "[hypervisor]\nallow-siblings = yes\n[guest a]\nkernel = hello.elf\ncpus = 0,\n[guest b]\n"
               "kernel = hello.elf\ncpus = 1,\n")
    said = check("--machine", desk.path("real.txt"), two).stdout
    assert "warning: guests a and b share a core (CPUs 0 and 1 are its threads)" in said, said
    vmx = hybrid + "virtualization = vmx\ncpuid = 0x1 0 0x000b0671 0x0 0x0 0x0\nmicrocode = 0x129\nscreen = 800 x 600 at 0x0\n"
    said = check("--machine", desk.write("real.txt", vmx + "msr = 0x3a 0x5\n"), desk.path("four.conf")).stdout
    assert "verdict: this machine can run Plinth: Intel VMX with nested paging" in said and "no console" not in said, said
    said = check("--machine", desk.write("real.txt", vmx + "msr = 0x3a 0x1\n"), desk.path("four.conf")).stdout
    assert "verdict: this machine cannot run Plinth as it is set up: its firmware has locked VMX off" in said, said
    assert "bad-machine" in check("--machine", desk.write("real.txt", vmx + "msr = 0x3a\n"), desk.path("four.conf")).stdout
    svm = hybrid + "virtualization = svm\nscreen = 800 x 600 at 0x0\n"
    said = check("--machine", desk.write("real.txt", svm + "msr = 0xc0010114 0x18\n"), desk.path("four.conf")).stdout
    assert "verdict: this machine cannot run Plinth as it is set up: its firmware has locked SVM off" in said, said
    made = check("--machine", desk.write("real.txt", packages), desk.write("far.conf", "[guest a]\nkernel = hello.elf\ncpus = 255,\n"))
    assert "cpu-not-there" in made.stdout and "0 to 254" in made.stdout, made.stdout


def code_lies_in_small_leaves_where_the_cpu_needs_it(desk):
    """A table for each 2 MiB of memory, on the CPUs with the erratum and where the config asks for it, with EPT alone."""
    conf = {word: desk.write(f"code-{word}.conf", f"[hypervisor]\nspeculation = {word}\n[guest a]\nkernel = hello.elf\nmemory = 1G\n")
            for word in ("auto", "all", "none")}
    for vendor, erratum, word, small in (("vmx", "yes", "auto", True), ("vmx", "yes", "none", False), ("vmx", "no", "auto", False),
                                         ("vmx", "no", "all", True), ("svm", "yes", "all", False)):
        machine = desk.write("code.txt", f"cpus = 2\nmemory = 8G\nvirtualization = {vendor}\ncode-erratum = {erratum}\n")
        guest = json.loads(check("--json", "--machine", machine, conf[word]).stdout)["guests"][0]
        assert guest["small_code"] == small and guest["table_bytes"] == (515 if small else 2) * 4096, (vendor, erratum, word, guest)


def the_verdict_has_its_reasons(desk):
    """What machine.txt says of the other CPUs, of IOMMUs and of USB; a description by hand is silent of them."""
    machine = "cpus = 4\nmemory = 4G\nvirtualization = vmx\nmsr = 0x3a 0x5\n"

    def said(*lines):
        made = check("--machine", desk.write("reasons.txt", machine + "".join(line + "\n" for line in lines)), desk.path("linux.conf"))
        assert made.returncode == 0, made.stdout
        return made.stdout.partition("verdict: this machine can run Plinth")[2]

    assert "IOMMU" not in said() and "CPUs say" not in said()
    assert "    all CPUs say the same of themselves\n" in said("cpus-asked = 4")
    assert "    3 of 4 CPUs were asked" in said("cpus-asked = 3")
    text = said("cpus-asked = 4", "cpu-cpuid = 2 0x7 0 0x0 0x219c07a9 0x0 0x0", "cpu-lacks = 3 leaf 0x1a", "cpu-msr = 1 0x3a 0x1", "cpu-msr = 2 0x2ff 0x0", "cpu-msr = 2 0x3b 0x9",
                "cpu-microcode = 3 0x12a", "usb = xHCI 0000:00:14.0 firmware", "usb = EHCI 0000:00:1a.0 free",
                "iommu = intel 0xfed90000 segment 0 on", "iommu = intel 0xfed91000 segment 0 off all",
                "iommu-keeps = 0x7b800000 0x7fa00000")
    for line in ("the firmware has locked virtualization off, no guest can run there: CPU 1", "2 IOMMUs, 1 of them left on",
                 "other features than CPU 0: a guest sees what its own CPUs have: CPUs 1, 2, 3",
                 "other microcode than CPU 0: a firmware update may mend it: CPU 3",
                 "other memory types (MTRRs) than CPU 0: they get those of CPU 0 at the start: CPU 2\n",
                 "USB controllers that the firmware serves: 1;"):
        assert f"    {line}" in text, (line, text)
    assert "no IOMMU (is VT-d or AMD IOMMU off" in said("iommu = none")
    assert "its CPU stops at code whose page changes its size" in said("code-erratum = yes") and "CVE" not in said("code-erratum = no")
    assert "table of IOMMUs cannot be understood" in said("iommu = amd refused: a block ends behind the table")
    for line in ("cpu-cpuid = 1 0x7", "cpu-cpuid = 255 0x7 0 0 0 0 0", "cpu-msr = 1 0x3a", "cpu-microcode = x 1", "cpu-lacks = 1 leg 3",
                 "cpus-asked = 0", "iommu = intel 0xfed90000", "usb = xHCI"):
        made = check("--machine", desk.write("reasons.txt", machine + line + "\n"), desk.path("linux.conf"))
        assert made.returncode == 1 and ":5:" in made.stdout and "bad-machine" in made.stdout, (line, made.stdout)


def a_place_of_ones_own_is_kept_and_the_others_are_planned_around_it(desk):
    conf = desk.write("at.conf", "[guest a]\nkernel = hello.elf\nmemory = 3G\n[guest b]\nkernel = hello.elf\nmemory = 1G\n"
                      "memory-at = 5G\n")
    plan = json.loads(check("--json", "--machine", desk.machine, conf).stdout)
    assert plan["guests"][1]["ranges"] == [{"gpa": 0, "hpa": 5 << 30, "bytes": 1 << 30}]
    assert all(r["hpa"] + r["bytes"] <= 5 << 30 or r["hpa"] >= 6 << 30 for r in plan["guests"][0]["ranges"])
    assert check(conf).returncode == 0
    for address, use in (("0xfee00000", "not there"), ("0x7c000000", "reserved"), ("512K", "reserved"), ("9.5G", "taken already")):
        made = check("--machine", desk.machine, desk.write("bad.conf", "[guest a]\nkernel = hello.elf\nmemory = 1G\n"
                                                           f"memory-at = {address}\n"))
        assert re.search(rf":4:13: memory-not-free: .* on the memory is {use}", made.stdout), made.stdout


def the_machine_decides(desk):
    small = desk.write("small.txt", "cpus = 1\nmemory = 1G\n")
    made = check("--machine", small, desk.path("smp.conf"))
    assert made.returncode == 1 and "too-much-memory" in made.stdout, made.stdout
    made = check("--machine", small, desk.path("two-linuxes.conf"))
    assert made.returncode == 1 and "cpu-not-there" in made.stdout, made.stdout
    old = desk.write("old.txt", "cpus = 4\nmemory = 8G\nlargest-leaf = 2M\nvirtualization = vmx\n")
    plan = json.loads(check("--json", "--machine", old, desk.path("smp.conf")).stdout)
    assert plan["guests"][0]["leaves_1g"] == 0 and plan["guests"][0]["leaves_2m"] == 1024


def what_is_needed_is_enough_and_hardly_more(desk):
    """The answer is a machine's description: the plan for it is good, and for a smaller one it is not."""
    desk.write("far.conf", "[guest a]\nkernel = hello.elf\nmemory-at = 40G\ncpus = 0,5\n")
    for name in (*PLANS, "far.conf"):
        needs = check("--needs", desk.path(name))
        assert needs.returncode == 0, needs.stdout
        cpus, memory = (int(re.search(rf"^{key} = (\d+)", needs.stdout, re.MULTILINE)[1]) for key in ("cpus", "memory"))
        for text, good in ((needs.stdout, True), (f"cpus = {cpus}\nmemory = {memory - max(128, memory // 16) - 1}M\n", False)):
            made = check("--machine", desk.write("needs.txt", text), desk.path(name))
            assert (made.returncode == 0) == good, (name, text, made.stdout)
        used = {cpu for guest in json.loads(check("--json", desk.path(name)).stdout)["guests"] for cpu in guest["cpus"]}
        assert cpus == max(used) + 1, (name, cpus, used)
    made = check("--needs", desk.write("hole.conf", "[guest a]\nkernel = hello.elf\nmemory-at = 3G\n"))
    assert made.returncode == 0 and "No ordinary machine" in made.stdout and "memory =" not in made.stdout, made.stdout
    made = check("--needs", desk.write("wrong.conf", "[guest a]\n"))
    assert made.returncode == 1 and "missing-kernel" in made.stdout


EVERY_KEY = """[hypervisor]
console = serial
log = debug
inventory = yes
quiet-devices = no
quirks = none
speculation = none
allow-siblings = yes
rtc = local -3:30
when-all-stopped = halt
[guest a]
kernel = hello.elf
cmdline = one two   # three
module = notes.txt some words
initrd = notes.txt
disk = root.img,keep=no,changes=4M
disk = root.img,ro
net = lan,mac=52:54:00:12:34:56
on-stop = restart
on-crash = poweroff
on-reset = crash
stop-time = 90s
watchdog = halt 1500ms
debug-ports = yes
debug-exit-ok = 0x10
memory-at = 5G
slice = 250us
share-idle = no
cpus = 0,
virtual-apic = no
paging = shadow
shadow-memory = 1M
com2 = yes
hpet = yes
ticks = merge
"""


def plan_and_json_show_every_key(desk):
    desk.write("notes.txt", "some notes")
    with open(desk.path("root.img"), "wb") as out:
        out.truncate(1 << 20)
    conf = desk.write("every.conf", EVERY_KEY)
    made = check(conf)
    assert made.returncode == 0, made.stdout
    for line in ("    kernel  hello.elf: ", "    cmdline one two\n", "is a comment, and no part of it: # three",
                 "    module  notes.txt some words\n", "    initrd  notes.txt\n", "root.img, as it was after each restart, 4 MiB",
                 "root.img, read-only", "on-stop restart, on-crash poweroff, on-reset crash; 90s to stop",
                 "watchdog halt 1500ms", "by port 0xf4: 0x10 is well", "slices of 250us that it keeps", "local APIC (emulated)",
                 "network lan, 52:54:00:12:34:56", "host 0x140000000", "console serial, log debug, when-all-stopped halt",
                 "shadow  121 tables and ", "writes machine.txt, quiet-devices no, quirks none, speculation none, rtc local -03:30, allow-siblings yes\n", "needs: a machine with 1 CPU and "):
        assert line in made.stdout, (line, made.stdout)
    plan = json.loads(check("--json", conf).stdout)
    guest = plan["guests"][0]
    assert plan["hypervisor"] == {"console": "serial", "log": "debug", "when_all_stopped": "halt", "inventory": True,
                                  "quiet_devices": False, "quirks": False, "speculation": "none",
                                  "allow_siblings": True, "rtc": "local -03:30"}
    wanted = {"kernel": "hello.elf", "cmdline": "one two", "on_stop": "restart", "on_crash": "poweroff", "on_reset": "crash",
              "stop_time_us": 90000000, "watchdog": "halt", "watchdog_us": 1500000, "debug_ports": True, "debug_exit_ok": 16,
              "memory_at": 5 << 30, "slice_us": 250, "share_idle": False, "virtual_apic": False, "console": True, "com2": True, "hpet": True,
              "ticks": "merge", "paging": "shadow", "shadow_memory": 1 << 20, "shadow_tables": 121,
              "modules": [{"path": "notes.txt", "arguments": "some words"}, {"path": "notes.txt", "arguments": ""}],
              "nets": [{"network": "lan", "mac": "52:54:00:12:34:56"}],
              "disks": [{"path": "root.img", "ro": False, "keep": "no", "changes_bytes": 4 << 20},
                        {"path": "root.img", "ro": True, "keep": "restart", "changes_bytes": 0}]}
    assert {key: guest[key] for key in wanted} == wanted, guest
    assert plan["machine"]["given_to"] == [{"cpu": 0, "guests": [{"guest": "a", "vcpu": 0}]}]
    assert any(piece.get("given_to") == "a" and piece["start"] == 5 << 30 for piece in plan["host"])
    assert plan["needs"]["cpus"] == 1 and plan["needs"]["memory_bytes"] >= 3 << 30
    shared = desk.write("shared.conf", "[network lan]\nmtu = 9000\nisolated = yes\nrouter = a\n[shared board]\nsize = 2M\n"
                        "[guest a]\nkernel = hello.elf\nnet = lan\nconsole = virtio\nshared = board\n"
                        "[guest b]\nkernel = hello.elf\nnet = lan\nrng = no\nshared = board,ro\n")
    made = check(shared)
    for line in ("network lan: a, b; isolated, router a; MTU 9000\n", "shared board, 2 MiB: a, b (reads)\n",
                 "    shared  board, read-only, guest 0xdc000000\n", "            virtio console (hvc0), virtio-rng\n"):
        assert line in made.stdout, (line, made.stdout)
    plan = json.loads(check("--json", shared).stdout)
    assert plan["networks"] == [{"name": "lan", "isolated": True, "router": "a", "mtu": 9000}]
    assert plan["shared"] == [{"name": "board", "bytes": 2 << 20}]
    assert [guest["shared"] for guest in plan["guests"]] == [[{"name": "board", "ro": False}], [{"name": "board", "ro": True}]]
    assert [(guest["rng"], guest["console_virtio"]) for guest in plan["guests"]] == [(True, True), (False, False)]
    check("--svg", desk.path("shared.svg"), shared)
    with open(desk.path("shared.svg"), encoding="utf-8") as picture:
        drawn = picture.read()
    assert drawn.count("network lan<") == 2 and "shared board at 0xdc000000, reads<" in drawn
    flat = desk.write("flat.conf", "[guest a]\nkernel = hello.elf\nprotocol = flat\nmode = 16\nload-address = 0x7c00\n")
    assert "flat    at 0x7c00, entered at 0x7c00 in real mode" in check(flat).stdout
    guest = json.loads(check("--json", flat).stdout)["guests"][0]
    assert (guest["load_address"], guest["entry"], guest["mode"]) == (0x7C00, 0x7C00, "real")


def a_config_that_cannot_be_read_says_why(desk):
    """And which file is probably meant."""
    os.mkdir(desk.path("stick"))
    desk.write("stick/plinth.conf", "[guest a]\nkernel = hello.elf\n")
    desk.write("mine.conf.txt", "[guest a]\nkernel = hello.elf\n")
    with open(desk.path("large.conf"), "wb") as out:
        out.truncate((256 << 10) + 1)
    desk.write("empty.conf", "")
    for name, says in (("none.conf", "missing-file: The config cannot be read: No such file or directory. Name a text"),
                       ("stick", "it is a folder. Did you mean {}/plinth.conf?"), ("mine.conf", "Did you mean {}.txt?"),
                       ("mine", "No such file or directory. Name"), ("large.conf", "it is too large for one"),
                       ("empty.conf", "no-guest: The file is empty; add a section")):
        made = check(desk.path(name))
        assert made.returncode == 1 and says.format(desk.path(name)) in made.stdout, (name, made.stdout)
    made = check("--machine", desk.path("none.txt"), desk.path("linux.conf"))
    assert made.returncode == 1 and "cannot be read: No such file or directory" in made.stdout, made.stdout


def the_standard_input_is_a_config(desk):
    text = "[guest a]\nkernel = hello.elf\nmemory = lots\n"
    made = check("-", input=text, cwd=desk.folder)
    assert made.returncode == 1 and made.stdout.startswith("-:3:10: bad-size: "), made.stdout
    made = check("--json", "-", input=text.replace("lots", "32M"), cwd=desk.folder)
    assert json.loads(made.stdout)["guests"][0]["memory_bytes"] == 32 << 20
    made = check("--machine", "-", desk.path("linux.conf"), input=MACHINE)
    assert made.returncode == 0, made.stdout
    assert check("--machine", "-", "-", input=MACHINE).returncode == 2
    assert check("-h").stdout == check("--help").stdout and "plinth.conf|-" in check("-h").stdout


def a_path_of_this_computer_is_told_from_a_missing_file(desk):
    for kernel, says in ((desk.path("hello.elf"), "is a path on this computer, and the stick has only what lies beside"),
                         ("/no/such/kernel", "no/such/kernel is not there; put it there or mend the path")):
        made = check(desk.write("absolute.conf", f"[guest a]\nkernel = {kernel}\n"))
        assert made.returncode == 1 and "absolute.conf:2:10: missing-file: " in made.stdout and says in made.stdout, made.stdout
    made = check(desk.write("several.conf", "[guest a]\nkernel = one\ninitrd = two\n[guest b]\nkernel = three\ndisk = four\n"))
    assert [line.split(":")[1] for line in made.stdout.splitlines()] == ["2", "3", "5", "6"], "all missing files at once"


def boxes_of(svg):
    return [tuple(int(box.get(key)) for key in ("x", "y", "width", "height")) + (box.get("fill"),)
            for box in svg.iter(f"{SVG}rect")][1:]


def overlaps(one, other):
    return (one[0] < other[0] + other[2] and other[0] < one[0] + one[2] and
            one[1] < other[1] + other[3] and other[1] < one[1] + one[3])


def the_picture_shows_every_cpu_guest_and_piece_of_memory(desk):
    for name in PLANS:
        plan = desk.plan(name)
        picture = desk.path("plan.svg")
        assert check("--svg", picture, "--machine", desk.machine, desk.path(name)).returncode == 0
        svg = xml.etree.ElementTree.parse(picture).getroot()
        texts = ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]
        width, height = int(svg.get("width")), int(svg.get("height"))
        boxes = boxes_of(svg)
        for cpu in range(4):
            assert f"CPU {cpu}" in texts, (name, cpu)
        for guest in plan["guests"]:
            for vcpu in range(len(guest["cpus"])):
                assert f"{guest['name']} vCPU {vcpu}" in texts, (name, guest["name"])
            for memory in guest["ranges"]:
                assert any(text.startswith(f"0x{memory['gpa']:x} is host 0x{memory['hpa']:x}") for text in texts), name
                assert f"0x{memory['hpa']:x}" in texts, name
        assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h, _ in boxes), name
        for y in (int(text.get("y")) for text in svg.iter(f"{SVG}text")):
            assert 0 < y <= height
        bars = [box for box in boxes if box[0] == 190]
        chips = [box for box in boxes if box[3] == 20]
        for group in (bars, chips):
            assert not any(overlaps(one, other) for i, one in enumerate(group) for other in group[:i]), name
        assert len(chips) == sum(len(guest["cpus"]) for guest in plan["guests"]), name


def a_name_cannot_break_the_picture(desk):
    folder = desk.path("a<b&c")
    os.makedirs(folder, exist_ok=True)
    shutil.copy(desk.path("hello.elf"), folder)
    with open(os.path.join(folder, "p.conf"), "w", encoding="utf-8") as out:
        out.write("[guest a]\nkernel = hello.elf\n")
    made = subprocess.run([PROGRAM, "--svg", "out.svg", "a<b&c/p.conf"], cwd=desk.folder, stdout=subprocess.PIPE, check=False)
    assert made.returncode == 0
    xml.etree.ElementTree.parse(desk.path("out.svg"))


def every_rule_of_the_source_is_in_the_manual(_):
    rules = set()
    for path in [os.path.join(ROOT, "config", name) for name in os.listdir(os.path.join(ROOT, "config")) if name.endswith(".c")] + [
            os.path.join(ROOT, "tools", "check", name) for name in ("check_steps.c", "check_files.c")]:
        with open(path, encoding="utf-8") as source:
            rules |= set(re.findall(r'(?:config_report|read_size)\([^;"]*?"([a-z-]+)",', source.read()))
    manual = set(re.findall(r"^### ([a-z-]+)$", check("--manual").stdout, re.MULTILINE))
    assert rules == manual, f"only in the source: {rules - manual}; only in the manual: {manual - rules}"


def example_of(block):
    """The text of an example in the manual; what is written several times begins at the line with the 1."""
    title, _, body = block.partition("\n\n")
    lines = [re.sub("<byte 0x([0-9a-f]+)>", lambda sign: chr(int(sign[1], 16)), line[4:]) for line in body.splitlines() if line]
    times = re.search(r"\((\d+) times", title)
    if not times:
        return "\n".join(lines) + "\n"
    first = next(i for i, line in enumerate(lines) if "1" in line)
    again = "\n".join(lines[first:]) + "\n"
    return "".join(line + "\n" for line in lines[:first]) + "".join(again.replace("1", str(i)) for i in range(1, int(times[1]) + 1))


def every_rule_of_the_manual_has_a_wrong_and_a_right_example(desk):
    """As the page has them, read by the program: the wrong one gives this rule alone, the right one a plan."""
    with open(desk.path("huge"), "wb") as out:
        out.truncate(4 << 30)
    for name in ("k", "a", "b", "c", "my kernel", "HELLO.ELF"):
        shutil.copy(desk.path("hello.elf"), desk.path(name))
    desk.write("empty", "")
    desk.write("notes.txt", "not a kernel\n" * 100)
    for name in ("root.img", *(f"disk{number}.img" for number in range(1, 10))):
        with open(desk.path(name), "wb") as out:
            out.truncate(1 << 20)
    with open(os.path.join(ROOT, "docs", "config.md"), encoding="utf-8") as manual:
        page = manual.read()
    rules = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    listed = re.findall(r"^    ((?:iommu|pci) = .*)$", page.partition("a machine with these lines:")[2].partition("\n## ")[0],
                        re.MULTILINE)
    assert len(rules) > 30 and len(listed) > 5
    for rule in rules:
        rule = rule.partition("\n## ")[0]
        name = rule.partition("\n")[0]
        wrong, right = (example_of(part) for part in re.split(r"^(?:Wrong|Right):", rule, flags=re.MULTILINE)[1:])
        cpus = re.search(r"On a machine with (\d+) CPU", rule)
        nested = "no" if "without nested paging" in rule else "yes"
        threads = "".join(f"cpu = {i} apic {i} package 0 core {i // 2} thread {i % 2}\n" for i in range(4)
                          ) if "two CPUs of each core" in rule else ""
        taken = "taken = ports 0x600 0x680 acpi-pm\n" if "without COM2" in rule else ""
        kind = "cpu = 0 apic 0 package 0 core 0 thread 0 kind efficient\n" if "of the efficient kind" in rule else ""
        functions = "".join(f"{line}\n" for line in listed) if "with the PCI functions above" in rule else ""
        functions = re.sub(r"iommu = .*", "iommu = none", functions) if "without the IOMMU" in rule else functions
        machine = ("--machine", desk.write("example.txt", f"cpus = {cpus[1]}\nmemory = 4G\nnested-paging = {nested}\n{threads}{kind}{functions}{taken}")
                   ) if cpus else ()
        made = check("--json", *machine, desk.write("wrong.conf", wrong))
        assert made.returncode == 1 and [error["rule"] for error in json.loads(made.stdout)["errors"]] == [name], made.stdout
        made = check(*machine, desk.write("right.conf", right))
        assert made.returncode == 0, (name, made.stdout)


def what_cannot_be_written_is_said(desk):
    made = check("--svg", desk.path("no/such/folder.svg"), desk.path("linux.conf"))
    assert made.returncode == 1 and "cannot be written" in made.stderr


TESTS = [every_example_is_good_and_placed_as_it_says, files_may_lie_in_another_folder, guests_get_disjoint_memory_of_the_machine, leaves_and_tables_add_up,
         several_mistakes_give_a_line_each_plain_in_a_pipe, a_terminal_gets_colours,
         a_terminal_that_wants_no_colours_gets_none, json_is_well_formed_whatever_the_bytes, what_is_not_understood_ends_with_2,
         errors_beyond_the_list_are_counted, real_machines_are_planned_for,
         code_lies_in_small_leaves_where_the_cpu_needs_it, the_verdict_has_its_reasons,
         a_place_of_ones_own_is_kept_and_the_others_are_planned_around_it,
         files_that_are_missing_empty_or_no_image_are_named, a_disk_may_be_compressed_and_what_is_none_is_told,
         zeroes_of_an_image_take_no_memory, names_are_those_of_a_fat_volume,
         a_wrong_machine_is_named_with_its_line, the_machine_decides,
         what_is_needed_is_enough_and_hardly_more, plan_and_json_show_every_key, a_config_that_cannot_be_read_says_why,
         the_standard_input_is_a_config, a_path_of_this_computer_is_told_from_a_missing_file,
         the_picture_shows_every_cpu_guest_and_piece_of_memory, a_name_cannot_break_the_picture,
         every_rule_of_the_source_is_in_the_manual, every_rule_of_the_manual_has_a_wrong_and_a_right_example, what_cannot_be_written_is_said]


if __name__ == "__main__":
    sys.exit(promises.keep("plinth-check", TESTS, Desk))
