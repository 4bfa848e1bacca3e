/* SPDX-License-Identifier: MIT */
#include "hv/iommu/dmar.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

/* VT-d 8.1 "DMA Remapping Reporting Structure". */
#define DMAR_ADDRESS_BITS 36u
#define DMAR_FLAGS 37u
#define DMAR_STRUCTURES 48u
#define DMAR_FLAG_INTR_REMAP 0x01u
#define DMAR_FLAG_X2APIC_OPT_OUT 0x02u
#define DMAR_FLAG_PLATFORM_OPT_IN 0x04u
#define DMAR_ADDRESS_BITS_MAX 64u

/* Every structure begins with its type and length. VT-d 8.2 "Remapping Structure Types". */
#define STRUCTURE_BYTES_MIN 4u
#define TYPE_DRHD 0u
#define TYPE_RMRR 1u
#define TYPE_ATSR 2u
#define TYPE_ANDD 4u

#define FLAGS 4u /* of DRHD and ATSR */
#define FLAG_ALL 0x01u
#define SEGMENT 6u /* of all three that have scopes */
#define DRHD_SIZE 5u
#define DRHD_SIZE_MASK 0x0fu /* registers take 2^N pages */
#define DRHD_BASE 8u
#define DRHD_SCOPES 16u
#define RMRR_BASE 8u
#define RMRR_LIMIT 16u /* the last byte */
#define RMRR_SCOPES 24u
#define ATSR_SCOPES 8u
#define ANDD_ID 7u
#define ANDD_NAME 8u

#define SCOPE_LENGTH 1u
#define SCOPE_ID 4u
#define SCOPE_BUS 5u
#define SCOPE_PATH 6u
#define SCOPE_BYTES_MIN 8u /* with one step */

#define PHYSICAL_BITS_MAX 52u

static bool is_memory(uint64_t start, uint64_t end)
{
    return start < end && end <= 1ULL << PHYSICAL_BITS_MAX;
}

/* ---- scopes ---- */

static enum status read_scope(struct dmar *dmar, struct span bytes)
{
    struct dmar_scope *scope = &dmar->scopes[dmar->scope_count];
    uint64_t steps = (bytes.bytes - SCOPE_PATH) / 2;

    if (dmar->scope_count == DMAR_SCOPES_MAX) {
        return iommu_table_full(dmar->problem, "DMAR", "device scopes", DMAR_SCOPES_MAX);
    }
    if (steps > DMAR_PATH_MAX) {
        return iommu_table_full(dmar->problem, "DMAR", "bridges on the way to a device", DMAR_PATH_MAX);
    }
    *scope = (struct dmar_scope){
        .kind = bytes.base[0], .id = bytes.base[SCOPE_ID], .bus = bytes.base[SCOPE_BUS], .path_count = (uint8_t)steps};
    for (uint64_t i = 0; i < steps; i++) {
        scope->path[i].device = bytes.base[SCOPE_PATH + 2 * i];
        scope->path[i].function = bytes.base[SCOPE_PATH + 2 * i + 1];
        if (scope->path[i].device >= PCI_DEVICES || scope->path[i].function >= PCI_FUNCTIONS) {
            return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR names device %02x.%x, which cannot be",
                                      scope->path[i].device, scope->path[i].function);
        }
    }
    dmar->scope_count++;
    return STATUS_OK;
}

/* The scopes that fill the rest of a structure. */
static enum status read_scopes(struct dmar *dmar, struct span structure, uint64_t at, struct dmar_scopes *scopes)
{
    enum status status = STATUS_OK;

    scopes->first = (uint16_t)dmar->scope_count;
    while (status == STATUS_OK && at < structure.bytes) {
        uint8_t length = 0;
        struct span bytes;

        (void)span_read_u8(structure, at + SCOPE_LENGTH, &length);
        bytes = span_part(structure, at, length);
        if (length < SCOPE_BYTES_MIN || length % 2 != 0 || bytes.base == NULL) {
            return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR has a device scope of %u bytes",
                                      length);
        }
        status = read_scope(dmar, bytes);
        at += length;
    }
    scopes->count = (uint16_t)(dmar->scope_count - scopes->first);
    return status;
}

