/* SPDX-License-Identifier: MIT */
/*
 * Which of at most 64 members have something to do: each has a deadline, and a mark that any CPU may set. What it costs
 * to ask does not grow with those that have nothing to do.
 *
 * Deadlines are the leaves of a binary tree whose every node has the earlier one of the two below it, so the root has
 * the earliest of all:
 *
 *              1                   node n's children are 2n and 2n + 1; member m is node leaves + m
 *          2       3
 *        4   5   6   7             leaves = 4: as many as the members, rounded up to a power of two
 *
 * The owner alone changes deadlines and asks. A mark says "look at this one": what made it is stored before it is set,
 * and taken back before it is looked at, so what comes meanwhile marks the member again. A mark too many costs a look.
 */
#ifndef HV_BASE_DUE_SET_H
#define HV_BASE_DUE_SET_H

#include "hv/base/types.h"

#define DUE_SET_MAX 64u

struct due_set {
    uint64_t marked; /* bit m: member m; atomic */
    uint32_t leaves;
    uint64_t earliest[2 * DUE_SET_MAX]; /* by node; 0 is not used */
};

/* `count` members, at most DUE_SET_MAX: all of them marked, and with no deadline (UINT64_MAX). */
void due_set_init(struct due_set *set, uint32_t count);

/* From any CPU, interrupt handlers included. */
static inline void due_set_mark(struct due_set *set, uint32_t member)
{
    __atomic_fetch_or(&set->marked, 1ULL << member, __ATOMIC_ACQ_REL);
}

/* The marks, a bit for each member. */
static inline uint64_t due_set_marked(const struct due_set *set)
{
    return __atomic_load_n(&set->marked, __ATOMIC_ACQUIRE);
}

/* Before the owner looks at the member. */
static inline void due_set_unmark(struct due_set *set, uint32_t member)
{
    if ((due_set_marked(set) >> member & 1) != 0) {
        __atomic_fetch_and(&set->marked, ~(1ULL << member), __ATOMIC_ACQ_REL);
    }
}

/* The member's deadline is this from now on; UINT64_MAX: it has none. */
void due_set_put(struct due_set *set, uint32_t member, uint64_t deadline);

/* What was put last. */
static inline uint64_t due_set_deadline(const struct due_set *set, uint32_t member)
{
    return set->earliest[set->leaves + member];
}

/* The earliest deadline of all; UINT64_MAX: there is none. */
static inline uint64_t due_set_earliest(const struct due_set *set)
{
    return set->earliest[1];
}

/* The members whose deadline is `now` or before, a bit for each; marks are not asked. */
uint64_t due_set_due(const struct due_set *set, uint64_t now);

/* The first of `members` from `first` on, which begins again at 0 behind the last. `members` is not 0, `first` is below
 * DUE_SET_MAX. */
static inline uint32_t due_set_next(uint64_t members, uint32_t first)
{
    uint64_t behind = members >> first << first;

    return (uint32_t)__builtin_ctzll(behind != 0 ? behind : members);
}

#endif
