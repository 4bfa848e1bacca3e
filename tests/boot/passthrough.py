# SPDX-License-Identifier: MIT
"""Boot rows of the machine's devices in guests' hands: QEMU's IOMMUs of both kinds with its SVM CPU; refusals also where there is
no IOMMU."""

import hashlib
import mmap
import os
import random

import devices
from script import BOCHS_VMX, LINUX_TIMEOUT_S, MONITOR, PORT, QEMU, Answer, Built, Case, Expect, Monitor, Send

EDU = ("-device", "edu,dma_mask=0xffffffffffffffff")
# Of the slot behind those that are there, which amd-iommu is one of: PIRQ[E-H] by slot and pin, as QEMU's q35 wires them.
LINE_GSI = {"intel": 22, "amd": 23}
IOMMUS = {"intel": ("-device", "intel-iommu,intremap=on"), "amd": ("-device", "amd-iommu,intremap=on")}
NVME = ("-drive", "file={folder}/disk.img,if=none,id=nvme0,format=raw,snapshot=on", "-device", "nvme,drive=nvme0,serial=plinth")
# A controller with virtual functions, whose queues and interrupts are given away by command; the namespace is of all its controllers.
SRIOV = ("-drive", "file={folder}/disk.img,if=none,id=nvme0,format=raw,snapshot=on", "-device", "nvme-subsys,id=subsystem",
         "-device", "nvme,id=physical,subsys=subsystem,serial=plinth,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,"
         "max_ioqpairs=10,msix_qsize=10", "-device", "nvme-ns,drive=nvme0,bus=physical,nsid=1")
GENERIC = {"vmlinuz-amd64": Built("third-party/vmlinuz-amd64"), "initramfs-amd64.cpio": Built("passthrough/initramfs.cpio"),
           "disk.img": Built("devices/disk.img")}
SERVED = random.Random(15).randbytes(2 << 20)
USER_CARD = ("-netdev", "user,id=user", "-device", "e1000e,netdev=user")
FETCH = f"fetch {PORT}; md5sum </tmp/fetched"
SERVED_MD5 = rf"(?:\[\w+\] )?{hashlib.md5(SERVED).hexdigest()}  -"
HELLO = "[guest hello]\nkernel = hello.elf\nmemory = 16M\n"


def edu_case(common, iommu, cmdline="crash", **options):
    """Our own driver: copies to its memory arrive, others do not, its messages come; it ends in the midst of a copy, and its
    next life does not see it."""
    # QEMU's model of AMD's unit reports nothing (docs/emulators.md).
    named = [r"device 0000:00:\w\w\.0 \(1234:11e8\) of guest edu may not write to 0x30000000"] if iommu == "intel" else []
    return Case(f"pci-edu-{iommu}", f"[guest edu]\nkernel = edu.elf\nprotocol = elf\nmemory = 16M\ncmdline = {cmdline}\n"
                f"pci = 1234:11e8\n{HELLO}", [
        r"audit: no device reaches anything but what it was granted \(\d+ tables, 1 let through\)",
        r"edu: 3 interrupts came", *named, r"guest edu stopped: asked for a reset",
        r"edu: the copy of the last life did not come", *named,
        Expect(r"plinth: result ok\s*\Z")], passes=(("edu", "edu"), ("hello", "hello")), smp=2, emulators=QEMU,
                files={name: Built(f"guests/{name}") for name in ("edu.elf", "hello.elf")}, extra=IOMMUS[iommu] + EDU,
                forbidden=(r"P0[0-9]{3}", common.PANIC), **options)


def disk_session(prompt, disk):
    """Reads what mke2fs has put there, writes, drops what the kernel has cached, reads again."""
    return [
        Answer(prompt, f"mount /dev/{disk} /root; cat /root/greeting", devices.GREETING),
        Answer(prompt, "md5sum /root/large", devices.LARGE_MD5 + r".*"),
        Answer(prompt, "head -c 3000000 /dev/urandom >/tmp/r; cp /tmp/r /root/r; echo ok 1", r".*ok 1"),
        Answer(prompt, "umount /root; echo 3 >/proc/sys/vm/drop_caches; echo ok 2", r".*ok 2"),
        Answer(prompt, f"mount /dev/{disk} /root; echo ok 3", r".*ok 3"),
        Answer(prompt, "cat /tmp/r | md5sum; cat /root/r | md5sum", r"(\w+)  -\s+(?:\[\w+\] )?(\w+)  -", devices.same),
        Answer(prompt, "umount /root; echo ok 4", r".*ok 4"),
        Answer(prompt, "dmesg | grep -ciE 'i/o error|ext4-fs err|(nvme|ata).*timeout'", r"(?:\[\w+\] )?0"),
    ]