/* ---- structures ---- */

static enum status read_drhd(struct dmar *dmar, struct span structure)
{
    struct dmar_unit *unit = &dmar->units[dmar->unit_count];
    uint8_t flags = 0;
    uint8_t size = 0;

    if (dmar->unit_count == DMAR_UNITS_MAX) {
        return iommu_table_full(dmar->problem, "DMAR", "units", DMAR_UNITS_MAX);
    }
    *unit = (struct dmar_unit){0};
    if (!span_read_u8(structure, FLAGS, &flags) || !span_read_u8(structure, DRHD_SIZE, &size) ||
        !span_read_u16(structure, SEGMENT, &unit->segment) || !span_read_u64(structure, DRHD_BASE, &unit->base)) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR has a unit of %" PRIu64 " bytes",
                                  structure.bytes);
    }
    unit->all = (flags & FLAG_ALL) != 0;
    unit->bytes = PAGE_BYTES << (size & DRHD_SIZE_MASK);
    if (unit->base == 0 || !is_aligned(unit->base, PAGE_BYTES) || !is_memory(unit->base, unit->base + unit->bytes)) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED,
                                  "the DMAR has a unit at 0x%" PRIx64 ", which cannot be", unit->base);
    }
    dmar->unit_count++;
    return read_scopes(dmar, structure, DRHD_SCOPES, &unit->scopes);
}

/* Base and limit are pages' first and last bytes by the specification; firmware is known that rounds neither. */
static enum status read_rmrr(struct dmar *dmar, struct span structure)
{
    struct dmar_region *region = &dmar->regions[dmar->region_count];
    uint64_t limit = 0;

    if (dmar->region_count == DMAR_REGIONS_MAX) {
        return iommu_table_full(dmar->problem, "DMAR", "reserved regions", DMAR_REGIONS_MAX);
    }
    *region = (struct dmar_region){0};
    if (!span_read_u16(structure, SEGMENT, &region->segment) || !span_read_u64(structure, RMRR_BASE, &region->start) ||
        !span_read_u64(structure, RMRR_LIMIT, &limit)) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED,
                                  "the DMAR has a reserved region of %" PRIu64 " bytes", structure.bytes);
    }
    if (limit >= 1ULL << PHYSICAL_BITS_MAX || limit < region->start) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED,
                                  "the DMAR reserves 0x%" PRIx64 " to 0x%" PRIx64 ", which cannot be", region->start,
                                  limit);
    }
    region->start = align_down(region->start, PAGE_BYTES);
    region->end = align_up(limit + 1, PAGE_BYTES);
    dmar->region_count++;
    return read_scopes(dmar, structure, RMRR_SCOPES, &region->scopes);
}

static enum status read_atsr(struct dmar *dmar, struct span structure)
{
    struct dmar_ports *ports = &dmar->ports[dmar->port_count];
    uint8_t flags = 0;

    if (dmar->port_count == DMAR_PORTS_MAX) {
        return iommu_table_full(dmar->problem, "DMAR", "lists of root ports", DMAR_PORTS_MAX);
    }
    *ports = (struct dmar_ports){0};
    if (!span_read_u8(structure, FLAGS, &flags) || !span_read_u16(structure, SEGMENT, &ports->segment)) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED,
                                  "the DMAR has a list of root ports of %" PRIu64 " bytes", structure.bytes);
    }
    ports->all = (flags & FLAG_ALL) != 0;
    dmar->port_count++;
    return read_scopes(dmar, structure, ATSR_SCOPES, &ports->scopes);
}

/* The name ends with a zero, or with the structure; what does not fit is cut. */
static enum status read_andd(struct dmar *dmar, struct span structure)
{
    struct dmar_name *name = &dmar->names[dmar->name_count];
    uint64_t bytes;

