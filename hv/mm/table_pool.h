/*
 * Where tables come from: a span of page-aligned memory counted in advance, and a free list threaded through free
 * pages. No allocation beyond it. One pool may serve several trees. Not locked: the owner serializes.
 */
#ifndef HV_MM_TABLE_POOL_H
#define HV_MM_TABLE_POOL_H

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

enum status table_pool_init(struct table_pool *pool, uint64_t window, hpa_t start, uint64_t pages);

#endif
