/* SPDX-License-Identifier: MIT */
#include "hv/host/budget.h"

#include "guest-loader/load_plan.h"
#include "hv/console/console.h"
#include "hv/core/guest_apic_page.h"
#include "hv/core/guest_devices.h"
#include "hv/host/cpu.h"
#include "hv/host/host_memory.h"

/* For what is not counted one by one: page roundings of small things. */
#define BUDGET_MARGIN_BYTES (512 * KIB)

_Static_assert(sizeof(struct load_plan) <= BUDGET_LOAD_PLAN_BYTES, "the one load plan fits into its room");
_Static_assert(CONFIG_GUEST_CPUS_MAX <= CPUS_MAX, "a guest of one vCPU per CPU can have them all");

static uint64_t pages_of(uint64_t bytes)
{
    return align_up(bytes, PAGE_BYTES);
}

static uint64_t vcpu_bytes(const struct budget_vendor *vendor)
{
    return pages_of(sizeof(struct vcpu)) + pages_of(sizeof(struct lapic_page)) + pages_of(vendor->vcpu_bytes) +
           BUDGET_XSAVE_BYTES;
}

void budget_own(const struct boot_info *info, const struct budget_vendor *vendor, struct planner_own *own)
{
    uint64_t cpu_bytes = cpu_stacks_bytes() + pages_of(vendor->cpu_bytes);

    *own = (struct planner_own){
        .fixed_bytes = BUDGET_MARGIN_BYTES + CONFIG_NETWORKS_MAX * pages_of(sizeof(struct guest_network)) +
                       CONFIG_SHARES_MAX * pages_of(sizeof(struct guest_shared)) + BUDGET_LOAD_PLAN_BYTES +
                       info->cpu_count * cpu_bytes + vendor->iommu_bytes + host_memory_tables_max(info) * PAGE_BYTES,
        .guest_bytes = pages_of(sizeof(struct guest)) + GUEST_IO_MAP_BYTES + pages_of(CONSOLE_GUEST_BYTES_MAX) +
                       (GUEST_APIC_PAGE_TABLES + 1) * PAGE_BYTES,
        .vcpu_bytes = vcpu_bytes(vendor),
    };
}

uint64_t budget_bytes_needed(const struct boot_info *info, const struct budget_vendor *vendor)
{
    struct planner_own own;
    uint32_t vcpus = 0;
    uint64_t pages = 0, virtual_pages = 0;

    for (uint32_t i = 0; i < info->config.guest_count; i++) {
        vcpus += info->config.guests[i].cpu_count;
        pages += info->guests[i].plan.table_count + info->guests[i].plan.device_tables;
        pages += info->config.guests[i].pci_count != 0 ? BUDGET_DEVICES_PAGES : 0;
        pages += planner_shadow_pages(info->guests[i].plan.shadow_tables, info->config.guests[i].cpu_count);
        pages += pages_of(guest_devices_bytes(&info->config.guests[i])) / PAGE_BYTES;
    }
    for (uint32_t i = 0; i < info->config.guest_count; i++) {
        for (uint32_t n = 0; n < info->config.guests[i].pci_count; n++) {
            virtual_pages = info->config.guests[i].pci[n].vf != 0 ? BUDGET_VIRTUAL_PAGES : virtual_pages;
        }
    }
    budget_own(info, vendor, &own);
    return planner_own_bytes(&own, info->config.guest_count, vcpus, pages + virtual_pages);
}
