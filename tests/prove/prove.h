/* SPDX-License-Identifier: MIT */
/*
 * Included before every file that `make prove` gives to Frama-C: what clang has built in and Frama-C does not know.
 *
 * Atomic accesses become plain ones. That is sound for what is proved here, which is about one CPU's steps: memory that
 * other CPUs change is given to the analysis as memory of any contents (docs/proof.md).
 */
#ifndef TESTS_PROVE_PROVE_H
#define TESTS_PROVE_PROVE_H

#define __UINT64_FMTu__ "lu"
#define __UINT64_FMTx__ "lx"

#define __builtin_expect(value, expected) (value)
#define __atomic_load_n(at, order) (*(at))
#define __atomic_store_n(at, value, order) (*(at) = (value))
#define __atomic_fetch_or(at, value, order) (*(at) |= (value))
#define __atomic_fetch_and(at, value, order) (*(at) &= (value))
/* May fail at any time, as on a machine where another CPU stores to the same place. */
#define __atomic_compare_exchange_n(at, old, new, weak, success, failure) \
    (prove_any_u8() != 0 ? (*(at) = (new), 1) : (*(old) = *(at), 0))

#include "__fc_builtin.h"
#include <stdint.h>

/* Frama-C's own specification of these ends its analysis with an error. */
#define __builtin_ctz(value) prove_lowest_bit(value)
#define __builtin_ctzll(value) prove_lowest_bit(value)
#define __builtin_clzll(value) (63 - prove_highest_bit(value))
int prove_lowest_bit(uint64_t value);
int prove_highest_bit(uint64_t value);

uint8_t prove_any_u8(void);
uint16_t prove_any_u16(void);
uint32_t prove_any_u32(void);
uint64_t prove_any_u64(void);

/* The bit is clear or set. */
static inline uint64_t prove_maybe(uint64_t bit)
{
    return prove_any_u8() != 0 ? bit : 0;
}

#endif
