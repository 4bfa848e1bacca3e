/* SPDX-License-Identifier: MIT */
/*
 * Guests whose code lies in 4 KiB leaves alone.
 *
 * On some CPUs of Intel a fetch that finds its page in the TLB in two sizes is a machine check, and a guest brings that
 * about at will: it changes the size of a page of code and does not flush (CVE-2018-12207; Intel, "Machine Check Error
 * Avoidance on Page Size Change"). A translation is cached in the smaller of the guest's size and the nested leaf's. So
 * no nested leaf above 4 KiB is executable there: RAM is mapped with the largest leaves, none of them for execution,
 * and the first fetch from one is a violation, after which the 2 MiB around it are 512 leaves that may be executed.
 *
 * The planner has counted a table for every 2 MiB of RAM (struct planner_request, small_code), so none is ever missing,
 * and a table that has come stays: a guest pays one exit for each 2 MiB that it ever executes from. No flush is owed.
 * The tree goes from "not executable" to "executable" at the same place, a CPU that still holds the old leaf finds that
 * out by a violation, and that drops what it held. SDM 3C 29.4.3.1 "Operations that Invalidate Cached Mappings",
 * 29.4.3.4 "Guidelines for Use of the INVEPT Instruction". Pure.
 */
#ifndef HV_MM_SMALL_CODE_H
#define HV_MM_SMALL_CODE_H

#include "hv/base/spinlock.h"
#include "hv/mm/guest_memory.h"
#include "hv/mm/page_table.h"

struct small_code {
    struct spinlock lock; /* any CPU of the guest may change the tree; tried, and never waited for */
    struct page_table *table;
    const struct guest_memory *memory; /* what of the tree is RAM; nothing else is ever executable */
    uint64_t regions;                  /* of 2 MiB that have become executable */
};

/*
 * A fetch from this address was a violation. True: it is RAM, and the RAM among the 2 MiB around it is executable now
 * in leaves of 4 KiB, where it was not already; addresses, other rights and memory types are as before. Or another CPU
 * of the guest is changing the tree: then nothing is done, and the fetch comes again. False: it is no RAM, or the tree
 * does not have it, or a table is missing, and nothing has changed. Writes at most two tables of 512 entries: no guest
 * makes it more (docs/exits.md, "How long an exit can take").
 */
bool small_code_open(struct small_code *code, gpa_t address);

#endif
