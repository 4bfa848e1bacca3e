/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/iommu/iommu_unit.h, of both vendors against a model of the unit: from the take-over on every device is
 * blocked and every interrupt is; a device that is attached reaches its tree and nothing else; what the firmware left
 * on is taken over without a moment in which it is off; what is refused is reported; and a unit that does not answer or
 * lacks something is refused in bounded time. The audit agrees with the model at each step.
 */
#include "tests/unit/iommu_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "hv/plan/audit_devices.h"

#define POOL_PAGES 64u
#define DEVICE 0x0310u
#define OTHER 0x0311u
#define RANGE 0x7f000000ULL
#define RANGE_BYTES (3 * MIB)
#define TARGET 0x12345000ULL
#define CAP_SMALL (0x462ULL | 0xcULL << 32 | 0x20ULL << 24) /* 4 levels, 2 MiB, 1 GiB; fault records at 0x200 */
#define CAP_THREE (0x202ULL | 0x20ULL << 24 | 7ULL << 40)   /* 3 levels, 4 KiB only, 8 fault records */
#define ECAP_ALL 0x1bULL                                    /* coherent, queue, remapping, x2APIC */

static struct iommu_unit unit;
static struct iommu_pages pages;
static struct iommu_io io;
static struct table_pool pool;

/* Of which kind the test is. */
struct kind {
    const struct iommu_kind *kind;
    uint64_t capabilities, extended;
};
static const struct kind kinds[] = {
    {&iommu_vtd, CAP_SMALL, ECAP_ALL},
    {&iommu_vtd, CAP_THREE, ECAP_ALL & ~1ULL},            /* does not look into caches */
    {&iommu_vtd, CAP_SMALL | 1u << 4, ECAP_ALL & ~0x18u}, /* has a write buffer, no remapping */
    {&iommu_amdvi, 1u << 6, 0},
    {&iommu_amdvi, 0, 0},                        /* cannot forget everything at once */
    {&iommu_vtd, CAP_SMALL, ECAP_ALL | 1u << 7}, /* has snoop control */
};

static void reset(const struct kind *kind)
{
    memset(&model, 0, sizeof(model));
    memset(model_memory, 0, sizeof(model_memory));
    memset(model_seen, 0xff, sizeof(model_seen)); /* what is not written back is garbage */
    model.amd = kind->kind == &iommu_amdvi;
    model.coherent = model.amd || (kind->extended & 1) != 0;
    model.capabilities = kind->capabilities;
    model.extended = kind->extended;
    if (model.amd) {
        *model_reg(0x30) = kind->capabilities;
    } else {
        *model_reg(0x00) = 0x10;
        *model_reg(0x08) = kind->capabilities;
        *model_reg(0x10) = kind->extended;
    }
    io = model_io;
    io.window = (uint64_t)(uintptr_t)model_memory - MODEL_START;
    pages = (struct iommu_pages){MODEL_START, MODEL_START + MODEL_BYTES - POOL_PAGES * PAGE_BYTES};
    unit = (struct iommu_unit){
        .io = &io, .kind = kind->kind, .pages = &pages, .base = MODEL_BASE, .bytes = MODEL_REGISTERS, .x2apic = true};
    assert_int_equal(table_pool_init(&pool, io.window, hpa(pages.end), POOL_PAGES), STATUS_OK);
}

static void start(const struct kind *kind)
{
    reset(kind);
    assert_int_equal(unit.kind->open(&unit), STATUS_OK);
    assert_int_equal(unit.kind->prepare(&unit), STATUS_OK);
    assert_int_equal(unit.kind->start(&unit), STATUS_OK);
}

static struct audit_device_vectors let; /* what the audit is told of interrupts */
static uint32_t let_count;
static struct audit_devices_finding finding;

static enum status audit(const struct audit_device_grant *grants, uint32_t count)
{
    const struct audit_span ours = {MODEL_START, MODEL_START + MODEL_BYTES};
    const struct audit_unit units = {.kind = model.amd ? AUDIT_AMDVI : AUDIT_VTD,
                                     .table = unit.table,
                                     .vectors = unit.interrupts ? unit.vectors : 0,
                                     .grants = grants,
                                     .grant_count = count,
                                     .let = &let,
                                     .let_count = let_count};
    const struct audit_devices_request request = {
        .units = &units, .unit_count = 1, .window = io.window, .hypervisor = &ours, .hypervisor_count = 1};

    return audit_devices(&request, &finding);
}

static bool reaches(uint16_t device, uint64_t address, bool write)
{
    uint64_t to;

    return model_access(device, address, write, &to);
}

