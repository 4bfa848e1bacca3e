# SPDX-License-Identifier: MIT
"""Every boot case: a row each. script.py explains the words."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys

import debian
import devices
import faults
import passthrough
import series
from script import (ALL, BOCHS, BOCHS_VMX, LINUX_TIMEOUT_S, MEMORY, QEMU, Again, Answer, Built, Case, Expect, Send, Truncated)

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(os.path.dirname(TESTS), os.environ.get("BUILD", "build"))
sys.path.insert(0, os.path.join(TESTS, "guests"))
import guests  # noqa: E402
import hostile  # noqa: E402

HELLO = Built("guests/hello.elf")
LINUX = Built("demo/vmlinuz")
INITRAMFS = Built("demo/initramfs.cpio")

SEVERAL_BOCHS_TIMEOUT_S = 3600  # five CPUs one after the other
PROMPT = r"linux# "
CLOCK_STEP_S = 0.02  # /proc/uptime has hundredths, and the rate of the TSC is rounded


def example_config(name):
    with open(os.path.join(os.path.dirname(TESTS), "config", "examples", name), encoding="utf-8") as conf:
        return conf.read()


def demo_config():
    return example_config("demo.conf")


def linux_conf(memory="256M", more=""):
    return (f"[guest linux]\nmemory = {memory}\nkernel = vmlinuz\ninitrd = initramfs.cpio\ncmdline = console=ttyS0\n"
            f"{more}")


def hello_conf(memory="16M", more=""):
    return f"[guest hello]\nmemory = {memory}\nkernel = hello.elf\n{more}"


SCREEN_CONF = "[guest screen]\nmemory = 4M\nkernel = screen.elf\n"
X2APIC_CONF = "[guest pc-x2apic]\nmemory = 16M\nkernel = pc-x2apic.elf\nprotocol = elf\n"


def one_second(match):
    """`date +%s` before and after `sleep 1`."""
    seconds = int(match[2]) - int(match[1])
    return None if seconds >= 1 else f"sleep 1 took {seconds} s by the guest's clock"


def clock_agrees(match):
    """The guest's clock runs as fast as the machine's TSC, whose rate the hypervisor measured and logged. Before and after
    a sleep the TSC is read between two readings of /proc/uptime: however late a busy host makes the guest between two of
    them, what passed by the TSC lies between the least and the most that the clock allows."""
    rate = re.search(r"TSC (\d+\.\d+) MHz", match.string)
    if not rate:
        return "the hypervisor did not say how fast the TSC is"
    least, most = float(match[4]) - float(match[3]), float(match[6]) - float(match[1])
    tsc_s = (int(match[5]) - int(match[2])) / float(rate[1]) / 1e6
    if least - CLOCK_STEP_S <= tsc_s <= most + CLOCK_STEP_S:
        return None
    return f"{tsc_s:.2f} s by the TSC were {least:.2f} to {most:.2f} s by the clock"


def stable_clock(match):
    return None if match[1] in ("tsc", "kvm-clock") else f"the clock source is {match[1]}"


def computed_something(match):
    return None if int(match[1]) > 1 and int(match[2]) > 1 else "too few checksums to prove anything"


def count_is_zero(match):
    return None if match[1] == "0" else f"{match[1]} warnings in the guest's log"


UP, TSC_NOW = r"up (\d+\.\d+)", r"shell: (\d+)"
# What a person does in the demo: a few commands, an interrupt from the keyboard, and the end. Kernel messages come in
# between, so answers carry a word of their own. Commands stay shorter than the shell's line of 80.
LINUX_SESSION = [
    r"Linux 6\.\d+\.\d+-\d+-cloud-amd64, 1 CPU",
    Expect(PROMPT),
    Answer(PROMPT, "uname -r", r"(6\.\d+\.\d+-\d+-cloud-amd64)"),
    Answer(PROMPT, "echo at $(date +%s); sleep 1; echo then $(date +%s)", r"at (\d+)\s(?s:.*?)then (\d+)", one_second),
    Answer(PROMPT, "u() { read u x </proc/uptime; echo up $u; }; echo set", r".*set"),
    Answer(PROMPT, "t() { u; tsc-now; u; }; t; sleep 4; t", r"\s(?s:.*?)".join((UP, TSC_NOW, UP) * 2), clock_agrees),
    # The kernel switches to the final one about a second after its start.
    Send("cd /sys/devices/system/clocksource/clocksource0; sleep 1\n"),
    Expect(r"clocksource0; sleep 1\s*\n"),
    Expect(PROMPT),
    Answer(PROMPT, "echo clock $(cat current_clocksource)", r"clock (\S+)", stable_clock),
    Answer(PROMPT, "dmesg | grep -ciE 'unchecked MSR|Firmware Bug|TSC unstable'", r"^(?:\[linux\] )?(\d+)",
           count_is_zero),
    Answer(PROMPT, "echo product $((6 * 7)) | tee /tmp/x; rm /tmp/x", r"product 42"),
    # The interrupt must not come before the terminal is out of the shell's line editor.
    Send("(echo going; sleep 99999)\n"),
    Expect(r"^(?:\[linux\] )?going\s*\n"),
    Send("\x03"),
    Expect(PROMPT),
    Send("poweroff\n"),
]
# Never in a good run, as lines of the log: our defects, and what the guest's kernel says about them.
KERNEL_STAMP = r"\[ *\d+\.\d+\] .*"
GUARDED = r"at each exit: .*RSB fill.*; at each entry: .*VERW \(`speculation = all`\)"
SMALL_CODE = r"what it executes is in pages of 4 KiB"
NEVER = (r"plinth: result failed", r"\bP0\d{3}: ", KERNEL_STAMP + r"(WARNING: CPU|Kernel panic|Oops:|BUG:|Call Trace:)",
         KERNEL_STAMP + r"(unchecked MSR|\[Firmware Bug\]|TSC.*unstable|APIC.*(error|fail|warn))")


def linux_case(name, config, files=None, **more):
    """Boots Linux, works in it, ends it."""
    return Case(name, config, [*LINUX_SESSION, r"plinth: result ok\s*\Z"], timeout_s=LINUX_TIMEOUT_S, forbidden=NEVER,
                files={"vmlinuz": LINUX, "initramfs.cpio": INITRAMFS, **(files or {})}, **more)


def demo_case():
    """Its session, and before that its disk and its neighbour on the network."""
    before, after = LINUX_SESSION[:2], LINUX_SESSION[2:]
    devices = [
        # Both come while the shell is there already.
        Answer(PROMPT, "until ip a | grep -q 10.0.0.1; do sleep 1; done; echo there", r".*there"),
        Answer(PROMPT, "cut -c 1-24 /disk/README", r"(?:\[linux\] )?This is the demo's disk,"),
        Answer(PROMPT, "echo kept >/disk/x; umount /disk; mount /dev/vda /disk; cat /disk/x", r"(?:\[linux\] )?kept"),
        Answer(PROMPT, "ping -c 3 -i 0.2 10.0.0.2 | tail -2 | head -1", r".*3 packets transmitted, 3 packets received.*"),
        Answer(PROMPT, "ping -s 1400 -c 1 10.0.0.2 | tail -2 | head -1", r".*1 packets transmitted, 1 packets received.*"),
    ]
    return Case("demo", demo_config(), [*before, *devices, *after, r"plinth: result ok\s*\Z"], timeout_s=LINUX_TIMEOUT_S,
                forbidden=NEVER, required=(r"hello: a ping came, and I answered",), files={
                    "vmlinuz": LINUX, "initramfs.cpio": INITRAMFS, "disk.img": Built("demo/disk.img"), "hello.elf": HELLO})


def hello_case(name, config, *texts, files=None, **more):
    """Boots the small guest and sees it end; `texts` are looked for in order before its result."""
    return Case(name, config, [*texts, r"plinth: result ok\s*\Z"], files={"hello.elf": HELLO, **(files or {})},
                forbidden=NEVER, **more)


def file_on(image, path):
    """The text of a file that the machine wrote to its boot volume."""
    found = subprocess.run(["mtype", "-i", f"{image}@@1M", f"::{path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           check=False)
    return found.stdout.decode("utf-8", "replace").replace("\r", "") if found.returncode == 0 else None


def stick_of_other_letters(image):
    """Renames what is on the stick, and makes a second disk, whose config is wrong."""
    def mtool(of, *command):
        subprocess.run([command[0], "-i", f"{of}@@1M", *command[1:]], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "MTOOLS_SKIP_CHECK": "1"})

    folder = image.removesuffix(".img")
    other = os.path.join(folder, "other.img")
    shutil.copyfile(image, other)
    with open(os.path.join(folder, "wrong.conf"), "w", encoding="utf-8") as conf:
        conf.write("[guest hello]\nkernel = of-another-volume.elf\n")
    mtool(other, "mcopy", "-o", os.path.join(folder, "wrong.conf"), "::/plinth/plinth.conf")
    for old, new in (("/plinth/hello.elf", "/plinth/x"), ("/plinth/x", "/plinth/HeLLo.ELF"),
                     ("/plinth/plinth.conf", "/plinth/y"), ("/plinth/y", "/plinth/Plinth.CONF"), ("/plinth", "/z"),
                     ("/z", "/PLINTH")):
        mtool(image, "mmove", f"::{old}", f"::{new}")


NUMA_GUESTS = (("far", "300M", "3,"), ("near", "64M", "0,"), ("wide", "200M", "2,"))


def desk_knows_nodes(build, image):
    """plinth-check --machine with the inventory from the stick finds the nodes that QEMU was given, and says of each guest's
    memory what the start says."""
    inventory = file_on(image, "/plinth/machine.txt")
    folder = image.removesuffix(".img")
    if inventory is None:
        return "there is no \\plinth\\machine.txt on the stick"
    with open(os.path.join(folder, "machine.txt"), "w", encoding="utf-8") as out:
        out.write(inventory)
    made = subprocess.run([os.path.join(build, "plinth-check"), "--machine", os.path.join(folder, "machine.txt"),
                           os.path.join(folder, "plinth.conf")], stdout=subprocess.PIPE, check=False, text=True)
    for line in (r"nodes   300 MiB of node 1 \(its CPUs' node\)\n", r"nodes   64 MiB of node 0 \(its CPUs' node\)\n",
                 r"nodes   .* of node 1 \(its CPUs' node\), .* of node 0 \(distance 31\)\n", r"CPU 2 \(.*, node 1\): wide"):
        if not re.search(line, made.stdout):
            return f"plinth-check does not say '{line}'"
    return None


def last_boot_is_whole(_build, image):
    """\\plinth\\last-boot.txt has the run from its first line to its last."""
    text = file_on(image, "/plinth/last-boot.txt")
    if text is None:
        return "there is no \\plinth\\last-boot.txt on the stick"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines[0].startswith("plinth: Plinth ") or lines[-1] != "plinth: result ok":
        return f"last-boot.txt begins with '{lines[0]}' and ends with '{lines[-1]}'"
    return None if "good bye" in text else "last-boot.txt has not what the guest printed"


def every_uart_says_all(_build, image):
    """What the hypervisor says goes to each UART, from its first line to its last."""
    for name in ("card.txt", "com2.txt", "debug.txt", "spcr.txt"):
        with open(os.path.join(image.removesuffix(".img"), name), encoding="utf-8", errors="replace") as output:
            text = output.read()
        for line in ("plinth: Plinth ", "good bye", "plinth: result ok"):
            if line not in text:
                return f"{name} has no '{line}'"
    return None


def plan_for_machine(build, image):
    """plinth-check --machine with the inventory from the stick: it makes the plan of a machine with the CPUs and the
    memory that QEMU was given, and refuses what that machine has not."""
    inventory = file_on(image, "/plinth/machine.txt")
    if inventory is None:
        return "there is no \\plinth\\machine.txt on the stick"
    folder = image.removesuffix(".img")
    with open(os.path.join(folder, "machine.txt"), "w", encoding="utf-8") as out:
        out.write(inventory)
    for key in ("virtualization = svm", "cpus = 2", "cpu = 1 apic 1 ", "acpi = found, 2 CPUs", r"cpuid = 0x1 0 0x", r"msr = 0xc0010114 0x", r"msr = 0x2ff 0x", "microcode = 0x", "uart = port 0x3f8", "pci = 00:00.0 8086:29c0 class 060000, bridge, conventional",
                r"pci = .*class 0106.*, can 05 12, group 00:1f\.0", "cpus-asked = 2", "iommu = "):
        if not re.search(f"^{key}", inventory, re.MULTILINE):
            return f"machine.txt does not say '{key}'"
    if re.search(r"^cpu-(cpuid|lacks|microcode) = ", inventory, re.MULTILINE):
        return "machine.txt says that QEMU's two CPUs differ"
    for memory, good in (("200M", True), ("64G", False)):
        conf = os.path.join(folder, f"{memory}.conf")
        with open(conf, "w", encoding="utf-8") as out:
            out.write(hello_conf(memory))
        made = subprocess.run([os.path.join(build, "plinth-check"), "--json", "--machine",
                               os.path.join(folder, "machine.txt"), conf], stdout=subprocess.PIPE, check=False)
        plan = json.loads(made.stdout)
        if plan["good"] != good or (made.returncode == 0) != good:
            return f"plinth-check says {plan['good']} to {memory} on this machine: {plan['errors']}"
        if good and not 800 << 20 < plan["machine"]["free_bytes"] < 1024 << 20:
            return f"{plan['machine']['free_bytes']} bytes are free on a machine of 1 GiB"
    return None


def guests_case(name, names, more_lines="", hypervisor_lines="", **more):
    """Guests of tests/guests in one boot; several take turns on the CPU. Each must say PASS."""
    config = guests.config(names).replace("memory = 16M\n", "memory = 16M\n" + more_lines)
    config = config.replace("[hypervisor]\n", "[hypervisor]\n" + hypervisor_lines)
    named = [(guest, guest.replace("multiboot", "mb")) for guest in names]
    files = {guests.GUESTS[guest][0] for guest in names} | {"module.txt"}
    return Case(name, config, [r"plinth: result ok\s*\Z"],
                passes=tuple((short, guest.removesuffix("-32")) for guest, short in named),
                files={file: Built(f"guests/{file}") for file in files}, forbidden=(*NEVER, r"^(\[\S+\] )?FAIL "), **more)


ENTRY_GUESTS = [name for name in guests.GUESTS if name.startswith(("entry-", "realmode"))]
# They compare times, so no other guest may be on their CPU, and they run where a busy host does not count: in Bochs, whose
# time is instructions.
TIMER_GUESTS = [name for name in guests.GUESTS if "timer" in name]
# Corners of a PC, as test kernels of other projects look into them.
PC_GUESTS = [name for name in guests.GUESTS if name.startswith("pc-")]
# They disturb each other: registers of their own, two CPUs each, NMIs that last over turns.
SHARING_GUESTS = ["state", "state-32", "smp", "smp-32", "smp-x2apic", "nmi-shared", "nmi-shared-32"]
DEVICE_GUESTS = [name for name in guests.GUESTS
                 if name not in (*ENTRY_GUESTS, *TIMER_GUESTS, *PC_GUESTS, *SHARING_GUESTS, *guests.NOT_ON_TCG, "hello")]

SHADOW_GUESTS = ["entry-flat16", "entry-flat32", "entry-elf64", "exceptions", "exceptions-32", "paging-32", "mmio", "smp"]
SHADOW_FIRST = [*ENTRY_GUESTS, "exceptions", "exceptions-32", "paging-32", "mmio", "mmio-32", "msr-32", "pc-user", "pc-user-32"]
NEVER_REAL = [name for name in ENTRY_GUESTS if name not in ("entry-flat16", "realmode")] + [
    "exceptions", "exceptions-32", "paging-32", "mmio", "mmio-32", "msr", "msr-32", "pc-user", "pc-user-32"]


HOSTILE_FILES = {name: Built(f"guests/{name}") for name in ("neighbour.elf", "hostile-sweep.elf", "hostile-storm.elf",
                                                            "hostile-end.elf", "hostile-random.elf", "hostile-lock.elf", "hostile-ac-32.elf")}
PANIC = r"plinth: error: panic"
LOCK_CPUS = 4


LATE_LIMIT_MS = 1500  # of a neighbour's tick, in the guest's time


def ticks_in_time(text):
    late = [int(us) for us in re.findall(r"ticks of 20 ms, latest (\d+) us late", text)]
    if not late:
        return "the neighbour did not say how late its ticks were"
    return None if max(late) <= 1000 * LATE_LIMIT_MS else f"a tick of the neighbour was {max(late)} us late"


def hostile_case(name, boot, mode, kind="qemu-svm", **more):
    """Hostile guests beside a neighbour that counts its ticks; `make hostile` runs more of them. `kind`: the attacks that
    this emulator can run."""
    return Case(name, hostile.config(boot, mode, kind), [rf"plinth: result {'ok' if boot == 'survive' else 'failed'}"],
                status=0 if boot == "survive" else 1, required=hostile.required(boot, kind), files=HOSTILE_FILES,
                smp=2 if mode == "apart" else 1, forbidden=(PANIC, r"\[neighbour\] FAIL"), timeout_s=LINUX_TIMEOUT_S,
                timed=ticks_in_time, **more)


def longest_exit_case(name, kind, **more):
    """How long the hypervisor keeps a CPU, in instructions, while strings, alarms and output attack it."""
    return Case(name, hostile.config("longest", "shared", kind), [
        Expect(r"^plinth: result ok\s*\Z", hostile.exits_are_short)], required=hostile.required("longest", kind), files=HOSTILE_FILES,
                forbidden=(PANIC, r"\[neighbour\] FAIL"), fault=hostile.MEASURE, timeout_s=LINUX_TIMEOUT_S, **more)


def lock_case(name, **more):
    """Several vCPUs want the lock of their devices all the time, and one of them shares its CPU with a neighbour."""
    config = (neighbour_conf(60).replace("cpus = 0,", "cpus = 1,") + "[guest hostile]\nkernel = hostile-lock.elf\nprotocol = elf\n"
              f"memory = 16M\ncpus = 0-{LOCK_CPUS - 1}\nslice = 5ms\ncmdline = cpus={LOCK_CPUS} wait=300 ms=700\n")
    return Case(name, config, [r"plinth: result ok\s*\Z"], required=(
        r"^\[neighbour\] PASS neighbour$", r"^\[hostile\] PASS hostile-lock$"), files=HOSTILE_FILES, smp=LOCK_CPUS,
                forbidden=(PANIC, r"\] FAIL"), timeout_s=LINUX_TIMEOUT_S, **more)


def end_conf(name, attack, more):
    return (f"[guest {name}]\nkernel = hostile-end.elf\nprotocol = elf\nmemory = 16M\ncpus = 0,\nslice = 5ms\n"
            f"cmdline = attack={attack}\n{more}\n")


def neighbour_conf(cmdline):
    return (f"[guest neighbour]\nkernel = neighbour.elf\nprotocol = elf\nmemory = 16M\ncpus = 0,\nslice = 5ms\n"
            f"cmdline = {cmdline}\n")


def refused_case(name, config, *texts, files=None, **more):
    """An error before the hand-over: a sentence, a wait that a key ends, and the firmware gets its machine back."""
    return Case(name, config, [*texts, r"when a key is pressed", Send("\r"), r"plinth: returned to the firmware"], status=1,
                files={"hello.elf": HELLO} if files is None else files, forbidden=(r"plinth: result ok",), **more)


def debian_guest(kind, *files, **more):
    """What tools/mkguest makes of Debian: systemd up to the login, where no unit has failed, and its power-off. The config is
    the one that mkguest wrote."""
    folder, prompt, config = f"examples/debian-{kind}", r"root@linux:~# ", ""
    made = os.path.join(BUILD, folder, "plinth.conf")
    if os.path.isfile(made):
        with open(made, encoding="utf-8") as text:
            config = text.read()
    return Case(f"debian-{kind}", config, [
        Expect(r"^linux login: "), Send("root\n"), Expect(prompt),
        Answer(prompt, "systemctl is-system-running --wait", r"running"),
        Answer(prompt, "systemctl --failed --no-legend | wc -l", r"0"),
        Answer(prompt, "findmnt -no FSTYPE /", r"ext4" if kind == "disk" else r"rootfs|tmpfs"),
        Send("systemctl poweroff\n"), r"plinth: guest linux stopped: powered off", r"plinth: result ok\s*\Z"],
                files={name: Built(f"{folder}/{name}") for name in ("vmlinuz", "initrd.img", *files)}, forbidden=NEVER,
                timeout_s=LINUX_TIMEOUT_S, emulators=QEMU, slow=True, **more)


def third_party_linux(name, release, machine, kernel, initramfs, row=None, **more):
    """A Debian kernel from its example config: to the shell, a few commands, the end."""
    return Case(f"third-{row or name}", example_config(f"{name}.conf"), [
        rf"Linux 6\.\d+\.\d+-\d+-{release}, 1 CPU",
        Expect(PROMPT),
        Answer(PROMPT, "uname -m", rf"({machine})"),
        Answer(PROMPT, "echo at $(date +%s); sleep 1; echo then $(date +%s)", r"at (\d+)\s(?s:.*?)then (\d+)", one_second),
        Answer(PROMPT, "dmesg | grep -ciE 'unchecked MSR|Firmware Bug|TSC unstable'", r"^(\d+)", count_is_zero),
        Send("poweroff\n"),
        r"plinth: result ok\s*\Z",
    ], files={kernel: Built(f"third-party/{kernel}"), os.path.basename(initramfs): Built(initramfs)}, forbidden=NEVER,
                timeout_s=LINUX_TIMEOUT_S, slow=True, **more)


# CPUs whose guests need shadow tables.
WITHOUT_NPT = {"cpu": "max,-npt", "emulators": QEMU, "required": (r"AMD SVM with shadow paging",)}
WITHOUT_EPT = {"cpu": "core2_penryn_t9600", "emulators": BOCHS_VMX, "required": (r"Intel VMX with shadow paging",)}

# The last test of memtest86+, which does little but wait for three minutes: the others are done, without errors.
MEMTEST_FADES = r"Bit fade test(?s:.*?)Errors: 0 "
MEMTEST_PASS = r"Pass: +1 +Errors: 0 "


def memtest_case(name, config, kernel, until, memory="64M", **more):
    """memtest86+ gets so far; Esc then resets its PC."""
    return Case(name, example_config(config).replace("64M", memory), [
        until, Send("\x1b"), r"asked for a reset(?s:.*)plinth: result ok\s*\Z"],
                files={kernel: Built(f"third-party/{kernel}")}, forbidden=(*NEVER, r"Errors: [1-9]"),
                timeout_s=LINUX_TIMEOUT_S, **more)


def xen_case(name, **more):
    """Xen without a dom0: its banner, then it asks for a reset."""
    return Case(name, example_config("xen.conf"), [
        r"\(XEN\) Xen version 4\.17", r"\(XEN\) Bootloader: Plinth", r"\(XEN\) Command line: console=com1",
        r"\(XEN\) dom0 kernel not specified", r"asked for a reset(?s:.*)plinth: result ok\s*\Z"],
                files={"xen.gz": Built("third-party/xen.gz")}, forbidden=NEVER, **more)


def xen_dom0_case(name, **more):
    """Xen with Debian's kernel as its first domain, to its shell. Xen takes the first word of a module's string for its name.
    QEMU's IRET at privilege level 3 reads the stack as the kernel does, which SMAP forbids."""
    config = ("[guest xen]\nmemory = 512M\nkernel = xen.gz\ncmdline = console=com1 smap=no smep=no dom0_mem=300M\n"
              "module = vmlinuz-amd64 vmlinuz console=hvc0 earlyprintk=xen\nmodule = initramfs.cpio\non-reset = stay\n")
    return Case(name, config, [
        Expect(PROMPT), Answer(PROMPT, "cat /sys/hypervisor/type", r"xen"), Answer(PROMPT, "sleep 1; uname -m", r"x86_64"),
        Send("poweroff\n"), r"plinth: guest xen stopped: powered off", r"plinth: result ok\s*\Z"],
                files={"xen.gz": Built("third-party/xen.gz"), "vmlinuz-amd64": Built("third-party/vmlinuz-amd64"),
                       "initramfs.cpio": Built("demo/initramfs.cpio")}, forbidden=NEVER, timeout_s=LINUX_TIMEOUT_S, slow=True,
                **more)


