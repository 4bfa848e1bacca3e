/* SPDX-License-Identifier: MIT */
/*
 * The audit's promise: trees as the page-table core builds them pass, and one entry changed for the worse, of any kind
 * and at any level, is found and described. Entries are changed here in the raw tables.
 */
#include "hv/plan/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/page_table_arena.h"

#define GUESTS 3u
#define LARGE 0x80ULL
#define EPT_RWX 0x7ULL
#define NPT_RWU 0x7ULL /* P, R/W, U/S: the same bits, as it happens */

/* Guest i has 2 MiB leaves and 4 KiB leaves at 8 GiB + i * 1 GiB, and a 1 GiB leaf at 16 GiB + i * 1 GiB. */
static const struct page_table_format *const table_formats[] = {&page_table_ept4, &page_table_ept5, &page_table_npt4,
                                                                &page_table_npt5};
static const enum audit_format formats[] = {AUDIT_EPT4, AUDIT_EPT5, AUDIT_NPT4, AUDIT_NPT5};

static struct memory_map map;
static struct table_pool pool;
static struct page_table trees[GUESTS];
static struct guest_memory grants[GUESTS];
static struct audit_tree audited[GUESTS];
static struct audit_span ours[2];
static struct audit_request request;
static struct audit_finding finding;

static void set_map(uint64_t start, uint64_t end, enum memory_type type)
{
    assert_int_equal(memory_map_set(&map, start, end, type), STATUS_OK);
}

static void build(unsigned kind)
{
    static const char *const names[GUESTS] = {"alpha", "beta", "gamma"};
    uint64_t window = (uint64_t)(uintptr_t)arena_bytes - ARENA_START;

    map.count = 0;
    set_map(0, MIB, MEMORY_RESERVED);
    set_map(MIB, 2 * GIB, MEMORY_FREE);
    set_map(ARENA_START, ARENA_START + sizeof(arena_bytes), MEMORY_LOADER);
    set_map(0xfec00000, 0xfef00000, MEMORY_MMIO);
    set_map(8 * GIB, 32 * GIB, MEMORY_LOADER);
    set_map(40 * GIB, 41 * GIB, MEMORY_ACPI);
    assert_int_equal(table_pool_init(&pool, window, hpa(ARENA_START), ARENA_PAGES), STATUS_OK);
    for (uint32_t i = 0; i < GUESTS; i++) {
        grants[i] = (struct guest_memory){
            .ranges = {{gpa(0), hpa(16 * GIB + i * GIB), GIB},
                       {gpa(GIB), hpa(8 * GIB + i * GIB), 16 * MIB + 5 * PAGE_BYTES}},
            .range_count = 2,
        };
        assert_int_equal(page_table_init(&trees[i], table_formats[kind], &arena_caps, &pool), STATUS_OK);
        for (uint32_t r = 0; r < 2; r++) {
            assert_int_equal(page_table_map(&trees[i], grants[i].ranges[r].start.value, grants[i].ranges[r].backing,
                                            grants[i].ranges[r].bytes, arena_rwx, LEVEL_1G, NULL),
                             STATUS_OK);
        }
        audited[i] =
            (struct audit_tree){.name = names[i], .format = formats[kind], .root = trees[i].root, .memory = &grants[i]};
    }
    ours[0] = (struct audit_span){ARENA_START, ARENA_START + sizeof(arena_bytes)};
    ours[1] = (struct audit_span){31 * GIB, 32 * GIB};
    request = (struct audit_request){.trees = audited,
                                     .tree_count = GUESTS,
                                     .window = window,
                                     .physical_bits = 46,
                                     .map = &map,
                                     .hypervisor = ours,
                                     .hypervisor_count = 2};
}

/* The entry for an address at a level, in the raw tables. */
static uint64_t *entry_of(uint32_t guest, unsigned kind, uint64_t address, unsigned level)
{
    uint64_t table = trees[guest].root.value;
    unsigned at = kind % 2 == 0 ? 3 : 4;

    for (;; at--) {
        uint64_t *entries = (uint64_t *)(uintptr_t)(request.window + table);
        uint64_t *entry = &entries[address >> (12 + 9 * at) & 511];

        if (at == level) {
            return entry;
        }
        table = *entry & 0xffffffffff000ULL;
    }
}