static void expect_fault(uint16_t device, uint64_t address, bool write)
{
    struct iommu_fault fault;

    assert_true(unit.kind->take_fault(&unit, &fault));
    assert_int_equal(fault.device_id, device);
    assert_int_equal(fault.address & ~0xfffULL, address);
    assert_int_equal(fault.write, write);
    assert_false(fault.interrupt);
    assert_false(unit.kind->take_fault(&unit, &fault));
}

#define FOR_EACH_KIND(name)                                 \
    static void name##_of(const struct kind *kind);         \
    static void name(void **state)                          \
    {                                                       \
        (void)state;                                        \
        for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) { \
            name##_of(&kinds[i]);                           \
        }                                                   \
    }                                                       \
    static void name##_of(const struct kind *kind)

FOR_EACH_KIND(snoops_are_forced_where_the_unit_can)
{
    start(kind);
    assert_int_equal(unit.snooping != NULL, model.amd || (kind->extended & 1u << 7) != 0);
}

FOR_EACH_KIND(every_device_is_blocked)
{
    start(kind);
    for (uint32_t device = 0; device <= UINT16_MAX; device += 13) {
        assert_false(reaches((uint16_t)device, TARGET, (device & 1) != 0));
        expect_fault((uint16_t)device, TARGET, (device & 1) != 0);
    }
    assert_int_equal(audit(NULL, 0), STATUS_OK);
}

FOR_EACH_KIND(every_interrupt_is_blocked)
{
    struct iommu_fault fault;

    start(kind);
    if (!unit.interrupts) {
        return;
    }
    assert_false(model_interrupt(DEVICE, 0xfee00000));
    assert_false(model_interrupt(DEVICE, 0xfee00010));
    assert_true(unit.kind->take_fault(&unit, &fault));
    assert_true(fault.interrupt);
    assert_int_equal(fault.device_id, DEVICE);
}

/* What the unit had of the firmware translates until ours does. */
FOR_EACH_KIND(a_unit_that_was_on_is_never_off)
{
    reset(kind);
    if (model.amd) {
        *model_reg(0x18) = 1 | 4 | 1u << 12;
        *model_reg(0x2020) = 1u << 3 | 1u << 4;
        *model_reg(0x08) = MODEL_START + MODEL_BYTES - PAGE_BYTES;
        *model_reg(0x00) = MODEL_START; /* every entry passes */
    } else {
        *model_reg(0x18) = (uint64_t)(1u << 31 | 1u << 26) << 32;
        *model_reg(0x90) = MODEL_START + MODEL_BYTES - PAGE_BYTES;
        *model_reg(0x80) = *model_reg(0x88) = 0x40;
        model.root = MODEL_START;
        memset(model_seen, 0, PAGE_BYTES);
    }
    (void)reaches(DEVICE, TARGET, true); /* it remembers */
    assert_int_equal(unit.kind->open(&unit), STATUS_OK);
    assert_true(unit.was_on);
    pages.next += 16 * PAGE_BYTES;
    assert_int_equal(unit.kind->prepare(&unit), STATUS_OK);
    assert_int_equal(unit.kind->start(&unit), STATUS_OK);
    assert_int_equal(model.translation_was_off, 0);
    assert_false(reaches(DEVICE, TARGET, true));
}

static void make_tree_of(struct page_table *tree, uint64_t to, bool write)
{
    const struct page_attributes attributes = {.read = true, .write = write, .execute = true, .cache = CACHE_WB};

    assert_int_equal(page_table_init(tree, unit.format, &unit.caps, &pool), STATUS_OK);
    assert_int_equal(page_table_map(tree, RANGE, hpa(to), RANGE_BYTES, attributes, unit.caps.largest_leaf, NULL),
                     STATUS_OK);
    io.write_back(NULL, (const void *)(uintptr_t)(io.window + pool.start.value), POOL_PAGES * PAGE_BYTES);
}

static void make_tree(struct page_table *tree, uint64_t to)
{
    make_tree_of(tree, to, true);
}