def nomsi_case(common, iommu):
    """A kernel that is told not to use messages has the disk's interrupts by its line."""
    prompt = common.PROMPT
    return Case(f"pci-nomsi-{iommu}", devices.linux("linux", f"pci = nvme gsi {LINE_GSI[iommu]}\n", " pci=nomsi"), [
        Expect(prompt), Answer(prompt, "grep -c 'IO-APIC.*nvme0q' /proc/interrupts", r"(?:\[\w+\] )?[1-9]"),
        Answer(prompt, "mount /dev/nvme0n1 /root; cat /root/greeting", devices.GREETING),
        Answer(prompt, "md5sum /root/large", devices.LARGE_MD5 + r".*"),
        Answer(prompt, "dmesg | grep -ciE 'no.ody cared|i/o error|nvme.*(timeout|reset)'", r"(?:\[\w+\] )?0"), Send("poweroff\n"),
        r"plinth: result ok\s*\Z"],
                files=devices.FILES, timeout_s=LINUX_TIMEOUT_S, emulators=QEMU, extra=IOMMUS[iommu] + NVME, slow=True,
                forbidden=(*common.NEVER, *devices.DRIVER_TROUBLE))


def nvme_case(common, iommu):
    """The stock Debian kernel finds an NVMe disk of the machine, reads and writes it, once more after a reset."""
    prompt = common.PROMPT
    session = [
        Answer(prompt, "cat /sys/class/nvme/nvme0/serial | xargs", r"(?:\[\w+\] )?plinth"),
        Answer(prompt, "grep -c nvme0q /proc/interrupts", r"(?:\[\w+\] )?[2-9]"),
        *disk_session(prompt, "nvme0n1"),
    ]
    return Case(f"pci-nvme-{iommu}", devices.linux("linux", "pci = nvme\n"), [
        r"device 0000:00:\w\w\.0 of guest linux", Expect(prompt), *session, Send("reboot -f\n"),
        r"guest linux stopped: asked for a reset", Expect(prompt), *session, Send("poweroff\n"), r"plinth: result ok\s*\Z"],
                files=devices.FILES, timeout_s=LINUX_TIMEOUT_S, emulators=QEMU, extra=IOMMUS[iommu] + NVME, slow=True,
                forbidden=(*common.NEVER, *devices.DRIVER_TROUBLE))


def virtual_case(common, iommu):
    """A virtual function of an NVMe controller that no guest has: the stock Debian kernel reads and writes through it, once more
    after a reset. Another guest has another one."""
    prompt = common.PROMPT
    session = [
        Answer(prompt, "cat /sys/class/nvme/nvme0/serial | xargs", r"(?:\[\w+\] )?plinth"),
        Answer(prompt, "cat /sys/class/nvme/nvme0/device/vendor", r"(?:\[\w+\] )?0x1b36"),
        Answer(prompt, "grep -c nvme0q /proc/interrupts", r"(?:\[\w+\] )?[1-9]"),
        *disk_session(prompt, "nvme0n1"),
    ]
    return Case(f"pci-vf-{iommu}", devices.linux("linux", "pci = nvme vf 2\n") + guest("hello", "pci = nvme vf 1"), [
        r"device 0000:00:\w\w\.0 \(1b36:0010\) has 2 virtual functions, and no guest",
        r"audit: no device reaches anything but what it was granted \(\d+ tables, 2 let through\)",
        Expect(prompt), *session, Send("reboot -f\n"),
        r"guest linux stopped: asked for a reset", Expect(prompt), *session, Send("poweroff\n"), r"plinth: result ok\s*\Z"],
                files={**devices.FILES, "hello.elf": Built("guests/hello.elf")}, timeout_s=LINUX_TIMEOUT_S, emulators=QEMU,
                extra=IOMMUS[iommu] + SRIOV, slow=True, smp=2, forbidden=(*common.NEVER, *devices.DRIVER_TROUBLE))


