/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of emulated instructions, with exact flags. SDM 1 3.4.3.1 "Status Flags"; SDM 2 per instruction.
 * Where the manual leaves AF undefined (logic operations) it is cleared, as CPUs do.
 */
#ifndef HV_EMULATE_EMULATE_ALU_H
#define HV_EMULATE_EMULATE_ALU_H

#include "hv/x86/decode.h"

#define FLAG_CF 0x001u
#define FLAG_PF 0x004u
#define FLAG_AF 0x010u
#define FLAG_ZF 0x040u
#define FLAG_SF 0x080u
#define FLAG_OF 0x800u
#define FLAGS_STATUS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/*
 * The result of `left operation right` in `bytes` (1, 2, 4, 8), and the status flags in *rflags.
 * ADD to CMP, TEST, NOT, NEG, INC, DEC, IMUL; of the four before the last the operand is left. CMP and TEST give the
 * difference and the conjunction, which the caller does not store.
 */
uint64_t alu_apply(enum operation operation, uint64_t left, uint64_t right, uint8_t bytes, uint64_t *rflags);

/*
 * left * right in `bytes`, with signs or without; the upper half in *high. CF and OF say that it is needed; the other
 * flags stay, where the manual leaves them undefined. SDM 2A "IMUL", SDM 2B "MUL".
 */
uint64_t alu_multiply(uint64_t left, uint64_t right, uint8_t bytes, bool has_sign, uint64_t *high, uint64_t *rflags);

/* ROL to SAR by `count` as in CL: its upper bits are ignored, and by 0 no flag changes. AF stays. SDM 2B
 * "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR". */
uint64_t alu_shift(enum operation operation, uint64_t value, uint64_t count, uint8_t bytes, uint64_t *rflags);

/* A condition as encoded: 0 is O, 1 NO, 2 B, ... SDM 1 B.1 "Condition Codes". */
bool alu_condition(uint8_t condition, uint64_t rflags);

/* BT, BTS, BTR, BTC: CF is the bit, the result is the new value. The other flags stay. */
uint64_t alu_bit(enum operation operation, uint64_t value, uint32_t bit, uint64_t *rflags);

#endif