FOR_EACH_KIND(an_attached_device_reaches_its_tree_alone)
{
    const struct audit_device_grant grants[] = {{0, DEVICE, true, RANGE, TARGET & ~(2 * MIB - 1), RANGE_BYTES}};
    struct page_table tree;
    uint64_t to;

    start(kind);
    (void)reaches(DEVICE, RANGE, true); /* it remembers that there is nothing */
    make_tree(&tree, grants[0].backing);
    assert_int_equal(unit.kind->attach(&unit, DEVICE, &tree, 1), STATUS_OK);
    for (uint64_t at = 0; at < RANGE_BYTES; at += 0x1f000) {
        assert_true(model_access(DEVICE, RANGE + at, true, &to));
        assert_int_equal(to, grants[0].backing + at);
    }
    assert_false(reaches(DEVICE, RANGE - 1, false));
    assert_false(reaches(DEVICE, RANGE + RANGE_BYTES, true));
    assert_false(reaches(OTHER, RANGE, true));
    assert_int_equal(audit(grants, 1), STATUS_OK);
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    assert_int_equal(unit.kind->block(&unit, DEVICE), STATUS_OK);
    assert_false(reaches(DEVICE, RANGE, true));
    assert_int_equal(audit(NULL, 0), STATUS_OK);
}

#define MESSAGES 5u

static void let_of(const struct iommu_vectors *vectors)
{
    let = (struct audit_device_vectors){.device_id = vectors->device_id,
                                        .first = vectors->first,
                                        .count = vectors->count,
                                        .table = vectors->table,
                                        .x2apic = true};
    for (uint32_t n = 0; n < vectors->count; n++) {
        let.to[n].apic_id = vectors->to[n].apic_id;
        let.to[n].vector = vectors->to[n].vector;
        let.to[n].level = vectors->to[n].level;
    }
}

FOR_EACH_KIND(a_devices_messages_are_the_vectors_that_it_was_given)
{
    struct iommu_vectors first = {.device_id = OTHER, .count = 3}, vectors = {.device_id = DEVICE, .count = MESSAGES};
    uint64_t address;
    uint32_t data, cpu;
    uint8_t vector;

    start(kind);
    if (!unit.interrupts) {
        return;
    }
    assert_int_equal(unit.kind->reserve(&unit, &first), STATUS_OK);
    assert_int_equal(unit.kind->reserve(&unit, &vectors), STATUS_OK);
    for (uint32_t n = 0; n < MESSAGES; n++) {
        vectors.to[n].vector = (uint8_t)(0x40 + n);
        vectors.to[n].apic_id = n + 2;
    }
    assert_int_equal(unit.kind->set_vectors(&unit, &vectors, true), STATUS_OK);
    for (uint32_t n = 0; n < MESSAGES; n++) {
        unit.kind->message(&vectors, n, &address, &data);
        assert_int_equal(address & 0xfff00000, 0xfee00000);
        assert_true(model_message(DEVICE, address, data, &vector, &cpu));
        assert_int_equal(vector, 0x40 + n);
        assert_int_equal(cpu, n + 2);
        assert_false(model_message(OTHER, address, data, &vector, &cpu)); /* another device cannot use them */
    }
    unit.kind->message(&first, 0, &address, &data);
    assert_false(model_message(OTHER, address, data, &vector, &cpu)); /* not let through yet */
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    let_of(&vectors);
    let_count = 1;
    assert_int_equal(audit(NULL, 0), STATUS_OK);
    let.to[3].vector++;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    let.to[3].vector--;
    let.to[4].apic_id = 1;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    let_of(&vectors);
    let.device_id = OTHER;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    let_count = 0;
    assert_int_equal(unit.kind->set_vectors(&unit, &vectors, false), STATUS_OK);
    unit.kind->message(&vectors, 0, &address, &data);
    assert_false(model_message(DEVICE, address, data, &vector, &cpu));
    assert_int_equal(audit(NULL, 0), STATUS_OK);
}

/* An I/O APIC sends what its entry says as a message: VT-d 5.1.5.1, AMD-Vi 2.2.5. */
static bool line_reaches(uint64_t entry, uint8_t *vector, uint32_t *cpu)
{
    uint64_t address = 0xfee00000 | (entry >> 48 & 0xffff) << 4;

    return model_message(DEVICE, address, model.amd ? (uint32_t)entry & 0x7ff : 0, vector, cpu);
}

FOR_EACH_KIND(a_line_is_the_vector_that_it_was_given)
{
    struct iommu_vectors lines = {.device_id = DEVICE, .count = IOMMU_VECTORS_MAX};
    uint32_t cpu;
    uint8_t vector;

    start(kind);
    if (!unit.interrupts) {
        return;
    }
    assert_int_equal(unit.kind->reserve(&unit, &lines), STATUS_OK);
    for (lines.count = 0; lines.count < 3;) {
        uint32_t n = lines.count++;

        lines.to[n].vector = (uint8_t)(0x30 + n);
        lines.to[n].apic_id = n + 1;
        lines.to[n].level = n != 1;
        assert_int_equal(unit.kind->set_vectors(&unit, &lines, true), STATUS_OK);
        assert_true(line_reaches(unit.kind->line(&lines, n), &vector, &cpu));
        assert_int_equal(vector, 0x30 + n);
        assert_int_equal(cpu, n + 1);
        assert_false(line_reaches(unit.kind->line(&lines, n + 1), &vector, &cpu)); /* not opened yet */
    }
    let_of(&lines);
    let_count = 1;
    assert_int_equal(audit(NULL, 0), STATUS_OK);
    let.to[1].level = true;
    assert_int_equal(audit(NULL, 0), model.amd ? STATUS_OK : STATUS_DENIED);
    let_count = 0;
}