def generic(name, lines, cmdline="", memory="192M"):
    """Debian's generic kernel, which has drivers of real devices."""
    return (f"[guest {name}]\nmemory = {memory}\nkernel = vmlinuz-amd64\ninitrd = initramfs-amd64.cpio\n"
            f"cmdline = console=ttyS0 quiet{cmdline}\n{lines}")


def linux_case(common, name, config, session, **options):
    """Linuxes with devices of the machine; the session ends them."""
    return Case(name, config, [*session, r"plinth: result ok\s*\Z"], files=GENERIC, timeout_s=LINUX_TIMEOUT_S, emulators=QEMU,
                slow=True, forbidden=(*common.NEVER, *devices.DRIVER_TROUBLE), **options)


def e1000e_case(common, iommu):
    """A network card of the machine: a file comes by HTTP from a server on the loopback address."""
    prompt = common.PROMPT
    return linux_case(common, f"pci-e1000e-{iommu}", generic("linux", "pci = net\n", " address=eth0,10.0.2.15/24"), [
        Expect(prompt),
        Answer(prompt, "basename $(readlink /sys/class/net/eth0/device/driver)", r"e1000e"),
        Answer(prompt, FETCH, SERVED_MD5),
        Answer(prompt, "grep -c eth0 /proc/interrupts", r"(?:\[\w+\] )?3"),
        Answer(prompt, "dmesg | grep -ciE 'e1000e.*(error|failed)'", r"(?:\[\w+\] )?0"),
        Send("poweroff\n")], serves=SERVED, extra=IOMMUS[iommu] + USER_CARD)


def ahci_case(common, iommu):
    """A SATA controller of the machine."""
    prompt = common.PROMPT
    return linux_case(common, f"pci-ahci-{iommu}", generic("linux", "pci = ahci\n"), [
        Expect(prompt), Answer(prompt, "grep -c ahci /proc/interrupts", r"(?:\[\w+\] )?1"),
        *disk_session(prompt, "sda"), Send("poweroff\n")],
        extra=(*IOMMUS[iommu], "-device", "ahci,id=second", "-drive", "file={folder}/disk.img,if=none,id=d0,format=raw,snapshot=on",
               "-device", "ide-hd,drive=d0,bus=second.0"))


def usb_case(common, iommu):
    """A USB controller of the machine, with the stick that the hypervisor was started from, and another one."""
    prompt = common.PROMPT
    return linux_case(common, f"pci-xhci-{iommu}", generic("linux", "pci = usb\n"), [
        Expect(prompt),
        Answer(prompt, "until [ -e /dev/sdb ]; do sleep 1; done; echo ok 0", r".*ok 0"),
        Answer(prompt, "until S=$(ls /dev/sd?1); do sleep 1; done; echo $S", r"(?s:.*?)/dev/sd[ab]1"),
        Answer(prompt, "D=sdb; [ $S = /dev/sda1 ] || D=sda; echo set", r".*set"),
        Answer(prompt, "mount $S /root; grep pci /root/plinth/plinth.conf", r"(?:\[\w+\] )?pci = usb"),
        Answer(prompt, "echo more >/root/more; umount /root; echo ok 1", r".*ok 1"),
        Answer(prompt, "mount $S /root; cat /root/more; umount /root", r"(?:\[\w+\] )?more"),
        *disk_session(prompt, "$D"), Send("poweroff\n")],
        runner=("--stick", "xhci"),
        extra=(*IOMMUS[iommu], "-drive", "file={folder}/disk.img,if=none,id=d0,format=raw,snapshot=on", "-device",
               "usb-storage,drive=d0"))


def hub_case(common, iommu):
    """Two guests with a network card of the machine each, on one hub outside."""
    prompt = r"\[one\] linux# "
    config = (generic("one", "pci = net\n", " address=eth0,10.0.0.1/24") +
              generic("two", "pci = net 2\n", " address=eth0,10.0.0.2/24"))
    hub = [word for port in ("a", "b") for word in (
        "-netdev", f"hubport,hubid=0,id={port}", "-device", f"e1000e,netdev={port},mac=52:54:00:00:00:0{port}")]
    return linux_case(common, f"pci-hub-{iommu}", config, [
        r"\[two\] Linux 6\.", Send("\n"), Expect(prompt),
        Answer(prompt, "until ping -c 1 -W 1 10.0.0.2 >/tmp/p; do :; done; echo ok 1", r".*ok 1"),
        Answer(prompt, "head -c 500000 /dev/urandom >/tmp/f; echo ok 2", r".*ok 2"),
        Answer(prompt, "md5sum </tmp/f; nc 10.0.0.2 7 </tmp/f", r"(\w+)  -\s+(?:\[\w+\] )?(\w+)  -", devices.same),
        Send("poweroff\n"), r"guest one stopped: powered off",
        Send("\n"), Expect(r"\[two\] linux# "), Send("poweroff\n")], smp=2, extra=IOMMUS[iommu] + tuple(hub))


