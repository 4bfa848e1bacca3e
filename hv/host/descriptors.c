/* SPDX-License-Identifier: MIT */
#include "hv/host/descriptors.h"

#include "hv/host/traps.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define IDT_ENTRIES 256u

/* Flat 64-bit code (L, present, DPL 0, readable) and flat data. SDM 3A 3.4.5 "Segment Descriptors". */
#define GDT_CODE 0x00af9b000000ffffULL
#define GDT_DATA 0x00cf93000000ffffULL

/* An available 64-bit TSS, present, DPL 0. SDM 3A 8.2.3 "TSS Descriptor in 64-bit mode". */
#define TSS_ACCESS 0x89ULL

/* A present 64-bit interrupt gate of DPL 0: interrupts stay off in the handler. SDM 3A 6.14.1, figure 6-8. */
#define GATE_ACCESS 0x8eU

#define VECTOR_NMI 2u
#define VECTOR_DF 8u
#define VECTOR_MC 18u

struct idt_gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t access;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

_Static_assert(sizeof(struct idt_gate) == 16, "a 64-bit gate");
_Static_assert(offsetof(struct idt_gate, ist) == 4 && offsetof(struct idt_gate, access) == 5,
               "IST 2:0 of byte 4, then type");
_Static_assert(offsetof(struct idt_gate, offset_middle) == 6 && offsetof(struct idt_gate, offset_high) == 8,
               "bits 31:16 and 63:32 of the offset");
_Static_assert(IDT_ENTRIES * sizeof(struct idt_gate) == PAGE_BYTES, "a gate for every vector; the limit fits 16 bits");

static struct idt_gate idt[IDT_ENTRIES] __attribute__((aligned(16)));

/*
 * The two words of the TSS descriptor:
 *   low   63-56 base 31:24 | 55-48 flags, limit 19:16 | 47-40 access | 39-16 base 23:0 | 15-0 limit 15:0
 *   high  31-0 base 63:32
 */
static void fill_tss_descriptor(uint64_t words[2], uint64_t base, uint64_t limit)
{
    words[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | TSS_ACCESS << 40 | (base >> 24 & 0xff) << 56;
    words[1] = base >> 32;
}

void descriptors_fill(struct descriptor_tables *tables, const uint64_t ist_top[DESCRIPTOR_IST_COUNT])
{
    tables->tss = (struct descriptor_tss){.io_map_base = sizeof(struct descriptor_tss)};
    for (unsigned i = 0; i < DESCRIPTOR_IST_COUNT; i++) {
        tables->tss.ist[i] = ist_top[i];
    }
    tables->gdt[0] = 0;
    tables->gdt[HOST_SELECTOR_CODE / 8] = GDT_CODE;
    tables->gdt[HOST_SELECTOR_DATA / 8] = GDT_DATA;
    fill_tss_descriptor(&tables->gdt[HOST_SELECTOR_TSS / 8], (uint64_t)(uintptr_t)&tables->tss,
                        sizeof(tables->tss) - 1);
}

void descriptors_load(struct descriptor_tables *tables, uint64_t gs_base)
{
    struct insn_table_pointer gdt = {sizeof(tables->gdt) - 1, (uint64_t)(uintptr_t)tables->gdt};
    struct insn_table_pointer idt_pointer = {sizeof(idt) - 1, (uint64_t)(uintptr_t)idt};

    insn_lgdt(&gdt);
    segments_load(HOST_SELECTOR_CODE, HOST_SELECTOR_DATA);
    insn_wrmsr(MSR_GS_BASE, gs_base);
    insn_lldt(0);
    insn_ltr(HOST_SELECTOR_TSS);
    insn_lidt(&idt_pointer);
}

/* IST number of a vector, counted from 1; 0: the stack that is in use. */
static uint8_t gate_ist(unsigned vector)
{
    switch (vector) {
    case VECTOR_NMI:
        return DESCRIPTOR_IST_NMI + 1;
    case VECTOR_DF:
        return DESCRIPTOR_IST_DF + 1;
    case VECTOR_MC:
        return DESCRIPTOR_IST_MC + 1;
    default:
        return 0;
    }
}

void descriptors_build_idt(void)
{
    for (unsigned vector = 0; vector < IDT_ENTRIES; vector++) {
        uint64_t stub = trap_stub_address((uint8_t)vector);

        idt[vector] = (struct idt_gate){
            .offset_low = (uint16_t)stub,
            .selector = HOST_SELECTOR_CODE,
            .ist = gate_ist(vector),
            .access = GATE_ACCESS,
            .offset_middle = (uint16_t)(stub >> 16),
            .offset_high = (uint32_t)(stub >> 32),
        };
    }
}

uint64_t descriptors_idt_base(void)
{
    return (uint64_t)(uintptr_t)idt;
}