def u_boot_case(name, **more):
    """U-Boot's own drivers of virtio: it reads a sector of its disk, and pings the small guest on its network. Its device
    tree is an i440FX's, whose device 1 is the south bridge: what is there has that driver, so the disk is the second."""
    prompt = r"^\[uboot\] => "
    first = 512 // 4  # the first word of sector 1
    config = ("[guest uboot]\nkernel = u-boot.bin\nprotocol = flat\nmode = long\nload-address = 0x110f000\nmemory = 64M\n"
              "disk = words.img\ndisk = words.img\nnet = lan\n"
              "[guest hello]\nkernel = hello.elf\nmemory = 16M\ncmdline = stay address=10.0.0.2\n"
              "net = lan\n")
    return Case(name, config, [
        # The line before "Hit any key to stop autoboot". What it looks for by itself is found after `pci enum`.
        r"^\[uboot\] error: no qfw", Send(" "),
        Expect(r"(?s:(?=.*\[uboot\] => )(?=.*\[hello\] hello: I answer pings))"),
        Send("pci enum\n"), Expect(prompt), Send("virtio scan\n"), Expect(prompt),
        Send("virtio read 0x2000000 1 1; md.l 0x2000000 4\n"),
        rf"^\[uboot\] 02000000: {first:08x} {first + 1:08x} {first + 2:08x} {first + 3:08x} ", Expect(prompt),
        Send("setenv ipaddr 10.0.0.1; ping 10.0.0.2\n"), r"^\[uboot\] host 10\.0\.0\.2 is alive"],
                status=None, files={"u-boot.bin": Built("third-party/u-boot.bin"), "words.img": devices.WORDS, "hello.elf": HELLO},
                smp=2, forbidden=(*NEVER, r"the device waits for its driver"), timeout_s=LINUX_TIMEOUT_S, **more)