def router_case(common, iommu):
    """config/examples/router.conf: what is on the inner network alone fetches a file from outside, and reaches the other."""
    prompt = r"\[web\] linux# "
    return linux_case(common, f"pci-router-{iommu}", common.example_config("router.conf"), [
        r"\A(?s:(?=.*\[router\] Linux 6)(?=.*\[web\] Linux 6)(?=.*\[base\] Linux 6).*)",
        Send("\x1d2"), Send("\n"), Expect(prompt),
        Answer(prompt, FETCH, SERVED_MD5),
        Answer(prompt, "head -c 500000 /dev/urandom >/tmp/g; echo ok 1", r".*ok 1"),
        Answer(prompt, "md5sum </tmp/g; nc 10.0.0.3 7 </tmp/g", r"(\w+)  -\s+(?:\[\w+\] )?(\w+)  -", devices.same),
        Answer(prompt, "ls /sys/bus/pci/drivers/e1000e | grep -c :", r"(?:\[web\] )?0"),
        Send("poweroff\n"), r"guest web stopped: powered off",
        Send("\x1d3"), Send("\n"), Expect(r"\[base\] linux# "), Send("poweroff\n"), r"guest base stopped: powered off",
        Send("\x1d1"), Send("\n"), Expect(r"\[router\] linux# "), Send("poweroff\n")],
                      mem="1536M", serves=SERVED, smp=3, extra=IOMMUS[iommu] + USER_CARD)


EDUS = tuple(word for _ in range(8) for word in EDU)
OWN_EDUS = "".join(f"pci = 1234:11e8 {number}\n" for number in range(1, 9))
# As tests/guests/hostile-edu.c makes it: 64 bytes, in a copy of 4095 whole ones 63 times.
UNIT = b"".join(((i + 1) * 0x9e3779b9 & 0xffffffff ^ 0x6b8b79fb).to_bytes(4, "little") for i in range(16))
COPIED = 4095 // len(UNIT)


def one_copy_arrived(_build, image):
    """What the machine's memory has of the pattern is the one copy to the guest's own memory."""
    path = os.path.join(image.removesuffix(".img"), "memory")
    with open(path, "rb") as memory, mmap.mmap(memory.fileno(), 0, access=mmap.ACCESS_READ) as content:
        places, at = [], content.find(UNIT)
        while at >= 0:
            places.append(at)
            at = content.find(UNIT, at + len(UNIT))
    os.remove(path)
    if len(places) != COPIED or places[-1] - places[0] >= 4096:
        return f"the pattern is {len(places)} times in the machine's memory, not {COPIED} times in one page: {places[:4]}"
    return None


def sweep_case(common, iommu, end_mib=1024, **options):
    """A hostile guest's devices write to every page of the machine: nothing arrives but in the guest's own memory."""
    # Messages of the older form pass QEMU's Intel model (docs/emulators.md).
    memory = "-object memory-backend-file,id=memory,size=1G,share=on,mem-path={folder}/memory -machine memory-backend=memory"
    named = [r"device 0000:00:\w\w\.0 \(1234:11e8\) of guest hostile may not write to 0x", r"was blocked 64 times"]
    return Case(f"pci-sweep-{iommu}", "[guest hostile]\nkernel = hostile-edu.elf\nprotocol = elf\nmemory = 16M\n"
                f"cmdline = to={end_mib}{' messages' if iommu == 'amd' else ''}\n{OWN_EDUS}[guest other]\nkernel = spin.elf\nprotocol = elf\nmemory = 64M\ncmdline = halt\n", [
        r"registers are written to", r"\d+ copies, to each page from 0x1000000 to 0x", Expect(r"PASS hostile-edu")],
                files={name: Built(f"guests/{name}") for name in ("hostile-edu.elf", "spin.elf")}, smp=2, emulators=QEMU,
                status=None, required=named if iommu == "intel" else (), forbidden=(common.PANIC, r"FAIL"),
                extra=(*IOMMUS[iommu], *EDUS, *memory.split(), "-icount", "shift=3,sleep=off"), after=one_copy_arrived,
                timeout_s=3600, slow=True, **options)


