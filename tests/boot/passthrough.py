# SPDX-License-Identifier: MIT
"""Boot rows of the machine's devices in guests' hands: QEMU's IOMMUs of both kinds with its SVM CPU; refusals also where there is
no IOMMU."""

import devices
from script import BOCHS_VMX, LINUX_TIMEOUT_S, QEMU, Answer, Built, Case, Expect, Send

EDU = ("-device", "edu,dma_mask=0xffffffffffffffff")
IOMMUS = {"intel": ("-device", "intel-iommu,intremap=on"), "amd": ("-device", "amd-iommu,intremap=on")}
NVME = ("-drive", "file={folder}/disk.img,if=none,id=nvme0,format=raw,snapshot=on", "-device", "nvme,drive=nvme0,serial=plinth")
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


def nvme_case(common, iommu):
    """The stock Debian kernel finds an NVMe disk of the machine, reads and writes it, once more after a reset."""
    prompt = common.PROMPT
    session = [
        Answer(prompt, "cat /sys/class/nvme/nvme0/serial | xargs", r"(?:\[\w+\] )?plinth"),
        Answer(prompt, "grep -c nvme0q /proc/interrupts", r"(?:\[\w+\] )?[2-9]"),
        Answer(prompt, "mount /dev/nvme0n1 /root; cat /root/greeting", devices.GREETING),
        Answer(prompt, "md5sum /root/large", devices.LARGE_MD5 + r".*"),
        Answer(prompt, "head -c 3000000 /dev/urandom >/tmp/r; cp /tmp/r /root/r; echo ok 1", r".*ok 1"),
        Answer(prompt, "umount /root; echo 3 >/proc/sys/vm/drop_caches; echo ok 2", r".*ok 2"),
        Answer(prompt, "mount /dev/nvme0n1 /root; echo ok 3", r".*ok 3"),
        Answer(prompt, "cat /tmp/r | md5sum; cat /root/r | md5sum", r"(\w+)  -\s+(?:\[\w+\] )?(\w+)  -", devices.same),
        Answer(prompt, "dmesg | grep -ciE 'i/o error|ext4-fs err|nvme.*(timeout|reset)'", r"(?:\[\w+\] )?0"),
    ]
    return Case(f"pci-nvme-{iommu}", devices.linux("linux", "pci = nvme\n"), [
        r"device 0000:00:\w\w\.0 of guest linux", Expect(prompt), *session, Send("reboot -f\n"),
        r"guest linux stopped: asked for a reset", Expect(prompt), *session, Send("poweroff\n"), r"plinth: result ok\s*\Z"],
                files=devices.FILES, timeout_s=LINUX_TIMEOUT_S, emulators=QEMU, extra=IOMMUS[iommu] + NVME, slow=True,
                forbidden=(*common.NEVER, *devices.DRIVER_TROUBLE))


def guest(name, lines):
    return f"[guest {name}]\nkernel = hello.elf\nmemory = 16M\n{lines}\n"


def unstarted_case(name, extra, text, **options):
    """A guest whose device cannot be had is not started; the other one runs."""
    return Case(name, guest("owner", "pci = 1234:11e8") + HELLO, [
        rf"P0317: guest owner failed: it was not started: device {text}", Expect(r"plinth: result failed\s*\Z")], status=1, smp=2,
                passes=(("hello", "hello"),), files={"hello.elf": Built("guests/hello.elf")}, emulators=QEMU, extra=extra, **options)


def line_case(common, iommu):
    """A device's interrupt line: by the I/O APIC and by the 8259; one that the driver leaves high comes at each end of it, no more."""
    return Case(f"pci-line-{iommu}", f"[guest edu]\nkernel = edu.elf\nprotocol = elf\nmemory = 16M\ncmdline = line\npci = 1234:11e8\n{HELLO}", [
        r"edu: 3 interrupts of the line came by the I/O APIC", r"edu: 6 interrupts of the line came by the I/O APIC",
        r"edu: 3 interrupts of the line came by the 8259", r"edu: 6 interrupts of the line came by the 8259",
        r"edu: 1 interrupts of the line came by the I/O APIC", Expect(r"plinth: result ok\s*\Z")],
                passes=(("edu", "edu"), ("hello", "hello")), smp=2, emulators=QEMU,
                files={name: Built(f"guests/{name}") for name in ("edu.elf", "hello.elf")}, extra=IOMMUS[iommu] + EDU,
                forbidden=(r"P0[0-9]{3}", common.PANIC), slow=True)


def direct_case(common, iommu):
    """COM2's interrupt comes through the IOMMU, which has blocked all others."""
    return Case(f"direct-{iommu}", "[guest direct]\nkernel = direct.elf\nmemory = 4M\nserial = com2\ncmdline = com2 crash\non-crash = restart\n", [
        r"IOMMU: .*interrupts of devices are blocked", r"direct: \d+ bytes sent by \d+ interrupts",
        r"direct: 20 bytes came back by interrupts", r"restarted in 0 ms", r"direct: 20 bytes came back by interrupts"],
                status=None, files={"direct.elf": Built("guests/direct.elf")}, second_says=(r"direct: by interrupts, from guest to COM2",),
                forbidden=(common.PANIC, "FAIL "), emulators=QEMU, extra=IOMMUS[iommu], slow=True)


def rows(common):
    refused = common.refused_case
    intel = IOMMUS["intel"]
    return [
        edu_case(common, "intel"),
        edu_case(common, "amd", slow=True),
        nvme_case(common, "intel"),
        nvme_case(common, "amd"),
        line_case(common, "intel"),
        line_case(common, "amd"),
        direct_case(common, "intel"),
        direct_case(common, "amd"),
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
        refused("pci-intx", guest("a", "pci = 8086:100e"), r"pci-intx: 00:\w\w\.0 has no interrupt messages", emulators=QEMU,
                extra=intel + ("-device", "e1000"), slow=True),
        unstarted_case("pci-no-remapping", ("-device", "intel-iommu,intremap=off", *EDU),
                       r"0000:00:\w\w\.0 cannot be given to it: its IOMMU cannot remap interrupts", slow=True),
    ]