FOR_EACH_KIND(no_more_messages_than_there_is_room_for)
{
    struct iommu_vectors vectors = {.device_id = DEVICE, .count = IOMMU_VECTORS_MAX};
    enum status status = STATUS_OK;

    start(kind);
    if (!unit.interrupts) {
        return;
    }
    for (uint32_t i = 0; i < 1000000 && status == STATUS_OK; i++) {
        status = unit.kind->reserve(&unit, &vectors);
    }
    assert_int_not_equal(status, STATUS_OK);
}

FOR_EACH_KIND(a_muted_device_is_blocked_and_silent)
{
    struct iommu_fault fault;
    struct page_table tree;

    start(kind);
    make_tree(&tree, TARGET & ~(2 * MIB - 1));
    assert_int_equal(unit.kind->attach(&unit, DEVICE, &tree, 1), STATUS_OK);
    assert_int_equal(unit.kind->mute(&unit, DEVICE), STATUS_OK);
    assert_false(reaches(DEVICE, RANGE, true));
    assert_false(unit.kind->take_fault(&unit, &fault));
    assert_false(reaches(OTHER, RANGE, true));
    assert_true(unit.kind->take_fault(&unit, &fault));
}

/* More reports than there is room for: what is lost is lost, and the unit goes on to report. */
FOR_EACH_KIND(an_overflow_of_reports_ends)
{
    struct iommu_fault fault;
    uint32_t taken = 0;

    start(kind);
    for (uint32_t i = 0; i < 1000; i++) {
        (void)reaches(DEVICE, TARGET + i * PAGE_BYTES, true);
    }
    while (unit.kind->take_fault(&unit, &fault)) {
        taken++;
    }
    assert_in_range(taken, 1, 255);
    (void)reaches(OTHER, TARGET, false);
    expect_fault(OTHER, TARGET, false);
}

FOR_EACH_KIND(a_unit_that_does_not_answer_is_refused)
{
    reset(kind);
    model.dead = true;
    assert_int_equal(unit.kind->open(&unit), STATUS_UNSUPPORTED);
    assert_non_null(strstr(unit.problem, "do not answer"));
    reset(kind);
    assert_int_equal(unit.kind->open(&unit), STATUS_OK);
    assert_int_equal(unit.kind->prepare(&unit), STATUS_OK);
    model.dead = true; /* from then on every bit reads as 1, and no command is done */
    assert_int_equal(unit.kind->start(&unit), STATUS_BUSY);
    assert_false(unit.started);
    assert_true(model.waited_us <= 2 * IOMMU_WAIT_US);
    reset(kind);
    pages.end = pages.next + 2 * PAGE_BYTES;
    assert_int_equal(unit.kind->open(&unit), STATUS_OK);
    assert_int_equal(unit.kind->prepare(&unit), STATUS_NO_MEMORY);
}

static void what_a_unit_lacks_is_said(void **state)
{
    static const struct {
        struct kind kind;
        const char *words;
    } rows[] = {
        {{&iommu_vtd, CAP_SMALL, ECAP_ALL & ~2ULL}, "no queued invalidation"},
        {{&iommu_vtd, CAP_SMALL & ~0x400ULL, ECAP_ALL}, "no page tables"},
        {{&iommu_vtd, CAP_SMALL | 0x3ffULL << 24 | 0xffULL << 40, ECAP_ALL}, "fault records lie outside"},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        reset(&rows[i].kind);
        unit.bytes = PAGE_BYTES;
        assert_int_equal(unit.kind->open(&unit), STATUS_UNSUPPORTED);
        assert_non_null(strstr(unit.problem, rows[i].words));
    }
    reset(&kinds[0]); /* without entries for x2APIC its interrupts cannot be remapped */
    *model_reg(0x10) = ECAP_ALL & ~0x10ULL;
    assert_int_equal(unit.kind->open(&unit), STATUS_OK);
    assert_false(unit.interrupts);
}