def load_case(common, iommu, lives):
    """A guest whose devices write all the time is restarted again and again: no copy of one life comes in the next, and the
    neighbour's memory stays as it was."""
    # The keys go to another guest when theirs ends.
    script = [word for _ in range(lives) for word in (r"\[hostile\] under load", Send("\x1d1\x1dr"))]
    return Case(f"pci-restart-{iommu}", "[guest hostile]\nkernel = hostile-edu.elf\nprotocol = elf\nmemory = 16M\ncmdline = load\n"
                f"{OWN_EDUS}[guest beat]\nkernel = neighbour.elf\nmemory = 16M\ncpus = 1,\ncmdline = until-key\n",
                [*script, r"\[hostile\] under load", Send("\x1d2"), Send("x"), Expect(r"\[beat\] PASS neighbour")],
                files={name: Built(f"guests/{name}") for name in ("hostile-edu.elf", "neighbour.elf")}, smp=2, emulators=QEMU,
                status=None, forbidden=(r"P0(?!311)[0-9]{3}: ", common.PANIC, r"FAIL", r"may not (?:read|write)"), timeout_s=1800, slow=True,
                extra=(*IOMMUS[iommu], *EDUS))


def guest(name, lines):
    return f"[guest {name}]\nkernel = hello.elf\nmemory = 16M\n{lines}\n"


def unstarted_case(name, extra, text, **options):
    """A guest whose device cannot be had is not started; the other one runs."""
    return Case(name, guest("owner", "pci = 1234:11e8") + HELLO, [
        rf"P0317: guest owner failed: it was not started: device {text}", Expect(r"plinth: result failed\s*\Z")], status=1, smp=2,
                passes=(("hello", "hello"),), files={"hello.elf": Built("guests/hello.elf")}, emulators=QEMU, extra=extra, **options)


def line_case(common, iommu):
    """A device's interrupt line: by the I/O APIC and by the 8259; one that the driver leaves high comes at each end of it, no more."""
    return Case(f"pci-line-{iommu}", f"[guest edu]\nkernel = edu.elf\nprotocol = elf\nmemory = 16M\ncmdline = line\npci = 1234:11e8 gsi {LINE_GSI[iommu]}\n{HELLO}", [
        r"edu: 3 interrupts of the line came by the I/O APIC", r"edu: 6 interrupts of the line came by the I/O APIC",
        r"edu: 3 interrupts of the line came by the 8259", r"edu: 6 interrupts of the line came by the 8259",
        r"edu: 1 interrupts of the line came by the I/O APIC", Expect(r"plinth: result ok\s*\Z")],
                passes=(("edu", "edu"), ("hello", "hello")), smp=2, emulators=QEMU,
                files={name: Built(f"guests/{name}") for name in ("edu.elf", "hello.elf")}, extra=IOMMUS[iommu] + EDU,
                forbidden=(r"P0[0-9]{3}", common.PANIC), slow=True)


def devices_case(common, iommu):
    """A network card, a disk behind AHCI and a USB controller: each writes to its guest's memory, and its message comes."""
    return Case(f"pci-devices-{iommu}", "[guest devices]\nkernel = devices.elf\nprotocol = elf\nmemory = 16M\npci = net\npci = ahci\npci = usb\n", [
        r"audit: no device reaches anything but what it was granted \(\d+ tables, 3 let through\)",
        r"devices: the expansion ROM of e1000e was read",
        *(rf"devices: {name} wrote to memory and sent a message" for name in ("e1000e", "ahci", "xhci")),
        Expect(r"plinth: result ok\s*\Z")], passes=(("devices", "devices"),), emulators=QEMU, files={"devices.elf": Built("guests/devices.elf")},
                forbidden=(r"P0[0-9]{3}", r"may not (?:read|write)", common.PANIC),
                extra=(*IOMMUS[iommu], "-device", "e1000e", "-device", "ahci,id=second", "-device", "qemu-xhci",
                       "-blockdev", "driver=null-co,size=16777216,node-name=d0", "-device", "ide-hd,drive=d0,bus=second.0"))