static void expect_finding(enum audit_violation violation, uint32_t guest, uint64_t gpa_value, uint64_t hpa_value)
{
    assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
    assert_int_equal(finding.violation, violation);
    assert_int_equal(finding.tree, guest);
    assert_int_equal(finding.gpa.value, gpa_value);
    assert_int_equal(finding.hpa.value, hpa_value);
    assert_non_null(strstr(finding.sentence, audited[guest].name));
}

#define DEVICE_GPA 0xf8000000ULL
#define DEVICE_HPA 0x90000000ULL
#define DEVICE_BYTES (3 * PAGE_BYTES)

static const struct page_attributes uncached = {.read = true, .write = true, .user = true, .cache = CACHE_UC};

/* Guest `index` has a device's memory, as the config says. */
static struct guest_range give_device(uint32_t index, uint64_t start)
{
    struct guest_range range = {gpa(DEVICE_GPA), hpa(start), DEVICE_BYTES};

    assert_int_equal(page_table_map(&trees[index], DEVICE_GPA, range.backing, range.bytes, uncached, LEVEL_2M, NULL),
                     STATUS_OK);
    return range;
}

static void a_device_that_was_given_is_reached_and_no_byte_more(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        struct guest_range device;

        build(kind);
        device = give_device(1, DEVICE_HPA);
        expect_finding(AUDIT_REACHES_NOTHING, 1, DEVICE_GPA, DEVICE_HPA);
        audited[1].devices = &device;
        audited[1].device_count = 1;
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        device.bytes -= PAGE_BYTES;
        expect_finding(AUDIT_REACHES_NOTHING, 1, DEVICE_GPA + 2 * PAGE_BYTES, DEVICE_HPA + 2 * PAGE_BYTES);
        device.bytes += PAGE_BYTES;
        audited[2].devices = &device;
        audited[2].device_count = 1;
        expect_finding(AUDIT_DEVICE_SHARED, 2, DEVICE_GPA, DEVICE_HPA);
    }
}

/* Beside each other on either side, and as far as the addresses go. */
static void devices_of_two_guests_that_touch_are_each_ones_own(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct guest_range one, other;

        build(0);
        one = give_device(1, DEVICE_HPA);
        other = give_device(2, kind == 0 ? DEVICE_HPA + DEVICE_BYTES : DEVICE_HPA - DEVICE_BYTES);
        audited[1].devices = &one;
        audited[2].devices = &other;
        audited[1].device_count = audited[2].device_count = 1;
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        one.bytes += kind == 0 ? PAGE_BYTES : 0;
        other.bytes += kind == 0 ? 0 : PAGE_BYTES;
        expect_finding(AUDIT_DEVICE_SHARED, 2, DEVICE_GPA, other.backing.value);
        one.bytes = UINT64_MAX - DEVICE_HPA + 2;
        expect_finding(AUDIT_GRANT_HYPERVISOR, 1, DEVICE_GPA, DEVICE_HPA);
    }
}

static void memory_is_no_device(void **state)
{
    /* RAM, firmware's memory, the hypervisor; and what is a device's: MMIO, nothing, a chipset's reserved range. */
    static const struct {
        uint64_t start;
        enum audit_violation violation;
    } rows[] = {{GIB, AUDIT_DEVICE_MEMORY},         {40 * GIB, AUDIT_DEVICE_MEMORY},
                {31 * GIB, AUDIT_GRANT_HYPERVISOR}, {2 * GIB - PAGE_BYTES, AUDIT_DEVICE_MEMORY},
                {3 * GIB, AUDIT_DEVICE_MEMORY},     {0xfed40000, AUDIT_NONE},
                {0xfeb00000, AUDIT_NONE},           {0xfe000000, AUDIT_NONE},
                {0xffffc000, AUDIT_NONE},           {0xfffff000, AUDIT_DEVICE_MEMORY}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct guest_range device;

        build(0);
        set_map(3 * GIB, 3 * GIB + MIB, MEMORY_RESERVED);
        set_map(0xfe000000, 0xfe010000, MEMORY_RESERVED);
        set_map(0xffffd000, 4 * GIB + 0x10000, MEMORY_RESERVED); /* what lies above 4 GiB is no chipset's */
        device = give_device(0, rows[i].start);
        audited[0].devices = &device;
        audited[0].device_count = 1;
        if (rows[i].violation == AUDIT_NONE) {
            assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        } else {
            expect_finding(rows[i].violation, 0, DEVICE_GPA, rows[i].start);
        }
    }
}

