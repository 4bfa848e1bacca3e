/* SPDX-License-Identifier: MIT */
/*
 * Memory types as the firmware set them: the memory type range registers, as data.
 *
 * A page-table leaf must not span two types: the CPU's behaviour would be undefined (SDM 3A 12.11.9 "Large Page Size
 * Considerations"). So the host map asks for runs of one type and chooses its leaves inside them. Pure;
 * hv/host/host_cpu.c reads the registers. SDM 3A 12.11 "Memory Type Range Registers (MTRRs)"; APM 2 7.7.
 */
#ifndef HV_X86_MTRR_H
#define HV_X86_MTRR_H

#include "hv/base/types.h"
#include "hv/mm/page_table.h"

#define MTRR_VARIABLE_MAX 32u
#define MTRR_FIXED_REGISTERS 11u /* 64K_00000, 16K_80000, 16K_A0000, 4K_C0000 .. 4K_F8000 */
#define MTRR_FIXED_END 0x100000ULL

struct mtrr_variable {
    uint64_t base; /* IA32_MTRR_PHYSBASEn: type in bits 7:0 */
    uint64_t mask; /* IA32_MTRR_PHYSMASKn: valid in bit 11 */
};

struct mtrr_state {
    bool present;          /* the CPU has MTRRs; without them everything is write-back */
    uint64_t default_type; /* IA32_MTRR_DEF_TYPE: type 7:0, fixed enable 10, enable 11 */
    uint64_t fixed[MTRR_FIXED_REGISTERS];
    struct mtrr_variable variable[MTRR_VARIABLE_MAX];
    uint32_t variable_count;
    /* AMD Tom2ForceMemTypeWB: [4 GiB, here) is WB unless a variable range says otherwise; 0: no. */
    uint64_t force_wb_end;
    uint8_t physical_bits;
};

/* How two CPUs' registers compare, which must be alike on all of a machine. SDM 3A 12.11.8 "MTRR Considerations in MP
 * Systems". */
enum mtrr_likeness {
    MTRR_ALIKE,
    MTRR_SETTABLE, /* the same registers with other values */
    MTRR_UNLIKE,   /* other registers */
};

/* Ranges that are not valid on either side are not compared. */
enum mtrr_likeness mtrr_compare(const struct mtrr_state *one, const struct mtrr_state *other);

enum cache_type mtrr_type(const struct mtrr_state *state, uint64_t address);

/* The end of the run of one type that begins at `start`, at most `limit`; the type in *type. Both are 4 KiB
 * multiples. */
uint64_t mtrr_run(const struct mtrr_state *state, uint64_t start, uint64_t limit, enum cache_type *type);

#endif
