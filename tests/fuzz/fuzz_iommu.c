/* SPDX-License-Identifier: MIT */
/*
 * Units of IOMMUs, of both vendors. The first byte chooses:
 *   a unit whose registers read as the input's bytes: whatever it says, the take-over ends, and writes to no memory
 *   but its own; or
 *   the model of tests/unit/iommu_model.h, left by the firmware in a state of the input's, and then devices that are
 *   attached, blocked, muted and attack in the input's order: none reaches what it was not given, and the audit agrees.
 */
#include "tests/unit/iommu_model.h"

#include "hv/base/check.h"
#include "hv/plan/audit_devices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POOL_PAGES 16u
#define UNIT_PAGES 700u
#define GUARD 0x5au
#define RANGE 0x200000ULL
#define TARGET 0x12345000ULL
#define DEVICES 8u

static const uint8_t *input;
static size_t left;

static uint8_t next(void)
{
    if (left == 0) {
        return 0;
    }
    left--;
    return *input++;
}

static uint32_t hostile_read32(void *context, uint64_t at)
{
    uint32_t value = 0;

    (void)context;
    CHECK_OP(at - MODEL_BASE, <, MODEL_REGISTERS);
    for (uint32_t i = 0; i < 4; i++) {
        value = value << 8 | next();
    }
    return value;
}

static uint64_t hostile_read64(void *context, uint64_t at)
{
    return hostile_read32(context, at) | (uint64_t)hostile_read32(context, at) << 32;
}

static void hostile_write32(void *context, uint64_t at, uint32_t value)
{
    (void)context;
    (void)value;
    CHECK_OP(at - MODEL_BASE, <, MODEL_REGISTERS);
}

static void hostile_write64(void *context, uint64_t at, uint64_t value)
{
    (void)value;
    hostile_write32(context, at, 0);
}

/* A unit's reports are at most all of its records. */
static void take_faults(struct iommu_unit *unit)
{
    struct iommu_fault fault;

    for (uint32_t i = 0; i < 300 && unit->kind->take_fault(unit, &fault); i++) {
    }
}

static void check_hostile(struct iommu_unit *unit, struct iommu_io *io)
{
    io->read32 = hostile_read32;
    io->read64 = hostile_read64;
    io->write32 = hostile_write32;
    io->write64 = hostile_write64;
    if (unit->kind->open(unit) == STATUS_OK && unit->kind->prepare(unit) == STATUS_OK) {
        (void)unit->kind->start(unit);
        take_faults(unit);
        (void)unit->kind->mute(unit, 0x1234);
    }
}

static void set_up_model(void)
{
    static const uint64_t capabilities[] = {0x0c20000462ULL | 0x20ULL << 24, 0x202ULL | 0x20ULL << 24 | 7ULL << 40};
    uint8_t choice = next();

    model.capabilities = model.amd ? 1u << 6 : capabilities[choice & 1];
    model.extended = 0x1aULL | (choice >> 1 & 1);
    model.coherent = model.amd || (model.extended & 1) != 0;
    if (model.amd) {
        *model_reg(0x30) = model.capabilities;
        *model_reg(0x18) = next() & 5u;
    } else {
        *model_reg(0x00) = 0x10;
        *model_reg(0x08) = model.capabilities;
        *model_reg(0x10) = model.extended;
        *model_reg(0x18) = (uint64_t)(next() & 0x86u) << 56;
        *model_reg(0x80) = *model_reg(0x88) = (uint64_t)(next() & 15u) * 16;
        model.root = MODEL_START + MODEL_BYTES - PAGE_BYTES;
    }
}