static void trees_of_the_page_table_core_pass(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build(kind);
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        assert_int_equal(finding.violation, AUDIT_NONE);
        assert_int_equal(finding.mapped_bytes, GUESTS * (GIB + 16 * MIB + 5 * PAGE_BYTES));
        assert_int_equal(finding.tables, ARENA_PAGES - pool.free_count);
    }
}

/* Where one changed leaf leads, and what the audit must say about it. */
static const struct {
    unsigned level;
    uint64_t gpa;
    uint64_t hpa;
    enum audit_violation violation;
} strays[] = {
    {0, GIB + 16 * MIB + 0x2000, 9 * GIB, AUDIT_REACHES_GUEST}, /* guest 1 */
    {1, GIB + 4 * MIB, 18 * GIB + 6 * MIB, AUDIT_REACHES_GUEST},
    {2, 0, 18 * GIB, AUDIT_REACHES_GUEST},
    {0, GIB + 16 * MIB, ARENA_START, AUDIT_REACHES_HYPERVISOR},
    {1, GIB, 31 * GIB + 8 * MIB, AUDIT_REACHES_HYPERVISOR},
    {0, GIB + 16 * MIB, 0x1000, AUDIT_REACHES_FIRMWARE},
    {0, GIB + 16 * MIB, 0xfee00000, AUDIT_REACHES_FIRMWARE},
    {2, 0, 40 * GIB, AUDIT_REACHES_FIRMWARE},
    {1, GIB, 50 * GIB, AUDIT_REACHES_NOTHING},
    {1, GIB, 28 * GIB, AUDIT_REACHES_NOTHING},
    {0, GIB + 16 * MIB + 0x4000, 8 * GIB + 16 * MIB + 0x3000, AUDIT_WRONG_PLACE},
    {1, GIB + 2 * MIB, 8 * GIB + 4 * MIB, AUDIT_WRONG_PLACE},
};

static void one_leaf_that_leads_elsewhere_is_found_at_every_level(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        for (size_t i = 0; i < ARRAY_COUNT(strays); i++) {
            uint64_t size = PAGE_BYTES << (9 * strays[i].level);
            uint64_t *entry;

            build(kind);
            entry = entry_of(0, kind, strays[i].gpa, strays[i].level);
            *entry = (*entry & 0xfff) | align_down(strays[i].hpa, size);
            expect_finding(strays[i].violation, 0, strays[i].gpa, align_down(strays[i].hpa, size));
        }
    }
}

static void a_leaf_too_many_is_found(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build(kind);
        *entry_of(2, kind, 2 * GIB, 2) = 20 * GIB | LARGE | (kind < 2 ? EPT_RWX : NPT_RWU);
        expect_finding(AUDIT_REACHES_NOTHING, 2, 2 * GIB, 20 * GIB);
    }
}

static void every_kind_of_access_counts_as_reaching(void **state)
{
    static const uint64_t ept_rights[] = {1, 2, 4, 0x400};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ept_rights); i++) {
        build(0);
        *entry_of(1, 0, 2 * GIB, 2) = 18 * GIB | LARGE | ept_rights[i];
        expect_finding(AUDIT_REACHES_GUEST, 1, 2 * GIB, 18 * GIB);
    }
}

static void a_table_in_guest_memory_is_found_and_not_followed(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build(kind);
        *entry_of(1, kind, 2 * GIB, 2) = (9 * GIB) | 7;
        expect_finding(AUDIT_TABLE_OUTSIDE, 1, 2 * GIB, 9 * GIB);
    }
}

