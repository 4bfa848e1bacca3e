/* SPDX-License-Identifier: MIT */
/* Exits of a Linux 6.1 guest in QEMU 7.2 (cpu max), printed by a temporary log line in hv/svm/run.c. */
#ifndef TESTS_UNIT_SVM_RECORDED_EXITS_H
#define TESTS_UNIT_SVM_RECORDED_EXITS_H

struct recorded_exit {
    const char *what;
    uint64_t code, info1, info2, int_info;
    enum exit_kind kind;
    uint64_t resource; /* port, address */
    bool reads;
    uint8_t size;
};

static const struct recorded_exit recorded[] = {
    {"CPUID", 0x72, 0x0, 0x0, 0x0, EXIT_CPUID, 0, false, 0},
    {"RDMSR", 0x7c, 0x0, 0x0, 0x0, EXIT_RDMSR, 0, false, 0},
    {"the host's timer", 0x60, 0x0, 0x0, 0x0, EXIT_HOST_INTERRUPT, 0, false, 0},
    {"PCI address", 0x7b, 0xcf80040, 0xffffffff9d39f3bf, 0x0, EXIT_IO, 0xcf8, false, 4},
    {"PCI data, inl", 0x7b, 0xcfc0041, 0xffffffff9d39f3c5, 0x0, EXIT_IO, 0xcfc, true, 4},
    {"PCI data, inw", 0x7b, 0xcfc0021, 0xffffffff9d39f44a, 0x0, EXIT_IO, 0xcfc, true, 2},
    {"APIC id", 0x400, 0x100000004, 0xfee00020, 0x200000000, EXIT_NESTED_FAULT, 0xfee00020, true, 0},
    {"PCI data, inb", 0x7b, 0xcfe0011, 0xffffffff9d39f409, 0x200000000, EXIT_IO, 0xcfe, true, 1},
    {"I/O APIC", 0x400, 0x100000006, 0xfec00000, 0x200000000, EXIT_NESTED_FAULT, 0xfec00000, false, 0},
    {"8259 mask", 0x7b, 0x210010, 0xffffffff9ca358e5, 0x200000000, EXIT_IO, 0x21, false, 1},
    {"interrupt window", 0x64, 0x0, 0x0, 0x200000000, EXIT_INTERRUPT_WINDOW, 0, false, 0},
    {"ACPI PM1, outw", 0x7b, 0x6020020, 0xffffffff9d02de61, 0x0, EXIT_IO, 0x602, false, 2},
    {"HLT", 0x78, 0x0, 0x0, 0x0, EXIT_HLT, 0, false, 0},
};

#endif
