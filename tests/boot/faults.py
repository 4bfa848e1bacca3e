"""Named faults that the test build (mk/faults.mk) makes happen, and the code that each must give. `make faults` runs all
of them in every emulator; the ordinary run has those of ORDINARY.

A name goes into the image file behind the mark PLINTH-FAULT; tests/faults/ says what it does.
"""

import dataclasses

MARK = b"PLINTH-FAULT:\0\0\0"
NAME_BYTES = 48

SVM = ("qemu-svm", "bochs-svm")
VMX = ("bochs-vmx",)
BOTH = ("qemu-svm", "bochs-vmx")
EVERYWHERE = ("qemu-svm", "bochs-vmx", "bochs-svm")


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    code: int  # the code that must be said; 0: the fault is survived, and the result is ok
    text: str = ""  # what the sentence has in it
    emulators: tuple = BOTH
    guests: int = 1  # how many small guests the config has
    smp: int = 1


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
    Fault("second-cpu:undefined", 1, "on CPU 1,(?s:.*?)invalid opcode", EVERYWHERE, smp=2),
    Fault("second-cpu:check", 2, "on CPU 1,(?s:.*?)check failed at", smp=2),
    # Another CPU notices: hv/watchdog.h.
    Fault("second-cpu:hang", 14, "on CPU 0,(?s:.*?)CPU 1 hangs(?s:.*?)it was at .0x(?s:.*?)backtrace", EVERYWHERE, smp=2),
    Fault("entry:hang", 14, "on CPU 1,(?s:.*?)CPU 0 hangs(?s:.*?)it was at .0x(?s:.*?)backtrace", EVERYWHERE, smp=2),
    Fault("turn:hang", 14, "CPU . hangs(?s:.*?)it has guest hello, vCPU .(?s:.*?)exit 1 before the end", EVERYWHERE, smp=2),
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

# A vCPU's state that no CPU can enter with.
ENTRIES = [
    Fault("vcpu:cr0", 301, "refused to enter the guest", EVERYWHERE),
    Fault("vcpu:efer", 301, "refused to enter the guest", VMX),
    Fault("vcpu:rip", 301, "refused to enter the guest", VMX),
]

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
    Fault("allocate-low", 805, "below 640 KiB", ("qemu-svm",), smp=2),
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

FAULTS = [*TRAPS, *INFO, *ENTRIES, *FIRMWARE]
# In every run of the tests: one of each kind.
ORDINARY = {"entry:stack-overflow": ("qemu-svm",), "info:overlap": ("qemu-svm",), "vcpu:cr0": ("bochs-vmx",),
            "info:no-cpu-for-guest": ("qemu-svm",), "second-cpu:undefined": ("qemu-svm",),
            "map-changes": ("qemu-svm",), "exit-boot-services": ("qemu-svm",)}


def image_with(image, name):
    """The bytes of the test build, with this fault."""
    at = image.find(MARK)
    if at < 0 or image.find(MARK, at + 1) >= 0:
        raise ValueError("the image has no mark for a fault, or several")
    at += len(MARK)
    return image[:at] + name.encode().ljust(NAME_BYTES, b"\0") + image[at + NAME_BYTES:]