/* Words that real machines' boot logs show. */
static void real_units_are_understood(void **state)
{
    static const struct {
        uint64_t capabilities, extended;
        bool coherent, interrupts;
        enum page_level largest;
        uint16_t domains;
    } rows[] = {
        {0x1c0000c40660462, 0x29a00f0505e, false, true, LEVEL_1G, 255}, /* a notebook's screen, 2022 */
        {0xd2008c40660462, 0xf050da, false, true, LEVEL_1G, 255},       /* and the rest of it */
        {0xc0000020e60262, 0xf0101a, false, true, LEVEL_4K, 255},       /* 2012 */
        {0x8d2008c10ef0466, 0xf0205b, true, true, LEVEL_1G, 65535},     /* a workstation */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct kind kind = {&iommu_vtd, rows[i].capabilities, rows[i].extended};

        reset(&kind);
        assert_int_equal(unit.kind->open(&unit), STATUS_OK);
        assert_int_equal(unit.coherent, rows[i].coherent);
        assert_int_equal(unit.interrupts, rows[i].interrupts);
        assert_int_equal(unit.caps.largest_leaf, rows[i].largest);
        assert_int_equal(unit.domains, rows[i].domains);
    }
}

/* Anything done in any order: the model and a list of what is attached agree at every step. */
FOR_EACH_KIND(any_order_keeps_the_promise)
{
    struct page_table trees[2];
    uint8_t has[8] = {0};
    uint32_t seed = 1;

    start(kind);
    make_tree(&trees[0], 64 * MIB);
    make_tree(&trees[1], 128 * MIB);
    for (uint32_t step = 0; step < 200; step++) {
        uint16_t device;
        uint64_t to;

        seed = seed * 1103515245u + 12345u;
        device = (uint16_t)(seed >> 16 & 7);
        switch (seed >> 24 & 3) {
        case 0:
            assert_int_equal(unit.kind->block(&unit, (uint16_t)(device << 3)), STATUS_OK);
            has[device] = 0;
            break;
        case 1:
        case 2:
            has[device] = (uint8_t)(1 + (seed >> 28 & 1));
            assert_int_equal(unit.kind->attach(&unit, (uint16_t)(device << 3), &trees[has[device] - 1], has[device]),
                             STATUS_OK);
            break;
        default:
            break;
        }
        for (uint16_t i = 0; i < 8; i++) {
            bool reached = model_access((uint16_t)(i << 3), RANGE + 5 * PAGE_BYTES, (step & 1) != 0, &to);

            assert_int_equal(reached, has[i] != 0);
            assert_true(!reached || to == has[i] * 64 * MIB + 5 * PAGE_BYTES);
        }
    }
}

/* Each way in which a table can be wrong is found by the audit. */
static void the_audit_finds_every_hole(void **state)
{
    uint64_t *words;

    (void)state;
    start(&kinds[3]);
    words = (uint64_t *)(uintptr_t)(io.window + unit.table) + 4 * 777;
    words[0] &= ~1ULL; /* not valid: passes */
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[3]);
    words[2] = 0;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[3]);
    words[2] |= 1ULL << 60;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[3]);
    words[0] = 3 | 3ULL << 61; /* no tree, all rights */
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[3]);
    words[0] = (words[0] & ~0x000ffffffffff000ULL) | 0x1000;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[3]);
    words = (uint64_t *)(uintptr_t)(io.window + unit.table);
    words[0] = 3; /* blocked without a tree: no pattern for those behind it */
    assert_int_equal(audit(NULL, 0), STATUS_OK);
    words[4] = words[6] = 0;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[3]);
    words[4 * 65535] = 0; /* the last one */
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[0]);
    words = (uint64_t *)(uintptr_t)(io.window + unit.vectors) + 2 * 99;
    words[0] = 1;
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[0]);
    words = (uint64_t *)(uintptr_t)(io.window + unit.table);
    words[0] = 0x1000 | 1; /* contexts that are not ours */
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
    start(&kinds[0]);
    assert_int_equal(unit.kind->block(&unit, DEVICE), STATUS_OK);
    words = (uint64_t *)(uintptr_t)(io.window + (words[2 * (DEVICE >> 8)] & ~0xfffULL)) + 2 * (DEVICE & 0xff);
    words[0] = 1 | 2u << 2; /* passes without translation */
    assert_int_equal(audit(NULL, 0), STATUS_DENIED);
}

static void expect_hole(const struct audit_device_grant *grants, uint32_t count, const char *words)
{
    assert_int_equal(audit(grants, count), STATUS_DENIED);
    if (strstr(finding.sentence, words) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", words, finding.sentence);
    }
}

