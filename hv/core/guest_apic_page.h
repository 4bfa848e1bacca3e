/* SPDX-License-Identifier: MIT */
/*
 * The APIC-access page of a guest's nested tree: the leaf at 0xfee00000 by which VMX's CPUs serve the local APICs of
 * vCPUs in xAPIC mode (hv/vmx/apic.c). docs/decisions/0043-a-leaf-for-the-local-apic.md.
 *
 * It leads to a page of the hypervisor's own that holds nothing and belongs to this guest alone. A vCPU whose accesses
 * the CPU virtualizes never reaches the page itself. One whose accesses it does not would: so the first vCPU that wants
 * another place or mode of its local APIC takes the leaf out, for all of them, until the guest starts anew.
 */
#ifndef HV_CORE_GUEST_APIC_PAGE_H
#define HV_CORE_GUEST_APIC_PAGE_H

#include "hv/core/guest.h"

/* The tables that a tree may need for it, beside those of its memory. */
#define GUEST_APIC_PAGE_TABLES 2u

/* Once, when the tree is made: the way to the leaf is there from now on. `page` is zeroed. */
enum status guest_apic_page_create(struct guest *guest, struct page_table *tree, hpa_t page);

/* While no vCPU of the guest runs. The flush of an earlier _unmap() has been done where a vCPU needed it. */
void guest_apic_page_map(struct guest *guest);

/* From any vCPU's CPU. The caller flushes what its own CPU has of the tree before it lets the vCPU access the page
 * without the CPU's virtualization: only there is an old translation wrong. */
void guest_apic_page_unmap(struct guest *guest);

/* Is the leaf there? It may go at any time. */
static inline bool guest_apic_page_is_mapped(const struct guest *guest)
{
    return __atomic_load_n(&guest->apic_page.mapped, __ATOMIC_ACQUIRE);
}

#endif
