/* SPDX-License-Identifier: MIT */
#include "hv/iommu/ivrs.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

/* AMD-Vi 5.2.1 "IVRS Header Fields". */
#define IVRS_INFO 36u
#define IVRS_BLOCKS 48u

/* Every block begins with its type, flags and length. AMD-Vi 5.2.2 "I/O Virtualization Hardware Definition (IVHD)
 * Block". */
#define BLOCK_FLAGS 1u
#define BLOCK_LENGTH 2u
#define BLOCK_BYTES_MIN 4u
#define TYPE_IVHD_10 0x10u
#define TYPE_IVHD_11 0x11u
#define TYPE_IVHD_40 0x40u
#define TYPE_IVMD_ALL 0x20u
#define TYPE_IVMD_ONE 0x21u
#define TYPE_IVMD_RANGE 0x22u

#define IVHD_DEVICE_ID 4u
#define IVHD_CAPABILITY 6u
#define IVHD_BASE 8u
#define IVHD_SEGMENT 16u
#define IVHD_FEATURES 24u
#define IVHD_10_ENTRIES 24u
#define IVHD_11_ENTRIES 40u
#define REGISTERS_ALIGN 0x4000u /* 16 KiB, AMD-Vi 3.4 "IOMMU MMIO Registers" */

/* Device entries: the two upper bits of the type say the length, except of the one that names an ACPI device. */
#define ENTRY_ALL 0x01u
#define ENTRY_SELECT 0x02u
#define ENTRY_RANGE_START 0x03u
#define ENTRY_RANGE_END 0x04u
#define ENTRY_ALIAS_SELECT 0x42u
#define ENTRY_ALIAS_RANGE 0x43u
#define ENTRY_EXTENDED_SELECT 0x46u
#define ENTRY_EXTENDED_RANGE 0x47u
#define ENTRY_SPECIAL 0x48u
#define ENTRY_ACPI 0xf0u
#define ENTRY_BYTES(type) (4u << ((type) >> 6))
#define ENTRY_DEVICE_ID 1u
#define ENTRY_SETTINGS 3u
#define ENTRY_SPECIAL_ID 4u
#define ENTRY_SOURCE_ID 5u
#define ENTRY_SPECIAL_KIND 7u
#define ENTRY_ACPI_HID 4u
#define ENTRY_ACPI_UID_FORMAT 20u
#define ENTRY_ACPI_UID_LENGTH 21u
#define ENTRY_ACPI_UID 22u
#define UID_NUMBER 1u
#define UID_TEXT 2u

#define IVMD_DEVICE_ID 4u
#define IVMD_LAST_ID 6u
#define IVMD_SEGMENT 8u
#define IVMD_START 16u
#define IVMD_BYTES 24u
#define IVMD_FLAG_UNITY 0x01u
#define IVMD_FLAG_READ 0x02u
#define IVMD_FLAG_WRITE 0x04u
#define IVMD_FLAG_EXCLUSION 0x08u

#define PHYSICAL_BITS_MAX 52u

/* Where the entries of an IVHD stand in it, and what a range that was begun says. */
struct entries {
    struct ivrs *ivrs;
    struct span block;
    uint64_t at;
    bool in_range;
    struct ivrs_devices range;
};

static uint16_t get16(struct span bytes, uint64_t at)
{
    uint16_t value = 0;

    (void)span_read_u16(bytes, at, &value);
    return value;
}

static bool is_ivhd(uint8_t type)
{
    return type == TYPE_IVHD_10 || type == TYPE_IVHD_11 || type == TYPE_IVHD_40;
}

static bool is_ivmd(uint8_t type)
{
    return type == TYPE_IVMD_ALL || type == TYPE_IVMD_ONE || type == TYPE_IVMD_RANGE;
}

/* ---- entries of an IVHD ---- */

