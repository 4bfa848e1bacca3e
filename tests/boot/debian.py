# SPDX-License-Identifier: MIT
"""Boot rows of a whole Debian: two guests with the stock kernel, the initrd that initramfs-tools makes, root on an ext4 disk
and systemd, as tests/boot/mkdebian makes them; and small ones without systemd. Only where they are named: `make two-debians`,
`make two-debians-vmx`."""

from script import Answer, Built, Case, Expect, Send

TIMEOUT_S = 7200  # only a hang reaches it
FILES = {name: Built(f"debian/{name}") for name in ("vmlinuz", "initrd.img", "root.img", "scratch.img")}
SMALL_FILES = {**FILES, "initrd.img": Built("debian/small-initrd.img"), "root.img": Built("debian/small.img")}
# What the kernel, systemd or the hypervisor say where something is wrong; the crash that is asked for is not among it.
TROUBLE = (r"\[ *\d+\.\d+\] .*(virtio.*(fail|error|reset|bad)|I/O error|EXT4-fs error|WARNING: CPU|BUG:|Firmware Bug)",
           r"\[FAILED\]|emergency mode", r"the device waits for its driver", r"\bP0(?!311)\d{3}: ")
SMALL_BYTES = 1 << 20
OPERATIONS = "7 3000"  # of disk-check: the seed, and how many


def guest(name, number, memory, changes, init, more=""):
    return (f"[guest {name}]\nmemory = {memory}\nkernel = vmlinuz\ninitrd = initrd.img\ncmdline = console=ttyS0 root=/dev/vda{init}\n"
            f"disk = root.img,changes={changes}\nnet = lan,mac=02:00:00:00:00:0{number}\n{more}\n")


def two_guests(memory, changes, init=""):
    return (guest("one", 1, memory, changes, init, "disk = scratch.img\non-crash = restart\n") +
            guest("two", 2, memory, changes, init))


def prompt(name):
    return rf"\[{name}\] root@debian:~# "


def focus(number):
    """Keys go to the guest with this number."""
    return Send(f"\x1d{number}")


def log_in(name, number):
    return [focus(number), Send("\n"), Expect(rf"\[{name}\] debian login: "), Send("root\n"), Expect(prompt(name))]


def same(match):
    return None if match[1] == match[2] else f"the bytes differ: {match[1]} and {match[2]}"


def copy(name, size, to):
    """Random bytes go to the other guest, which answers with their checksum."""
    return [Answer(prompt(name), f"head -c {size} /dev/urandom >/root/f; ls /root/f", r"/root/f"),
            Answer(prompt(name), f"md5sum </root/f; nc -N {to} 7 </root/f", r"(\w{32})  -\s+(?:\[\w+\] )*(\w{32})  -", same)]


def session(size):
    one, two = prompt("one"), prompt("two")
    # From the start of the output, once: tried at each place of a long output, it takes longer than the guests.
    both = r"\A(?s:(?=.*\[one\] debian login: )(?=.*\[two\] debian login: ).*)"
    return [
        Expect(both), *log_in("one", 1),
        Answer(one, "kernel-warnings", r"0 warnings"),
        Answer(one, "pci-trouble", r"0 troubles, 4 drivers"),
        Answer(one, "ping -c 3 10.0.0.2", r"3 packets transmitted, 3 received, 0% packet loss.*"),
        Answer(one, "ssh 10.0.0.2 ip -br address", r".*10\.0\.0\.2/24.*"),
        *copy("one", size, "10.0.0.2"),
        Answer(one, f"disk-check write /dev/vdb {OPERATIONS}", r"PASS disk-check write.*"),
        # What goes on while the other one crashes: the same start of the kernel, and a ping that is not ended.
        *log_in("two", 2),
        Answer(two, "same-boot begin", r"the same start"),
        Send("ping 10.0.0.1 >/run/pings &\n"), Expect(two),
        *copy("two", size, "10.0.0.1"),
        focus(1), Send("\n"), Expect(one),
        Answer(one, "echo kept >/root/mark; sync; ls /root/mark", r"/root/mark"),
        Send("echo c >/proc/sysrq-trigger\n"), Expect(r"P0311: guest one failed: its kernel panicked"),
        Expect(r"\[one\] debian login: "), *log_in("one", 1),
        Answer(one, "cat /root/mark", r"kept"),
        Answer(one, f"disk-check verify /dev/vdb {OPERATIONS}", r"PASS disk-check verify.*"),
        Answer(one, "ssh 10.0.0.2 same-boot", r"the same start"),
        Answer(one, "ssh 10.0.0.2 pgrep -c ping", r"1"),
        *copy("one", size, "10.0.0.2"),
        Send("poweroff\n"), Expect(r"guest one stopped: powered off"),
        focus(2), Send("\n"), Expect(two), Send("poweroff\n"), Expect(r"guest two stopped: powered off"),
    ]


def line(name, text):
    """A whole line of a guest: the console shows it in a row of its own when it is complete."""
    return rf"^\[{name}\] session: {text}\s*$"


def small_session(size):
    """The same without systemd, ssh and keys: tests/boot/debian-root/usr/local/bin/small-init does it, and says how it went."""
    steps = [line("one", text) for text in (
        r"kernel-warnings: 0 warnings", r"pci-trouble: 0 troubles, 4 drivers", r"ask 8 /dev/null: the same start",
        r"3 packets transmitted, 3 received, 0% packet loss.*", rf"copied {size} bytes: \w{{32}}  -",
        r"disk-check write .*: PASS disk-check write.*", r"the first life ends by a panic")]
    steps += [r"P0311: guest one failed: its kernel panicked"]
    steps += [line("one", text) for text in (
        r"cat /root/mark: kept", r"disk-check verify .*: PASS disk-check verify.*", r"ask 8 /dev/null: the same start",
        rf"copied {size} bytes: \w{{32}}  -", r"PASS")]
    ends = "".join(rf"(?=.*guest {name} stopped: powered off)" for name in ("one", "two"))
    return [*steps, Expect(rf"(?s:{ends})")]


def rows():
    common = {"status": None, "files": FILES, "timeout_s": TIMEOUT_S, "smp": 2, "forbidden": TROUBLE, "slow": True}
    # Bochs has at most 2 GiB, and needs far more than an hour for systemd.
    return [Case("two-debians", two_guests("512M", "256M"), session("64M"), emulators=("qemu-svm",), mem="3G", **common),
            Case("two-debians-small", two_guests("192M", "32M", f" quiet init=/usr/local/bin/small-init bytes={SMALL_BYTES}"),
                 small_session(SMALL_BYTES), emulators=("bochs-vmx", "qemu-svm"), mem="1024M",
                 **{**common, "files": SMALL_FILES, "forbidden": (*TROUBLE, "session: FAIL")})]