# The escape key, then `n`: what is typed goes to the next guest.
NEXT_GUEST = "\x1dn"
CHECKSUM_COUNT = 30000  # the lines whose checksum a guest computes again and again
CHECKSUM = hashlib.md5("".join(f"{i}\n" for i in range(1, CHECKSUM_COUNT + 1)).encode()).hexdigest()
HAVE_PROMPTS = r"(?s:(?=.*\[one\] linux# )(?=.*\[two\] linux# ))"


def to_guest(name):
    return [Send(NEXT_GUEST), Expect(rf"what you type goes to guest {name}\s")]


def crash():
    """A kernel panic that ends in a triple fault, as the kernel's own settings allow it."""
    return [Send("echo triple >/sys/kernel/reboot/type; echo 1 >/proc/sys/kernel/panic\n"), Expect(r"\[one\] linux# "),
            Send("echo c >/proc/sysrq-trigger\n"), r"Kernel panic - not syncing", r"P0300: guest one failed: triple fault",
            r"guest one is restarted in 0 ms"]


CONSOLE_FILES = {"hostile-console.elf": Built("guests/hostile-console.elf")}
# What is left of a guest's output where sequences and line ends are taken away: no control characters.
CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
FORGED = (r"^\[bank\] forged", r"^plinth: \w+: forged", r"^plinth: result forged", CONTROLS)
WAIT_FOR_A_BYTE_MS = 250  # two floods share 11520 bytes a second


def console_conf(name, cpu, cmdline):
    return f"[guest {name}]\nkernel = hostile-console.elf\nprotocol = elf\nmemory = 16M\ncpus = {cpu},\ncmdline = {cmdline}\n"


def console_case(name, focused, **more):
    """One guest attacks the terminal by what it prints; the other one listens. Either has the focus."""
    confs = [console_conf("bank", 0, "attack=listen ms=3000"), console_conf("evil", 1, "attack=forge,ask,blind")]
    return Case(name, "".join(confs if focused == "bank" else reversed(confs)), [r"plinth: result ok\s*\Z"], smp=2,
                files=CONSOLE_FILES, forbidden=(*NEVER, *FORGED), required=(
                    r"^\[bank\] 0 bytes were typed to it:$", r"\[bank\] PASS hostile-console", r"\[evil\] .*forged by backspaces",
                    r"plinth: guest evil stopped: ", r"plinth: guest bank stopped: "), **more)


def waited_little(match):
    return None if int(match[1]) <= WAIT_FOR_A_BYTE_MS else f"the guest that talks waited {match[1]} ms for one byte"


def starving_case(name, focused, **more):
    """One guest prints without end, the other one still gets its bytes out."""
    confs = [console_conf("flood", 0, "attack=flood ms=4000"), console_conf("talker", 1, "attack=talk wait=500")]
    return Case(name, "".join(confs if focused == "flood" else reversed(confs)), [
        Expect(r"\[talker\] 8000 bytes took \d+ ms, the longest wait for one byte (\d+) ms", waited_little),
        r"plinth: result ok\s*\Z"], smp=2, files=CONSOLE_FILES, forbidden=NEVER, **more)


LIFE_FILES = {name: Built(f"guests/{name}") for name in ("life.elf", "neighbour.elf")}


def life_conf(name, more=""):
    return f"[guest {name}]\nkernel = life.elf\nprotocol = elf\nmemory = 4M\n{more}"


def key(text, *shown):
    """The escape key, then this one; what is to be seen then."""
    return [Send("\x1d" + text), *shown]


def keys_case(name, **more):
    """All that an operator does by keys, beside a guest that counts its ticks."""
    config = (life_conf("life", "cpus = 0,\nslice = 10ms\non-stop = restart\n") + life_conf("deaf", "cpus = 0,\nslice = 10ms\ncmdline = deaf\nstop-time = 500ms\n")
              + "[guest beat]\nkernel = neighbour.elf\nmemory = 16M\ncpus = 1,\ncmdline = until-key\n")
    return Case(name, config, [
        Expect(r"(?s:(?=.*\[life\] ready)(?=.*\[deaf\] ready))"),
        *key("?", r"Ctrl-\] then n: next guest", r"q, twice: switch the machine off"),
        # Its own wish is a restart, the operator's is that it stays off.
        *key("p", r"guest life: its power button is pressed", r"\[life\] the power button was pressed",
             r"guest life stopped: powered off \(ACPI S5\)"),
        *key("1", r"the keys are for guest life, which does not run"),
        *key("p", r"guest life does not run"),
        *key("b", r"guest life is started again", r"\[life\] ready"),
        *key("b", r"guest life runs already"),
        *key("r", r"guest life stopped: ended by a key, to be restarted", r"guest life is restarted in 0 ms", r"\[life\] ready"),
        *key("1"), *key("k", r"guest life stopped: killed by a key"),
        *key("1", r"the keys are for guest life"), *key("r", r"guest life is started again", r"\[life\] ready"),
        *key("2", r"what you type goes to guest deaf"),
        *key("p", r"guest deaf: its power button is pressed; it is killed if it has not switched itself off in 500 ms",
             r"guest deaf stopped: killed: it was still on 500 ms after"),
        *key("1", r"what you type goes to guest life|the keys are for guest life"),
        *key("l", r"the last lines of guest life:", r"plinth:   \| \[life\] ready", r"end of the last lines"),
        *key("L", r"the last lines of Plinth:", r"plinth:   \| plinth: guest deaf stopped", r"end of the last lines"),
        # Nothing shows when a muted guest has answered.
        *key("m", r"guest life is muted"), Send("x"),
        Again("\x1dl", r"end of the last lines", lambda text: "plinth:   | [life] awake" in text),
        *key("m", r"guest life is shown again"), Send("x"), r"^\[life\] awake",
        *key("o", r"only the guest that has the focus is shown"), *key("o", r"all guests are shown again"),
        *key("s", r"status of 3 guests", r"guest deaf has stopped", r"\d+ exits, .*\(\d+%\)", r"end of the status"),
        *key("q", r"Ctrl-\] q once more switches the machine off"), Send("x"), r"\[life\] awake",
        *key("q", r"Ctrl-\] q once more"), *key("q", r"guest life still ran", r"guest beat still ran",
                                               r"a key asked for it; the machine is switched off", r"plinth: result ok\s*\Z"),
    ], files=LIFE_FILES, smp=2, forbidden=(PANIC, r"plinth: result failed"), **more)


LIFE_LINUX = {"vmlinuz": LINUX, "initramfs.cpio": Built("life/initramfs.cpio")}
LINUX_IS_UP = [r"Linux 6\.\d+\.\d+-\d+-cloud-amd64, 1 CPU", Expect(PROMPT)]


def life_linux_case(name, script, more="", status=0, cmdline="console=ttyS0", **kept):
    """A stock Linux with its drivers for pvpanic, the watchdog and the power button."""
    return Case(name, linux_conf(more=more).replace("console=ttyS0", cmdline), [*LINUX_IS_UP, *script], status=status,
                files=LIFE_LINUX, forbidden=(PANIC, "cannot be loaded"), timeout_s=LINUX_TIMEOUT_S, **kept)


def linux_life_case(name, **more):
    """A guest's life, one end after the other: `reboot`; a panic with the driver for pvpanic; a panic without it, told by the
    console; a watchdog that is not fed. Each brings the Linux back. Its power button ends it, and that was a good end."""
    # On a loaded machine a start can last longer than the minute after which restarts are counted anew.
    panic = Send("echo c >/proc/sysrq-trigger\n")
    return life_linux_case(name, [
        Send("reboot\n"), r"guest linux stopped: asked for a reset", r"guest linux is restarted in 0 ms", *LINUX_IS_UP,
        panic, r"P0311: guest linux failed(?: again)?: its kernel panicked \(pvpanic\): sysrq triggered crash",
        r"guest linux is restarted in \d+ ms", *LINUX_IS_UP,
        Send("rmmod pvpanic-mmio\n"), Expect(PROMPT), panic,
        r"P0311: guest linux failed(?: again)?: its kernel panicked, by its console, and asked for a reset: sysrq triggered crash",
        r"guest linux is restarted in \d+ ms", *LINUX_IS_UP,
        Send("watchdog -T 10 -t 1 /dev/watchdog; sleep 6; echo fed\n"), r"^fed", Expect(PROMPT), Send("kill -9 $(pidof watchdog)\n"),
        r"P0313: guest linux failed(?: again)?: it did not feed its watchdog for 10 s \(WDAT\)",
        r"guest linux is restarted in \d+ ms", *LINUX_IS_UP,
        *key("p", r"guest linux: its power button is pressed", r"the power button was pressed",
             r"guest linux stopped: powered off \(ACPI S5\)", r"plinth: result ok\s*\Z")],
                           "on-crash = restart\n", cmdline="console=ttyS0 panic=1", **more)