# Slot Control of QEMU's pcie-root-port in slot 5: power and indicators off, as an operating system does it that lets a card be
# taken out. QEMU takes it out at that, without a question to the guest that has it. Between the two writes the hypervisor may have
# set the same port for the guest, which looks whether the card is there; then the second one falls upon the card's ID, which
# is constant. So again and again.
POWER_OFF = ("o /w 0xcf8 0x8000286c", "o /h 0xcfc 0x7c0") * 12


def pulled_case(common):
    """A card is pulled out of a running guest: for it the function is gone, also in its next life, and nothing else happens.
    Errors that device and port report before that stop nothing."""
    return Case("pci-pulled", "[guest pulled]\nkernel = pulled.elf\nprotocol = elf\nmemory = 16M\ncmdline = twice\npci = net\n"
                "[guest beat]\nkernel = neighbour.elf\nmemory = 16M\ncpus = 1,\ncmdline = until-key\n", [
        r"pulled: the device answers", Monitor("pcie_aer_inject_error card MALF_TLP", "pcie_aer_inject_error -c card RCVR",
                                               "pcie_aer_inject_error above SDN", *POWER_OFF),
        r"device 0000:\w\w:00\.0 does not answer any more", r"\[pulled\] pulled: the device is gone",
        r"guest pulled stopped: asked for a reset", r"\[pulled\] pulled: no function in this life", r"\[pulled\] PASS pulled",
        Send("\x1d2"), Send("x"), Expect(r"\[beat\] PASS neighbour")],
                files={name: Built(f"guests/{name}") for name in ("pulled.elf", "neighbour.elf")}, smp=2, emulators=QEMU, status=None,
                forbidden=(common.PANIC, r"FAIL", r"P0[0-9]{3}", r"may not (?:read|write)"), slow=True,
                extra=(*IOMMUS["intel"], *MONITOR, "-device", "pcie-root-port,id=above,slot=1,chassis=1,addr=5", "-device",
                       "e1000e,bus=above,id=card"))


def direct_case(common, iommu):
    """COM2's interrupt comes through the IOMMU, which has blocked all others."""
    return Case(f"direct-{iommu}", "[guest direct]\nkernel = direct.elf\nmemory = 4M\nserial = com2\ncmdline = com2 crash\non-crash = restart\n", [
        r"IOMMU: .*interrupts of devices are blocked", r"direct: \d+ bytes sent by \d+ interrupts",
        r"direct: 20 bytes came back by interrupts", r"restarted in 0 ms", r"direct: 20 bytes came back by interrupts"],
                status=None, files={"direct.elf": Built("guests/direct.elf")}, second_says=(r"direct: by interrupts, from guest to COM2",),
                forbidden=(common.PANIC, "FAIL "), emulators=QEMU, extra=IOMMUS[iommu], slow=True)


LIFE_OF_PS2 = (r"ps2: the controller is as firmware leaves it", r"ps2: the machine's output port is as it was",
               r"ps2: the keyboard was reset, by interrupts", r"ps2: the mouse was reset, by interrupts",
               r"ps2: an echo came through the 8259, by interrupts")


def ps2_case(common, name, cmdline, *more, **options):
    """The machine's keyboard controller: what would reset the machine resets the guest, and its next life finds the controller as
    firmware leaves it."""
    return Case(name, f"[guest ps2]\nkernel = ps2.elf\nmemory = 4M\nkeyboard = ps2\ncmdline = {cmdline}\n", [
        r"the keyboard is a guest's from now on", r"guest ps2 has the keyboard controller of the machine", *LIFE_OF_PS2, *more,
        r"restarted in 0 ms", *LIFE_OF_PS2], status=None, files={"ps2.elf": Built("guests/ps2.elf")},
                forbidden=(common.PANIC, "FAIL ", r"does not reach it", r"no keyboard controller answers"), **options)


def ps2_keys_case(common, iommu):
    """A person at the machine types; the interrupts come through the IOMMU."""
    return ps2_case(common, f"ps2-keys-{iommu}", "keys reset port",
                    r"ps2: press keys", Monitor("sendkey a"), r"ps2: code 1e\s+ps2: code 9e", Monitor("sendkey up"),
                    r"ps2: code e0\s+ps2: code 48\s+ps2: code e0\s+ps2: code c8", Monitor("sendkey esc"),
                    r"ps2: code 81", r"asked for a reset \(keyboard controller, output port\)", emulators=QEMU, slow=True,
                    extra=(*IOMMUS[iommu], *MONITOR))