static void tables_that_point_back_end_the_audit(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        uint64_t *top;

        build(kind);
        top = (uint64_t *)(uintptr_t)(request.window + trees[0].root.value);
        for (unsigned i = 1; i < 512; i++) {
            top[i] = trees[0].root.value | 7;
        }
        assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
        assert_int_not_equal(finding.violation, AUDIT_NONE);
    }
}

static void more_tables_than_the_hypervisor_has_pages_end_the_audit(void **state)
{
    uint64_t used;
    uint64_t empty;

    (void)state;
    build(0);
    used = ARENA_PAGES - pool.free_count;
    empty = ARENA_START + used * PAGE_BYTES; /* the next page of the pool, as an empty table */
    memset((void *)(uintptr_t)(request.window + empty), 0, PAGE_BYTES);
    ours[0].end = empty + PAGE_BYTES;
    request.hypervisor_count = 1;
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    *entry_of(0, 0, 512 * GIB, 3) = empty | EPT_RWX;
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    *entry_of(0, 0, 1024 * GIB, 3) = empty | EPT_RWX;
    assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
    assert_int_equal(finding.violation, AUDIT_TREE_TOO_LARGE);
}

static void a_root_outside_the_hypervisor_is_not_read(void **state)
{
    (void)state;
    build(0);
    audited[1].root = hpa(32 * GIB);
    expect_finding(AUDIT_TABLE_OUTSIDE, 1, 0, 32 * GIB);
    audited[1].root = hpa(32 * GIB - 0x800);
    expect_finding(AUDIT_TABLE_OUTSIDE, 1, 0, 32 * GIB - 0x800);
}

static void reserved_bits_are_found(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build(kind);
        *entry_of(0, kind, GIB, 1) |= 1ULL << 20;
        assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
        assert_int_equal(finding.violation, AUDIT_ENTRY_MALFORMED);
        build(kind);
        *entry_of(0, kind, GIB, 1) |= 1ULL << 46;
        assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
        assert_int_equal(finding.violation, AUDIT_ENTRY_MALFORMED);
        build(kind);
        *entry_of(0, kind, 0, 3) |= LARGE;
        assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
        assert_int_equal(finding.violation, AUDIT_ENTRY_MALFORMED);
    }
}

static void grants_are_checked_against_the_map_the_hypervisor_and_each_other(void **state)
{
    (void)state;
    build(0);
    grants[1].ranges[0].backing = hpa(16 * GIB + 4096);
    expect_finding(AUDIT_GRANT_SHARED, 1, 0, 16 * GIB + 4096);
    assert_non_null(strstr(finding.sentence, "alpha"));
    build(0);
    grants[2].ranges[1].backing = grants[2].ranges[0].backing;
    expect_finding(AUDIT_GRANT_SHARED, 2, GIB, 18 * GIB);
    build(0);
    grants[2].ranges[0].backing = hpa(31 * GIB - 4096);
    expect_finding(AUDIT_GRANT_HYPERVISOR, 2, 4096, 31 * GIB);
    build(0);
    set_map(17 * GIB + 64 * MIB, 17 * GIB + 65 * MIB, MEMORY_RESERVED);
    expect_finding(AUDIT_GRANT_NOT_MEMORY, 1, 64 * MIB, 17 * GIB + 64 * MIB);
    build(0);
    grants[2].ranges[0].backing = hpa(64 * GIB);
    expect_finding(AUDIT_GRANT_NOT_MEMORY, 2, 0, 64 * GIB);
    build(0);
    grants[0].ranges[0].bytes = UINT64_MAX - 4095;
    expect_finding(AUDIT_GRANT_NOT_MEMORY, 0, 0, 16 * GIB);
}

#define APIC_GPA 0xfee00000ULL
#define APIC_HPA (31 * GIB + 0x5000)

static void map_apic_page(uint32_t guest, uint64_t bytes, bool execute)
{
    struct page_attributes attributes = arena_rwx;

    attributes.execute = execute;
    assert_int_equal(page_table_map(&trees[guest], APIC_GPA, hpa(APIC_HPA), bytes, attributes, LEVEL_4K, NULL),
                     STATUS_OK);
}

