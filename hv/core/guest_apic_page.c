/* SPDX-License-Identifier: MIT */
#include "hv/core/guest_apic_page.h"

#include "hv/mm/page_table.h"

/* Not executable: a fetch is then a violation, which ends the guest as it does without the page. */
static const struct page_attributes attributes = {.read = true, .write = true, .user = true, .cache = CACHE_WB};

enum status guest_apic_page_create(struct guest *guest, struct page_table *tree, hpa_t page)
{
    enum status status = page_table_populate(tree, GUEST_LAPIC_BASE, PAGE_BYTES, LEVEL_4K, NULL);

    if (status == STATUS_OK) {
        guest->apic_page = (struct guest_apic_page){
            .tree = tree, .range = {.start = gpa(GUEST_LAPIC_BASE), .backing = page, .bytes = PAGE_BYTES}};
        guest_apic_page_map(guest);
        status = guest_apic_page_is_mapped(guest) ? STATUS_OK : STATUS_BUSY;
    }
    return status;
}

void guest_apic_page_map(struct guest *guest)
{
    struct guest_apic_page *page = &guest->apic_page;

    if (page->tree != NULL && !page->mapped &&
        page_table_map_concurrent(page->tree, page->range.start.value, page->range.backing, LEVEL_4K, attributes,
                                  NULL) == STATUS_OK) {
        __atomic_store_n(&page->mapped, true, __ATOMIC_RELEASE);
    }
}

void guest_apic_page_unmap(struct guest *guest)
{
    struct guest_apic_page *page = &guest->apic_page;

    if (guest_apic_page_is_mapped(guest)) { /* what another vCPU does at the same time is the same */
        (void)page_table_unmap_concurrent(page->tree, page->range.start.value, LEVEL_4K);
        __atomic_store_n(&page->mapped, false, __ATOMIC_RELEASE);
    }
}
