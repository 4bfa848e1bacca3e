/* SPDX-License-Identifier: MIT */
/* What all proofs share: values of which nothing is known, and the end of a failed CHECK. */
#include "tests/prove/prove.h"

static volatile uint64_t anything;

uint8_t prove_any_u8(void)
{
    return (uint8_t)anything;
}

uint16_t prove_any_u16(void)
{
    return (uint16_t)anything;
}

uint32_t prove_any_u32(void)
{
    return (uint32_t)anything;
}

uint64_t prove_any_u64(void)
{
    return anything;
}

int prove_lowest_bit(uint64_t value)
{
    return value <= UINT8_MAX ? Frama_C_interval(0, 7) : Frama_C_interval(0, 63);
}

int prove_highest_bit(uint64_t value)
{
    return value <= UINT8_MAX ? Frama_C_interval(0, 7) : Frama_C_interval(0, 63);
}

/* A CHECK that fails stops the machine with a sentence: no run-time error. */
_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right)
{
    (void)file, (void)line, (void)condition, (void)left, (void)right;
    for (;;) {
    }
}
