#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mkguest's promises, one line each: `ok mkguest: PROMISE` or `FAILED ...`. Nothing is fetched: mmdebstrap is a stand-in that
writes a small tree. BUILD is the build folder, with the demo's kernel in it. `tests/boot/run.py debian-initrd` boots a real
one."""

import io
import os
import re
import stat
import subprocess
import sys
import tarfile

import promises

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PROGRAM = os.path.join(ROOT, "tools", "mkguest")
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" >"$SAID"
for last; do :; done
cp "$TREE" "$last"
"""
KERNELS = (b"an old kernel", b"the kernel")


class Desk(promises.Folder):
    """A folder whose path has a blank, and a stand-in for mmdebstrap."""

    def __init__(self, folder):
        super().__init__(os.path.join(folder, "my guests"))
        self.programs = os.path.join(folder, "bin")
        for made in (self.folder, self.programs):
            os.mkdir(made)
        with open(os.path.join(self.programs, "mmdebstrap"), "w", encoding="utf-8") as out:
            out.write(STAND_IN)
        os.chmod(os.path.join(self.programs, "mmdebstrap"), 0o755)
        self.environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", "SAID": self.path("said"),
                            "TREE": self.path("tree.tar")}

    def make(self, *words, status=0):
        done = subprocess.run([PROGRAM, "-o", self.path("out"), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, env=self.environment)
        assert done.returncode == status, (words, done.stdout)
        return done.stdout

    def result(self, name):
        with open(self.path(os.path.join("out", name)), "rb") as file:
            return file.read()

    def config(self):
        return self.result("plinth.conf").decode()

    def write_tree(self):
        """What mmdebstrap would have made."""
        with tarfile.open(self.path("tree.tar"), "w") as tar:
            def add(name, data=b"", kind=tarfile.REGTYPE, mode=0o644, link="", device=(0, 0), owner=0):
                member = tarfile.TarInfo("./" + name)
                member.type, member.mode, member.size, member.linkname = kind, mode, len(data), link
                member.devmajor, member.devminor, member.uid, member.mtime = *device, owner, 1700000000
                tar.addfile(member, io.BytesIO(data))

            for folder in ("boot", "dev", "etc", "sbin", "var", "var/lib", "var/lib/apt", "var/lib/apt/lists"):
                add(folder, kind=tarfile.DIRTYPE, mode=0o755)
            add("boot/vmlinuz-6.1.0-9-cloud-amd64", KERNELS[0])
            add("boot/vmlinuz-6.1.0-40-cloud-amd64", KERNELS[1])
            add("boot/initrd.img-6.1.0-40-cloud-amd64", b"an initrd")
            add("etc/shadow", b"secret", mode=0o640, owner=42)
            add("sbin/init", b"#!", mode=0o4755)
            add("sbin/same", kind=tarfile.LNKTYPE, link="./sbin/init", mode=0o4755)
            add("sbin/link", kind=tarfile.SYMTYPE, link="init", mode=0o777)
            add("dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666)
            add("var/lib/apt/lists/long", b"list")


def members(data):
    """name: (mode, owner, time, device, bytes) of a newc archive."""
    found, at = {}, 0
    while True:
        assert data[at:at + 6] == b"070701", at
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110:at + 110 + fields[11] - 1].decode()
        at = (at + 110 + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], fields[2], fields[5], (fields[9], fields[10]), data[at:at + fields[6]])
        at = (at + fields[6] + 3) // 4 * 4


def a_folder_becomes_an_initrd(desk):
    os.makedirs(desk.path("tree/etc/init.d"))
    for name, mode in (("init", 0o755), ("etc/init.d/größe", 0o644)):
        with open(desk.path(f"tree/{name}"), "w", encoding="utf-8") as out:
            out.write(name)
        os.chmod(desk.path(f"tree/{name}"), mode)
    os.symlink("init.d", desk.path("tree/etc/rc.d"))
    said = desk.make("--folder", desk.path("tree"), "--name", "work", "--cmdline", "quiet panic=1", "--cpus", "2")
    found = members(desk.result("initrd.img"))
    assert found["init"][0] == stat.S_IFREG | 0o755 and found["init"][4] == b"init"
    assert found["etc/init.d/größe"][4] == "etc/init.d/größe".encode() and found["etc/rc.d"][::4] == (stat.S_IFLNK | 0o777, b"init.d")
    assert found["dev/console"][3] == (5, 1) and list(found).index("dev") < list(found).index("dev/console")
    assert desk.config() == ("[guest work]\nkernel  = vmlinuz\ninitrd  = initrd.img\ncmdline = console=ttyS0 quiet panic=1\n"
                             "memory  = 256M\ncpus    = 2\n"), desk.config()
    assert "tools/run-qemu" in said, said
    checked = subprocess.run([os.path.join(BUILD, "plinth-check"), desk.path("out/plinth.conf")], stdout=subprocess.PIPE, text=True,
                             check=False)
    assert checked.returncode == 0, checked.stdout