static enum status add_devices(struct ivrs *ivrs, const struct ivrs_devices *devices)
{
    if (ivrs->device_count == IVRS_DEVICES_MAX) {
        return iommu_table_full(ivrs->problem, "IVRS", "ranges of devices", IVRS_DEVICES_MAX);
    }
    if (devices->first > devices->last) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS has a range of devices from %04x to %04x",
                                  devices->first, devices->last);
    }
    ivrs->devices[ivrs->device_count++] = *devices;
    return STATUS_OK;
}

static enum status add_special(struct ivrs *ivrs, struct span entry)
{
    if (ivrs->special_count == IVRS_SPECIALS_MAX) {
        return iommu_table_full(ivrs->problem, "IVRS", "I/O APICs and HPETs", IVRS_SPECIALS_MAX);
    }
    ivrs->specials[ivrs->special_count++] = (struct ivrs_special){
        .unit = (uint16_t)(ivrs->unit_count - 1),
        .kind = entry.base[ENTRY_SPECIAL_KIND],
        .id = entry.base[ENTRY_SPECIAL_ID],
        .device_id = get16(entry, ENTRY_SOURCE_ID),
        .settings = entry.base[ENTRY_SETTINGS],
    };
    return STATUS_OK;
}

static enum status add_name(struct ivrs *ivrs, struct span entry)
{
    struct ivrs_name *name = &ivrs->names[ivrs->name_count];
    uint64_t number = 0;
    uint64_t bytes;

    if (ivrs->name_count == IVRS_NAMES_MAX) {
        return iommu_table_full(ivrs->problem, "IVRS", "named devices", IVRS_NAMES_MAX);
    }
    *name = (struct ivrs_name){.unit = (uint16_t)(ivrs->unit_count - 1),
                               .device_id = get16(entry, ENTRY_DEVICE_ID),
                               .settings = entry.base[ENTRY_SETTINGS]};
    memcpy(name->hid, entry.base + ENTRY_ACPI_HID, sizeof(name->hid) - 1);
    bytes = entry.bytes - ENTRY_ACPI_UID;
    if (entry.base[ENTRY_ACPI_UID_FORMAT] == UID_TEXT) {
        memcpy(name->uid, entry.base + ENTRY_ACPI_UID, min_u64(bytes, sizeof(name->uid) - 1));
    } else if (entry.base[ENTRY_ACPI_UID_FORMAT] == UID_NUMBER) {
        memcpy(&number, entry.base + ENTRY_ACPI_UID, min_u64(bytes, sizeof(number)));
        (void)format_text(name->uid, sizeof(name->uid), "%" PRIu64, number);
    }
    ivrs->name_count++;
    return STATUS_OK;
}

static enum status end_range(struct entries *entries, struct span entry)
{
    if (!entries->in_range) {
        return iommu_table_refuse(entries->ivrs->problem, STATUS_MALFORMED,
                                  "the IVRS ends a range of devices that it did not begin");
    }
    entries->in_range = false;
    entries->range.last = get16(entry, ENTRY_DEVICE_ID);
    return add_devices(entries->ivrs, &entries->range);
}

static enum status take_entry(struct entries *entries, struct span entry)
{
    uint8_t type = entry.base[0];
    struct ivrs_devices devices = {
        .unit = (uint16_t)(entries->ivrs->unit_count - 1),
        .first = get16(entry, ENTRY_DEVICE_ID),
        .last = get16(entry, ENTRY_DEVICE_ID),
        .has_alias = type == ENTRY_ALIAS_SELECT || type == ENTRY_ALIAS_RANGE,
        .settings = entry.base[ENTRY_SETTINGS],
    };

    devices.alias = devices.has_alias ? get16(entry, ENTRY_SOURCE_ID) : 0;
    switch (type) {
    case ENTRY_ALL:
        devices.first = 0;
        devices.last = UINT16_MAX;
        return add_devices(entries->ivrs, &devices);
    case ENTRY_SELECT:
    case ENTRY_ALIAS_SELECT:
    case ENTRY_EXTENDED_SELECT:
        return add_devices(entries->ivrs, &devices);
    case ENTRY_RANGE_START:
    case ENTRY_ALIAS_RANGE:
    case ENTRY_EXTENDED_RANGE:
        entries->in_range = true;
        entries->range = devices;
        return STATUS_OK;
    case ENTRY_RANGE_END:
        return end_range(entries, entry);
    case ENTRY_SPECIAL:
        return add_special(entries->ivrs, entry);
    case ENTRY_ACPI:
        return add_name(entries->ivrs, entry);
    default: /* padding, and what later versions have */
        return STATUS_OK;
    }
}

