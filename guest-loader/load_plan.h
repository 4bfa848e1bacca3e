/* SPDX-License-Identifier: MIT */
/*
 * What a loader is asked and what it answers, as data: the request, the plan of copies, the entry state, the error.
 */
#ifndef GUEST_LOADER_LOAD_PLAN_H
#define GUEST_LOADER_LOAD_PLAN_H

#include "config/config.h"
#include "hv/base/span.h"
#include "hv/mm/guest_layout.h"

/* An ELF file with a segment for each of its sections has some dozens; the loader itself and modules need 24. */
#define LOADER_COPIES_MAX 256u
#define LOADER_BLOB_BYTES 40960u

/* One piece of guest memory: `bytes` from `from`, then zeroes up to `memory_bytes`. */
struct load_copy {
    gpa_t to;
    const uint8_t *from;
    uint64_t bytes;
    uint64_t memory_bytes; /* >= bytes */
};

/*
 * The state of the first vCPU. Segment bases, limits and attributes follow from the mode unless a protocol says
 * otherwise: real mode (CS base = cs_selector << 4), flat 32-bit protected mode without paging, or long mode with
 * the 4-level identity map of the first 4 GiB whose root is at `cr3` (built into the plan's copies).
 */
struct entry_state {
    enum config_mode mode;
    uint64_t rip;
    uint64_t rflags;
    uint64_t gpr[16]; /* in the order of enum gpr, hv/core/vcpu.h */
    uint64_t cr3;     /* long mode only */
    uint16_t cs_selector;
    uint16_t data_selector; /* DS ES SS, and FS GS */
    gpa_t gdt;              /* a GDT that the plan places, so that a guest may reload its selectors; bytes 0: none */
    uint32_t gdt_bytes;
};

struct load_plan {
    enum config_protocol protocol; /* what was recognized */
    bool image_is_32bit;
    struct load_copy copies[LOADER_COPIES_MAX];
    uint32_t copy_count;
    struct entry_state entry;
    char description[96]; /* "Linux 6.1.0-..., boot protocol 2.15, 64-bit entry" */
    /* What the loader makes itself: boot parameters, tables, strings; copies point into it. */
    _Alignas(8) uint8_t blob[LOADER_BLOB_BYTES];
    uint32_t blob_used;
};

struct load_module {
    struct span bytes;
    struct text arguments;
};

/* One colour in a pixel. */
struct load_colour {
    uint8_t position, bits;
};

/* A framebuffer that the guest has; width 0: none. */
struct load_screen {
    gpa_t address;
    uint32_t width, height, pitch_bytes;
    uint8_t bits; /* of a pixel */
    struct load_colour red, green, blue, reserved;
};

struct load_request {
    enum config_protocol protocol; /* PROTOCOL_AUTO recognizes by the header */
    struct span kernel;
    struct load_module modules[CONFIG_MODULES_MAX];
    uint32_t module_count;
    struct text cmdline;
    struct text name;           /* of the kernel file, for messages and for boot loaders that pass it on */
    struct guest_layout layout; /* RAM, holes and e820 of this guest */
    gpa_t rsdp;                 /* where its ACPI tables start; 0: none */
    struct span rsdp_bytes;     /* the RSDP itself, for multiboot2, which passes a copy; empty: not passed */
    struct load_screen screen;
    uint64_t flat_load, flat_entry;
    enum config_mode flat_mode;
};

struct load_error {
    uint64_t offset;    /* into the kernel file; UINT64_MAX where the error is not in the file */
    char sentence[200]; /* what is wrong and what to do, with values */
};

#endif
