/* SPDX-License-Identifier: MIT */
/*
 * Arbitrary bytes as the firmware's DMAR. Checked: what is accepted has units, page-aligned registers that do not
 * overlap, regions of whole pages, scopes inside the array; and a path that is followed through a configuration space
 * of the same bytes ends.
 */
#include "hv/base/check.h"
#include "hv/iommu/dmar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dmar dmar;
static struct span input;

/* Bytes of the input by a hash of the address: any bridges, in any circle. */
static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    uint32_t value = 0;
    uint64_t at = ((uint64_t)address.bus * 37 + address.device * 5 + address.function + offset) % (input.bytes + 1);

    (void)context;
    (void)span_read_u32(input, at, &value);
    return offset == PCI_HEADER ? PCI_HEADER_TYPE_BRIDGE << PCI_HEADER_TYPE_SHIFT : value;
}

static void check_scopes(const struct dmar_scopes *scopes, uint16_t segment)
{
    static const struct pci_access access = {NULL, config_read, NULL};
    struct pci_address found;

    CHECK_OP(scopes->first + scopes->count, <=, dmar.scope_count);
    for (uint32_t i = 0; i < scopes->count; i++) {
        const struct dmar_scope *scope = &dmar.scopes[scopes->first + i];

        CHECK_OP(scope->path_count, <=, DMAR_PATH_MAX);
        if (dmar_scope_find(scope, segment, &access, &found)) {
            CHECK_OP(found.bus, >=, scope->bus);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum status status;

    input = (struct span){data, size};
    status = dmar_read(&dmar, input);
    if (status != STATUS_OK) {
        CHECK(dmar.problem[0] != '\0');
        return 0;
    }
    CHECK_OP(dmar.unit_count, >, 0u);
    for (uint32_t i = 0; i < dmar.unit_count; i++) {
        CHECK(dmar.units[i].base != 0 && is_aligned(dmar.units[i].base, PAGE_BYTES));
        check_scopes(&dmar.units[i].scopes, dmar.units[i].segment);
    }
    for (uint32_t i = 0; i < dmar.region_count; i++) {
        CHECK(is_aligned(dmar.regions[i].start | dmar.regions[i].end, PAGE_BYTES));
        CHECK_OP(dmar.regions[i].start, <, dmar.regions[i].end);
        check_scopes(&dmar.regions[i].scopes, dmar.regions[i].segment);
    }
    for (uint32_t i = 0; i < dmar.port_count; i++) {
        check_scopes(&dmar.ports[i].scopes, dmar.ports[i].segment);
    }
    return 0;
}