static const struct audit_device_grant whole_grant = {0, DEVICE, true, RANGE, TARGET & ~(2 * MIB - 1), RANGE_BYTES};

/* With a tree for DEVICE, as the grant says. */
static void start_attached(const struct kind *kind, struct page_table *tree, bool write)
{
    start(kind);
    make_tree_of(tree, whole_grant.backing, write);
    assert_int_equal(unit.kind->attach(&unit, DEVICE, tree, 1), STATUS_OK);
}

FOR_EACH_KIND(each_word_of_a_grant_counts)
{
    struct audit_device_grant grants[2] = {whole_grant, whole_grant};
    struct page_table tree;

    start_attached(kind, &tree, true);
    for (uint32_t wrong = 0; wrong < 8; wrong++) {
        struct audit_device_grant *grant = &grants[0];

        *grant = whole_grant;
        grant->segment += wrong == 0;
        grant->device_id = wrong == 1 ? OTHER : DEVICE;
        grant->start += wrong == 2 ? PAGE_BYTES : 0;
        grant->bytes -= wrong == 3 ? PAGE_BYTES : wrong == 4 ? RANGE_BYTES - MIB : 0;
        grant->backing += wrong == 5 ? PAGE_BYTES : 0;
        grant->write = wrong != 6;
        if (wrong == 7) {
            assert_int_equal(audit(grants, 1), STATUS_OK);
        } else {
            expect_hole(grants, 1, "Device 0000:03:02.0 can write to");
        }
        assert_int_equal(audit(grants, 2), STATUS_OK); /* another one says it */
    }
    assert_int_equal(finding.let_through, 1);
    start_attached(kind, &tree, false);
    grants[0].write = false;
    assert_int_equal(audit(grants, 1), STATUS_OK);
    assert_int_equal(audit(&whole_grant, 1), STATUS_OK);
    expect_hole(NULL, 0, "Device 0000:03:02.0 can read");
}

/* A word of a tree is other than it was, and the unit reads it again. */
static void change_word(uint64_t at, uint64_t clear, uint64_t set)
{
    uint64_t *word = unit_words(&unit, at);

    *word = (*word & ~clear) | set;
    io.write_back(NULL, word, 8);
    assert_int_equal(unit.kind->flush(&unit), STATUS_OK);
}

#define LINK_RIGHTS (model.amd ? 3ULL << 61 : 3ULL)
#define LINK_LEVEL (7ULL << 9) /* AMD-Vi: of the table that it leads to */

static uint64_t place_of(const struct page_table *tree, uint64_t address, enum page_level level)
{
    struct page_entry entry;

    assert_int_equal(page_table_walk(tree, address, level, &entry), STATUS_OK);
    assert_int_equal(entry.level, level);
    return entry.at.value;
}

FOR_EACH_KIND(what_is_behind_an_entry_without_rights_is_not_reached)
{
    struct page_table tree;

    start_attached(kind, &tree, true);
    assert_true(reaches(DEVICE, RANGE, true));
    change_word(place_of(&tree, RANGE, LEVEL_1G), LINK_RIGHTS, 0);
    assert_false(reaches(DEVICE, RANGE, false));
    assert_int_equal(audit(NULL, 0), STATUS_OK);
}

FOR_EACH_KIND(the_audit_follows_no_link_that_leads_astray)
{
    struct page_table tree;
    uint64_t top, last;

    start_attached(kind, &tree, true);
    top = place_of(&tree, RANGE, LEVEL_1G);
    last = place_of(&tree, RANGE + 2 * MIB, LEVEL_4K);
    assert_int_equal(audit(&whole_grant, 1), STATUS_OK);
    change_word(top, 0xffffffffff000, MODEL_START + MODEL_BYTES);
    expect_hole(&whole_grant, 1, "a table at 0x40800000, outside");
    if (model.amd) {
        start_attached(kind, &tree, true);
        change_word(top, LINK_LEVEL, 1 << 9); /* a level is left out */
        expect_hole(&whole_grant, 1, "at level 2, which leads astray");
        start_attached(kind, &tree, true);
        change_word(last, LINK_LEVEL, 1 << 9); /* and there is none below */
        expect_hole(&whole_grant, 1, "at level 0, which leads astray");
    }
}

static void the_audit_knows_no_leaf_of_512_gib(void **state)
{
    struct page_table tree;

    (void)state;
    start_attached(&kinds[0], &tree, true);
    change_word(tree.root.value, 0, 1u << 7);
    expect_hole(&whole_grant, 1, "a leaf at level 3");
    start_attached(&kinds[3], &tree, true);
    change_word(tree.root.value, LINK_LEVEL, 0);
    expect_hole(&whole_grant, 1, "a leaf at level 3");
}