static void check_audit(const struct iommu_unit *unit, const bool *has)
{
    static struct audit_devices_finding finding;
    struct audit_device_grant grants[DEVICES];
    const struct audit_span ours = {MODEL_START, MODEL_START + MODEL_BYTES};
    struct audit_unit audited = {.kind = model.amd ? AUDIT_AMDVI : AUDIT_VTD, .table = unit->table, .grants = grants};
    const struct audit_devices_request request = {
        .units = &audited, .unit_count = 1, .window = unit->io->window, .hypervisor = &ours, .hypervisor_count = 1};

    for (uint16_t i = 0; i < DEVICES; i++) {
        if (has[i]) {
            grants[audited.grant_count++] =
                (struct audit_device_grant){0, (uint16_t)(i << 5), true, RANGE, TARGET, PAGE_BYTES};
        }
    }
    CHECK_OP(audit_devices(&request, &finding), ==, STATUS_OK);
}

static void check_orders(struct iommu_unit *unit, struct table_pool *pool)
{
    const struct page_attributes attributes = {.read = true, .write = true, .execute = true, .cache = CACHE_WB};
    bool has[DEVICES] = {false};
    struct page_table tree;

    CHECK_OP(page_table_init(&tree, unit->format, &unit->caps, pool), ==, STATUS_OK);
    CHECK_OP(page_table_map(&tree, RANGE, hpa(TARGET), PAGE_BYTES, attributes, LEVEL_4K, NULL), ==, STATUS_OK);
    unit->io->write_back(NULL, (const void *)(uintptr_t)(unit->io->window + pool->start.value),
                         POOL_PAGES * PAGE_BYTES);
    while (left != 0) {
        uint8_t what = next();
        uint16_t device = what & (DEVICES - 1), id = (uint16_t)(device << 5);
        uint64_t to, address = RANGE + (uint64_t)(next() & 1) * PAGE_BYTES;

        switch (what >> 6) {
        case 0:
            CHECK_OP(unit->kind->attach(unit, id, &tree, 1), ==, STATUS_OK);
            has[device] = true;
            break;
        case 1:
            CHECK_OP((what & 32 ? unit->kind->mute : unit->kind->block)(unit, id), ==, STATUS_OK);
            has[device] = false;
            break;
        case 2:
            CHECK_OP(model_access(id, address, (what & 32) != 0, &to), ==, has[device] && address == RANGE);
            CHECK(!has[device] || address != RANGE || to == TARGET);
            break;
        default:
            take_faults(unit);
            break;
        }
    }
    check_audit(unit, has);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iommu_pages pages = {MODEL_START, MODEL_START + UNIT_PAGES * PAGE_BYTES};
    struct iommu_io io = model_io;
    struct iommu_unit unit = {.io = &io, .pages = &pages, .base = MODEL_BASE, .bytes = MODEL_REGISTERS, .x2apic = true};
    struct table_pool pool;
    uint8_t choice;

    input = data;
    left = size;
    memset(&model, 0, sizeof(model));
    memset(model_memory, 0, UNIT_PAGES * PAGE_BYTES);
    memset(model_seen, 0xff, UNIT_PAGES * PAGE_BYTES);
    memset(model_memory + UNIT_PAGES * PAGE_BYTES, GUARD, PAGE_BYTES);
    memset(model_seen + MODEL_BYTES - PAGE_BYTES, 0, PAGE_BYTES);
    choice = next();
    model.amd = (choice & 1) != 0;
    unit.kind = model.amd ? &iommu_amdvi : &iommu_vtd;
    io.window = (uint64_t)(uintptr_t)model_memory - MODEL_START;
    if ((choice & 2) != 0) {
        model.coherent = true;
        check_hostile(&unit, &io);
    } else {
        set_up_model();
        CHECK_OP(table_pool_init(&pool, io.window, hpa(MODEL_START + (UNIT_PAGES + 1) * PAGE_BYTES), POOL_PAGES), ==,
                 STATUS_OK);
        CHECK_OP(unit.kind->open(&unit), ==, STATUS_OK);
        CHECK_OP(unit.kind->prepare(&unit), ==, STATUS_OK);
        CHECK_OP(unit.kind->start(&unit), ==, STATUS_OK);
        check_orders(&unit, &pool);
    }
    for (uint32_t i = 0; i < PAGE_BYTES; i++) {
        CHECK_OP(model_memory[UNIT_PAGES * PAGE_BYTES + i], ==, GUARD);
    }
    return 0;
}
