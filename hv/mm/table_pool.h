/* SPDX-License-Identifier: MIT */
/*
 * Where tables come from: a span of page-aligned memory counted in advance, and a free list threaded through the first
 * word of free pages. No allocation beyond it. One pool may serve several trees. Not locked: the owner serializes.
 *
 * A page is handed out as it is: the caller writes all of its 512 words before it links it. A page that comes back
 * keeps its other 511 words, and its first word becomes a page-aligned address, which no format takes for a present
 * entry.
 */
#ifndef HV_MM_TABLE_POOL_H
#define HV_MM_TABLE_POOL_H

#include "hv/base/check.h"
#include "hv/base/status.h"
#include "hv/base/types.h"

struct table_pool {
    uint64_t window; /* a table at host-physical h is reached at window + h: 0 in the hypervisor, an arena in tests */
    hpa_t start;
    uint64_t pages;
    uint64_t fresh;      /* pages never handed out begin at this index */
    uint64_t free_head;  /* host-physical address of the first free page, 0: none */
    uint64_t free_count; /* pages that can be had: fresh ones and free ones */
};

/*
 * STATUS_MISALIGNED: start is not page-aligned. STATUS_INVALID: no pages, or page 0 among them (0 ends the free list).
 * STATUS_OVERFLOW: the span passes the highest physical address that any format can hold, or wraps in the window.
 */
enum status table_pool_init(struct table_pool *pool, uint64_t window, hpa_t start, uint64_t pages);

static inline uint64_t *table_pool_pointer(const struct table_pool *pool, uint64_t at)
{
    return (uint64_t *)(uintptr_t)(pool->window + at);
}

/* The host-physical address of a page with any contents. The caller has counted: free_count is not 0. */
static inline uint64_t table_pool_take(struct table_pool *pool)
{
    uint64_t at = pool->free_head;

    CHECK_OP(pool->free_count, >, 0u);
    pool->free_count--;
    if (at != 0) {
        pool->free_head = *table_pool_pointer(pool, at);
        return at;
    }
    return pool->start.value + pool->fresh++ * PAGE_BYTES;
}

/* Takes a page back that table_pool_take gave out. */
static inline void table_pool_give(struct table_pool *pool, uint64_t at)
{
    CHECK_OP(at - pool->start.value, <, pool->fresh * PAGE_BYTES);
    DEBUG_CHECK(is_aligned(at, PAGE_BYTES));
    __atomic_store_n(table_pool_pointer(pool, at), pool->free_head, __ATOMIC_RELAXED);
    pool->free_head = at;
    pool->free_count++;
}

#endif
