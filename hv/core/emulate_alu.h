/*
 * The arithmetic of emulated instructions, with exact flags. SDM 1 3.4.3.1 "Status Flags"; SDM 2 per instruction.
 * Where the manual leaves AF undefined (logic operations) it is cleared, as CPUs do.
 */
#ifndef HV_CORE_EMULATE_ALU_H
#define HV_CORE_EMULATE_ALU_H

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
 * ADD to CMP, TEST, NOT, NEG, INC, DEC; of the last four the operand is left. CMP and TEST give the difference and the
 * conjunction, which the caller does not store.
 */
uint64_t alu_apply(enum operation operation, uint64_t left, uint64_t right, uint8_t bytes, uint64_t *rflags);

/* BT, BTS, BTR, BTC: CF is the bit, the result is the new value. The other flags stay. */
uint64_t alu_bit(enum operation operation, uint64_t value, uint32_t bit, uint64_t *rflags);

#endif