def clocksource_is(wanted):
    """Whether the last one that the kernel has named is as wanted: it begins with tsc-early, for as long as it measures."""
    return lambda text: re.search(rf"\[linux\] ({wanted})\s*\Z", text) is not None


def linux_ticks_case(name, clocksource, **more):
    """A Linux without any clock of a hypervisor's, on a CPU half of whose time is another guest's."""
    told = linux_conf(more="cpus = 0,\nslice = 10ms\n").replace("console=ttyS0", "console=ttyS0 nopv no-kvmclock")
    return Case(name, told + "[guest spin]\nkernel = spin.elf\nmemory = 4M\ncpus = 0,\nslice = 10ms\n", [
        Expect(r"\[linux\] linux# "), Answer(r"\[linux\] linux# ", "echo at $(date +%s); sleep 1; echo then $(date +%s)",
                                             r"at (\d+)\s(?s:.*?)then (\d+)", one_second),
        Send("dmesg | grep -i -e tsc -e clocksource\n"), Expect(r"\[linux\] linux# "),
        Again("sleep 1; cat /sys/devices/system/clocksource/clocksource0/current_clocksource\n",
              r"^\[linux\] (tsc|tsc-early|hpet|acpi_pm|jiffies)\s*\n", clocksource_is(clocksource)),
        Send("poweroff\n"), r"guest linux stopped: powered off", Send("x"), r"PASS spin", r"plinth: result ok\s*\Z"],
                files={"vmlinuz": LINUX, "initramfs.cpio": INITRAMFS, "spin.elf": Built("guests/spin.elf")}, forbidden=(PANIC,),
                timeout_s=LINUX_TIMEOUT_S, **more)


def i6300esb_case(name, **more):
    """Linux's own driver of the watchdog on the guest's PCI bus: it is fed and nothing happens; its feeder dies and the guest
    is restarted; the next start reads from it that it has ended the one before (32 is WDIOF_CARDRESET)."""
    up = [r"Linux 6\.\d+\.\d+-\d+-amd64, 1 CPU", Expect(PROMPT)]
    status = Send("cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/bootstatus\n")
    return Case(name, linux_conf(more="rng = yes\non-crash = restart\n"), [
        *up, status, r"^i6300ESB timer\s+0\s", Expect(PROMPT),
        Send("watchdog -T 10 -t 1 /dev/watchdog; sleep 15; echo fed\n"), r"^fed", Expect(PROMPT), Send("kill -9 $(pidof watchdog)\n"),
        r"P0313: guest linux failed: it did not feed its watchdog for 10\d\d\d ms \(i6300esb\)", r"guest linux is restarted in 0 ms",
        *up, status, r"^i6300ESB timer\s+32\s", Expect(PROMPT), Send("poweroff\n"), r"plinth: result ok\s*\Z"],
                files={"vmlinuz": Built("third-party/vmlinuz-amd64"), "initramfs.cpio": Built("life/generic/initramfs.cpio")},
                forbidden=(PANIC, "cannot be loaded"), timeout_s=LINUX_TIMEOUT_S, **more)


SCREEN_COLUMNS, SCREEN_ROWS = 100, 37  # of 800x600 with letters of 8x16