def the_same_folder_gives_the_same_bytes(desk):
    images = []
    for name in ("one", "two"):
        os.makedirs(desk.path(name))
        for file in ("ab" if name == "one" else "ba"):
            with open(desk.path(f"{name}/{file}"), "w", encoding="ascii") as out:
                out.write(file)
        desk.make("--folder", desk.path(name), "--busybox")
        images.append(desk.result("initrd.img"))
    assert images[0] == images[1]


def busybox_fills_in_what_the_tree_lacks(desk):
    os.makedirs(desk.path("tree/bin"))
    with open(desk.path("tree/bin/ls"), "w", encoding="ascii") as out:
        out.write("mine")
    desk.make("--folder", desk.path("tree"), "--busybox")
    found = members(desk.result("initrd.img"))
    assert found["bin/ls"][4] == b"mine" and found["bin/sh"][4] == b"busybox" and found["init"][4] == b"bin/busybox"


def a_config_that_is_there_stays(desk):
    os.makedirs(desk.path("tree"))
    desk.make("--folder", desk.path("tree"), "--busybox")
    with open(desk.path("out/plinth.conf"), "w", encoding="ascii") as out:
        out.write("# mine\n")
    said = desk.make("--folder", desk.path("tree"), "--busybox")
    assert desk.config() == "# mine\n" and "is left as it is" in said and "[guest linux]" in said, said


def a_debian_is_an_initrd(desk):
    """With owners, times and links; without the kernel and what apt fetches again."""
    desk.write_tree()
    desk.make("--debian", "--include", "nano,less", "--name", "deb")
    with open(desk.path("said"), encoding="utf-8") as said:
        words = said.read().splitlines()
    assert "--include=systemd-sysv,udev,dbus,linux-image-cloud-amd64,nano,less" in words and words[-2] == "bookworm", words
    found = members(desk.result("initrd.img"))
    assert desk.result("vmlinuz") == KERNELS[1]
    assert found["etc/shadow"] == (stat.S_IFREG | 0o640, 42, 1700000000, (0, 0), b"secret")
    assert found["sbin/same"][4] == found["sbin/init"][4] == b"#!" and found["sbin/same"][0] == stat.S_IFREG | 0o4755
    assert found["init"][4] == b"sbin/init" and found["sbin/link"][4] == b"init" and found["dev/console"][3] == (5, 1)
    assert not any(name.startswith("boot/") or name.endswith("lists/long") for name in found), sorted(found)
    assert "[guest deb]" in desk.config() and "root=" not in desk.config()


def a_debian_is_a_disk(desk):
    desk.write_tree()
    desk.make("--debian", "bookworm", "--disk", "40M")
    assert desk.result("initrd.img") == b"an initrd"
    assert "cmdline = console=ttyS0 root=/dev/vda rw\n" in desk.config() and "disk    = root.img\n" in desk.config()
    disk = desk.path("out/root.img")
    assert os.path.getsize(disk) == 64 << 20  # whole steps of 64 MiB
    shown = subprocess.run(["/sbin/debugfs", "-R", "stat /etc/shadow", disk], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           text=True, check=False).stdout
    assert re.search(r"Mode:\s+0640", shown) and re.search(r"User:\s+42", shown), shown
    checked = subprocess.run(["/sbin/e2fsck", "-fn", disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def wrong_words_are_said_with_a_remedy(desk):
    os.makedirs(desk.path("tree"))
    tree = ("--folder", desk.path("tree"))
    for words, status, says in (
            (tree, 1, "has neither `init` nor `sbin/init`, which the kernel would start"),
            (("--folder", desk.path("none")), 2, "is no folder"),
            ((*tree, "--disk"), 2, "--disk goes with --debian"),
            ((*tree, "--include", "nano"), 2, "--include goes with --debian"),
            ((*tree, "--name", "Two words"), 2, "'Two words' is no name: a small letter, then at most 14 more, digits or -"),
            (("--debian", "--disk", "2T"), 2, "'2T' is not a size like 900M or 2G"),
            (("--debian", "--busybox"), 2, "--busybox goes with --folder"),
            (("--debian", "--disk", "--kernel", "x"), 2, "leave out --kernel")):
        said = desk.make(*words, status=status)
        assert says in said and "Traceback" not in said, (words, said)
    with open(os.path.join(desk.programs, "mmdebstrap"), "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\necho E: no such release >&2\nexit 1\n")
    said = desk.make("--debian", "no-such", status=1)
    assert "mmdebstrap could not make a Debian no-such:\nE: no such release" in said, said


TESTS = [a_folder_becomes_an_initrd, the_same_folder_gives_the_same_bytes, busybox_fills_in_what_the_tree_lacks,
         a_config_that_is_there_stays, a_debian_is_an_initrd, a_debian_is_a_disk, wrong_words_are_said_with_a_remedy]


if __name__ == "__main__":
    sys.exit(promises.keep("mkguest", TESTS, Desk))
