#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What people write into a plinth.conf by mistake, and what they are told: docs/mistakes.md is that table.

  test_mistakes.py            each mistake gets the sentences that the table shows, and each file has its verdict: prints
                              `ok mistakes: ...` or `FAILED mistakes: ...`
  test_mistakes.py --write    writes the table

plinth-check's parser and rules are the hypervisor's object files, so the target says the same lines; tests/unit/
test_mutants.c compares the two. Of files that are missing the target says P0711 or P0725 with their places on the volume.
"""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PAGE = os.path.join(ROOT, "docs", "mistakes.md")
HEAD = """# Mistakes in a plinth.conf, and what is said

<!-- Written by `tests/tools/test_mistakes.py --write`; a test compares it with what plinth-check says. -->

Find the sentence that you got. Each mistake is shown as a whole file, or the lines of one behind `kernel = hello.elf`;
what follows it is what `plinth-check`, and the hypervisor at its start, say of it: line, column, rule, sentence.
[config.md](config.md) has each rule with a wrong and a right example, and all keys.
"""

G = "[guest a]\nkernel = hello.elf\n"
TWO = "[guest a]\nkernel = hello.elf\n{}\n[guest b]\nkernel = hello.elf\n{}\n"
# Title, and lines behind G, or a whole file where it begins with '[' or is bytes.
MISTAKES = (
    ("Words", (
        ("A key that is misspelt", "memroy = 1G"),
        ("A section that is misspelt", "[hypervizor]\nlog = debug\n" + G),
        ("A section without the word guest", "[linux]\nkernel = hello.elf\n"),
        ("A word that is misspelt", "on-crash = reboot"),
        ("A key of the other section", "log = debug"),
        ("QEMU's and Xen's words for a key that is there", "vcpus = 2\nmem = 1G\nappend = quiet\ndrive = hello.elf"),
        ("A screen, USB, a device of the machine", "vnc = :1\nusb = yes\npci = yes"),
        ("A device of the machine by a wrong place, and twice", "pci = 2:0.0\npci = 02:00.0\npci = 02:00.0"),
        ("Ports and memory of the hypervisor", "ports = 0xcf8-0xcff\nports = 0x3f8-0x3ff\nmmio = 0xfee00000 4K"),
        ("A device for two guests", "serial = com2\n[guest b]\nkernel = hello.elf\nserial = com2"),
        ("Ports that are no range, memory without a size", "ports = 0x378 8\nmmio = 0xfed40000"),
        ("A firmware, a CD, a boot order", "firmware = ovmf\ncdrom = debian.iso"),
        ("A second serial port", "serial = pty"),
        ("What needs no setting", "name = linux\nuuid = 1\nclock = utc\nballoon = yes"),
        ("The same word twice", "vnc = :1\nspice = yes"),
        ("Words that no program has", "colour = blue\ntaste = sweet"),
        ("A key twice", "memory = 1G\nmemory = 2G"),
        ("No value", "memory ="))),
    ("Form", (
        ("A colon for the =", "memory: 1G"),
        ("No =", "memory 1G"),
        ("A comment as in C or in other INI files", "// mine\n; mine"),
        ("A comment behind a value", "memory = 1G ; mine"),
        ("Two settings in one line", "memory = 1G, cpus = 2"),
        ("Single quotes", "cmdline = 'console=ttyS0'"),
        ("Quotes of a word processor", "cmdline = \u201cconsole=ttyS0\u201d"),
        ("A quote that is not closed", 'cmdline = "console=ttyS0'),
        ("A bracket that is not closed", "[guest a\nkernel = hello.elf\n"),
        ("A key above all sections", b"memory = 1G\n" + G.encode()),
        ("XML", b"<domain type='kvm'>\n  <name>a</name>\n</domain>\n"),
        ("JSON", b'{\n  "boot-source": { "kernel_image_path": "hello.elf" }\n}\n'),
        ("YAML", b"---\nguests:\n  - name: a\n"),
        ("C", b"#include <jailhouse/types.h>\nstruct { int x; } config;\n"),
        ("TOML", b"[[guest]]\nname = \"a\"\n"),
        ("UTF-16, as Windows' \"Unicode\"", "\ufeff[guest a]\n".encode("utf-16-le")),
        ("A control character, or the ^Z of old editors", G.encode() + b"\x1a"),
        ("An empty file", b""))),
    ("Numbers", (
        ("Memory without a unit", "memory = 512"),
        ("A unit that is none", "memory = 2 gigs"),
        ("A decimal comma", "memory = 1,5G"),
        ("A fraction that is no whole page", "memory = 1.3G"),
        ("An odd number of bytes", "memory = 1000001"),
        ("Too much memory", "memory = 100T"),
        ("No memory", "memory = 0"),
        ("A place at 0", "memory-at = 0"),
        ("A place that is no page's", "memory-at = 12345678"),
        ("No CPUs", "cpus = 0"),
        ("All CPUs", "cpus = all"),
        ("A range as in other languages", "cpus = 0..3"),
        ("A CPU twice", "cpus = 1,1"),
        ("More CPUs than a guest can have", "cpus = 17"),
        ("Two guests on one CPU", TWO.format("cpus = 1,", "cpus = 1,")),
        ("A time without a unit", "slice = 10"))),
    ("Names and files", (
        ("A name with a blank", "[guest my linux]\nkernel = hello.elf\n"),
        ("No name", "[guest]\nkernel = hello.elf\n"),
        ("A name twice", TWO.format("", "").replace("guest b", "guest a")),
        ("No kernel", "[guest a]\nmemory = 1G\n"),
        ("A file that is not there, with a near name", "initrd = helo.elf"),
        ("Several files that are not there", "initrd = one\ninitrd = two\ndisk = three"),
        ("A path of this computer", "initrd = /bin/true"),
        ("A drive", "initrd = C:\\initrd.img"),
        ("A folder", "initrd = folder"),
        ("An empty file", "initrd = empty"),
        ("A blank in a path", "initrd = my initrd.img"),
        ("A pattern", "initrd = initrd*"),
        ("A name that Windows keeps for a device", "initrd = aux.img"),
        ("A kernel that is none", "[guest a]\nkernel = notes.txt\n"),
        ("A kernel that was cut", "[guest a]\nkernel = cut.elf\n"),
        ("A kernel of another architecture", "[guest a]\nkernel = arm.elf\n"),
        ("A kernel that is compressed wrongly", "[guest a]\nkernel = cut.elf.gz\n"))))


def content_of(lines):
    if isinstance(lines, bytes):
        return lines
    return (lines if lines.startswith("[") else G + lines + "\n").encode()


def make_files(folder):
    with open(os.path.join(BUILD, "guests", "hello.elf"), "rb") as kernel:
        hello = kernel.read()
    arm = bytearray(hello)
    arm[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    for name, content in {"hello.elf": hello, "arm.elf": bytes(arm), "cut.elf": hello[:0x90], "notes.txt": b"notes " * 100,
                          "cut.elf.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\x4b\x4c" * 40, "empty": b""}.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(content)
    os.makedirs(os.path.join(folder, "folder"), exist_ok=True)


def said_of(folder, content):
    with open(os.path.join(folder, "plinth.conf"), "wb") as out:
        out.write(content)
    made = subprocess.run([os.path.join(BUILD, "plinth-check"), "plinth.conf"], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    text = made.stdout.decode("utf-8", "replace")
    assert made.returncode == 1 and text, f"no mistake: {content!r}: {text}"
    assert all(re.match(r"plinth\.conf:\d+:\d+: [a-z-]+: .{15,}", line) for line in text.splitlines()), text
    return re.sub(r"(There are: )[^.]*\.", r"\1... (all of them).", text)


def shown(content):
    """A file's text for the page; bytes that are no text as \\x.. ."""
    text = content.decode("utf-8", "backslashreplace")
    return re.sub(r"[\0-\x08\x0b-\x1f]", lambda sign: f"\\x{ord(sign[0]):02x}", text)