/* How long the entry at `at` is; 0: it cannot be. */
static uint64_t entry_bytes(struct span block, uint64_t at)
{
    uint8_t type = 0;
    uint8_t uid = 0;

    if (!span_read_u8(block, at, &type)) {
        return 0;
    }
    if (type != ENTRY_ACPI) {
        return ENTRY_BYTES(type);
    }
    return span_read_u8(block, at + ENTRY_ACPI_UID_LENGTH, &uid) ? ENTRY_ACPI_UID + (uint64_t)uid : 0;
}

static enum status read_entries(struct entries *entries)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && entries->at < entries->block.bytes) {
        uint64_t bytes = entry_bytes(entries->block, entries->at);
        struct span entry = span_part(entries->block, entries->at, bytes);

        if (bytes == 0 || entry.base == NULL) {
            return iommu_table_refuse(entries->ivrs->problem, STATUS_MALFORMED,
                                      "the IVRS has a device entry that is longer than its block, at offset %" PRIu64,
                                      entries->at);
        }
        status = take_entry(entries, entry);
        entries->at += bytes;
    }
    if (status == STATUS_OK && entries->in_range) {
        return iommu_table_refuse(entries->ivrs->problem, STATUS_MALFORMED,
                                  "the IVRS has a range of devices without an end");
    }
    return status;
}

/* ---- blocks ---- */

static enum status read_ivhd(struct ivrs *ivrs, struct span block)
{
    struct entries entries = {.ivrs = ivrs, .block = block};
    struct ivrs_unit *unit = &ivrs->units[ivrs->unit_count];

    entries.at = block.base[0] == TYPE_IVHD_10 ? IVHD_10_ENTRIES : IVHD_11_ENTRIES;
    if (ivrs->unit_count == IVRS_UNITS_MAX) {
        return iommu_table_full(ivrs->problem, "IVRS", "units", IVRS_UNITS_MAX);
    }
    if (block.bytes < entries.at) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS has a unit of %" PRIu64 " bytes",
                                  block.bytes);
    }
    *unit = (struct ivrs_unit){.type = block.base[0], .flags = block.base[BLOCK_FLAGS]};
    (void)span_read_u64(block, IVHD_BASE, &unit->base);
    unit->device_id = get16(block, IVHD_DEVICE_ID);
    unit->capability = get16(block, IVHD_CAPABILITY);
    unit->segment = get16(block, IVHD_SEGMENT);
    if (unit->type != TYPE_IVHD_10) {
        (void)span_read_u64(block, IVHD_FEATURES, &unit->features);
    }
    if (unit->base == 0 || !is_aligned(unit->base, REGISTERS_ALIGN) || unit->base >= 1ULL << PHYSICAL_BITS_MAX) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED,
                                  "the IVRS has a unit at 0x%" PRIx64 ", which cannot be", unit->base);
    }
    for (uint32_t i = 0; i < ivrs->unit_count; i++) {
        if (ivrs->units[i].base == unit->base) {
            return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS has two units at 0x%" PRIx64,
                                      unit->base);
        }
    }
    ivrs->unit_count++;
    return read_entries(&entries);
}

static enum status read_ivmd(struct ivrs *ivrs, struct span block)
{
    struct ivrs_region *region = &ivrs->regions[ivrs->region_count];
    uint8_t flags = block.base[BLOCK_FLAGS];
    uint64_t bytes = 0;