static void an_apic_access_page_is_reached_by_its_guest_only(void **state)
{
    static const struct guest_range apic_page = {{APIC_GPA}, {APIC_HPA}, PAGE_BYTES};
    static const struct guest_range others_page = {{APIC_GPA}, {APIC_HPA + PAGE_BYTES}, PAGE_BYTES};

    (void)state;
    build(0);
    audited[1].apic_page = &apic_page;
    map_apic_page(1, PAGE_BYTES, false);
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    map_apic_page(2, PAGE_BYTES, false);
    expect_finding(AUDIT_REACHES_HYPERVISOR, 2, APIC_GPA, APIC_HPA);
    audited[2].apic_page = &apic_page;
    expect_finding(AUDIT_APIC_PAGE, 2, APIC_GPA, APIC_HPA);
    assert_non_null(strstr(finding.sentence, "has an APIC-access page that is not its own"));
    build(0);
    audited[1].apic_page = &apic_page;
    audited[2].apic_page = &others_page; /* each has one of its own */
    map_apic_page(1, PAGE_BYTES, false);
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
}

static void an_apic_access_page_is_one_page_at_its_place_and_no_code(void **state)
{
    static const struct guest_range wrong[] = {
        {{APIC_GPA + PAGE_BYTES}, {APIC_HPA}, PAGE_BYTES},
        {{APIC_GPA}, {APIC_HPA}, 2 * PAGE_BYTES},
        {{APIC_GPA}, {APIC_HPA + 8}, PAGE_BYTES},
        {{APIC_GPA}, {16 * GIB}, PAGE_BYTES},
    };
    static const struct guest_range right = {{APIC_GPA}, {APIC_HPA}, PAGE_BYTES};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        build(0);
        audited[1].apic_page = &wrong[i];
        expect_finding(AUDIT_APIC_PAGE, 1, wrong[i].start.value, wrong[i].backing.value);
    }
    build(0);
    audited[1].apic_page = &right;
    map_apic_page(1, PAGE_BYTES, true);
    expect_finding(AUDIT_APIC_PAGE, 1, APIC_GPA, APIC_HPA);
    build(0);
    audited[1].apic_page = &right;
    map_apic_page(1, 2 * PAGE_BYTES, false); /* its neighbour, too */
    expect_finding(AUDIT_REACHES_HYPERVISOR, 1, APIC_GPA + PAGE_BYTES, APIC_HPA + PAGE_BYTES);
}

static void an_apic_access_page_holds_no_table(void **state)
{
    struct guest_range page = {{APIC_GPA}, {0}, PAGE_BYTES};

    (void)state;
    build(0);
    page.backing = trees[2].root;
    audited[1].apic_page = &page;
    expect_finding(AUDIT_TABLE_OUTSIDE, 2, 0, page.backing.value);
}

/* ---- memory that guests share ---- */

#define SHARE_GPA 0xdc000000ULL
#define SHARE_HPA (20 * GIB)
#define SHARE_BYTES (4 * MIB)

static struct audit_share shares[GUESTS];

/* Guests 0 and 1 have a piece of 4 MiB, and guest 1 may only read it. */
static void build_shared(unsigned kind)
{
    build(kind);
    for (uint32_t i = 0; i < 2; i++) {
        struct page_attributes attributes = arena_rwx;

        attributes.execute = false;
        attributes.write = i == 0;
        shares[i] = (struct audit_share){{gpa(SHARE_GPA), hpa(SHARE_HPA), SHARE_BYTES}, i == 0};
        audited[i].shares = &shares[i];
        audited[i].share_count = 1;
        assert_int_equal(page_table_map(&trees[i], SHARE_GPA, hpa(SHARE_HPA), SHARE_BYTES, attributes, LEVEL_2M, NULL),
                         STATUS_OK);
    }
}

