# SPDX-License-Identifier: MIT
"""Named faults that the test build (mk/faults.mk) makes happen, and the code that each must give. tests/boot/sweep.py runs
them.

A name goes into the image file behind the mark PLINTH-FAULT; tests/faults/ says what it does.
"""

import dataclasses

MARK = b"PLINTH-FAULT:\0\0\0"
NAME_BYTES = 96

SVM = ("qemu-svm", "bochs-svm")
VMX = ("bochs-vmx",)
BOCHS = ("bochs-vmx", "bochs-svm")
BOTH = ("qemu-svm", "bochs-vmx")
EVERYWHERE = ("qemu-svm", "bochs-vmx", "bochs-svm")


def returns(code):
    """A code from before the hand-over: the hypervisor gives the machine back."""
    return 600 <= code < 902


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    code: int  # the code that must be said; 0: the fault is survived, and the result is ok
    text: str = ""  # what the sentence has in it
    emulators: tuple = BOTH
    guests: int = 1  # how many small guests the config has
    smp: int = 1
    extra: tuple = ()  # options of QEMU

    @property
    def returns(self):
        return returns(self.code)


# A trap at each stage of the start, of each kind once.
PLACES = ("cpu", "interrupts", "guests", "entry")
TRAPS = [
    Fault("cpu:undefined", 1, "invalid opcode", EVERYWHERE),
    Fault("cpu:null-read", 1, "a null pointer"),
    Fault("cpu:stack-overflow", 11, "stack has overflowed"),
    Fault("interrupts:non-canonical", 1, "general protection"),
    Fault("interrupts:divide", 1, "divide"),
    Fault("interrupts:null-call", 1, "page fault"),
    Fault("interrupts:stack-overflow", 11, "stack has overflowed"),
    Fault("guests:text-write", 1, "page fault"),
    Fault("guests:check", 2, "check failed at .*left 0x0, right 0x1"),
    Fault("guests:pool", 3, "memory pool has"),
    Fault("guests:stack-pointer", 1, "double fault"),
    Fault("guests:machine-check", 9, "machine check"),
    Fault("guests:double-fault", 1, "double fault"),
    Fault("entry:undefined", 1, "invalid opcode", EVERYWHERE),
    Fault("entry:null-read", 1, "null pointer"),
    Fault("entry:stack-overflow", 11, "stack has overflowed", EVERYWHERE),
    Fault("entry:stack-pointer", 1, "double fault"),
    Fault("entry:machine-check", 9, "machine check"),
    Fault("entry:check", 2, "check failed at"),
    Fault("guest:machine-check", 9, "machine check .#MC. while guest hello, vCPU 0, was at rip 0x", EVERYWHERE, smp=2),
    Fault("second-cpu:undefined", 1, "on CPU 1,(?s:.*?)invalid opcode", EVERYWHERE, smp=2),
    Fault("second-cpu:check", 2, "on CPU 1,(?s:.*?)check failed at", smp=2),
    # Another CPU notices: hv/host/cpu_watch.h.
    Fault("second-cpu:hang", 14, "on CPU 0,(?s:.*?)CPU 1 hangs(?s:.*?)it was at .0x(?s:.*?)backtrace", EVERYWHERE, smp=2),
    Fault("entry:hang", 14, "on CPU 1,(?s:.*?)CPU 0 hangs(?s:.*?)it was at .0x(?s:.*?)backtrace", EVERYWHERE, smp=2),
    Fault("turn:hang", 14, "CPU . hangs(?s:.*?)it has guest hello, vCPU .(?s:.*?)last exits, by how long before the end", EVERYWHERE, smp=2),
]

# An NMI that no CPU sent is said, and nothing else happens: at each stage, and up to 256 at whatever the boot CPU does then,
# of which each power of 2 is said. The guest lives until 16 have come.
NMI = r"warning: CPU 0 got an NMI that no CPU sent, {} until now: the chipset names no cause"
NMIS = [
    Fault("+".join(f"{place}:nmi" for place in PLACES), 0, NMI.format(3)),  # the loop finds three, the fourth comes in it
    Fault("second-cpu:nmi-storm", 0, NMI.format("16"), EVERYWHERE, smp=2),
]

