/* SPDX-License-Identifier: MIT */
#include "hv/base/due_set.h"

#include "hv/base/check.h"

void due_set_init(struct due_set *set, uint32_t count)
{
    CHECK_OP(count, <=, DUE_SET_MAX);
    set->leaves = 1;
    while (set->leaves < count) {
        set->leaves *= 2;
    }
    for (uint32_t node = 0; node < 2 * DUE_SET_MAX; node++) {
        set->earliest[node] = UINT64_MAX;
    }
    __atomic_store_n(&set->marked, count == 0 ? 0 : UINT64_MAX >> (DUE_SET_MAX - count), __ATOMIC_RELEASE);
}

void due_set_put(struct due_set *set, uint32_t member, uint64_t deadline)
{
    uint32_t node = set->leaves + member;

    set->earliest[node] = deadline;
    for (node /= 2; node != 0; node /= 2) {
        uint64_t earliest = min_u64(set->earliest[2 * node], set->earliest[2 * node + 1]);

        if (set->earliest[node] == earliest) {
            return;
        }
        set->earliest[node] = earliest;
    }
}

/* Of each level the nodes that are due: below another one there is none. */
uint64_t due_set_due(const struct due_set *set, uint64_t now)
{
    uint64_t due = set->earliest[1] <= now ? 1 : 0;

    for (uint32_t width = 1; width < set->leaves && due != 0; width *= 2) {
        uint64_t below = 0;

        for (uint64_t left = due; left != 0; left &= left - 1) {
            uint32_t child = 2 * (uint32_t)__builtin_ctzll(left);

            below |= set->earliest[2 * width + child] <= now ? 1ULL << child : 0;
            below |= set->earliest[2 * width + child + 1] <= now ? 2ULL << child : 0;
        }
        due = below;
    }
    return due;
}