static void a_declared_share_is_reached_by_those_that_have_it_alone(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build_shared(kind);
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        assert_int_equal(page_table_map(&trees[2], SHARE_GPA, hpa(SHARE_HPA), SHARE_BYTES, arena_rwx, LEVEL_2M, NULL),
                         STATUS_OK);
        expect_finding(AUDIT_REACHES_NOTHING, 2, SHARE_GPA, SHARE_HPA);
        build_shared(kind);
        audited[0].share_count = 0; /* the tree has more than the config */
        expect_finding(AUDIT_REACHES_NOTHING, 0, SHARE_GPA, SHARE_HPA);
        build_shared(kind);
        *entry_of(0, kind, SHARE_GPA + 2 * MIB, 1) += 2 * MIB; /* behind its end */
        expect_finding(AUDIT_REACHES_NOTHING, 0, SHARE_GPA + 2 * MIB, SHARE_HPA + 4 * MIB);
        build_shared(kind);
        *entry_of(0, kind, SHARE_GPA, 1) += 2 * MIB; /* its memory, at another place */
        expect_finding(AUDIT_REACHES_NOTHING, 0, SHARE_GPA, SHARE_HPA + 2 * MIB);
    }
}

/* Guest 0 has a device's registers, 2 MiB in no memory. */
#define REGISTERS_GPA 0xc8000000ULL
#define REGISTERS_HPA 0x7000000000ULL

static struct guest_range registers;

static void build_registers(unsigned kind)
{
    struct page_attributes attributes = arena_rwx;

    build(kind);
    attributes.cache = CACHE_UC;
    registers = (struct guest_range){gpa(REGISTERS_GPA), hpa(REGISTERS_HPA), 2 * MIB};
    audited[0].registers = &registers;
    audited[0].register_count = 1;
    assert_int_equal(
        page_table_map(&trees[0], REGISTERS_GPA, registers.backing, registers.bytes, attributes, LEVEL_2M, NULL),
        STATUS_OK);
}

static void a_devices_registers_are_one_guests_and_no_memory(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build_registers(kind);
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        audited[0].register_count = 0;
        expect_finding(AUDIT_REACHES_NOTHING, 0, REGISTERS_GPA, REGISTERS_HPA);
        build_registers(kind);
        audited[1].registers = &registers; /* another guest's, too */
        audited[1].register_count = 1;
        expect_finding(AUDIT_REGISTERS, 0, REGISTERS_GPA, REGISTERS_HPA);
        audited[1].register_count = 0;
        build_registers(kind);
        registers.backing = audited[1].memory->ranges[0].backing; /* a guest's memory */
        expect_finding(AUDIT_REGISTERS, 0, REGISTERS_GPA, registers.backing.value);
        build_registers(kind);
        registers.backing = hpa(ours[1].start); /* ours */
        expect_finding(AUDIT_REGISTERS, 0, REGISTERS_GPA, registers.backing.value);
        build_registers(kind);
        *entry_of(0, kind, REGISTERS_GPA, 1) += 2 * MIB;
        expect_finding(AUDIT_REACHES_NOTHING, 0, REGISTERS_GPA, REGISTERS_HPA + 2 * MIB);
        audited[0].register_count = 0;
    }
}

static void registers_may_lie_beside_memory_and_other_registers(void **state)
{
    static const uint64_t places[] = {2 * GIB, 8 * GIB - 2 * MIB, REGISTERS_HPA + 2 * MIB, REGISTERS_HPA - 2 * MIB};
    struct guest_range others[2];

    (void)state;
    build_registers(0);
    others[0] = (struct guest_range){gpa(REGISTERS_GPA), hpa(0), 2 * MIB};
    audited[1].registers = others;
    audited[1].register_count = 1;
    for (uint32_t i = 0; i < ARRAY_COUNT(places); i++) {
        others[0].backing = hpa(places[i]);
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    }
    others[1] = registers; /* what is wrong first is not made good by what is right behind it */
    others[0].backing = registers.backing;
    others[1].backing = hpa(REGISTERS_HPA + 2 * MIB);
    audited[1].register_count = 2;
    expect_finding(AUDIT_REGISTERS, 0, REGISTERS_GPA, REGISTERS_HPA);
    audited[1].register_count = 0;
    registers.bytes = UINT64_MAX - REGISTERS_HPA + 1; /* to the end of all addresses, and so over all memory above */
    expect_finding(AUDIT_REGISTERS, 0, REGISTERS_GPA, REGISTERS_HPA);
    audited[0].register_count = 0;
}

