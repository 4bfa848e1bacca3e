/* SPDX-License-Identifier: MIT */
/*
 * A set of the machine's CPUs, by their indices: as many bits as there can be CPUs.
 *
 * Two ways to use one, never mixed: plain (cpu_set_add), and as a mailbox between CPUs (cpu_set_post, cpu_set_take),
 * where any CPU posts, and the CPU that takes gets each member once.
 */
#ifndef HV_BASE_CPU_SET_H
#define HV_BASE_CPU_SET_H

#include "hv/base/limits.h"
#include "hv/base/types.h"

#define CPU_SET_WORD_BITS 64u
#define CPU_SET_WORDS ((CPUS_MAX + CPU_SET_WORD_BITS - 1) / CPU_SET_WORD_BITS)

struct cpu_set {
    uint64_t words[CPU_SET_WORDS];
};
_Static_assert(sizeof(((struct cpu_set *)0)->words) * 8 >= CPUS_MAX, "a bit for every CPU");

/* A number that is no CPU's changes nothing, in this and in cpu_set_post(). */
static inline void cpu_set_add(struct cpu_set *set, uint32_t cpu)
{
    if (cpu < CPUS_MAX) {
        set->words[cpu / CPU_SET_WORD_BITS] |= 1ULL << cpu % CPU_SET_WORD_BITS;
    }
}

static inline bool cpu_set_has(const struct cpu_set *set, uint32_t cpu)
{
    return cpu < CPUS_MAX && (set->words[cpu / CPU_SET_WORD_BITS] >> cpu % CPU_SET_WORD_BITS & 1) != 0;
}

static inline uint32_t cpu_set_count(const struct cpu_set *set)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < CPU_SET_WORDS; i++) {
        count += (uint32_t)__builtin_popcountll(set->words[i]);
    }
    return count;
}

/* The lowest member from `from` on; CPUS_MAX: there is none. */
static inline uint32_t cpu_set_next(const struct cpu_set *set, uint32_t from)
{
    for (uint32_t word = from / CPU_SET_WORD_BITS; word < CPU_SET_WORDS; word++) {
        uint32_t first = word == from / CPU_SET_WORD_BITS ? from % CPU_SET_WORD_BITS : 0;
        uint64_t bits = set->words[word] >> first << first;

        if (bits != 0) {
            return word * CPU_SET_WORD_BITS + (uint32_t)__builtin_ctzll(bits);
        }
    }
    return CPUS_MAX;
}

/* Adds one, whatever other CPUs do with the set meanwhile; what was stored before is seen by the one that takes it. */
static inline void cpu_set_post(struct cpu_set *set, uint32_t cpu)
{
    if (cpu < CPUS_MAX) {
        __atomic_fetch_or(&set->words[cpu / CPU_SET_WORD_BITS], 1ULL << cpu % CPU_SET_WORD_BITS, __ATOMIC_RELEASE);
    }
}

/* What was posted; the set is then empty but for what is posted meanwhile. False: nothing. An empty set is only
 * read. */
static inline bool cpu_set_take(struct cpu_set *set, struct cpu_set *taken)
{
    bool any = false;

    for (uint32_t i = 0; i < CPU_SET_WORDS; i++) {
        bool posted = __atomic_load_n(&set->words[i], __ATOMIC_ACQUIRE) != 0;

        taken->words[i] = posted ? __atomic_exchange_n(&set->words[i], 0, __ATOMIC_ACQ_REL) : 0;
        any = any || posted;
    }
    return any;
}

#endif
