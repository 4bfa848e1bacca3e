/* SPDX-License-Identifier: MIT */
/*
 * Arbitrary bytes as the firmware's IVRS. Checked: what is accepted has units with aligned registers, ranges that are
 * none backwards and belong to a unit, regions of whole pages, and texts that end.
 */
#include "hv/base/check.h"
#include "hv/iommu/ivrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ivrs ivrs;

static void check_devices(void)
{
    for (uint32_t i = 0; i < ivrs.device_count; i++) {
        CHECK_OP(ivrs.devices[i].unit, <, ivrs.unit_count);
        CHECK_OP(ivrs.devices[i].first, <=, ivrs.devices[i].last);
        (void)ivrs_alias_of(&ivrs, ivrs.units[ivrs.devices[i].unit].segment, ivrs.devices[i].last);
    }
    for (uint32_t i = 0; i < ivrs.special_count; i++) {
        CHECK_OP(ivrs.specials[i].unit, <, ivrs.unit_count);
    }
    for (uint32_t i = 0; i < ivrs.name_count; i++) {
        CHECK_OP(ivrs.names[i].unit, <, ivrs.unit_count);
        CHECK_OP(ivrs.names[i].hid[IVRS_HID_BYTES - 1], ==, 0);
        CHECK_OP(ivrs.names[i].uid[IVRS_UID_BYTES - 1], ==, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ivrs_read(&ivrs, (struct span){data, size}) != STATUS_OK) {
        CHECK(ivrs.problem[0] != '\0');
        return 0;
    }
    CHECK_OP(ivrs.unit_count, >, 0u);
    for (uint32_t i = 0; i < ivrs.unit_count; i++) {
        CHECK(ivrs.units[i].base != 0 && is_aligned(ivrs.units[i].base, PAGE_BYTES));
    }
    for (uint32_t i = 0; i < ivrs.region_count; i++) {
        CHECK(is_aligned(ivrs.regions[i].start | ivrs.regions[i].end, PAGE_BYTES));
        CHECK_OP(ivrs.regions[i].start, <, ivrs.regions[i].end);
        CHECK_OP(ivrs.regions[i].first, <=, ivrs.regions[i].last);
    }
    check_devices();
    return 0;
}
