/* SPDX-License-Identifier: MIT */
/*
 * The CPU's own tables: GDT, TSS with its interrupt stacks, IDT.
 *
 * One GDT and TSS per CPU (the TSS descriptor becomes busy when loaded), one IDT for all. Segments are flat; three
 * exceptions get stacks of their own, because they can come when the normal stack is not usable: NMI, #DF (the normal
 * stack has overflowed into its guard page) and #MC. SDM 3A 3.4.5, 6.14.1, 6.14.5, 8.7 "Task Management in 64-bit
 * Mode"; APM 2 4.8, 8.9, 12.2.5.
 */
#ifndef HV_HOST_DESCRIPTORS_H
#define HV_HOST_DESCRIPTORS_H

#include "hv/base/types.h"

/* Selectors. VMX wants host CS, SS and TR not null and TR.TI and RPL 0; these are. SDM 3C 27.2.3. */
#define HOST_SELECTOR_CODE 0x08u
#define HOST_SELECTOR_DATA 0x10u
#define HOST_SELECTOR_TSS 0x18u
#define HOST_GDT_ENTRIES 5u /* null, code, data, and two for the 16-byte TSS descriptor */
_Static_assert(HOST_SELECTOR_TSS / 8 + 2 == HOST_GDT_ENTRIES, "the TSS descriptor is the last");
_Static_assert(((HOST_SELECTOR_CODE | HOST_SELECTOR_DATA | HOST_SELECTOR_TSS) & 7u) == 0, "RPL 0, in the GDT");

/* Interrupt stack table entries, counted from 1 in a gate. SDM 3A 6.14.5. */
enum descriptor_ist {
    DESCRIPTOR_IST_NMI,
    DESCRIPTOR_IST_DF,
    DESCRIPTOR_IST_MC,
    DESCRIPTOR_IST_COUNT,
};

/* SDM 3A 8.7, figure 8-11 "64-Bit TSS Format". */
struct descriptor_tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

_Static_assert(sizeof(struct descriptor_tss) == 104, "the TSS's 64-bit form");
_Static_assert(offsetof(struct descriptor_tss, rsp) == 4, "RSP0 at byte 4");
_Static_assert(offsetof(struct descriptor_tss, ist) == 36, "IST1 at byte 36");
_Static_assert(offsetof(struct descriptor_tss, io_map_base) == 102, "the I/O map's base at byte 102");
_Static_assert(DESCRIPTOR_IST_COUNT <= ARRAY_COUNT(((struct descriptor_tss *)0)->ist), "the CPU has seven");

struct descriptor_tables {
    uint64_t gdt[HOST_GDT_ENTRIES];
    struct descriptor_tss tss;
} __attribute__((aligned(16)));

/* Fills this CPU's tables; ist_top are the tops of the three stacks. */
void descriptors_fill(struct descriptor_tables *tables, const uint64_t ist_top[DESCRIPTOR_IST_COUNT]);

/* Loads GDT, segment registers, TR and the common IDT on the calling CPU; GS base becomes `gs_base`. */
void descriptors_load(struct descriptor_tables *tables, uint64_t gs_base);

/* Builds the common IDT. Once, on the BSP, before the first descriptors_load(). */
void descriptors_build_idt(void);

/* The common IDT's address and limit, which VMX writes into the host state area. */
uint64_t descriptors_idt_base(void);

#endif