static uint64_t *device_words(uint16_t device_id)
{
    return unit_words(&unit, unit.table) + 4u * device_id;
}

static void a_tree_of_a_height_that_there_is_not_is_not_read(void **state)
{
    (void)state;
    start(&kinds[3]);
    device_words(DEVICE)[0] = (device_words(DEVICE)[0] & ~LINK_LEVEL) | 1u << 9;
    expect_hole(NULL, 0, "a tree of 1 levels");
    device_words(DEVICE)[0] = (device_words(DEVICE)[0] & ~LINK_LEVEL) | 6u << 9;
    expect_hole(NULL, 0, "a tree of 6 levels");
}

/* Address 0 is a place as any other. */
static void a_tree_at_0_is_not_the_one_that_maps_nothing(void **state)
{
    (void)state;
    start(&kinds[3]);
    device_words(0)[0] = 3 | 4u << 9 | 3ULL << 61;
    expect_hole(NULL, 0, "a table at 0x0, outside");
}

/* Three tables that are 262144 by the ways that lead to them. */
static void tables_that_are_reached_too_often_end_the_audit(void **state)
{
    struct page_table tree;
    uint64_t at;

    (void)state;
    start_attached(&kinds[0], &tree, true);
    at = pages.next;
    change_word(tree.root.value, 0xffffffffff000, at);
    for (uint32_t i = 0; i < 512; i++) {
        unit_words(&unit, at)[i] = (at + PAGE_BYTES) | 3;
        unit_words(&unit, at + PAGE_BYTES)[i] = (at + 2 * PAGE_BYTES) | 3;
        unit_words(&unit, at + 2 * PAGE_BYTES)[i] = 0;
    }
    expect_hole(&whole_grant, 1, "more tables than there can be");
}

FOR_EACH_KIND(tables_of_a_unit_lie_in_our_memory)
{
    uint64_t table;

    start(kind);
    table = unit.table;
    unit.table = MODEL_START - PAGE_BYTES;
    expect_hole(NULL, 0, "a table at 0x3ffff000, outside");
    unit.table = MODEL_START + MODEL_BYTES;
    expect_hole(NULL, 0, "a table at 0x40800000, outside");
    if (model.amd) { /* it has more than a page */
        unit.table = MODEL_START + MODEL_BYTES - PAGE_BYTES;
        expect_hole(NULL, 0, "a table at 0x407ff000, outside");
    } else if (unit.interrupts) {
        unit.table = table;
        unit.vectors = MODEL_START + MODEL_BYTES;
        expect_hole(NULL, 0, "a table at 0x40800000, outside");
    }
}

/* A device that neither reads nor writes has a tree all the same: it is looked at, and is no pattern for others. */
static void a_tree_of_a_device_without_rights_is_its_own(void **state)
{
    struct page_table tree;

    (void)state;
    start_attached(&kinds[3], &tree, true);
    device_words(DEVICE)[0] &= ~(3ULL << 61);
    assert_int_equal(audit(&whole_grant, 1), STATUS_OK);
    assert_int_equal(finding.let_through, 0);
    expect_hole(NULL, 0, "Device 0000:03:02.0 can write to");
    memcpy(device_words(OTHER), device_words(DEVICE), 32);
    expect_hole(&whole_grant, 1, "Device 0000:03:02.1 can write to");
}

static void the_first_unit_with_a_hole_is_the_one_that_is_said(void **state)
{
    const struct audit_span ours = {MODEL_START, MODEL_START + MODEL_BYTES};
    struct audit_unit units[2] = {{.kind = AUDIT_VTD}, {.kind = AUDIT_VTD, .segment = 1}};
    struct audit_devices_request request = {
        .units = units, .unit_count = 2, .hypervisor = &ours, .hypervisor_count = 1};

    (void)state;
    for (uint32_t bad = 0; bad < 4; bad++) {
        start(&kinds[0]);
        request.window = io.window;
        units[0].table = (bad & 1) != 0 ? 0 : unit.table;
        units[1].table = (bad & 2) != 0 ? 0 : unit.table;
        assert_int_equal(audit_devices(&request, &finding), bad == 0 ? STATUS_OK : STATUS_DENIED);
        assert_true(bad == 0 || strstr(finding.sentence, bad == 2 ? "Device 0001:" : "Device 0000:") != NULL);
    }
}