# A device writes to what no device may reach, and sends interrupts that no device may send: without an IOMMU the pages
# change, which shows that the attacker can; with one none does, and what it did is named. QEMU's models have gaps
# (docs/emulators.md): of Intel's, messages in the older form pass; AMD's reports cannot be read.
EDU = ("-device", "edu,dma_mask=0xffffffffffffffff")
INTEL_IOMMU = ("-device", "intel-iommu,intremap=on", *EDU)
AMD_IOMMU = ("-device", "amd-iommu,intremap=on", *EDU)
ATTACKER = r"device 0000:00:0\w.0 \(1234:11e8\)"
DEVICES = [
    Fault("guests:device", 0, "IOMMU: none.*(?s:.*?)ATTACK: 3 of 3 pages changed, an interrupt came", ("qemu-svm",), extra=EDU),
    Fault("guests:device+iommu:intel", 0, rf"({ATTACKER} may not write to 0x(?s:.*?)){{4}}ATTACK: 0 of 4 pages changed",
          ("qemu-svm",), extra=INTEL_IOMMU),
    Fault("guests:device+iommu:amd", 0, "IOMMU: AMD-Vi(?s:.*?)ATTACK: 0 of 4 pages changed, no interrupt came", ("qemu-svm",),
          extra=AMD_IOMMU),
    Fault("guests:device-storm+iommu:intel", 0, rf"{ATTACKER} was blocked 64 times", ("qemu-svm",), extra=INTEL_IOMMU),
]

# What crosses from the UEFI stage is wrong. Without ACPI, Bochs can be switched off by its own port, QEMU's q35 not: there
# the run ends well and the machine halts, which no script waits for.
INFO = [
    Fault("info:version", 5, "version 99"),
    Fault("info:section", 5, "writable and executable"),
    Fault("info:pool", 3, "memory pool has"),
    Fault("info:kernel", 10, "guest"),
    Fault("info:overlap", 13, "audit", EVERYWHERE, guests=2),
    Fault("info:own-memory", 1, "page fault"),
    Fault("info:no-acpi", 0, "no ACPI tables", VMX),
    Fault("info:rsdp", 0, "no ACPI tables", VMX),
    Fault("info:no-cpu", 0, "CPUs: 1 of 2 ready", ("qemu-svm",), smp=2),
    Fault("info:no-cpu-for-guest", 308, "it needs CPU 1, and it did not answer INIT and SIPI", smp=2),
]

# One entry of each kind in the first guest's nested tree leads elsewhere: the audit refuses to start anything.
TREES = [
    Fault("tree:other-guest", 13, "Guest hello reaches the memory of another guest.*guest other", EVERYWHERE, 2),
    Fault("tree:hypervisor", 13, "Guest hello reaches the hypervisor's memory", BOTH, 2),
    Fault("tree:firmware", 13, "Guest hello reaches (firmware or device memory|memory that was not granted)", BOTH, 2),
    Fault("tree:no-memory", 13, "Guest hello reaches memory that was not granted", BOTH, 2),
    Fault("tree:wrong-place", 13, "Guest hello reaches its own memory at the wrong", BOTH, 2),
    Fault("tree:table-in-guest", 13, "Guest hello has a table outside", BOTH, 2),
    Fault("tree:reserved-bit", 13, "Guest hello has a table entry with reserved bits", BOTH, 2),
    Fault("tree:loop", 13, "Guest hello (has|reaches)", BOTH, 2),
]

# A second CPU that is not as the first: it is named and left out, the guest that needs it is refused, the other one runs.
OTHER_CPU = [
    Fault("cpu1:locked", 308, "it needs CPU 1, and VMX is locked off", VMX, 2, 2),
    Fault("cpu1:vmxon", 308, "it needs CPU 1, and VMXON fails", VMX, 2, 2),
    Fault("cpu1:true-controls", 308, "it needs CPU 1, and its VMX is not the boot CPU's .*primary controls 0x", VMX, 2, 2),
    Fault("cpu1:ept", 308, "it needs CPU 1, and its VMX is not the boot CPU's .*EPT and VPID 0x", VMX, 2, 2),
    Fault("cpu1:svm-off", 308, "it needs CPU 1, and SVM is switched off", SVM, 2, 2),
    Fault("cpu1:no-nested-paging", 308, "it needs CPU 1, and its SVM is not the boot CPU's .*features", SVM, 2, 2),
    Fault("cpu1:asids", 308, "it needs CPU 1, and its SVM is not the boot CPU's .*ASIDs 0x8, there", SVM, 2, 2),
    Fault("cpu1:hangs", 308, "it needs CPU 1, and it started and stopped in long mode, or on the way there; it is parked",
          ("qemu-svm",), 2, 2),
]

