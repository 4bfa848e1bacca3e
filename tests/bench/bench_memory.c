/* SPDX-License-Identifier: MIT */
/*
 * memset as the hypervisor has it: string stores, no vector registers. Linked before libc's, so that a benchmark of
 * code that fills tables measures what the hypervisor runs.
 */
#include "hv/base/memory.h"

void *memset(void *to, int value, size_t bytes)
{
    uint64_t wide = (uint8_t)value * 0x0101010101010101ULL;
    size_t words = bytes / 8, rest = bytes % 8;
    void *at = to;

    __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(wide) : "memory");
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(wide) : "memory");
    return to;
}
