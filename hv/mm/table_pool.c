/* SPDX-License-Identifier: MIT */
/* See table_pool.h. Only the set-up is out of line. */
#include "hv/mm/table_pool.h"

/* SDM 3A 4.1.4 "Enumeration of Paging Features by CPUID": MAXPHYADDR is at most 52. APM 2 5.1 says the same. */
#define PHYSICAL_ADDRESS_END (1ULL << 52)

enum status table_pool_init(struct table_pool *pool, uint64_t window, hpa_t start, uint64_t pages)
{
    if (!is_aligned(start.value, PAGE_BYTES) || !is_aligned(window, PAGE_BYTES)) {
        return STATUS_MISALIGNED;
    }
    if (start.value == 0 || pages == 0) {
        return STATUS_INVALID;
    }
    if (start.value >= PHYSICAL_ADDRESS_END || pages > (PHYSICAL_ADDRESS_END - start.value) / PAGE_BYTES) {
        return STATUS_OVERFLOW;
    }
    *pool = (struct table_pool){.window = window, .start = start, .pages = pages, .free_count = pages};
    return STATUS_OK;
}