/* The device's messages, and what the audit is told of them. */
static void start_with_messages(const struct kind *kind, bool x2apic)
{
    struct iommu_vectors vectors = {.device_id = DEVICE, .count = MESSAGES};

    reset(kind);
    unit.x2apic = x2apic;
    assert_int_equal(unit.kind->open(&unit), STATUS_OK);
    assert_int_equal(unit.kind->prepare(&unit), STATUS_OK);
    assert_int_equal(unit.kind->start(&unit), STATUS_OK);
    assert_true(unit.interrupts);
    assert_int_equal(unit.kind->reserve(&unit, &vectors), STATUS_OK);
    for (uint32_t n = 0; n < MESSAGES; n++) {
        vectors.to[n].vector = (uint8_t)(0x40 + n);
        vectors.to[n].apic_id = n + 2;
    }
    assert_int_equal(unit.kind->set_vectors(&unit, &vectors, true), STATUS_OK);
    let_of(&vectors);
    let.x2apic = x2apic;
    let_count = 1;
    assert_int_equal(audit(NULL, 0), STATUS_OK);
}

static void entries_for_x2apic_and_for_xapic_are_told_apart(void **state)
{
    (void)state;
    for (uint32_t x2apic = 0; x2apic < 2; x2apic++) {
        start_with_messages(&kinds[0], x2apic != 0);
        let.x2apic = !let.x2apic;
        expect_hole(NULL, 0, "can raise interrupt 0,");
        let.x2apic = !let.x2apic;
        let.segment = 1;
        expect_hole(NULL, 0, "can raise interrupt 0,");
    }
    let_count = 0;
}

static void a_devices_table_of_interrupts_is_the_one_that_was_made_for_it(void **state)
{
    (void)state;
    for (uint32_t wrong = 0; wrong < 5; wrong++) {
        uint64_t *word;

        start_with_messages(&kinds[3], true);
        word = &device_words(DEVICE)[2];
        let.segment = wrong == 0;
        *word ^= wrong == 1 ? 3ULL << 60 : 0; /* forwarded as it came, by control 1 */
        let.table += wrong == 2 ? PAGE_BYTES : 0;
        *word ^= wrong == 3 ? 1u << 1 : 0; /* of another length */
        if (wrong == 4) {
            *word = (*word & ~0x000fffffffffffc0ULL) | (MODEL_START + MODEL_BYTES);
            let.table = MODEL_START + MODEL_BYTES;
        }
        expect_hole(NULL, 0, wrong == 4 ? "a table at 0x40800000, outside" : "can raise interrupts, which");
    }
    let_count = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snoops_are_forced_where_the_unit_can),
        cmocka_unit_test(every_device_is_blocked),
        cmocka_unit_test(every_interrupt_is_blocked),
        cmocka_unit_test(a_unit_that_was_on_is_never_off),
        cmocka_unit_test(an_attached_device_reaches_its_tree_alone),
        cmocka_unit_test(a_muted_device_is_blocked_and_silent),
        cmocka_unit_test(an_overflow_of_reports_ends),
        cmocka_unit_test(a_unit_that_does_not_answer_is_refused),
        cmocka_unit_test(what_a_unit_lacks_is_said),
        cmocka_unit_test(real_units_are_understood),
        cmocka_unit_test(any_order_keeps_the_promise),
        cmocka_unit_test(the_audit_finds_every_hole),
        cmocka_unit_test(each_word_of_a_grant_counts),
        cmocka_unit_test(what_is_behind_an_entry_without_rights_is_not_reached),
        cmocka_unit_test(the_audit_follows_no_link_that_leads_astray),
        cmocka_unit_test(the_audit_knows_no_leaf_of_512_gib),
        cmocka_unit_test(a_tree_of_a_height_that_there_is_not_is_not_read),
        cmocka_unit_test(a_tree_at_0_is_not_the_one_that_maps_nothing),
        cmocka_unit_test(tables_that_are_reached_too_often_end_the_audit),
        cmocka_unit_test(tables_of_a_unit_lie_in_our_memory),
        cmocka_unit_test(a_tree_of_a_device_without_rights_is_its_own),
        cmocka_unit_test(the_first_unit_with_a_hole_is_the_one_that_is_said),
        cmocka_unit_test(entries_for_x2apic_and_for_xapic_are_told_apart),
        cmocka_unit_test(a_devices_table_of_interrupts_is_the_one_that_was_made_for_it),
        cmocka_unit_test(a_devices_messages_are_the_vectors_that_it_was_given),
        cmocka_unit_test(a_line_is_the_vector_that_it_was_given),
        cmocka_unit_test(no_more_messages_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