# A second CPU that has less: a guest there sees less.
LESSER = [Fault("cpu1:no-sse4.2", 0, "guest other: its CPUs are not alike: it sees what all of them have; CPU 1 lacks "
                "CPUID leaf 0x1, .*ecx 0x100000", EVERYWHERE, 2, 2)]

# A second CPU whose TSC shows another time: it is named, and everything goes on.
OTHER_TSC = [Fault("cpu1:tsc", 0, "CPU 1's TSC differs from the boot CPU's by \\d+ ticks", EVERYWHERE, smp=2)]

# A vCPU's state that no CPU can enter with.
ENTRIES = [
    Fault("vcpu:cr0", 301, "refused to enter the guest", VMX),
    Fault("vcpu:efer", 301, "refused to enter the guest", VMX),
    Fault("vcpu:rip", 301, "refused to enter the guest", VMX),
]

# Entries that the CPU refuses, of every class that the manuals list: tests/faults/fault_entry.h breaks a field of the
# control structure of the guest that has this name; one boot has many. Name -> what the sentence has in it.
ENTRIES_VMX = {
    # Controls. SDM 3C 27.2.1.
    "pin-clear": "pin-based controls", "primary-set": "primary controls", "secondary-set": "secondary controls",
    "exit-clear": "VM-exit controls", "entry-set": "VM-entry controls", "entry-smm": "VM-entry controls",
    "cr3-targets": "CR3-target count", "msr-bitmap": "the MSR bitmap at", "virtual-apic": "the virtual-APIC page at",
    "vpid-zero": "VPID is enabled and 0", "ept-type": "memory type 3", "ept-walk": "walk length",
    "ept-reserved": "EPT pointer .* reserved bits", "event-type": "type 1 does not exist",
    "event-vector": "does not have vector 3", "event-reserved": "event to inject .* reserved bits",
    # The host's state. SDM 3C 27.2.2 to 27.2.4.
    "host-cr0": "host CR0", "host-cr3": "host CR3", "host-cr4": "host CR4", "host-cs": "host selector",
    "host-tr": "host selector", "host-ds": "host selector", "host-gs-base": "host GS base", "host-gdtr": "host GDTR base",
    "host-idtr": "host IDTR base", "host-tr-base": "host TR base", "host-rip": "host RIP",
    "host-width": "64-bit host|VM-exit controls|address-space size",
    # The guest's. SDM 3C 27.3.1.
    "cr0-paging": "paging without protection", "cr3-wide": "guest CR3", "cr4-reserved": "guest CR4", "cr4-vmxe": "guest CR4",
    "debugctl": "guest DEBUGCTL", "dr7-upper": "guest DR7", "efer-reserved": "guest EFER", "efer-lma": "guest EFER",
    "pat-type": "guest PAT", "ia32e": "IA-32e|guest EFER", "cs-type": "guest CS", "cs-limit": "guest CS", "ss-type": "guest SS",
    "es-absent": "guest ES", "ds-reserved": "guest DS", "fs-system": "guest FS", "tr-data": "guest TR", "tr-type": "guest TR",
    "tr-local": "guest TR", "gdtr-base": "guest GDTR base", "gdtr-limit": "GDTR limit", "idtr-limit": "IDTR limit",
    "sysenter-eip": "guest SYSENTER_EIP", "activity": "activity", "two-shadows": "STI", "shadow-bits": "interruptibility",
    "pending-debug": "pending debug", "link-pointer": "link pointer",
}
# APM 2 15.5.1, 15.20, 15.25.4.
ENTRIES_SVM = {
    "asid-zero": "ASID 0 is the host's", "vmrun": "VMRUN is not intercepted", "io-map": "I/O permission map",
    "msr-map": "MSR permission map", "event-type": "type 1 is reserved", "event-vector": "vector 2 is no exception",
    "nested-cr3": "nested CR3", "pat-type": "guest PAT", "cr0-upper": "guest CR0", "cr0-nw": "NW without CD",
    "cr4-reserved": "guest CR4", "dr6-upper": "guest DR6", "dr7-upper": "DR7", "efer-svme": "SVME is clear",
    "efer-reserved": "guest EFER", "long-no-pae": "CR4.PAE is clear", "long-no-pe": "CR0.PE is clear",
    "long-code": "L and D",
}
# What an emulator does not check; Bochs itself ends at long-no-pe, where its CPU would have a mode that it has no name for.
ENTERED = {"nested-cr3": ("qemu-svm",), "pat-type": ("qemu-svm",), "long-no-pe": ("bochs-svm",), "debugctl": BOCHS}
ENTRIES_A_BOOT = 28  # guests

