/* SPDX-License-Identifier: MIT */
/*
 * Arbitrary bytes as a UEFI memory map, and a planner on what came out. First byte: the stride; then descriptors.
 * Checked: the map's canonical form, that nothing is free which a restrictive descriptor covers, and that a plan takes
 * free memory above 1 MiB or changes nothing.
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/plan/planner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct memory_map map;
static struct memory_map before;
static struct guest_plan plan;

static void check_form(void)
{
    for (uint32_t i = 0; i < map.count; i++) {
        const struct memory_region *region = &map.regions[i];

        CHECK_OP(region->start, <, region->end);
        CHECK_OP(region->end, <=, 1ULL << 52);
        CHECK_OP((region->start | region->end) & (PAGE_BYTES - 1), ==, 0);
        if (i != 0) {
            CHECK_OP(region[-1].end, <=, region->start);
            CHECK(region[-1].end != region->start || region[-1].type != region->type);
        }
    }
}

static enum memory_type type_at(const struct memory_map *in, uint64_t address)
{
    for (uint32_t i = 0; i < in->count; i++) {
        if (address >= in->regions[i].start && address < in->regions[i].end) {
            return in->regions[i].type;
        }
    }
    return MEMORY_MMIO;
}

/* The first page of every descriptor that is not usable memory must not be usable memory. */
static void check_restrictive(const uint8_t *bytes, uint64_t count, uint64_t stride)
{
    for (uint64_t i = 0; i < count; i++) {
        uint32_t type;
        uint64_t start;
        uint64_t pages;

        memcpy(&type, bytes + i * stride, 4);
        memcpy(&start, bytes + i * stride + 8, 8);
        memcpy(&pages, bytes + i * stride + 24, 8);
        if (pages != 0 && start < 1ULL << 52 && (type == 0 || type == 5 || type == 6 || type == 8 || type > 10)) {
            CHECK_OP(type_at(&map, start), >=, MEMORY_RESERVED);
        }
        if (pages != 0 && start < 1ULL << 52 && type == 10) { /* ACPI NVS */
            CHECK_OP(type_at(&map, start), >=, MEMORY_ACPI);
        }
    }
}

/* at: where the guest is to lie; 0: anywhere. */
static void check_plan(uint64_t memory_bytes, uint64_t at, unsigned largest)
{
    const struct planner_request request = {.memory_bytes = memory_bytes, .at = at};
    uint64_t missing = 0;
    enum status status;

    before = map;
    status = planner_guest(&map, &request, &page_table_ept4, largest, &plan, &missing);
    check_form();
    if (status != STATUS_OK) {
        CHECK_OP(map.count, ==, before.count);
        CHECK(memcmp(map.regions, before.regions, map.count * sizeof(map.regions[0])) == 0);
        return;
    }
    for (uint32_t i = 0; i < plan.memory.range_count; i++) {
        uint64_t start = plan.memory.ranges[i].backing.value;

        CHECK_OP(start, >=, MIB);
        CHECK(at == 0 || i != 0 || start == at);
        CHECK(memory_map_convert(&before, start, start + plan.memory.ranges[i].bytes, MEMORY_FREE, MEMORY_LOADER) ==
              STATUS_OK);
        memory_bytes -= plan.memory.ranges[i].bytes;
    }
    CHECK_OP(memory_bytes, ==, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t stride;
    uint64_t count;

    if (size == 0) {
        return 0;
    }
    stride = 40 + data[0] % 32;
    count = (size - 1) / stride;
    if (memory_map_from_uefi(&map, data + 1, size - 1, data[0]) != STATUS_OK) {
        CHECK_OP(map.count, ==, 0);
    }
    if (memory_map_from_uefi(&map, data + 1, count * stride, stride) == STATUS_OK) {
        check_form();
        check_restrictive(data + 1, count, stride);
        for (unsigned largest = 0; largest < 3; largest++) {
            check_plan((1ULL + data[size / 2]) * MIB + data[size - 1] * (uint64_t)PAGE_BYTES, 0, largest);
            check_plan((1ULL + data[size / 3] % 8) * GIB, 0, largest);
            check_plan((1ULL + data[size / 2] % 16) * MIB,
                       data[size / 3] * (uint64_t)(data[size - 1] % 2 != 0 ? GIB : MIB), largest);
            check_plan(5 * GIB, (1 + data[size / 2] % 64) * (uint64_t)GIB + data[size - 1] * (uint64_t)PAGE_BYTES,
                       largest);
        }
    }
    return 0;
}
