/* SPDX-License-Identifier: MIT */
/*
 * How many shadow tables each vCPU of a guest gets: the same answer on the desk and on the target.
 *
 * Without a `shadow-memory` it is one table for each MiB of the guest's: a table of 4 KiB pages translates 2 MiB, so
 * this is enough for all of its memory twice, by the kernel's map and by its programs'.
 */
#include "config/parse.h"
#include "hv/mm/shadow.h"
#include "hv/plan/planner.h"

#define DEFAULT_MIN 128u
#define DEFAULT_MAX 4096u

uint32_t config_shadow_tables(const struct config_guest *guest, bool nested_paging)
{
    uint64_t tables = guest->memory_bytes / MIB;

    if (guest->paging == PAGING_NESTED || (guest->paging == PAGING_AUTO && nested_paging)) {
        return 0;
    }
    tables = max_u64(DEFAULT_MIN, min_u64(tables, DEFAULT_MAX));
    if (guest->shadow_bytes != 0) {
        tables = min_u64(guest->shadow_bytes / guest->cpu_count / PAGE_BYTES, 2 * SHADOW_TABLES_MAX) / 2;
        while (tables > SHADOW_TABLES_MIN &&
               planner_shadow_pages((uint32_t)tables, 1) > guest->shadow_bytes / guest->cpu_count / PAGE_BYTES) {
            tables--;
        }
    }
    return (uint32_t)max_u64(SHADOW_TABLES_MIN, min_u64(tables, SHADOW_TABLES_MAX));
}