# Calls to the firmware that fail.
FIRMWARE = [
    Fault("loaded-image", 611, "unsupported"),
    Fault("image-headers", 612, ""),
    Fault("file-system", 601, "no file system"),
    Fault("open-volume", 602, "medium changed"),
    Fault("open", 712, "volume corrupted"),
    Fault("get-info", 713, "not a file"),
    Fault("read", 717, "device error"),
    Fault("read-short", 717, "the file ends"),
    Fault("allocate-first", 802, "out of memory"),
    Fault("allocate-second", 801, ""),
    Fault("allocate-file", 716, "out of memory"),
    Fault("allocate-guest", 804, "its own map calls free"),
    Fault("allocate-pool", 806, "out of memory"),
    Fault("allocate-buffer", 727, "out of memory"),
    Fault("allocate-low", 0, "CPUs: 2 of 2 ready", ("qemu-svm",), smp=2),
    Fault("no-low-memory", 805, "none of CPUs 1 to 1", ("qemu-svm",), smp=2),
    Fault("map", 801, "invalid parameter"),
    Fault("map-stride", 801, ""),
    Fault("map-last", 901, "invalid parameter"),
    Fault("exit-boot-services", 902, "does not hand the machine over"),
    Fault("map-changes-always", 902, "does not hand the machine over"),
    Fault("map-changes", 0, ""),
    Fault("close", 0, ""),
    Fault("locate-handles", 0, ""),
    Fault("locate-protocol", 0, ""),
    Fault("get-time", 0, ""),
    Fault("no-tables", 0, "no ACPI tables", VMX),
    Fault("no-output", 0, ""),
    Fault("no-input", 0, ""),
]

# What files, config and emulator force: cases of the ordinary run -> code and emulators.
FORCED = {
    **{name: (code, BOTH) for name, code in {
        "config-missing": 711, "config-empty": 714, "config-unknown-key": 701, "config-two-errors": 701, "config-no-such-cpu": 701,
        "config-same-name": 701, "config-too-much-memory": 701, "kernel-missing": 711, "kernel-truncated": 721,
        "kernel-truncated-header": 721, "kernel-empty": 714, "kernel-garbage": 721, "kernel-gzip-truncated": 721,
        "linux-memory-too-small": 721, "cpu-locked-off": 631}.items()},
    "config-memory-not-free": (807, ("qemu-svm",)),
    "config-memory-just-too-much": (803, ("qemu-svm",)),
    "cpu-no-svm": (631, ("qemu-svm",)),
    "cpu-no-npt": (701, ("qemu-svm",)),
    "cpu-no-vmx": (631, VMX),
}

FAULTS = [*TRAPS, *NMIS, *DEVICES, *INFO, *TREES, *OTHER_CPU, *LESSER, *OTHER_TSC, *ENTRIES, *FIRMWARE]


# No vendor's code has a part in these, all but the last before there is a guest: the ordinary run has them in QEMU alone. The
# last takes ten seconds of the emulated machine, half a minute and more in Bochs.
NO_VENDORS = ["turn:hang"] + [fault.name for fault in (*TRAPS, *INFO) if fault.emulators == BOTH and fault.smp == 1
              and fault.name.split(":")[0] in ("cpu", "interrupts", "guests", "info")
              and fault.name not in ("cpu:stack-overflow", "guests:stack-pointer", "guests:machine-check")]

# A hang is noticed after ten seconds of the emulated machine, about a minute of ours: the ordinary run has only turn:hang.
ON_REQUEST = ("second-cpu:hang", "entry:hang")


def image_with(image, name):
    """The bytes of the test build, with this fault."""
    at = image.find(MARK)
    if at < 0 or image.find(MARK, at + 1) >= 0:
        raise ValueError("the image has no mark for a fault, or several")
    at += len(MARK)
    return image[:at] + padded(name) + image[at + NAME_BYTES:]


def padded(name):
    """A name, or several with + between them, as the test build reads it."""
    if len(name) > NAME_BYTES:
        raise ValueError(f"{name}: the test build has room for {NAME_BYTES} characters")
    return name.encode().ljust(NAME_BYTES, b"\0")