    if (ivrs->region_count == IVRS_REGIONS_MAX) {
        return iommu_table_full(ivrs->problem, "IVRS", "reserved regions", IVRS_REGIONS_MAX);
    }
    *region = (struct ivrs_region){.last = UINT16_MAX, .segment = get16(block, IVMD_SEGMENT)};
    if (!span_read_u64(block, IVMD_START, &region->start) || !span_read_u64(block, IVMD_BYTES, &bytes)) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED,
                                  "the IVRS has a reserved region of %" PRIu64 " bytes", block.bytes);
    }
    if (bytes == 0 || bytes > 1ULL << PHYSICAL_BITS_MAX || region->start > (1ULL << PHYSICAL_BITS_MAX) - bytes) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED,
                                  "the IVRS reserves %" PRIu64 " bytes at 0x%" PRIx64 ", which cannot be", bytes,
                                  region->start);
    }
    if (block.base[0] != TYPE_IVMD_ALL) {
        region->first = get16(block, IVMD_DEVICE_ID);
        region->last = block.base[0] == TYPE_IVMD_ONE ? region->first : get16(block, IVMD_LAST_ID);
    }
    if (region->first > region->last) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS reserves memory for devices %04x to %04x",
                                  region->first, region->last);
    }
    region->end = align_up(region->start + bytes, PAGE_BYTES);
    region->start = align_down(region->start, PAGE_BYTES);
    region->excluded = (flags & IVMD_FLAG_EXCLUSION) != 0;
    region->read = region->excluded || (flags & IVMD_FLAG_READ) != 0;
    region->write = region->excluded || (flags & IVMD_FLAG_WRITE) != 0;
    ivrs->region_count += region->excluded || (flags & IVMD_FLAG_UNITY) != 0;
    return STATUS_OK;
}

/* Has the table a block of a higher type for the same unit? */
static bool is_outdone(struct span table, struct span block)
{
    for (uint64_t at = IVRS_BLOCKS; at + IVHD_10_ENTRIES <= table.bytes;) {
        uint16_t length = get16(table, at + BLOCK_LENGTH);
        uint8_t type = table.base[at];

        if (is_ivhd(type) && type > block.base[0] &&
            get16(table, at + IVHD_DEVICE_ID) == get16(block, IVHD_DEVICE_ID) &&
            get16(table, at + IVHD_SEGMENT) == get16(block, IVHD_SEGMENT)) {
            return true;
        }
        if (length < BLOCK_BYTES_MIN) {
            return false;
        }
        at += length;
    }
    return false;
}

static enum status read_block(struct ivrs *ivrs, struct span table, struct span block)
{
    if (is_ivhd(block.base[0]) && !is_outdone(table, block)) {
        return read_ivhd(ivrs, block);
    }
    return is_ivmd(block.base[0]) ? read_ivmd(ivrs, block) : STATUS_OK;
}

enum status ivrs_read(struct ivrs *ivrs, struct span table)
{
    enum status status = STATUS_OK;
    uint64_t at = IVRS_BLOCKS;

    memset(ivrs, 0, sizeof(*ivrs));
    if (table.bytes < IVRS_BLOCKS) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS has %" PRIu64 " bytes", table.bytes);
    }
    (void)span_read_u32(table, IVRS_INFO, &ivrs->info);
    while (status == STATUS_OK && at < table.bytes) {
        uint16_t length = get16(table, at + BLOCK_LENGTH);
        struct span block = span_part(table, at, length);

        if (length < BLOCK_BYTES_MIN || block.base == NULL) {
            return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS has a broken block at offset %" PRIu64,
                                      at);
        }
        status = read_block(ivrs, table, block);
        at += length;
    }
    if (status == STATUS_OK && ivrs->unit_count == 0) {
        return iommu_table_refuse(ivrs->problem, STATUS_MALFORMED, "the IVRS names no unit");
    }
    return status;
}

uint16_t ivrs_alias_of(const struct ivrs *ivrs, uint16_t segment, uint16_t device_id)
{
    for (uint32_t i = 0; i < ivrs->device_count; i++) {
        const struct ivrs_devices *devices = &ivrs->devices[i];

        if (devices->has_alias && ivrs->units[devices->unit].segment == segment && device_id >= devices->first &&
            device_id <= devices->last) {
            return devices->alias;
        }
    }
    return device_id;
}