def ps2_linux_case(common):
    """Debian's generic kernel finds controller, keyboard and mouse port by ACPI, and keys interrupt it; once more after a
    reboot by the controller."""
    prompt = common.PROMPT
    keys = "grep -w 1: /proc/interrupts | xargs | cut -d' ' -f2"
    session = [
        Expect(prompt), Answer(prompt, "cat /sys/class/input/input*/name | grep -c 'AT Translated Set 2 keyboard'", r"(?:\[\w+\] )?1"),
        Answer(prompt, "cat /sys/bus/serio/devices/serio*/description | sort | xargs", r"(?:\[\w+\] )?i8042 AUX port i8042 KBD port"),
        Answer(prompt, f"A=$({keys}); echo ok 1", r".*ok 1"), Monitor("sendkey shift"),
        Answer(prompt, f"until [ $(($({keys}) - A)) -ge 2 ]; do :; done; echo ok 2", r".*ok 2"),
    ]
    return linux_case(common, "ps2-linux", generic("linux", "keyboard = ps2\n", " reboot=kbd"), [
        *session, Send("reboot -f\n"), r"guest linux stopped: asked for a reset \(port 0x64\)", *session, Send("poweroff\n")],
        extra=(*IOMMUS["amd"], *MONITOR))


def rows(common):
    refused = common.refused_case
    intel = IOMMUS["intel"]
    return [
        edu_case(common, "intel"),
        edu_case(common, "amd", slow=True),
        nvme_case(common, "intel"),
        nvme_case(common, "amd"),
        virtual_case(common, "intel"),
        virtual_case(common, "amd"),
        line_case(common, "intel"),
        line_case(common, "amd"),
        nomsi_case(common, "intel"),
        nomsi_case(common, "amd"),
        pulled_case(common),
        devices_case(common, "intel"),
        devices_case(common, "amd"),
        direct_case(common, "intel"),
        direct_case(common, "amd"),
        ps2_case(common, "ps2", "reset", r"asked for a reset \(port 0x64\)", emulators=("qemu-svm", "bochs-vmx")),
        ps2_keys_case(common, "intel"),
        ps2_linux_case(common),
        *(case(common, iommu) for case in (e1000e_case, ahci_case, usb_case, hub_case, router_case, sweep_case) for iommu in IOMMUS),
        load_case(common, "intel", 50),
        load_case(common, "amd", 50),
        refused("pci-no-iommu", guest("a", "pci = disk"), r"no-iommu: This machine has no IOMMU", emulators=QEMU, slow=True),
        refused("pci-no-iommu-vmx", guest("a", "pci = 00:01.1"), r"no-iommu: This machine has no IOMMU", emulators=BOCHS_VMX,
                slow=True),
        refused("pci-refused", guest("a", "pci = 00:1f.2\npci = 1234:11e8 2") + guest("b", "pci = 00:1f.3\npci = sata\npci = gpu"),
                r"pci-not-there: This machine has 1 PCI function for `pci = 1234:11e8 2`", emulators=QEMU, extra=intel + EDU,
                slow=True),
        refused("pci-twice", guest("a", "pci = sata") + guest("b", "pci = 00:1f.2"),
                r"pci-two-owners: `pci = 00:1f\.2` is the function that guest `a` has by line \d+", emulators=QEMU, extra=intel,
                slow=True),
        refused("pci-group", guest("a", "pci = 00:1f.2") + guest("b", "pci = 00:1f.3"),
                r"pci-(group|intx): 00:1f\.3", emulators=QEMU, extra=intel, slow=True),
        refused("pci-line-shared", guest("a", "pci = 8086:100e gsi 21") + guest("b", "pci = 10ec:8139 gsi 21"),
                r"pci-line-shared: ", emulators=QEMU, extra=(*intel, "-device", "e1000,addr=5", "-device", "rtl8139,addr=9"),
                slow=True),
        unstarted_case("pci-no-remapping", ("-device", "intel-iommu,intremap=off", *EDU),
                       r"0000:00:\w\w\.0 cannot be given to it: its IOMMU cannot remap interrupts", slow=True),
    ]
