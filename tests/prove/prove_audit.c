/* SPDX-License-Identifier: MIT */
/* The self-audit: two trees of any of two formats whose tables hold anything, any grants, any map. Proved is that a
 * hostile tree leads it nowhere but to a finding: no access but to tables at window + (52-bit address) and its own. */
#include "hv/base/format.h"
#include "hv/plan/audit.h"

#define TREES 2u

static struct memory_map map;
static struct guest_memory memories[TREES];
static struct audit_tree trees[TREES];
static struct audit_span spans[TREES];
static struct guest_range apic_page;
static struct audit_finding finding;

int main(void)
{
    struct audit_request request = {
        .trees = trees, .tree_count = TREES, .map = &map, .hypervisor = spans, .hypervisor_count = TREES};

    Frama_C_make_unknown((char *)&map, sizeof(map));
    map.count = (uint32_t)Frama_C_interval(0, MEMORY_REGIONS_MAX);
    Frama_C_make_unknown((char *)memories, sizeof(memories));
    Frama_C_make_unknown((char *)spans, sizeof(spans));
    Frama_C_make_unknown((char *)&apic_page, sizeof(apic_page));
    for (uint32_t i = 0; i < TREES; i++) {
        memories[i].range_count = (uint32_t)Frama_C_interval(0, GUEST_RANGES_MAX);
        trees[i] = (struct audit_tree){.name = "guest",
                                       .format = (enum audit_format)Frama_C_interval(AUDIT_EPT4, AUDIT_NPT5),
                                       .root = hpa(prove_any_u64() & 0x000ffffffffff000ULL),
                                       .memory = &memories[i],
                                       .apic_page = &apic_page};
    }
    request.physical_bits = (uint8_t)Frama_C_interval(32, 52);
    (void)audit_trees(&request, &finding);
    return 0;
}