    if (dmar->name_count == DMAR_NAMES_MAX) {
        return iommu_table_full(dmar->problem, "DMAR", "named devices", DMAR_NAMES_MAX);
    }
    if (structure.bytes <= ANDD_NAME) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR has a named device of %" PRIu64 " bytes",
                                  structure.bytes);
    }
    *name = (struct dmar_name){.id = structure.base[ANDD_ID]};
    bytes = min_u64(structure.bytes - ANDD_NAME, sizeof(name->name) - 1);
    for (uint64_t i = 0; i < bytes && structure.base[ANDD_NAME + i] != 0; i++) {
        name->name[i] = (char)structure.base[ANDD_NAME + i];
    }
    dmar->name_count++;
    return STATUS_OK;
}

/* Types that are not known are passed over, as the specification asks. */
static enum status read_structure(struct dmar *dmar, struct span structure, uint16_t type)
{
    switch (type) {
    case TYPE_DRHD:
        return read_drhd(dmar, structure);
    case TYPE_RMRR:
        return read_rmrr(dmar, structure);
    case TYPE_ATSR:
        return read_atsr(dmar, structure);
    case TYPE_ANDD:
        return read_andd(dmar, structure);
    default:
        return STATUS_OK;
    }
}

static enum status read_structures(struct dmar *dmar, struct span table)
{
    enum status status = STATUS_OK;
    uint64_t at = DMAR_STRUCTURES;

    while (status == STATUS_OK && at < table.bytes) {
        uint16_t type = 0;
        uint16_t length = 0;
        struct span structure;

        (void)span_read_u16(table, at, &type);
        (void)span_read_u16(table, at + sizeof(type), &length);
        structure = span_part(table, at, length);
        if (length < STRUCTURE_BYTES_MIN || structure.base == NULL) {
            return iommu_table_refuse(dmar->problem, STATUS_MALFORMED,
                                      "the DMAR has a broken structure at offset %" PRIu64, at);
        }
        status = read_structure(dmar, structure, type);
        at += length;
    }
    return status;
}

/* The same registers twice would be one unit with two owners. */
static enum status check_units(struct dmar *dmar)
{
    if (dmar->unit_count == 0) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR names no unit");
    }
    for (uint32_t i = 0; i < dmar->unit_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            const struct dmar_unit *one = &dmar->units[k], *other = &dmar->units[i];

            if (one->base < other->base + other->bytes && other->base < one->base + one->bytes) {
                return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR has two units at 0x%" PRIx64,
                                          other->base);
            }
        }
    }
    return STATUS_OK;
}

enum status dmar_read(struct dmar *dmar, struct span table)
{
    uint8_t bits = 0;
    uint8_t flags = 0;
    enum status status;

    memset(dmar, 0, sizeof(*dmar));
    if (table.bytes < DMAR_STRUCTURES || !span_read_u8(table, DMAR_ADDRESS_BITS, &bits) ||
        !span_read_u8(table, DMAR_FLAGS, &flags)) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR has %" PRIu64 " bytes", table.bytes);
    }
    if (bits >= DMAR_ADDRESS_BITS_MAX) {
        return iommu_table_refuse(dmar->problem, STATUS_MALFORMED, "the DMAR gives addresses %u bits", bits + 1u);
    }
    dmar->address_bits = (uint8_t)(bits + 1);
    dmar->interrupt_remapping = (flags & DMAR_FLAG_INTR_REMAP) != 0;
    dmar->x2apic_opt_out = (flags & DMAR_FLAG_INTR_REMAP) != 0 && (flags & DMAR_FLAG_X2APIC_OPT_OUT) != 0;
    dmar->protected_from_start = (flags & DMAR_FLAG_PLATFORM_OPT_IN) != 0;
    status = read_structures(dmar, table);
    return status == STATUS_OK ? check_units(dmar) : status;
}

bool dmar_scope_find(const struct dmar_scope *scope, uint16_t segment, const struct pci_access *access,
                     struct pci_address *found)
{
    uint8_t bus = scope->bus;

    for (uint32_t i = 0; i < scope->path_count; i++) {
        *found = (struct pci_address){segment, bus, scope->path[i].device, scope->path[i].function};
        if (!pci_is_there(access, *found)) {
            return false;
        }
        if (i + 1u < scope->path_count) {
            struct pci_bridge bridge;

            if (!pci_read_bridge(access, *found, &bridge) || bridge.secondary <= bus) {
                return false;
            }
            bus = bridge.secondary;
        }
    }
    return scope->path_count != 0;
}