def fits_small_screen(match):
    """A whole crash report, to the line that says what follows."""
    rows = sum(1 + max(0, len(line) - 1) // SCREEN_COLUMNS for line in match[0].split("\n"))
    if rows > SCREEN_ROWS - 1:  # the guests' states are below it
        return f"the crash report takes {rows} rows of a screen that has {SCREEN_ROWS}"
    missing = [part for part in ("rip 0", "code at rip:", "stack ", "called from:", "page walk of rip:", "last exits") if part not in match[0]]
    return f"the crash report has no {missing}" if missing else None


MANY_GUESTS = 24
COST_KIB = 100  # of the hypervisor's memory for a guest with one vCPU, its page tables not counted


def cost_is_small(match):
    """What a guest costs beside its own memory, as the hypervisor says it at the start."""
    besides = int(match[2]) - 4 * int(match[1])
    return None if besides < COST_KIB else f"a guest costs {besides} KiB and its page tables"


HALT_NOTICED_MS = 100
ON_BOCHS = "quirks of Bochs"  # the start log


def ends_at_once(match):
    """A guest is told that all its CPUs have halted when the last one has, and not at the other CPU's next wake. Where time is
    instructions; a busy host may keep QEMU from running at any moment."""
    halted = int(re.findall(r"halts now, (\d+) ms", match.string)[-1])
    late = int(match[1]) - halted
    return f"its CPUs have halted, and it ended {late} ms later" if late > HALT_NOTICED_MS and ON_BOCHS in match.string else None


def many_case(name, **more):
    """Many small guests, several on each CPU: all end well."""
    names = [f"g{i:02}" for i in range(1, MANY_GUESTS + 1)]
    config = "".join(hello_conf("4M").replace("guest hello", f"guest {guest}") for guest in names)
    return hello_case(name, config, Expect(r"guest g24: .* (\d+) tables, costs (\d+) KiB", cost_is_small),
                      passes=tuple((guest, "hello") for guest in names), smp=4, **more)


SPIN_STATUS = r"guest spin runs; (\d+) ms since its start(?s:.*?), (\d+) ms of CPU time\s+plinth:   (\d+) exits"


def no_exits(match):
    """Between the second and the last report of the status the guest did not leave its CPU once."""
    reports = [list(map(int, found)) for found in re.findall(SPIN_STATUS, match.string)]
    (began, _, before), (ended, _, after) = reports[1], reports[-1]
    return None if before == after else f"{after - before} exits in {ended - began} ms"


def spun_for(seconds):
    """Since the second report so much time has passed, and the guest had the CPU for as long."""
    def check(text):
        reports = [list(map(int, found)) for found in re.findall(SPIN_STATUS, text)]
        return reports[-1][0] - reports[1][0] >= seconds * 1000 and reports[-1][1] >= seconds * 1000
    return check


def half(match):
    return None if 40 <= int(match[1]) <= 55 else f"the guest that works had {match[1]}% of the CPU, not half of it"


def spin_case(name, seconds, **more):
    """A guest on a CPU of its own spins for that many seconds, which its neighbour counts."""
    status = [Send("\x1ds"), Expect(r"end of the status")]
    return Case(name, f"[guest beat]\nkernel = neighbour.elf\nmemory = 16M\ncpus = 0,\ncmdline = ticks={50 * seconds + 50}\n"
                "[guest spin]\nkernel = spin.elf\nmemory = 4M\ncpus = 1,\n", [
                    Expect(r"\[spin\] spins until a key is typed"), *status, *status, r"\[beat\] PASS neighbour",
                    r"guest beat stopped", Again("\x1ds", r"end of the status", spun_for(seconds)), Send("\x1ds"),
                    Expect(r"end of the status", no_exits), Send("x"),
                    r"\[spin\] PASS spin", r"plinth: result ok\s*\Z"],
                files={file: Built(f"guests/{file}") for file in ("neighbour.elf", "spin.elf")}, smp=2, forbidden=NEVER,
                timed=ticks_in_time,
                timeout_s=LINUX_TIMEOUT_S, **more)


def several_case(name, emulators, **more):
    """Two Linuxes with two CPUs each and a bare-metal guest. One Linux crashes and starts again while the other computes
    the same checksum on both its CPUs and the third counts its ticks; all three shells (or keys) are used."""
    one, two = r"\[one\] linux# ", r"\[two\] linux# "
    config = example_config("several.conf")
    return Case(name, config, [
        Expect(HAVE_PROMPTS),
        Answer(one, "echo cpus $(nproc)", r"cpus (2)"),
        *to_guest("two"),
        Send(f"s() {{ while [ ! -e /e ]; do seq {CHECKSUM_COUNT} | md5sum; done | sort | uniq -c; }}\n"),
        Expect(r"uniq -c; }\s*\n"), Expect(two),
        Answer(two, "s & s & echo cpus $(nproc)", r"cpus (2)"),
        *to_guest("meter"), *to_guest("one"),
        *crash(),
        r"\[one\] Linux 6\.\d+\.\d+-\d+-cloud-amd64, 2 CPU",
        *to_guest("meter"), *to_guest("one"),
        Expect(one),
        Answer(one, "echo again $(nproc)", r"again (2)"),
        Send("poweroff\n"), r"guest one stopped: powered off",
        Send("\n"), Expect(two),
        Answer(two, "touch /e; wait", rf"(?s:\s+(\d+) {CHECKSUM} .*?\s+(\d+) {CHECKSUM} .*?)", computed_something),
        Send("poweroff\n"), r"guest two stopped: powered off",
        Send("x"), r"\[meter\] \d+ ticks of 20 ms, latest \d+ us late, \d+ passes", r"\[meter\] PASS neighbour",
        r"plinth: result ok\s*\Z",
    ], files={"vmlinuz": LINUX, "initramfs.cpio": INITRAMFS, "neighbour.elf": Built("guests/neighbour.elf")}, smp=5,
                emulators=emulators, forbidden=(r"plinth: error: panic", r"guest two failed", r"\[two\] .*(WARNING: CPU|Oops:|BUG:|Call Trace:)"),
                **more)


def fault_case(fault, emulators):
    """The test build makes one thing fail. Before the hand-over the firmware goes on; after it the machine halts, or the
    guest has failed; what is survived ends well. Only tests/boot/sweep.py runs these."""
    names = ["hello", "other"][:fault.guests]
    config = "".join(hello_conf(more=f"cpus = {fault.smp}\n" if fault.smp > 1 and fault.guests == 1 and fault.code else "")
                     .replace("guest hello", f"guest {name}") for name in names)
    end = [r"plinth: result failed"]
    if fault.code == 0:
        end = [r"plinth: result ok\s*\Z"]
    elif fault.returns:
        end = [r"when a key is pressed", Send("\r"), r"plinth: returned to the firmware"]
    files = {"hello.elf": HELLO}
    if fault.code and fault.name.startswith("second-cpu:"):  # the guest's own end must not be the machine's before
        files, config = {"spin.elf": Built("guests/spin.elf")}, config.replace("hello.elf", "spin.elf") + "cmdline = halt\n"
    code = rf"P{fault.code:04d}\b(?s:.*?){fault.text}" if fault.code else fault.text or "Plinth "
    if fault.name.endswith(":nmi-storm"):  # the guest lives until it was seen, however long the emulator's host takes
        files, config, end = {"neighbour.elf": Built("guests/neighbour.elf")}, neighbour_conf("until-key"), [Send("x"), *end]
    return Case(f"fault-{re.sub('[:+]', '-', fault.name)}", config, [code, *end], status=0 if fault.code == 0 else 1,
                required=(r"CPUs: 1 of 2 ready", r"guest hello stopped") if fault in faults.OTHER_CPU else (),
                files=files, emulators=emulators, smp=fault.smp, slow=True, fault=fault.name,
                extra=fault.extra)


def series_case(names, emulators):
    """Faults after which the hypervisor returns to the firmware: one boot for all of them."""
    entries = [(name, None) for name in names]
    return Case("fault-series", hello_conf(more=f"module = {series.FILE}\n"), [series.END], status=None, fault="series",
                files={"hello.elf": HELLO, series.FILE: series.pack(entries)}, emulators=emulators, slow=True,
                forbidden=(r"plinth: guest", r"plinth: result"))


def entries_case(name, entries, emulators):
    """Guests whose control structure is broken, each in its own way, and one that is well."""
    config = hello_conf() + "".join(hello_conf("4M").replace("guest hello", f"guest {guest}") for guest, _ in entries)
    return Case(f"fault-entries-{name}", config, [r"plinth: result failed"], status=1, files={"hello.elf": HELLO},
                emulators=emulators, slow=True, fault="entries", forbidden=(PANIC,), required=(
                    r"^\[hello\] PASS hello$", *(rf"guest {guest} vCPU 0, VM entry refused: .*(?:{text})" for guest, text in entries),
                    *(rf"P0301: guest {guest} failed: the CPU refused to enter" for guest, _ in entries)))


def entries_cases():
    """Every class of a refused entry in few boots: each case with its entries."""
    step = faults.ENTRIES_A_BOOT
    rows = [row for row in faults.ENTRIES_VMX.items() if "bochs-vmx" not in faults.ENTERED.get(row[0], ())]
    for first in range(0, len(rows), step):
        some = rows[first:first + step]
        yield entries_case(f"vmx-{first // step + 1}", some, BOCHS_VMX), dict(some)
    for emulator in ("qemu-svm", "bochs-svm"):
        rows = [row for row in faults.ENTRIES_SVM.items() if emulator not in faults.ENTERED.get(row[0], ())]
        yield entries_case(f"svm-{emulator.partition('-')[0]}", rows, (emulator,)), dict(rows)


# A DBG2 table behind its header: one 16550 at port 0x5e8. Microsoft "Debug Port Table 2", tables 1 to 3.
DBG2 = struct.pack("<II BHBHHHHHHHHH BBBBQ I 2s", 44, 1, 0, 40, 1, 2, 38, 0, 0, 0x8000, 0, 0, 22, 34, 1, 8, 0, 1, 0x5e8, 8,
                   b".\0")
# An SPCR table behind its header: a 16550 at port 0x6e8. Microsoft "Serial Port Console Redirection Table", table 1.
SPCR = struct.pack("<B3x BBBBQ BBI BBBBBB HH BBB I B I", 0, 1, 8, 0, 1, 0x6e8, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0xffff, 0xffff, 0, 0, 0,
                   0, 0, 0)

def real_mode(name, code):
    """A guest of a few bytes of 16-bit code at 0x7c00, and its file."""
    return (f"[guest {name}]\nkernel = {name}.bin\nprotocol = flat\nmode = real\nload-address = 0x7c00\nmemory = 1M\non-reset = stay\n\n",
            {f"{name}.bin": bytes.fromhex(code)})


# mov dx, 0x3f8; mov al, 'R'; out dx, al; mov al, 10; out dx, al
PRINT_R = "ba f8 03 b0 52 ee b0 0a ee "
# Real mode as programs for a BIOS use it; each with what is said at its end.
REAL_MODE = {
    # mov word [0x472], 0x1234; jmp 0xffff:0
    "restart": (PRINT_R + "c7 06 72 04 34 12 ea 00 00 ff ff", r"guest restart stopped: asked for a reset \(the BIOS's reset vector\)"),
    # int 0x19
    "bootstrap": (PRINT_R + "cd 19", r"guest bootstrap stopped: asked for a reset \(INT 19h\)"),
    # int 0x18
    "nothing": (PRINT_R + "cd 18", r"P0310: guest nothing failed: has found nothing to boot \(INT 18h\)"),
    # ud2
    "opcode": (PRINT_R + "0f 0b", r"P0310: guest opcode failed: took exception 6 in real mode"),
    # mov ah, 0x42; int 0x13; jc +2 (past cd 18, which is not reached); int 0x18; cli; hlt
    "disk": (PRINT_R + "b4 42 cd 13 72 02 cd 18 fa f4", r"guest disk stopped: halted with interrupts off(?s:.*?)"
             r"calls BIOS service \(interrupt, AH\) 0x1342"),
    # sti; 3 times hlt; cmp dword [0x46c], 0: jne +2 (past int 0x18); mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt
    "ticks": (PRINT_R + "fb f4 f4 f4 66 83 3e 6c 04 02 77 02 cd 18 ba 04 06 b8 00 20 ef f4", r"guest ticks stopped: powered off"),
    # cli; hlt
    "silent": ("fa f4", r"guest silent stopped: halted with interrupts off(?s:.*?)guest silent ended without any output"),
}

TEN_GUESTS = [f"g{i}" for i in range(10)]

CASES = [
    # The main job.
    demo_case(),
    linux_case("linux", linux_conf(), emulators=QEMU),
    linux_case("linux-two-cpus-in-machine", linux_conf(), smp=2, emulators=QEMU, slow=True),
    linux_case("linux-2mib-cpu", linux_conf(), cpu="max,-pdpe1gb", emulators=QEMU),
    linux_case("linux-aligned-1gib", linux_conf("1G"), mem="3G", emulators=QEMU, slow=True),
    linux_case("linux-odd-size", linux_conf("300M"), emulators=QEMU, slow=True),

    # The small guest, on machines and with memory of different shapes.
    # In Bochs hello-1gib-leaf-bochs boots the whole way.
    hello_case("hello", hello_conf(), whole_boot=True, emulators=QEMU),
    # The second one prints to its text display only.
    hello_case("hello-4mib", hello_conf("4M") + SCREEN_CONF,
               files={"screen.elf": Built("guests/screen.elf")}, passes=(("hello", "hello"),), required=(
                   r"guest screen stopped(?s:.{0,900})its text display shows:(?s:.{0,400})\| screen: first row\s*\n"
                   r"(?s:.{0,400})\| screen: third row \[2J of 80 cells\s*\n",)),
    hello_case("no-driver", hello_conf() + "disk = words.img\n",
               r"no driver took 1 of guest hello's disks and 0 of its network cards: .*`virtio = qemu`", files={"words.img": devices.WORDS},
               emulators=("qemu-svm", "bochs-vmx")),
    hello_case("hello-odd-size", hello_conf("33M"), emulators=QEMU),
    hello_case("hello-unaligned-pages", hello_conf("17412K"), emulators=QEMU),
    hello_case("hello-1gib-leaf", hello_conf("1G"), r"1 GiB", mem="3G", emulators=QEMU),
    hello_case("hello-1gib-leaf-bochs", hello_conf("1G"), mem="2048M", emulators=BOCHS),
    hello_case("hello-2mib-cpu", hello_conf("512M"), r"2 MiB", cpu="max,-pdpe1gb", emulators=QEMU),
    # This model has the TPR shadow and not the rest of the virtual APIC.
    hello_case("hello-2mib-cpu-bochs", "[hypervisor]\ninventory = yes\n" + hello_conf("512M") + X2APIC_CONF,
               r"wrote \\plinth\\machine\.txt", r"TPR shadow(?s:.*?)not there: 1 GiB pages", r"0 x 1 GiB, 256 x 2 MiB",
               cpu="corei7_sandy_bridge_2600k", emulators=BOCHS_VMX, files={"pc-x2apic.elf": Built("guests/pc-x2apic.elf")},
               passes=(("hello", "hello"), ("pc-x2apic", "pc-x2apic"))),
    hello_case("hello-16gib-machine", hello_conf("4G"), r"1 GiB", mem="16G", emulators=QEMU),
    hello_case("hello-two-guests", hello_conf() + hello_conf().replace("guest hello", "guest other"), emulators=QEMU),
    # A place that no planner chooses: its pages are all of 4 KiB.
    hello_case("hello-two-cpus", hello_conf(more="cpus = 1,\nmemory-at = 0x18001000\n"), r"0 x 2 MiB, 4096 x 4 KiB", smp=2,
               emulators=("qemu-svm", "bochs-svm")),

    # Our own guests: entry states of all protocols, devices, CPU.
    guests_case("guests-entry", ENTRY_GUESTS),
    guests_case("guests-devices-64", [name for name in DEVICE_GUESTS if not name.endswith("-32")]),
    guests_case("guests-devices-32", [name for name in DEVICE_GUESTS if name.endswith("-32")]),
    guests_case("guests-pc-64", [name for name in PC_GUESTS if not name.endswith("-32")]),
    guests_case("guests-pc-32", [name for name in PC_GUESTS if name.endswith("-32")]),
    *(guests_case(f"guests-{name}", [name], emulators=BOCHS) for name in TIMER_GUESTS),
    # The local APIC emulated where the CPU could serve it; make bench-apicv boots Linux so.
    guests_case("guests-apic-timer-emulated", ["apic-timer"], more_lines="virtual-apic = no\n", emulators=BOCHS_VMX),
    # The least of VMX: PAT and EFER in MSR areas, no TPR shadow, no VPID, 2 MiB pages.
    guests_case("guests-bare-vmx", [name for name in PC_GUESTS if not name.endswith("-32")], emulators=BOCHS_VMX,
                efi=Built("efi-bare/BOOTX64.EFI"), required=(
                    r"not there: 1 GiB pages .*; VPID .*; TPR shadow .*; virtual APIC .*; PAT and EFER controls ",)),
    # The plain path, as a CPU runs it: no repairs for the emulator. Two are left out where #DB exits save no DR6 and
    # VMRUN loads no CR2.
    # The CPU serves the local APICs then; pc-masked needs the repair of that.
    guests_case("guests-no-quirks", [*(name for name in PC_GUESTS if not name.endswith("-32") and name != "pc-masked"),
                                     "smp", "smp-x2apic"], emulators=BOCHS_VMX,
                hypervisor_lines="quirks = none\n", required=(r"^plinth: quirks of Bochs: left off, as asked for$",)),
    guests_case("guests-no-quirks-svm", [name for name in PC_GUESTS
                                         if not name.endswith("-32") and name not in ("pc-debug", "pc-user")],
                emulators=("bochs-svm",),
                hypervisor_lines="quirks = none\n", required=(r"^plinth: quirks of Bochs: left off, as asked for$",)),
    guests_case("guests-sharing", SHARING_GUESTS),
    guests_case("guests-sharing-two-cpus", SHARING_GUESTS, smp=2, emulators=("qemu-svm", "bochs-vmx")),
    # Without nested paging: every mode that a guest starts in, exceptions, paging, devices, rights; then what else QEMU has.
    guests_case("guests-shadow", SHADOW_FIRST, cpu="max,-npt", emulators=QEMU, required=(r"AMD SVM with shadow paging",)),
    # The guarded loops of entry.S, with all answers to speculation that the emulator's CPU has: no register is lost.
    guests_case("guarded", ["state", "exceptions", "fpu", "smp-x2apic"], hypervisor_lines="speculation = all\n", smp=2,
                emulators=QEMU, required=(GUARDED,)),
    # With EPT the same key keeps executable leaves at 4 KiB.
    guests_case("guarded-vmx", ["state", "exceptions", "fpu", "smp-x2apic"], hypervisor_lines="speculation = all\n", smp=2,
                emulators=BOCHS_VMX, required=(GUARDED, SMALL_CODE)),
    linux_case("linux-small-code", "[hypervisor]\nspeculation = all\n" + linux_conf(), emulators=BOCHS_VMX, slow=True,
               required=(SMALL_CODE,)),
    guests_case("guarded-shadow", ["state", "exceptions"], hypervisor_lines="speculation = all\n", cpu="max,-npt", emulators=QEMU,
                required=(r"at each exit: .*RSB fill",)),
    guests_case("guarded-shadow-vmx", ["exceptions"], hypervisor_lines="speculation = all\n", cpu="core2_penryn_t9600",
                mem=MEMORY, emulators=BOCHS_VMX, required=(r"at each exit: .*RSB fill", SMALL_CODE)),
    # As it is asked for, on CPUs that have nested paging: in QEMU a few, in Bochs all but those of the timers.
    guests_case("guests-shadow-asked", SHADOW_GUESTS, more_lines="paging = shadow\n", emulators=QEMU),
    guests_case("guests-shadow-svm", [*ENTRY_GUESTS, *DEVICE_GUESTS, "hello", *sorted(guests.NOT_ON_TCG)],
                more_lines="paging = shadow\n", emulators=("bochs-svm",)),
    guests_case("guests-shadow-svm-pc", PC_GUESTS, more_lines="paging = shadow\n", emulators=("bochs-svm",)),
    guests_case("guests-shadow-svm-sharing", SHARING_GUESTS, more_lines="paging = shadow\n", emulators=("bochs-svm",)),
    # The independent walker looks at the roots before each turn.
    guests_case("guests-shadow-audited", SHADOW_GUESTS, more_lines="paging = shadow\n", fault="audit:shadow",
                emulators=ALL, slow=True, required=(r"audit of shadow tables: 64 roots, [1-9]\d* MiB in leaves",)),
    guests_case("guests-shadow-asked-vmx", NEVER_REAL, more_lines="paging = shadow\n", emulators=BOCHS_VMX, slow=True),
    # VMX without EPT, VPID and unrestricted guest.
    guests_case("guests-shadow-vmx", NEVER_REAL, cpu="core2_penryn_t9600", emulators=BOCHS_VMX,
                required=(r"Intel VMX with shadow paging", r"not there: EPT \(shadow tables instead")),
    guests_case("guests-shadow-real", ["entry-flat16", "realmode", "smp", "smp-32"], cpu="core2_penryn_t9600", mem=MEMORY,
                emulators=BOCHS_VMX),
    # With EPT and VPID, without unrestricted guest; a guest that does in real mode what is not emulated fails, and it alone.
    Case("guests-shadow-real-mode", hello_conf() + real_mode("debug", "0f 21 c0")[0], [r"plinth: result failed"], status=1,
         files={"hello.elf": HELLO, **real_mode("debug", "0f 21 c0")[1]}, cpu="corei5_lynnfield_750", emulators=BOCHS_VMX,
         forbidden=(PANIC,), required=(r"^\[hello\] PASS hello$", r"not there: unrestricted guest \(shadow tables instead",
                                       r"P0314: guest debug failed: uses a debug register in real mode")),
    linux_case("linux-shadow-vmx", linux_conf(), cpu="core2_penryn_t9600", emulators=BOCHS_VMX, slow=True,
               required=(r"Intel VMX with shadow paging",)),
    guests_case("guests-shadow-vmx-more", ["hello", *sorted(guests.NOT_ON_TCG), *(
        name for name in (*DEVICE_GUESTS, *SHARING_GUESTS) if name not in NEVER_REAL)], cpu="core2_penryn_t9600", emulators=BOCHS_VMX),
    # They compare times: each alone, as long as its own row with nested paging.
    *(guests_case(f"guests-shadow-{name}", [name], more_lines="paging = shadow\n", emulators=BOCHS, slow=True) for name in TIMER_GUESTS),
    guests_case("guests-shadow-vmx-pc-64", [name for name in PC_GUESTS if not name.endswith("-32")], cpu="core2_penryn_t9600",
                emulators=BOCHS_VMX),
    guests_case("guests-shadow-vmx-pc-32", [name for name in PC_GUESTS if name.endswith("-32")], cpu="core2_penryn_t9600",
                emulators=BOCHS_VMX, slow=True),
    # Its second CPU starts in real mode.
    *(Case(f"linux-shadow-smp-{name}", linux_conf(more="cpus = 2\n"), [
        r"Linux 6\.\d+\.\d+-\d+-cloud-amd64, 2 CPUs?", Expect(PROMPT), Answer(PROMPT, "echo cpus $(nproc)", r"cpus (2)"),
        Send("poweroff\n"), r"plinth: result ok\s*\Z"], smp=2, cpu=cpu, emulators=emulators, slow=True, forbidden=NEVER,
        timeout_s=LINUX_TIMEOUT_S, files={"vmlinuz": LINUX, "initramfs.cpio": INITRAMFS}, required=(r"with shadow paging",))
      for name, cpu, emulators in (("core2", "core2_penryn_t9600", BOCHS_VMX), ("lynnfield", "corei5_lynnfield_750", BOCHS_VMX),
                                   ("svm", "max,-npt", QEMU))),
    linux_case("linux-shadow-asked", linux_conf(more="paging = shadow\n"), emulators=BOCHS, slow=True),
    linux_case("linux-shadow", linux_conf(), cpu="max,-npt", emulators=QEMU, slow=True),
    # QEMU's task switches load CR3 without an exit (docs/emulators.md), so task-32 cannot be among them.
    guests_case("guests-shadow-devices", ["hello", *(name for name in (*DEVICE_GUESTS, *SHARING_GUESTS)
                                                      if name not in (*SHADOW_FIRST, "task-32", "walk-oracle-32"))],
                cpu="max,-npt", emulators=QEMU),
    guests_case("guests-shadow-walk-32", ["walk-oracle-32"], cpu="max,-npt", emulators=QEMU, slow=True),
    guests_case("guests-shadow-pc", [name for name in PC_GUESTS if name not in SHADOW_FIRST], cpu="max,-npt", emulators=QEMU),
    guests_case("guests-reserved", sorted(guests.NOT_ON_TCG), emulators=BOCHS),

    # Isolation: attacks beside a neighbour on the same CPU and on another one; restarts; the status that a key prints.
    hostile_case("hostile-survive", "survive", "shared", emulators=QEMU),
    hostile_case("hostile-shadow", "survive", "shared", cpu="max,-npt", emulators=QEMU, slow=True),
    hostile_case("hostile-shadow-vmx", "survive", "shared", kind="bochs-vmx", cpu="core2_penryn_t9600", emulators=BOCHS_VMX,
                 slow=True),
    longest_exit_case("hostile-longest", "bochs-vmx", emulators=BOCHS_VMX, slow=True),
    longest_exit_case("hostile-counted", "qemu-svm", emulators=QEMU, extra=hostile.MEASURE_QEMU, slow=True),
    longest_exit_case("hostile-counted-bochs", "bochs-svm", emulators=("bochs-svm",), slow=True),
    lock_case("hostile-lock", emulators=QEMU),
    hostile_case("hostile-end", "end", "shared", emulators=("qemu-svm", "bochs-vmx", "bochs-svm")),
    # Where the CPU serves the local APICs in memory.
    hostile_case("hostile-apic", "apic", "shared", "bochs-vmx", emulators=BOCHS_VMX),
    # What never ends by itself: endless #AC and #DB, and a loop; the watchdog ends them.
    hostile_case("hostile-endless", "endless", "shared", "bochs-vmx", emulators=("bochs-vmx", "bochs-svm")),
    # The console: what guests print to deceive or blind its operator, and a flood beside a guest that polls its UART.
    console_case("console-attacked", "bank"),
    console_case("console-attacked-by-focused", "evil"),
    starving_case("console-flood", "flood", emulators=BOCHS),
    starving_case("console-flood-unfocused", "talker", emulators=BOCHS_VMX, slow=True),
    Case("restart", neighbour_conf("ticks=400") + end_conf("crasher", "triple-fault", "on-crash = restart") +
         end_conf("resetter", "reset-cf9", "on-stop = restart"), [r"plinth: result failed"], status=1, files=HOSTILE_FILES,
         required=(r"^\[neighbour\] PASS neighbour$", r"guest crasher was restarted 10 times in a row and stays stopped",
                   r"guest resetter was restarted 10 times in a row and stays stopped"), forbidden=(PANIC,), emulators=QEMU),
    # One guest's end is the machine's: what still runs has not failed, and is named.
    Case("poweroff-beside-another", hello_conf(more="cpus = 0,\non-stop = poweroff\n") + "[guest keeper]\nkernel = spin.elf\n"
         "memory = 4M\ncpus = 1,\ncmdline = halt\n", [
             r"^\[hello\] PASS hello$", r"plinth: guest keeper still ran$", r"guest hello has stopped, and its config says poweroff",
             r"plinth: result ok\s*\Z"], files={"hello.elf": HELLO, "spin.elf": Built("guests/spin.elf")}, forbidden=NEVER, smp=2,
         emulators=QEMU),
    # The CPU serves the local APICs of two vCPUs, again and again.
    Case("restart-virtual-apic", "[hypervisor]\nquirks = none\n[guest smp]\nmemory = 16M\nkernel = smp.elf\nprotocol = elf\ncpus = 2\n"
         "on-stop = restart\n" + hello_conf(more="on-stop = poweroff\n"), [
             *[r"^\[smp\] PASS smp$"] * 3, r"^\[hello\] PASS hello$", r"plinth: result ok\s*\Z"],
         files={"hello.elf": HELLO, "smp.elf": Built("guests/smp.elf")}, forbidden=NEVER, smp=2,
         emulators=BOCHS_VMX),
    Case("status", neighbour_conf("until-key") + end_conf("halted", "halt-for-good", ""),
         [r"guest halted stopped: halted with interrupts off", Send("\x1ds"), r"status of 2 guests",
          r"guest neighbour runs; \d+ ms since its start", r"vCPU 0 on CPU 0 \w+ at rip 0x\w+, \d+ ms of CPU time",
          r"\d+ exits, .*\(\d+%\)", r"guest halted has stopped", r"end of the status", Send("x"), r"\[neighbour\] PASS neighbour",
          r"plinth: result ok\s*\Z"], files=HOSTILE_FILES, forbidden=(PANIC,), emulators=QEMU),

    # A stock Linux that panics, reboots, does not feed its watchdog, and listens to its power button.
    linux_life_case("linux-life", emulators=QEMU),
    linux_life_case("linux-life-bochs", emulators=BOCHS, slow=True),
    # The watchdog on the PCI bus, with Debian's generic kernel: `make linux-i6300esb`.
    i6300esb_case("linux-i6300esb", emulators=("qemu-svm", "bochs-vmx"), slow=True),
    # A Linux that restarts its PC by the BIOS's vector, at FFFF:0000.
    life_linux_case("linux-reboot-bios", [
        Send("reboot\n"), r"guest linux stopped: asked for a reset", r"guest linux is restarted in 0 ms", *LINUX_IS_UP,
        Send("poweroff\n"), r"plinth: result ok\s*\Z"], cmdline="console=ttyS0 reboot=b", emulators=QEMU, slow=True),
    # An initrd that fits only above 4 GiB.
    Case("linux-initrd-above-4gib", linux_conf(memory="6G").replace("initrd = initramfs.cpio\n", "initrd = initramfs.cpio\ninitrd = zeroes\n"), [
        r"RAMDISK: \[mem 0x[1-9a-f][0-9a-f]{8}-", Expect(PROMPT), Send("poweroff\n"), r"plinth: result ok\s*\Z"],
         files={"vmlinuz": LINUX, "initramfs.cpio": INITRAMFS, "zeroes": Built("life/zeroes")}, mem="10G", forbidden=(PANIC,),
         timeout_s=LINUX_TIMEOUT_S, emulators=QEMU, slow=True),
    # Without any clock of a hypervisor's, on a CPU half of whose time is another guest's: rates are measured by ticks and counters.
    # Where a tick is an instruction an exit costs a microsecond, as on a CPU, and the TSC is what Linux takes.
    linux_ticks_case("linux-ticks", "tsc|hpet|acpi_pm", emulators=QEMU, slow=True),
    linux_ticks_case("linux-ticks-counted", "tsc", emulators=QEMU, extra=hostile.MEASURE_QEMU, slow=True),
    linux_ticks_case("linux-ticks-bochs", "tsc", emulators=("bochs-svm",), slow=True),
    # The operator's keys, one after the other.
    keys_case("keys", emulators=("qemu-svm", "bochs-vmx", "bochs-svm")),
    # A reset: again by default, once more, then stays; counted as a crash. A kernel that tells of its panic by pvpanic.
    Case("reset-restarts", life_conf("life", "cmdline = reset\n"), [
        r"^ready", Send("x"), r"^half a line\s*\nplinth: guest life stopped: asked for a reset \(port 0xcf9\)", r"guest life is restarted in 0 ms",
        r"^ready", Send("x"), r"asked for a reset", r"restarted in 50 ms", r"^ready", *key("k", r"guest life stopped: killed by a key"),
        r"plinth: result ok\s*\Z"], files=LIFE_FILES, forbidden=(PANIC,), emulators=("qemu-svm", "bochs-vmx")),
    Case("reset-is-a-crash", life_conf("life", "cmdline = reset com2\non-reset = crash\ncom2 = yes\n"), [
        Expect(r"(?s:(?=.*plinth: guest life COM2: on the second port)(?=.*\nready))"), Send("x"), r"plinth: guest life COM2: and a rest", r"P0312: guest life failed: it asked for a reset \(port 0xcf9\), which is a crash by its config",
        r"plinth: result failed"], status=1, files=LIFE_FILES, forbidden=(PANIC,), emulators=("qemu-svm", "bochs-vmx")),
    Case("watchdog-pci", "[guest dog]\nkernel = pc-watchdog.elf\nmemory = 4M\nrng = yes\ncmdline = starve\n", [
        r"^pc-watchdog: not fed any more", r"P0313: guest dog failed: it did not feed its watchdog for 196 ms \(i6300esb\)",
        r"plinth: result failed"], status=1, files={"pc-watchdog.elf": Built("guests/pc-watchdog.elf")}, forbidden=(PANIC, "FAIL "),
         emulators=("qemu-svm", "bochs-vmx")),
    Case("panic-is-a-crash", life_conf("one", "cmdline = panic\non-crash = restart\n") + life_conf("two", "cmdline = crash-kernel\n"), [
        Expect(r"(?s:(?=.*P0311: guest one failed: its kernel panicked \(pvpanic\): a test)"
               r"(?=.*P0311: guest two failed: its kernel panicked, and it asked for a reset \(port 0xcf9\)))"),
        r"guest one was restarted 10 times in a row and stays stopped", r"plinth: result failed"], status=1, files=LIFE_FILES,
         required=(r"\[two\] the crash kernel has saved a dump",), forbidden=(PANIC,), emulators=("qemu-svm", "bochs-vmx")),

    # Devices of the machine in a guest's hands: a parallel port, and COM2 with its interrupt, twice: the second life finds
    # it quiet. What belongs to the hypervisor is refused by the target, too.
    Case("direct", "[guest direct]\nkernel = direct.elf\nmemory = 4M\nports = 0x378-0x37f\nserial = com2\ncmdline = parallel com2 crash\n"
         "on-crash = restart\n", [
        r"the serial port at 0x2f8 is a guest's", r"guest direct has ports 0x378 to 0x37f of the machine",
        r"direct: the parallel port keeps what is written", r"direct: \d+ bytes sent by \d+ interrupts", r"direct: 20 bytes came back by interrupts",
        r"restarted in 0 ms", r"direct: the parallel port keeps what is written", r"direct: 20 bytes came back by interrupts",
        ], status=None, files={"direct.elf": Built("guests/direct.elf")},
         second_says=(r"direct: by interrupts, from guest to COM2",), forbidden=(PANIC, "FAIL "), emulators=("qemu-svm", "bochs-vmx")),
    refused_case("direct-refused", "[guest a]\nkernel = hello.elf\nserial = com2\nports = 0xcf8-0xcff\n",
                 r"plinth\.conf:4:9: ports-taken: Ports 0xcf8 to 0xcff are no guest's: there is PCI's configuration space", emulators=QEMU),

    # A guest with two CPUs is crashed by the second one, twice, and starts again with both, which then halt for good.
    Case("restart-two-cpus", "[guest smp]\nkernel = smp.elf\nmemory = 16M\ncpus = 0,1\ncmdline = ask\non-crash = restart\n", [
        r"crash, halt or end\?", Send("c"),
        Expect(r"^plinth: error: P0300: guest smp failed: triple fault(?s:.*?)  vCPU 1: rip(?s:.*?)restarted in 0 ms .*", fits_small_screen),
        r"crash, halt or end\?", Send("c"), r"P0300: guest smp failed again: triple fault.*\n.*  after \d+ ms, at 0x.*\n.*restarted in 50 ms",
        r"crash, halt or end\?", Send("h"), r"halts now, \d+ ms after its start", r"guest smp stopped: halted with interrupts off",
        Expect(r"guest smp ran (\d+) ms", ends_at_once), r"plinth: result ok\s*\Z"], files={"smp.elf": Built("guests/smp.elf")},
         smp=2, forbidden=(PANIC,), emulators=("qemu-svm", "bochs-vmx")),

    # Many guests; and one that spins causes no exits (a minute of it in every emulator: `run.py spin-minute`).
    many_case("many", emulators=QEMU),
    spin_case("spin", 3, emulators=("qemu-svm", "bochs-vmx")),
    spin_case("spin-minute", 60, slow=True),
    # The hypervisor's own deadlines where the CPU's timer may be the guest's: a watchdog, beside a guest that makes no exit,
    # and the console's, on the CPU of one that makes nothing but exits.
    Case("spin-deadline", "[guest exits]\nkernel = spin.elf\nmemory = 4M\ncpus = 0,\ncmdline = cpuid\n"
         "[guest dog]\nkernel = spin.elf\nmemory = 4M\ncpus = 1,\ncmdline = deadline\nwatchdog = halt 300ms\n", [
             r"\[exits\] spins until a key is typed", r"guest dog failed: .*300 ms", Send("x"), r"\[exits\] PASS spin",
             r"plinth: result failed"], status=1, files={"spin.elf": Built("guests/spin.elf")}, smp=2, forbidden=(PANIC,),
         emulators=("qemu-svm", "bochs-vmx")),

    # What the firmware says of the CPUs' places is shown.
    hello_case("cpu-places", hello_conf(more="cpus = 7,\n"), r"CPU 1 is a hyper-thread of the core of CPU 0",
               r"CPU 7 is a hyper-thread of the core of CPU 6", r"CPU 4 is in package 1", r"CPUs: 8 of 8 ready", smp=8,
               extra=("-smp", "8,sockets=2,cores=2,threads=2"), emulators=QEMU),

    # Two nodes of two CPUs and 512 MiB: memory is near the guest's CPUs, and what does not fit is named. The desk says the
    # same by machine.txt.
    Case("numa", "[hypervisor]\ninventory = yes\n" + "".join(
        f"[guest {name}]\nmemory = {memory}\nkernel = hello.elf\ncpus = {cpus}\nslice = 5ms\n"
        for name, memory, cpus in NUMA_GUESTS), [
            r"guest far: its memory is 300 MiB of node 1 \(its CPUs' node\)",
            r"guest near: its memory is 64 MiB of node 0 \(its CPUs' node\)",
            r"guest wide: its memory is [1-9][0-9.]* MiB of node 1 \(its CPUs' node\), [1-9][0-9.]* MiB of node 0 \(distance 31\)",
            r"plinth: result ok\s*\Z"], files={"hello.elf": HELLO}, forbidden=NEVER, smp=4, emulators=QEMU, after=desk_knows_nodes,
         extra=("-smp", "4,sockets=2,cores=2", "-object", "memory-backend-ram,id=m0,size=512M",
                "-object", "memory-backend-ram,id=m1,size=512M", "-numa", "node,nodeid=0,cpus=0-1,memdev=m0",
                "-numa", "node,nodeid=1,cpus=2-3,memdev=m1", "-numa", "dist,src=0,dst=1,val=31")),

    # All 64 CPUs of a machine start, and a guest runs on the last one: `make scale`.
    hello_case("scale", hello_conf(more="cpus = 63,\n"), r"CPUs: 64 of 64 ready", smp=64, emulators=QEMU, slow=True,
               timeout_s=LINUX_TIMEOUT_S),

    # Slices of 10 ms on one CPU: one guest counts ticks, then halts, and keeps its own; one halts and gives them away; one
    # waits in a loop of PAUSE and gives nearly all of them away; one works in half of them. Ticks that end in the others'
    # slices come later: none is lost.
    Case("slices", "".join(f"[guest {name}]\nkernel = {kernel}.elf\nmemory = 4M\ncpus = 0,\nslice = 10ms\n{more}\n" for name, kernel, more in (
        ("keeper", "ticks", "share-idle = no"), ("giver", "spin", "cmdline = halt"), ("waiter", "spin", "cmdline = pause"),
        ("worker", "spin", "cmdline = share"))), [
            Expect(r"\[worker\] had the CPU for (\d+)% of 2000 ms", half), r"\[worker\] PASS spin", Send("x"),
            r"\[keeper\] PASS ticks", Send("x"), r"\[giver\] PASS spin", Send("x"), r"\[waiter\] PASS spin",
            r"plinth: result ok\s*\Z"],
         required=(r"\[keeper\] +8254: \d+ ticks in 250 ms, \d+ later; away for 1\d\d ms", r"\[keeper\] +RTC: ", r"\[keeper\] +HPET: ",
                   r"\[keeper\] +local APIC: "),
         files={name: Built(f"guests/{name}") for name in ("spin.elf", "ticks.elf")}, forbidden=NEVER, emulators=BOCHS),

    # Several guests with several CPUs: make several boots it in Bochs, too.
    several_case("several", timeout_s=LINUX_TIMEOUT_S, emulators=QEMU),
    several_case("several-bochs", timeout_s=SEVERAL_BOCHS_TIMEOUT_S, emulators=BOCHS, slow=True),
    # What the hypervisor writes to its stick, and what plinth-check makes of it.
    hello_case("inventory", "[hypervisor]\ninventory = yes\n" + hello_conf(), r"wrote \\\\?plinth\\machine\.txt", smp=2,
               emulators=QEMU, after=plan_for_machine),

    # After a warm reset the next start tells how the last one ended, on the console and in a file.
    Case("last-boot", "[hypervisor]\nwhen-all-stopped = reboot\n" + hello_conf(), [
        r"plinth: all guests have stopped; the machine is restarted", r"plinth: result ok",
        r"The last run ended with:(?s:.*?)  \| plinth: all guests have stopped; the machine is restarted\s+\| plinth: result ok",
        r"all that is left of it is in \\plinth\\last-boot\.txt"], status=None, runner=("--reboot",),
         files={"hello.elf": HELLO}, forbidden=NEVER, emulators=QEMU, after=last_boot_is_whole),

    # A USB stick whose names are in other letters than the config's, beside a disk that has a \\plinth folder, too.
    hello_case("stick-usb", hello_conf(), r"reading \\plinth\\plinth\.conf", r"devices: \d+ PCI functions, bus mastering taken from [1-9]",
               change=stick_of_other_letters, runner=("--stick", "xhci"), emulators=QEMU, extra=(
                   "-drive", "if=none,id=other,format=raw,snapshot=on,file={folder}/other.img",
                   "-device", "ide-hd,drive=other")),
    # What else an image is started from.
    *(hello_case(f"stick-{kind}", hello_conf(), runner=("--stick", kind), emulators=QEMU, slow=True)
      for kind in ("ehci", "nvme", "virtio", "cd", "bare")),

    # A serial card beside COM1, COM2, and ports that only the firmware's DBG2 and SPCR tables name; and a screen that has
    # no framebuffer.
    Case("uarts", hello_conf(), [r"the firmware has no framebuffer", r"5 serial ports have what is said", r"plinth: result ok\s*\Z"],
         files={"hello.elf": HELLO, "dbg2": DBG2, "spcr": SPCR}, forbidden=NEVER,
         emulators=QEMU, after=every_uart_says_all, extra=(
        "-vga", "none", "-device", "virtio-gpu-pci",
        "-acpitable", "sig=SPCR,data={folder}/spcr", "-chardev", "file,id=spcr,path={folder}/spcr.txt",
        "-device", "isa-serial,iobase=0x6e8,irq=7,chardev=spcr",
        "-acpitable", "sig=DBG2,data={folder}/dbg2", "-chardev", "file,id=debug,path={folder}/debug.txt",
        "-device", "isa-serial,iobase=0x5e8,irq=5,chardev=debug",
        "-chardev", "file,id=card,path={folder}/card.txt", "-device", "pci-serial,chardev=card",
        "-chardev", "file,id=com2,path={folder}/com2.txt", "-serial", "chardev:com2")),

    # OVMF keeps memory for one type each that its map calls free, and refuses it: the smallest free region in Bochs.
    Case("firmware-refuses-memory", "".join(hello_conf("16M", "debug-ports = yes\n").replace("guest hello", f"guest {guest}")
                                            for guest in TEN_GUESTS), [r"plinth: result ok\s*\Z"],
         passes=tuple((guest, "hello") for guest in TEN_GUESTS), files={"hello.elf": HELLO}, forbidden=NEVER, mem="512M",
         emulators=BOCHS),

    # Code for a BIOS: it restarts, it is told that there is none, its timer ticks.
    Case("real-mode-shadow", "".join(real_mode(name, code)[0] for name, (code, _) in REAL_MODE.items()), [r"plinth: result failed"],
         status=1, files={file: data for name, (code, _) in REAL_MODE.items() for file, data in real_mode(name, code)[1].items()},
         required=(*(says for _, says in REAL_MODE.values()), r"^\[restart\] R$"), forbidden=(PANIC, r"\[disk\].*INT 18h"),
         cpu="core2_penryn_t9600", emulators=BOCHS_VMX, slow=True),
    Case("real-mode", "".join(real_mode(name, code)[0] for name, (code, _) in REAL_MODE.items()), [r"plinth: result failed"],
         status=1, files={file: data for name, (code, _) in REAL_MODE.items() for file, data in real_mode(name, code)[1].items()},
         required=(*(says for _, says in REAL_MODE.values()), r"^\[restart\] R$"), forbidden=(PANIC, r"\[disk\].*INT 18h"),
         emulators=("qemu-svm", "bochs-vmx")),

    # Errors of the config: rule, line and column.
    refused_case("config-missing", None, r"P0711: \\plinth\\plinth\.conf", emulators=QEMU),
    refused_case("config-empty", "", r"P0714: .*plinth\.conf", emulators=QEMU),
    refused_case("config-unknown-key", hello_conf(more="colour = blue\n"), r"plinth\.conf:4:1: unknown-key: .*colour",
                 r"P0701",),
    refused_case("config-two-errors", hello_conf("lots", "colour = blue\n"), r"plinth\.conf:2:\d+: ",
                 r"plinth\.conf:4:1: unknown-key: ", r"P0701", emulators=QEMU),
    refused_case("config-no-such-cpu", hello_conf(more="cpus = 7,\n"), r"plinth\.conf:4:\d+: \S+: .*7", r"P0701",
                 emulators=QEMU),
    refused_case("config-same-name", hello_conf() + hello_conf(), r"plinth\.conf:4:\d+: \S+: .*hello", r"P0701", emulators=QEMU),
    refused_case("config-too-much-memory", hello_conf("64G"), r"plinth\.conf:2:\d+: \S+: ", r"P0701",),
    refused_case("config-memory-not-free", hello_conf(more="memory-at = 0xfee00000\n"),
                 r"P0807: plinth\.conf:4:13: .*hello.* from 0xfee00000 on", emulators=QEMU),
    refused_case("config-memory-just-too-much", hello_conf("968M"), r"P0803: .*hello", emulators=QEMU),

    # Errors of the files.
    refused_case("kernel-missing", hello_conf(), r"P0711: .*hello\.elf", files={}, emulators=QEMU),
    refused_case("kernel-truncated", linux_conf("128M"), r"P0721: .*vmlinuz",
                 files={"vmlinuz": Truncated(LINUX, 1 << 20), "initramfs.cpio": INITRAMFS}),
    refused_case("kernel-truncated-header", linux_conf(), r"P0721: .*vmlinuz",
                 files={"vmlinuz": Truncated(LINUX, 600), "initramfs.cpio": INITRAMFS}, emulators=QEMU),
    refused_case("kernel-empty", hello_conf(), r"P0714: .*hello\.elf", files={"hello.elf": b""}, emulators=QEMU),
    refused_case("kernel-garbage", hello_conf(), r"P0721: .*hello\.elf", files={"hello.elf": b"\x55\xaa" * 5000},
                 emulators=QEMU),
    refused_case("kernel-gzip-truncated", hello_conf().replace("hello.elf", "hello.elf.gz"), r"P0721: .*gzip",
                 files={"hello.elf.gz": Truncated(Built("guests/hello.elf.gz"), 3000)}, emulators=QEMU),
    refused_case("linux-memory-too-small", linux_conf("16M"), r"P0721: .*linux",
                 files={"vmlinuz": LINUX, "initramfs.cpio": INITRAMFS}, emulators=QEMU),

    # CPUs that lack what is needed: by name.
    refused_case("cpu-no-svm", hello_conf(), r"P0631: .*SVM", cpu="qemu64,-svm", emulators=QEMU),
    refused_case("cpu-no-npt", hello_conf(more="paging = nested\n"), r"no-such-paging: .*nested", cpu="max,-npt", emulators=QEMU),
    refused_case("cpu-no-vmx", hello_conf(), r"P0631: .*has no VMX .*firmware set-up", cpu="p4_prescott_celeron_336",
                 emulators=BOCHS_VMX),
    refused_case("cpu-locked-off", hello_conf(), r"(?:VMX is locked off|SVM is switched off) by the firmware .*; switch on",
                 efi=Built("efi-locked/BOOTX64.EFI"), emulators=("qemu-svm", "bochs-vmx")),

    # A mistake of ours in one guest's control structure: the first check of the manual that it violates is named, and
    # the other guest runs.
    Case("entry-refused", hello_conf() + hello_conf().replace("guest hello", "guest other"), [r"plinth: result failed"],
         status=1, files={"hello.elf": HELLO}, efi=Built("efi-refused/BOOTX64.EFI"), forbidden=(PANIC,),
         emulators=("qemu-svm", "bochs-vmx"), required=(
             r"^\[other\] PASS hello$",
             r"guest hello vCPU 0, VM entry refused: (?:ASID 0 is the host's|"
             r"invalid guest state: guest TR \(.*\): S is set)",
             r"guest hello failed: the CPU refused to enter the guest")),

    # Other projects' kernels. `make third-party` runs the slow ones, too.
    memtest_case("third-memtest", "memtest.conf", "memtest86+x64.bin", MEMTEST_FADES, "8M", emulators=QEMU),
    memtest_case("third-memtest-pass", "memtest.conf", "memtest86+x64.bin", MEMTEST_PASS, emulators=QEMU, slow=True),
    memtest_case("third-memtest-ia32", "memtest-ia32.conf", "memtest86+ia32.bin", MEMTEST_FADES, "8M", slow=True),
    memtest_case("third-memtest-bochs", "memtest.conf", "memtest86+x64.bin", MEMTEST_FADES, "8M", emulators=BOCHS,
                 slow=True),
    debian_guest("initrd", mem="2G"),
    debian_guest("disk", "root.img", mem="4G"),
    xen_case("third-xen", emulators=QEMU),
    u_boot_case("third-u-boot", emulators=("qemu-svm", "bochs-vmx"), slow=True),
    xen_case("third-xen-bochs", emulators=BOCHS, slow=True),
    xen_dom0_case("third-xen-dom0", emulators=QEMU),
    third_party_linux("debian-amd64", "amd64", "x86_64", "vmlinuz-amd64", "demo/initramfs.cpio"),
    third_party_linux("debian-i386", "686-pae", "i686", "vmlinuz-686-pae", "third-party/initramfs-i386.cpio"),
    # The same without nested paging: on an SVM CPU and on a Core 2.
    *(row for end, more in (("", WITHOUT_NPT), ("-vmx", WITHOUT_EPT)) for row in (
        memtest_case(f"third-shadow-memtest{end}", "memtest.conf", "memtest86+x64.bin", MEMTEST_FADES, "8M", slow=True, **more),
        memtest_case(f"third-shadow-memtest-ia32{end}", "memtest-ia32.conf", "memtest86+ia32.bin", MEMTEST_FADES, "8M", slow=True,
                     **more),
        xen_case(f"third-shadow-xen{end}", slow=True, **more),
        third_party_linux("debian-amd64", "amd64", "x86_64", "vmlinuz-amd64", "demo/initramfs.cpio",
                          row=f"shadow-debian-amd64{end}", **more),
        third_party_linux("debian-i386", "686-pae", "i686", "vmlinuz-686-pae", "third-party/initramfs-i386.cpio",
                          row=f"shadow-debian-i386{end}", **more))),
]

CASES += devices.rows(sys.modules[__name__])

# What no vendor's code has a part in, or what QEMU's SVM shows as well: the ordinary run has it in QEMU (SVM) and in Bochs with
# VMX, or in the latter alone; with SVM in Bochs on request, as NAME-amd.
NO_VENDORS = ("config-unknown-key", "config-too-much-memory", "kernel-truncated", "firmware-refuses-memory", "console-attacked",
              "console-attacked-by-focused", "console-flood", "keys", "guests-apic-timer-32", "guests-pic-timer-32", "hostile-end")
for case in [case for case in CASES if case.name in NO_VENDORS]:
    CASES[CASES.index(case)] = dataclasses.replace(case, emulators=tuple(name for name in case.emulators if name != "bochs-svm"))
    CASES.append(dataclasses.replace(case, name=case.name + "-amd", emulators=("bochs-svm",), slow=True))
# Of these what comes before a guest, or another row of the same code, is all that Bochs would show, too: in Bochs with VMX on
# request, as NAME-intel.
QEMU_SHOWS = ("config-unknown-key", "config-too-much-memory", "kernel-truncated", "console-attacked-by-focused")
for case in [case for case in CASES if case.name in QEMU_SHOWS]:
    CASES[CASES.index(case)] = dataclasses.replace(case, emulators=QEMU)
    CASES.append(dataclasses.replace(case, name=case.name + "-intel", emulators=("bochs-vmx",), slow=True))
CASES += passthrough.rows(sys.modules[__name__])
CASES += debian.rows()

# A machine that cannot start says so on both serial ports.
for forced in (case for case in CASES if case.name in faults.FORCED):
    forced.second_says = (rf"\bP{faults.FORCED[forced.name][0]:04d}\b",)

assert len({case.name for case in CASES}) == len(CASES), "two cases with one name"
assert all(emulator in ALL for case in CASES for emulator in case.emulators)
