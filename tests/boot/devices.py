# SPDX-License-Identifier: MIT
"""Boot rows of disks and networks: the stock Debian kernel with its own modules of virtio finds them, uses them and
checks every byte. The disk is made by mke2fs, `make devices-images`."""

import gzip
import hashlib

from script import BOCHS, LINUX_TIMEOUT_S, QEMU, Answer, Built, Case, Expect, Send

DISK_MIB = 16
GREETING = "read from the disk"
LARGE_MD5 = hashlib.md5(b"sixteen bytes..\n" * ((4 << 20) // 16)).hexdigest()
BOTH_VENDORS = ("qemu-svm", "bochs-vmx")
FILES = {"vmlinuz": Built("demo/vmlinuz"), "initramfs.cpio": Built("devices/initramfs.cpio"),
         "disk.img": Built("devices/disk.img")}
# What the guest's kernel, or the hypervisor, says of drivers that do not get on with their devices.
DRIVER_TROUBLE = tuple(rf"\[ *\d+\.\d+\] .*{text}" for text in (
    r"virtio.*(fail|error|reset|bad)", r"I/O error", r"EXT4-fs error", r"PCI: Fatal", r"MMCONFIG.*not reserved",
    r"BAR \d.*(no space|failed to assign|conflict)")) + (r"the device waits for its driver", r"cannot be loaded")


# A disk whose words tell their own place.
WORDS = b"".join(number.to_bytes(4, "little") for number in range(256 * 128))


def linux(name, more, cmdline=""):
    return (f"[guest {name}]\nmemory = 192M\nkernel = vmlinuz\ninitrd = initramfs.cpio\n"
            f"cmdline = console=ttyS0 quiet{cmdline}\n{more}")


NAMED = r"(?:\[\w+\] )?"  # before a guest's lines where there are several guests


def same(match):
    return None if match[1] == match[2] else f"the bytes differ: {match[1]} and {match[2]}"


def disk_session(prompt, large=True):
    """Reads what mke2fs has put there, writes, drops what the kernel has cached, reads again. Not `large`: less of it, for
    Bochs."""
    size = 3000000 if large else 200000
    return [
        Answer(prompt, "mount /dev/vda /root; cat /root/greeting", NAMED + GREETING),
        *([Answer(prompt, "md5sum /root/large", NAMED + LARGE_MD5 + r".*")] if large else []),
        Answer(prompt, "cat /sys/class/misc/hw_random/rng_current", NAMED + r"virtio_rng\.0"),
        Answer(prompt, "head -c 700 /dev/hwrng | wc -c", NAMED + r"700"),
        Answer(prompt, "cat /sys/block/vda/size /sys/block/vda/serial | xargs", NAMED + rf"{DISK_MIB * 2048} disk\.img"),
        Answer(prompt, f"head -c {size} /dev/urandom >/tmp/r; cp /tmp/r /root/r; echo ok 1", r".*ok 1"),
        Answer(prompt, "umount /root; echo 3 >/proc/sys/vm/drop_caches; echo ok 2", r".*ok 2"),
        Answer(prompt, "mount /dev/vda /root; echo ok 3", r".*ok 3"),
        Answer(prompt, "cat /tmp/r | md5sum; cat /root/r | md5sum", r"(\w+)  -\s+(?:\[\w+\] )?(\w+)  -", same),
        Answer(prompt, "rm /root/r; umount /root; dmesg | grep -ciE 'i/o error|ext4-fs err'", NAMED + r"0"),
    ]


def hvc_case(common):
    """The shell is on the virtio console; for the hypervisor's console there is no difference."""
    return Case("hvc", linux("linux", "console = virtio\n", " console=hvc0"), [
        Expect(common.PROMPT),
        Answer(common.PROMPT, "cat /sys/class/tty/console/active", r"(ttyS0 )?hvc0"),
        Answer(common.PROMPT, "tty", r"/dev/hvc0"),
        Answer(common.PROMPT, "seq 1 900; echo end", r"end"),
        Send("poweroff\n"), r"plinth: result ok\s*\Z"],
        files={name: FILES[name] for name in ("vmlinuz", "initramfs.cpio")}, timeout_s=LINUX_TIMEOUT_S, emulators=QEMU,
        forbidden=(*common.NEVER, *DRIVER_TROUBLE))


def disk_case(common, name, more, cmdline="", also=(), hypervisor="", large=True, **options):
    return Case(name, hypervisor + linux("linux", f"disk = disk.img\n{more}", cmdline),
                [Expect(common.PROMPT), *also, *disk_session(common.PROMPT, large), Send("poweroff\n"), r"plinth: result ok\s*\Z"],
                files=FILES, timeout_s=LINUX_TIMEOUT_S, forbidden=(*common.NEVER, *DRIVER_TROUBLE), **options)


def mmio_session(prompt):
    return (Answer(prompt, "ls -l /sys/bus/virtio/devices | grep -c LNRO0005", r"3"),
            Answer(prompt, "ls /sys/bus/pci/devices | wc -l", r"2"))


def keep_case(common):
    """A guest that crashes finds on one disk what it wrote, and on the other what the file on the stick has."""
    prompt = r"\[one\] linux# "
    config = linux("one", "disk = disk.img\ndisk = other.img,keep=no\ndisk = disk.img,ro\non-crash = restart\n")
    return Case("disk-keep", config + "[guest hello]\nmemory = 16M\nkernel = hello.elf\n", [
        Expect(prompt),
        # Short lines: the console breaks long ones.
        Answer(prompt, "m() { mount /dev/vd$1 /root && cd /root; }; echo set", r".*set"),
        Answer(prompt, "w() { m $1; echo $1 >mark; cd /; umount /root; }; echo set", r".*set"),
        Answer(prompt, "w a; w b; echo ok", r".*ok"),
        Answer(prompt, "cat /sys/block/vd[abc]/ro | xargs", r".*0 0 1"),
        Send("echo triple >/sys/kernel/reboot/type; echo 1 >/proc/sys/kernel/panic\n"), Expect(prompt),
        Send("echo c >/proc/sysrq-trigger\n"),
        Expect(r"guest one (failed|stopped)"),
        Expect(prompt),
        Answer(prompt, "mount /dev/vda /root; cat /root/mark; umount /root", r"(?:\[one\] )?a"),
        Answer(prompt, "mount /dev/vdb /root; cat /root/mark; umount /root", r".*No such file or directory"),
        Send("poweroff\n"), r"guest one stopped: powered off",
    ], status=None, files={**FILES, "other.img": Built("devices/disk.img"), "hello.elf": Built("guests/hello.elf")},
                timeout_s=LINUX_TIMEOUT_S, smp=2, emulators=QEMU, forbidden=DRIVER_TROUBLE, slow=True)


def net_case(common, name, more="", bytes_sent=1 << 19, smp=2, **options):
    """Two Linuxes on one network: one pings the other, and sends it bytes whose checksum comes back."""
    prompt = r"\[one\] linux# "
    config = (linux("one", f"net = lan\n{more}", " address=10.0.0.1") +
              linux("two", f"net = lan\n{more}", " address=10.0.0.2"))
    return Case(name, config, [
        r"\[two\] Linux 6\.",
        Send("\n"), Expect(prompt),
        Answer(prompt, "ping -c 5 -i 0.2 10.0.0.2", r"(?:\[one\] )?5 packets transmitted, 5 packets received, 0% packet loss.*"),
        Answer(prompt, f"head -c {bytes_sent} /dev/urandom >/tmp/f; ls /tmp | wc -l", r"(?:\[one\] )?1"),
        Answer(prompt, "md5sum </tmp/f; nc 10.0.0.2 7 </tmp/f", r"(\w+)  -\s+(?:\[\w+\] )?(\w+)  -", same),
        # A cable that is pulled and plugged in again.
        Send("\x1dc"), r"guest one: the cable of its network cards is pulled",
        Send("\n"), Expect(prompt), Answer(prompt, "cat /sys/class/net/eth0/carrier", r"(?:\[one\] )?0"),
        Answer(prompt, "ping -c 1 -W 1 10.0.0.2", r"(?:\[one\] )?1 packets transmitted, 0 packets received.*"),
        Send("\x1dc"), r"guest one: the cable of its network cards is plugged in",
        Send("\n"), Expect(prompt), Answer(prompt, "cat /sys/class/net/eth0/carrier", r"(?:\[one\] )?1"),
        Answer(prompt, "ping -c 1 10.0.0.2", r"(?:\[one\] )?1 packets transmitted, 1 packets received.*"),
        Send("poweroff\n"), r"guest one stopped: powered off",
        Send("\n"), Expect(r"\[two\] linux# "), Send("poweroff\n"), r"plinth: result ok\s*\Z",
    ], files=FILES, timeout_s=LINUX_TIMEOUT_S, smp=smp, forbidden=(*common.NEVER, *DRIVER_TROUBLE), **options)


def shared_case(name, **options):
    """Memory that two guests have in common, one to read only, and doorbells both ways."""
    config = "[shared board]\nsize = {size}\n" + "".join(
        f"[guest {role}]\nkernel = shared.elf\nprotocol = elf\nmemory = 16M\ncmdline = {role}\nshared = board{rights}\n"
        for role, rights in (("writer", ""), ("reader", ",ro")))
    return Case(name, config.format(size="16M"), [
        r"audit: no guest reaches anything but its own memory",
        Expect(r"(?s:(?=.*\[writer\] writer: done)(?=.*\[reader\] reader: done))"), r"plinth: result ok\s*\Z"],
        passes=(("writer", "shared"), ("reader", "shared")), files={"shared.elf": Built("guests/shared.elf")}, smp=2,
        forbidden=(r"P0[0-9]{3}",), **options)


def small_drivers_case(name, **options):
    """Guests of our own with drivers as small kernels have them: one of the legacy layout, one of virtio-mmio. Each checks
    its disk, of which one is compressed on the stick, and on the network one asks and the other answers."""
    def guest(name, cmdline, more=""):
        return (f"[guest {name}]\nkernel = virtio.elf\nprotocol = elf\nmemory = 16M\ndisk = words-{name}\nnet = lan\nrng = no\n"
                f"{more}cmdline = {cmdline}\n")

    config = guest("old", "legacy asks") + guest(
        "mmio", "virtio_mmio.device=4K@0xfeb00000:5 virtio_mmio.device=4K@0xfeb01000:6 answers", "virtio = mmio\n")
    return Case(name, config, [r"plinth: result ok\s*\Z"], passes=(("old", "virtio"), ("mmio", "virtio")),
                files={"virtio.elf": Built("guests/virtio.elf"), "words-old": gzip.compress(WORDS), "words-mmio": WORDS}, smp=2,
                forbidden=(r"P0[0-9]{3}", r"the device waits for its driver"), **options)


HOSTILE_DEVICES = ("rings-that-are-no-memory", "queue-sizes", "buffers-that-are-no-memory", "chains-without-end",
                   "rings-that-change", "bars-anywhere", "configuration-space", "packet-storm", "doorbell-storm",
                   "messages-anywhere", "legacy-registers", "tables-by-a-device", "odd-widths")


def hostile_case(common, name, end=r"plinth: result ok\s*\Z", **options):
    """A guest that attacks its PCI bus, disk, card and shared memory, beside a neighbour on the same CPU that counts its
    ticks, and a guest on the same network and memory that reads nothing."""
    devices = "net = lan\nshared = board\nrng = no\n"
    config = ("[shared board]\nsize = 16K\n" + common.neighbour_conf("ticks=150") +
              "[guest hostile]\nkernel = hostile-devices.elf\nprotocol = elf\nmemory = 16M\ncpus = 0,\nslice = 5ms\n"
              f"disk = words.img\n{devices}"
              f"[guest silent]\nkernel = hostile-devices.elf\nprotocol = elf\nmemory = 16M\ncpus = 1,\ncmdline = silent\n{devices}")
    return Case(name, config, [end], smp=2, files={
        "neighbour.elf": Built("guests/neighbour.elf"), "hostile-devices.elf": Built("guests/hostile-devices.elf"),
        "words.img": WORDS}, required=(
            r"^\[neighbour\] PASS neighbour$", r"^\[silent\] PASS hostile-devices$", r"^\[hostile\] PASS hostile-devices$",
            *(rf"^\[hostile\] survived {attack}$" for attack in HOSTILE_DEVICES)),
                forbidden=(common.PANIC, r"\] FAIL"), timeout_s=LINUX_TIMEOUT_S, timed=common.ticks_in_time, **options)


def measured(common, name, **options):
    """The same in the test build that measures how long the hypervisor keeps a CPU."""
    return hostile_case(common, name, Expect(r"^plinth: result ok\s*\Z", common.hostile.exits_are_short), fault=common.hostile.MEASURE,
                        slow=True, **options)


def rows(common):
    return [
        # A virtio console, too, whose driver runs: the shell on the serial port has what is typed all the same.
        disk_case(common, "disk", "console = virtio\n", also=(
            Answer(common.PROMPT, "ls /sys/class/tty | grep hvc0", r"hvc0"),), emulators=QEMU),
        # In Bochs the demo has a Linux with a disk, and its network is its neighbour's.
        disk_case(common, "disk-bochs", "console = virtio\n", emulators=BOCHS, slow=True),
        hvc_case(common),
        # without MSI-X: by INTx and the I/O APIC; without ACPI's routing: by the Interrupt Line and the 8259
        disk_case(common, "disk-intx", "", " pci=nomsi", emulators=QEMU),
        disk_case(common, "disk-8259", "", " pci=nomsi noapic", emulators=QEMU),
        disk_case(common, "disk-noacpi", "", " pci=nomsi acpi=off", emulators=QEMU),
        # virtio-mmio by ACPI, and the modern layout alone
        disk_case(common, "disk-mmio", "virtio = mmio\nnet = lan\n", also=mmio_session(common.PROMPT), emulators=QEMU),
        # In Bochs without repairs for it: Linux does without them, and without what the CPU does wrong.
        disk_case(common, "disk-mmio-no-quirks", "virtio = mmio\nnet = lan\nvirtual-apic = no\n", " clearcpuid=xsavec",
                  also=mmio_session(common.PROMPT), hypervisor="[hypervisor]\nquirks = none\n", large=False, emulators=("bochs-vmx",),
                  slow=True, required=(r"^plinth: quirks of Bochs: left off, as asked for$",)),
        disk_case(common, "disk-modern", "virtio = modern\n", also=(
            Answer(common.PROMPT, "cat /sys/bus/pci/devices/*1.0/device", r"0x1042"),), emulators=QEMU),
        disk_case(common, "disk-qemu", "virtio = qemu\n", also=(
            Answer(common.PROMPT, "cat /sys/bus/pci/devices/*1.0/device", r"0x1001"),), emulators=QEMU, slow=True),
        disk_case(common, "hpet-by-acpi", "hpet = yes\n", also=(
            Answer(common.PROMPT, "cat /sys/devices/system/clocksource/clocksource0/available_clocksource", r".*\bhpet\b.*"),
            Answer(common.PROMPT, "dmesg | grep -c 'hpet0: 3 comparators'", r"1")), emulators=QEMU, slow=True),
        disk_case(common, "disk-smp", "cpus = 2\n", smp=2, emulators=QEMU),
        keep_case(common),
        shared_case("shared", emulators=BOTH_VENDORS),
        small_drivers_case("small-drivers", emulators=BOTH_VENDORS),
        hostile_case(common, "hostile-devices", emulators=BOTH_VENDORS),
        measured(common, "hostile-devices-longest", emulators=("bochs-vmx", "bochs-svm")),
        measured(common, "hostile-devices-counted", emulators=QEMU, extra=common.hostile.MEASURE_QEMU),
        net_case(common, "net", emulators=QEMU),
        net_case(common, "net-bochs", emulators=BOCHS, slow=True),
        net_case(common, "net-smp", "cpus = 2\n", smp=4, emulators=QEMU),
    ]
