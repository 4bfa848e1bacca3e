#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mkusb's promises, one line each: `ok mkusb: PROMISE` or `FAILED ...`. BUILD is the build folder, with the guests in it.
fsck.vfat, sfdisk and the bytes of El Torito look at what was written."""

import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import promises

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
sys.dont_write_bytecode = True
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PROGRAM = os.path.join(ROOT, "tools", "mkusb")
START = 1 << 20  # of the partition


class Desk(promises.Folder):
    """A folder with a kernel, and a file that stands for the hypervisor."""

    def __init__(self, folder):
        super().__init__(folder)
        self.image = self.path("out.img")
        shutil.copy(os.path.join(BUILD, "guests", "hello.elf"), self.path("hello.elf"))
        self.write("efi", "not looked at")

    def make(self, conf, *more):
        command = [PROGRAM, "-c", self.write("plinth.conf", conf), "-o", self.image, "--efi", self.path("efi"), *more]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def tool(self, program, *arguments):
        return subprocess.run([program, "-i", f"{self.image}@@{START}", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"}).stdout


def what_is_written_is_a_fat_volume_with_the_files(desk):
    shutil.copy(desk.path("hello.elf"), desk.path("a long name.elf"))
    made = desk.make('[guest a]\nkernel = HELLO.elf\nmodule = "a long name.elf" words\n')
    assert made.returncode == 0, made.stdout
    with open(desk.path("hello.elf"), "rb") as kernel:
        wanted = kernel.read()
    for name in ("hello.elf", "Hello.ELF", "a long name.elf"):
        assert desk.tool("mtype", f"::/plinth/{name}") == wanted, name
    with open(desk.image, "rb") as whole, open(desk.path("volume"), "wb") as volume:
        whole.seek(START)
        volume.write(whole.read()[:-33 * 512])
    checked = subprocess.run(["/sbin/fsck.vfat", "-n", desk.path("volume")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def the_same_input_gives_the_same_bytes(desk):
    images = []
    for _ in range(2):
        assert desk.make("[guest a]\nkernel = hello.elf\n").returncode == 0
        with open(desk.image, "rb") as image:
            images.append(image.read())
    assert images[0] == images[1]


def a_file_that_a_fat_volume_cannot_hold_is_refused_with_a_remedy(desk):
    for size in (5 << 30, (4 << 30) - 1):
        with open(desk.path("big.img"), "wb") as out:
            out.truncate(size)
        for more in ((), ("--no-check",)):
            made = desk.make("[guest a]\nkernel = hello.elf\ninitrd = big.img\n", *more)
            assert made.returncode == 1 and "4 GiB" in made.stdout and "split -b 2G" in made.stdout, made.stdout
            assert not os.path.exists(desk.image)


def a_short_name_is_not_another_files_own(desk):
    """FAT gives `longname.elf` an alias such as LONGNA~1.ELF; a file that is called so keeps its name."""
    desk.write("longname1.txt", "long one")
    desk.write("LONGNA~1.TXT", "short one")
    desk.write("longna~2.txt", "small one")
    made = desk.make("[guest a]\nkernel = hello.elf\nmodule = longname1.txt\nmodule = LONGNA~1.TXT\nmodule = longna~2.txt\n")
    assert made.returncode == 0, made.stdout
    for name, text in (("longname1.txt", b"long one"), ("LONGNA~1.TXT", b"short one"), ("longna~2.txt", b"small one")):
        assert desk.tool("mtype", f"::/plinth/{name}") == text, name


def names_with_blanks_brackets_and_letters_of_any_alphabet_keep_them(desk):
    names = ("a b/c [1].txt", "d[1]/e.txt", "d1/e.txt", "d[1]/f[2]/g", "-f.txt", "Größe.txt", "日本.txt", "g+h,i=j;k", "." + "l" * 60, "M.n.O.txt")
    for name in names:
        os.makedirs(os.path.dirname(desk.path(name)), exist_ok=True)
        desk.write(name, name)
    made = desk.make("[guest a]\nkernel = hello.elf\n" + "".join(f'module = "{name}"\n' for name in names))
    assert made.returncode == 0, made.stdout
    for name in names:
        assert desk.tool("mtype", "::/plinth/" + name.replace("[", "\\[")) == name.encode(), name


def a_name_that_mtools_would_change_is_refused(desk):
    for name, more in (("e\u0301.txt", ()), ("\U0001f600.txt", ("--no-check",))):
        desk.write(name, name)
        made = desk.make(f"[guest a]\nkernel = hello.elf\nmodule = {name}\n", *more)
        assert made.returncode == 1 and f"the name {name} " in made.stdout and "Rename the file" in made.stdout, made.stdout
        assert not os.path.exists(desk.image)


def the_table_has_one_partition_behind_the_cds_sectors(desk):
    assert desk.make("[guest a]\nkernel = hello.elf\n").returncode == 0
    table = subprocess.run(["/sbin/sfdisk", "--dump", desk.image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, check=False)
    assert table.returncode == 0 and "first-lba: 2048" in table.stdout, table.stdout
    assert re.findall(r"start=\s*(\d+),.* type=([\w-]+)", table.stdout) == [("2048", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")]
    checked = subprocess.run(["/sbin/sfdisk", "--verify", desk.image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             check=False)
    assert "No errors detected" in checked.stdout, checked.stdout


def a_tool_that_is_not_there_is_named_with_its_package(_desk):
    source = importlib.machinery.SourceFileLoader("mkusb", PROGRAM)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mkusb", source))
    source.exec_module(module)
    try:
        module.tool("mkfs.nothing", "dosfstools")
    except module.UsbError as error:
        assert str(error) == "mkfs.nothing is not installed. Run: sudo apt-get install dosfstools", error
    else:
        raise AssertionError("no error")


def two_files_with_one_place_are_refused(desk):
    desk.write("notes", "one")
    desk.write("NOTES", "another")
    conf = "[guest a]\nkernel = hello.elf\nmodule = notes\nmodule = NOTES\n"
    assert "file-twice" in desk.make(conf).stdout
    made = desk.make(conf, "--no-check")
    assert made.returncode == 1 and "Rename one" in made.stdout, made.stdout


def the_same_image_is_a_cd(desk):
    """El Torito's way, as firmware goes it: volume descriptors, boot record, catalog, partition."""
    assert desk.make("[guest a]\nkernel = hello.elf\n").returncode == 0
    with open(desk.image, "rb") as image:
        disc = image.read()
    def sector(number):
        return disc[number * 2048:(number + 1) * 2048]
    assert sector(16)[:7] == b"\x01CD001\x01" and sector(18)[:7] == b"\xffCD001\x01"
    assert int.from_bytes(sector(16)[80:84], "little") == int.from_bytes(sector(16)[84:88], "big") <= len(disc) // 2048
    assert sector(17)[:7] == b"\0CD001\x01" and sector(17)[7:39].rstrip(b"\0") == b"EL TORITO SPECIFICATION"
    catalog = sector(int.from_bytes(sector(17)[71:75], "little"))
    words = [int.from_bytes(catalog[at:at + 2], "little") for at in range(0, 32, 2)]
    assert catalog[0] == 1 and catalog[1] == 0xEF and catalog[30:32] == b"\x55\xaa" and sum(words) & 0xFFFF == 0
    assert catalog[32] == 0x88 and catalog[33] == 0
    volume = sector(int.from_bytes(catalog[40:44], "little"))
    assert volume[82:87] == b"FAT32" and volume[510:512] == b"\x55\xaa"
    assert sector(20)[0] == 34 and int.from_bytes(sector(20)[2:6], "little") == 20  # an empty root folder


TESTS = [names_with_blanks_brackets_and_letters_of_any_alphabet_keep_them, a_name_that_mtools_would_change_is_refused,
         the_table_has_one_partition_behind_the_cds_sectors, a_tool_that_is_not_there_is_named_with_its_package,
         what_is_written_is_a_fat_volume_with_the_files, the_same_input_gives_the_same_bytes,
         a_file_that_a_fat_volume_cannot_hold_is_refused_with_a_remedy, a_short_name_is_not_another_files_own,
         two_files_with_one_place_are_refused, the_same_image_is_a_cd]


if __name__ == "__main__":
    sys.exit(promises.keep("mkusb", TESTS, Desk))