static void a_share_to_read_cannot_be_written(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(formats); kind++) {
        build_shared(kind);
        *entry_of(1, kind, SHARE_GPA + 2 * MIB, 1) |= 2; /* the write bit, in both formats */
        expect_finding(AUDIT_SHARE_RIGHTS, 1, SHARE_GPA + 2 * MIB, SHARE_HPA + 2 * MIB);
    }
}

static void a_share_is_no_grant_not_the_hypervisors_and_shared_whole(void **state)
{
    (void)state;
    build_shared(0);
    shares[1].range.backing = hpa(SHARE_HPA + 2 * MIB); /* half of the other's */
    expect_finding(AUDIT_GRANT_SHARED, 0, SHARE_GPA, SHARE_HPA);
    build_shared(0);
    shares[0].range.backing = shares[1].range.backing = hpa(18 * GIB); /* guest 2's */
    expect_finding(AUDIT_GRANT_SHARED, 0, SHARE_GPA, 18 * GIB);
    build_shared(0);
    shares[0].range.backing = hpa(31 * GIB);
    expect_finding(AUDIT_GRANT_HYPERVISOR, 0, SHARE_GPA, 31 * GIB);
    build_shared(0);
    shares[0].range.backing = hpa(40 * GIB);
    expect_finding(AUDIT_GRANT_NOT_MEMORY, 0, SHARE_GPA, 40 * GIB);
    build_shared(0);
    shares[1].range.bytes = 2 * MIB; /* the first half of the other's */
    expect_finding(AUDIT_GRANT_SHARED, 0, SHARE_GPA, SHARE_HPA);
}

static void two_shares_that_touch_are_two(void **state)
{
    struct audit_share more[2];

    (void)state;
    build_shared(0);
    more[0] = shares[1];
    more[1] = (struct audit_share){{gpa(SHARE_GPA + 64 * MIB), hpa(SHARE_HPA + SHARE_BYTES), SHARE_BYTES}, true};
    audited[1].shares = more;
    audited[1].share_count = 2;
    assert_int_equal(
        page_table_map(&trees[1], SHARE_GPA + 64 * MIB, more[1].range.backing, SHARE_BYTES, arena_rwx, LEVEL_2M, NULL),
        STATUS_OK);
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    more[1].range.backing = hpa(SHARE_HPA + SHARE_BYTES - PAGE_BYTES);
    expect_finding(AUDIT_GRANT_SHARED, 0, SHARE_GPA, SHARE_HPA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_of_the_page_table_core_pass),
        cmocka_unit_test(a_device_that_was_given_is_reached_and_no_byte_more),
        cmocka_unit_test(devices_of_two_guests_that_touch_are_each_ones_own),
        cmocka_unit_test(memory_is_no_device),
        cmocka_unit_test(one_leaf_that_leads_elsewhere_is_found_at_every_level),
        cmocka_unit_test(a_leaf_too_many_is_found),
        cmocka_unit_test(every_kind_of_access_counts_as_reaching),
        cmocka_unit_test(a_table_in_guest_memory_is_found_and_not_followed),
        cmocka_unit_test(tables_that_point_back_end_the_audit),
        cmocka_unit_test(more_tables_than_the_hypervisor_has_pages_end_the_audit),
        cmocka_unit_test(a_root_outside_the_hypervisor_is_not_read),
        cmocka_unit_test(reserved_bits_are_found),
        cmocka_unit_test(grants_are_checked_against_the_map_the_hypervisor_and_each_other),
        cmocka_unit_test(a_declared_share_is_reached_by_those_that_have_it_alone),
        cmocka_unit_test(a_devices_registers_are_one_guests_and_no_memory),
        cmocka_unit_test(registers_may_lie_beside_memory_and_other_registers),
        cmocka_unit_test(two_shares_that_touch_are_two),
        cmocka_unit_test(a_share_to_read_cannot_be_written),
        cmocka_unit_test(a_share_is_no_grant_not_the_hypervisors_and_shared_whole),
        cmocka_unit_test(an_apic_access_page_is_reached_by_its_guest_only),
        cmocka_unit_test(an_apic_access_page_is_one_page_at_its_place_and_no_code),
        cmocka_unit_test(an_apic_access_page_holds_no_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