def page(folder):
    make_files(folder)
    text, count = HEAD, 0
    for chapter, mistakes in MISTAKES:
        text += f"\n## {chapter}\n"
        for title, lines in mistakes:
            content = content_of(lines)
            as_written = shown(content) if isinstance(lines, bytes) or lines.startswith("[") else lines + "\n"
            text += f"\n**{title}**\n\n```\n{as_written.rstrip() or '(nothing)'}\n```\n\n"
            text += "".join(f"> {line}\n" for line in said_of(folder, content).splitlines())
            count += 1
    return text, count


def main():
    with tempfile.TemporaryDirectory(prefix="plinth-mistakes-") as folder:
        try:
            text, count = page(folder)
        except AssertionError as error:
            print(f"FAILED mistakes: {error}")
            return 1
    if sys.argv[1:] == ["--write"]:
        with open(PAGE, "w", encoding="utf-8") as out:
            out.write(text)
        print(f"{PAGE}: {count} mistakes")
        return 0
    with open(PAGE, encoding="utf-8") as there:
        old = there.read()
    differ = [line for line in text.splitlines() if line not in old.splitlines()]
    if old != text:
        print(f"FAILED mistakes: docs/mistakes.md is not what is said now (test_mistakes.py --write): {differ[:3]}"[:600])
        return 1
    print(f"ok mistakes: {count} mistakes get the sentences of docs/mistakes.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
