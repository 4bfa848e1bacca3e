/* SPDX-License-Identifier: MIT */
/*
 * AMD's IOMMU: device ID -> device table -> tree. An entry that is not valid lets everything pass, so "default deny" is
 * a table of valid entries: no right to read, none to write, a tree that maps nothing, interrupts aborted.
 *
 *     device table, 65536 entries of 32 bytes, one for all units of a segment
 *    +------------------------------------------------+       tree of a domain
 *    | 00:00.0  valid, tree, domain, rights, interrupts |---> (hv/mm/page_table.h, amdvi4)
 *    | 00:00.1  ...                                     |
 *    +------------------------------------------------+
 *
 * A unit that the firmware left on gets the new table while it translates; what it has cached of the old one is
 * forgotten by commands right after. Its command and event rings must be off while they change place.
 */
#include "hv/iommu/iommu_unit.h"

#include "hv/base/format.h"
#include "hv/iommu/ivrs.h"

/* AMD-Vi 3.4 "IOMMU MMIO Registers". */
#define REG_DEVICES 0x0000u
#define REG_COMMANDS 0x0008u
#define REG_EVENTS 0x0010u
#define REG_CONTROL 0x0018u
#define REG_EXCLUSION 0x0020u
#define REG_FEATURES 0x0030u
#define REG_COMMAND_HEAD 0x2000u
#define REG_COMMAND_TAIL 0x2008u
#define REG_EVENT_HEAD 0x2010u
#define REG_EVENT_TAIL 0x2018u
#define REG_STATUS 0x2020u
#define REGISTERS_BYTES 0x4000u

#define CONTROL_ON (1ULL << 0)
#define CONTROL_EVENTS (1ULL << 2)
#define CONTROL_EVENT_INTERRUPT (1ULL << 3)
#define CONTROL_WAIT_INTERRUPT (1ULL << 4)
#define CONTROL_COMMANDS (1ULL << 12)
#define CONTROL_PAGE_REQUESTS (7ULL << 13) /* log, interrupt, requests */
#define CONTROL_GUESTS (3ULL << 16)        /* guest translation, guest virtual APIC */
#define STATUS_EVENT_OVERFLOW (1ULL << 0)
#define STATUS_EVENTS_RUN (1ULL << 3)
#define STATUS_COMMANDS_RUN (1ULL << 4)
#define FEATURE_FORGET_ALL (1ULL << 6)
#define RING_256 (8ULL << 56) /* 2^8 entries of 16 bytes: a page */
#define RING_BYTES PAGE_BYTES
#define RING_ENTRY_BYTES 16u

/* What the IVHD's flags ask for, bit by bit: HyperTransport tunnel, posted writes, isochronous, coherent. AMD-Vi
 * 5.2.2.1 "IVHD Flags Field". */
static const struct {
    uint8_t flag;
    uint64_t control;
} flag_rows[] = {{0x01, 1ULL << 1}, {0x02, 1ULL << 8}, {0x04, 1ULL << 9}, {0x08, 1ULL << 11}, {0x20, 1ULL << 10}};

/* Device table entry: four words. AMD-Vi 2.2.2.1 "Device Table Entry Format". */
#define DEVICES 65536u
#define ENTRY_WORDS 4u
#define DEVICE_TABLE_PAGES (DEVICES * ENTRY_WORDS * 8u / (uint32_t)PAGE_BYTES)
#define DEVICE_TABLE_SIZE (DEVICE_TABLE_PAGES - 1u) /* of REG_DEVICES */
#define ENTRY_VALID (1ULL << 0)
#define ENTRY_TRANSLATES (1ULL << 1)
#define ENTRY_LEVELS(levels) ((uint64_t)(levels) << 9)
#define ENTRY_READ (1ULL << 61)
#define ENTRY_WRITE (1ULL << 62)
#define ENTRY_1_MUTE (1ULL << 34)      /* suppress all I/O page fault events; word 1 has the domain in bits 15:0 */
#define ENTRY_2_INTERRUPTS (1ULL << 0) /* word 2: the interrupt fields are valid; control 0: aborted */
#define ENTRY_2_INIT_PASS (1ULL << 56)
#define ENTRY_2_EINT_PASS (1ULL << 57)
#define ENTRY_2_NMI_PASS (1ULL << 58)
#define ENTRY_2_LINT0_PASS (1ULL << 62)
#define ENTRY_2_LINT1_PASS (1ULL << 63)
#define ENTRY_1_SYSTEM_SHIFT 40u
#define ENTRY_2_VECTORS_32 (5ULL << 1) /* of the table, whose place is in bits 51:6 */
#define ENTRY_2_REMAP (2ULL << 60)
#define ENTRY_2_PASS \
    (ENTRY_2_INIT_PASS | ENTRY_2_EINT_PASS | ENTRY_2_NMI_PASS | ENTRY_2_LINT0_PASS | ENTRY_2_LINT1_PASS)

/* Interrupt remapping entry of 32 bits: fixed, one CPU by its physical ID. AMD-Vi 2.2.5.2 "Interrupt Remapping
 * Tables, Guest Virtual APIC Not Enabled". A message's data is the entry's number. */
#define VECTOR_PRESENT (1u << 0)
#define VECTOR_CPU(id) ((uint32_t)(id) << 8)
#define VECTOR_NUMBER(vector) ((uint32_t)(vector) << 16)
#define VECTOR_CPU_MAX 0xfeu
#define MESSAGE_ADDRESS 0xfee00000ULL
_Static_assert(IOMMU_VECTORS_MAX == 32, "ENTRY_2_VECTORS_32");
_Static_assert(DEVICE_TABLE_PAGES == 512, "2 MiB, as REG_DEVICES can say");

/* Commands. AMD-Vi 2.4 "Commands". */
#define COMMAND(op) ((uint64_t)(op) << 60)
#define COMPLETION_WAIT COMMAND(1)
#define FORGET_DEVICE COMMAND(2)
#define FORGET_PAGES COMMAND(3)
#define FORGET_INTERRUPTS COMMAND(5)
#define FORGET_ALL COMMAND(8)
#define WAIT_STORES (1ULL << 0)
#define PAGES_DOMAIN_SHIFT 32u
#define PAGES_ALL 0x7ffffffffffff003ULL /* every size, and links */
#define COMMANDS_AT_ONCE 128u           /* a ring has room for 255 */

/* Events. AMD-Vi 2.5 "Event Logging". */
#define EVENT_CODE(low) ((uint8_t)((low) >> 60))
#define EVENT_SOURCE(low) ((uint16_t)(low))
#define EVENT_INTERRUPT (1ULL << 51)
#define EVENT_WRITE (1ULL << 53)

#define UNIT_PAGES 3u
#define SEGMENT_PAGES (DEVICE_TABLE_PAGES + 1u)

static enum status refuse(struct iommu_unit *unit, const char *why)
{
    (void)format_text(unit->problem, sizeof(unit->problem), "%s", why);
    return STATUS_UNSUPPORTED;
}

/* Every unit has trees of four levels with leaves of each size, and interrupt remapping. Tables are read through the
 * caches, as the entries of devices ask (SD is 0). */
static enum status amdvi_open(struct iommu_unit *unit)
{
    uint64_t control = unit_read64(unit, REG_CONTROL);

    if (control == ~0ULL) {
        return refuse(unit, "its registers do not answer");
    }
    unit->capabilities = unit_read64(unit, REG_FEATURES);
    unit->format = unit->snooping = &page_table_amdvi4;
    unit->caps = (struct page_table_caps){.physical_bits = 52, .largest_leaf = LEVEL_1G};
    unit->coherent = true;
    unit->interrupts = true;
    unit->domains = UINT16_MAX;
    unit->was_on = (control & CONTROL_ON) != 0;
    return STATUS_OK;
}

/* ---- commands ---- */

static void queue_add(struct iommu_unit *unit, uint64_t low, uint64_t high)
{
    uint64_t *entry = unit_words(unit, unit->commands + unit->tail);

    unit_store(unit, &entry[1], high);
    unit_store(unit, &entry[0], low);
    unit->tail = (unit->tail + RING_ENTRY_BYTES) % RING_BYTES;
}

/* The ring is empty afterwards: each call waits until the unit has done all. */
static enum status queue_finish(struct iommu_unit *unit)
{
    unit->asked++;
    queue_add(unit, COMPLETION_WAIT | WAIT_STORES | unit->answers, unit->asked);
    unit_write64(unit, REG_COMMAND_TAIL, unit->tail);
    return unit_await_answer(unit);
}

/* One command for each number of 16 bits, some at a time. */
static enum status queue_each(struct iommu_unit *unit, uint64_t low, uint32_t shift, uint64_t high)
{
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < DEVICES && status == STATUS_OK; i += COMMANDS_AT_ONCE) {
        for (uint32_t k = 0; k < COMMANDS_AT_ONCE; k++) {
            queue_add(unit, low | (uint64_t)(i + k) << shift, high);
        }
        status = queue_finish(unit);
    }
    return status;
}

static enum status flush_all(struct iommu_unit *unit)
{
    enum status status;

    if ((unit->capabilities & FEATURE_FORGET_ALL) != 0) {
        queue_add(unit, FORGET_ALL, 0);
        return queue_finish(unit);
    }
    status = queue_each(unit, FORGET_DEVICE, 0, 0);
    status = status == STATUS_OK ? queue_each(unit, FORGET_PAGES, PAGES_DOMAIN_SHIFT, PAGES_ALL) : status;
    return status == STATUS_OK ? queue_each(unit, FORGET_INTERRUPTS, 0, 0) : status;
}

static enum status amdvi_flush(struct iommu_unit *unit)
{
    return unit->started ? flush_all(unit) : STATUS_OK;
}

/* ---- the take-over ---- */

static uint64_t *entry_of(const struct iommu_unit *unit, uint16_t device_id)
{
    return unit_words(unit, unit->table) + (uint64_t)device_id * ENTRY_WORDS;
}

/* Word 0 is the last: until then the entry says what it said. */
static void set_entry(const struct iommu_unit *unit, uint16_t device_id, uint64_t word0, uint64_t word1)
{
    uint64_t *entry = entry_of(unit, device_id);

    unit_store(unit, &entry[1], word1);
    unit_store(unit, &entry[0], word0);
}

static uint64_t blocked_entry(const struct iommu_unit *unit)
{
    return ENTRY_VALID | ENTRY_TRANSLATES | ENTRY_LEVELS(page_table_levels(unit->format)) | unit->blocked;
}

/* The first unit of a segment makes the table, of pages of zeroes, before it sees it. */
static enum status make_table(struct iommu_unit *unit)
{
    uint64_t *entry, blocked;

    if (unit->table != 0) {
        return STATUS_OK;
    }
    unit->blocked = unit_take_pages(unit, 1);
    unit->table = unit_take_pages(unit, DEVICE_TABLE_PAGES);
    if (unit->table == 0) {
        return STATUS_NO_MEMORY;
    }
    blocked = blocked_entry(unit);
    entry = entry_of(unit, 0);
    for (uint32_t id = 0; id < DEVICES; id++, entry += ENTRY_WORDS) {
        entry[0] = blocked;
        entry[2] = ENTRY_2_INTERRUPTS;
    }
    return STATUS_OK;
}

static uint64_t control_of(const struct iommu_unit *unit)
{
    uint64_t control = unit_read64(unit, REG_CONTROL);

    control &= ~(CONTROL_EVENT_INTERRUPT | CONTROL_WAIT_INTERRUPT | CONTROL_PAGE_REQUESTS | CONTROL_GUESTS);
    for (uint32_t i = 0; i < ARRAY_COUNT(flag_rows); i++) {
        control &= ~flag_rows[i].control;
        control |= (unit->flags & flag_rows[i].flag) != 0 ? flag_rows[i].control : 0;
    }
    return control;
}

static enum status start_rings(struct iommu_unit *unit)
{
    uint64_t control = control_of(unit) & ~(CONTROL_COMMANDS | CONTROL_EVENTS);
    enum status status;

    unit_write64(unit, REG_CONTROL, control);
    status = unit_await(unit, REG_STATUS, STATUS_COMMANDS_RUN | STATUS_EVENTS_RUN, 0, true);
    if (status != STATUS_OK) {
        return status;
    }
    unit_write64(unit, REG_COMMANDS, unit->commands | RING_256);
    unit_write64(unit, REG_COMMAND_HEAD, 0);
    unit_write64(unit, REG_COMMAND_TAIL, 0);
    unit_write64(unit, REG_EVENTS, unit->events | RING_256);
    unit_write64(unit, REG_EVENT_HEAD, 0);
    unit_write64(unit, REG_EVENT_TAIL, 0);
    unit_write64(unit, REG_STATUS, STATUS_EVENT_OVERFLOW);
    unit_write64(unit, REG_EXCLUSION, 0);
    unit_write64(unit, REG_CONTROL, control | CONTROL_COMMANDS | CONTROL_EVENTS);
    return STATUS_OK;
}

static enum status amdvi_prepare(struct iommu_unit *unit)
{
    enum status status = make_table(unit);

    unit->commands = unit_take_pages(unit, 1);
    unit->events = unit_take_pages(unit, 1);
    unit->answers = unit_take_pages(unit, 1);
    return status == STATUS_OK && unit->answers != 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

/* A unit that is off does no command. So it is switched on with the table in place, and forgets then. */
static enum status amdvi_start(struct iommu_unit *unit)
{
    enum status status;

    unit->tail = 0;
    unit->next_fault = 0;
    status = start_rings(unit);
    if (status != STATUS_OK) {
        return status;
    }
    unit_write64(unit, REG_DEVICES, unit->table | DEVICE_TABLE_SIZE);
    unit_write64(unit, REG_CONTROL, unit_read64(unit, REG_CONTROL) | CONTROL_ON);
    status = flush_all(unit);
    unit->started = status == STATUS_OK;
    return status;
}

/* ---- devices ---- */

/* What the unit has cached of one device, and of the trees of a domain. */
static enum status flush_device(struct iommu_unit *unit, uint16_t device_id, uint16_t domain)
{
    if (!unit->started) {
        return STATUS_OK;
    }
    queue_add(unit, FORGET_DEVICE | device_id, 0);
    queue_add(unit, FORGET_PAGES | (uint64_t)domain << PAGES_DOMAIN_SHIFT, PAGES_ALL);
    queue_add(unit, FORGET_INTERRUPTS | device_id, 0);
    return queue_finish(unit);
}

static enum status change_entry(struct iommu_unit *unit, uint16_t device_id, uint64_t word0, uint64_t word1)
{
    uint64_t old = entry_of(unit, device_id)[1];
    uint64_t kept = old & (3ULL << ENTRY_1_SYSTEM_SHIFT);
    enum status status;

    set_entry(unit, device_id, blocked_entry(unit), kept);
    status = flush_device(unit, device_id, (uint16_t)old);
    set_entry(unit, device_id, word0, word1 | kept);
    return status == STATUS_OK ? flush_device(unit, device_id, (uint16_t)word1) : status;
}

static enum status amdvi_attach(struct iommu_unit *unit, uint16_t device_id, const struct page_table *tree,
                                uint16_t domain)
{
    uint64_t word0 = ENTRY_VALID | ENTRY_TRANSLATES | ENTRY_READ | ENTRY_WRITE |
                     ENTRY_LEVELS(page_table_levels(tree->format)) | tree->root.value;

    return change_entry(unit, device_id, word0, domain);
}

static enum status amdvi_block(struct iommu_unit *unit, uint16_t device_id)
{
    return change_entry(unit, device_id, blocked_entry(unit), 0);
}

static enum status amdvi_mute(struct iommu_unit *unit, uint16_t device_id)
{
    return change_entry(unit, device_id, blocked_entry(unit), ENTRY_1_MUTE);
}

static void amdvi_pass(struct iommu_unit *unit, uint16_t device_id, uint8_t settings)
{
    static const struct {
        uint8_t setting;
        uint64_t bit;
    } rows[] = {{IVRS_SETTING_INIT_PASS, ENTRY_2_INIT_PASS},
                {IVRS_SETTING_EINT_PASS, ENTRY_2_EINT_PASS},
                {IVRS_SETTING_NMI_PASS, ENTRY_2_NMI_PASS},
                {IVRS_SETTING_LINT0_PASS, ENTRY_2_LINT0_PASS},
                {IVRS_SETTING_LINT1_PASS, ENTRY_2_LINT1_PASS}};
    uint64_t *entry = entry_of(unit, device_id);
    uint64_t system = settings >> IVRS_SETTING_SYSTEM_SHIFT & IVRS_SETTING_SYSTEM_MASK;
    uint64_t word2 = entry[2];

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        word2 |= (settings & rows[i].setting) != 0 ? rows[i].bit : 0;
    }
    unit_store(unit, &entry[1], entry[1] | system << ENTRY_1_SYSTEM_SHIFT);
    unit_store(unit, &entry[2], word2);
}

/* ---- interrupts of devices ---- */

static enum status amdvi_reserve(struct iommu_unit *unit, struct iommu_vectors *vectors)
{
    vectors->table = unit_take_pages(unit, 1);
    return vectors->table != 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Two entries are stored at once; the device's own entry leads to them last, and away from them first. */
static enum status amdvi_set_vectors(struct iommu_unit *unit, const struct iommu_vectors *vectors, bool on)
{
    uint64_t *entry = entry_of(unit, vectors->device_id);
    uint64_t pass = entry[2] & ENTRY_2_PASS;
    uint32_t rows[IOMMU_VECTORS_MAX] = {0};

    for (uint32_t i = 0; i < vectors->count && on; i++) {
        if (vectors->to[i].apic_id > VECTOR_CPU_MAX) {
            return STATUS_UNSUPPORTED;
        }
        rows[i] = VECTOR_PRESENT | VECTOR_CPU(vectors->to[i].apic_id) | VECTOR_NUMBER(vectors->to[i].vector);
    }
    unit_store(unit, &entry[2], pass | ENTRY_2_INTERRUPTS);
    for (uint32_t i = 0; i < IOMMU_VECTORS_MAX; i += 2) {
        unit_store(unit, unit_words(unit, vectors->table) + i / 2, rows[i] | (uint64_t)rows[i + 1] << 32);
    }
    if (on) {
        unit_store(unit, &entry[2], pass | ENTRY_2_INTERRUPTS | ENTRY_2_VECTORS_32 | ENTRY_2_REMAP | vectors->table);
    }
    return flush_device(unit, vectors->device_id, (uint16_t)entry[1]);
}

static void amdvi_message(const struct iommu_vectors *vectors, uint32_t n, uint64_t *address, uint32_t *data)
{
    (void)vectors;
    *address = MESSAGE_ADDRESS;
    *data = n;
}

/* The entry's number in place of the vector. AMD-Vi 2.2.5 "Interrupt Remapping". */
static uint64_t amdvi_line(const struct iommu_vectors *vectors, uint32_t n)
{
    (void)vectors;
    return n;
}

/* ---- faults ---- */

/* One that ran over must be off and on again to go on; all of it has been taken. */
static void restart_events(struct iommu_unit *unit)
{
    uint64_t control = unit_read64(unit, REG_CONTROL);

    unit_write64(unit, REG_CONTROL, control & ~CONTROL_EVENTS);
    (void)unit_await(unit, REG_STATUS, STATUS_EVENTS_RUN, 0, true);
    unit_write64(unit, REG_EVENT_HEAD, 0);
    unit_write64(unit, REG_EVENT_TAIL, 0);
    unit->next_fault = 0;
    unit_write64(unit, REG_STATUS, STATUS_EVENT_OVERFLOW);
    unit_write64(unit, REG_CONTROL, control | CONTROL_EVENTS);
}

/*
 * The log is a ring that the unit fills. What has been taken is zeroed, so an entry that is not zero is there: the tail
 * register may run ahead of the entry (AMD's revision guides, erratum 732), and in QEMU's model it stays where it was.
 */
static bool amdvi_take_fault(struct iommu_unit *unit, struct iommu_fault *fault)
{
    uint64_t *event = unit_words(unit, unit->events + unit->next_fault);
    uint64_t low = __atomic_load_n(&event[0], __ATOMIC_ACQUIRE);
    bool behind_tail = (unit_read64(unit, REG_EVENT_TAIL) & (RING_BYTES - 1)) != unit->next_fault;

    if (low == 0) {
        if ((unit_read64(unit, REG_STATUS) & STATUS_EVENT_OVERFLOW) != 0) {
            restart_events(unit);
        }
        return false;
    }
    *fault = (struct iommu_fault){.device_id = EVENT_SOURCE(low),
                                  .reason = EVENT_CODE(low),
                                  .interrupt = (low & EVENT_INTERRUPT) != 0,
                                  .write = (low & EVENT_WRITE) != 0,
                                  .address = event[1]};
    unit_store(unit, &event[1], 0);
    unit_store(unit, &event[0], 0);
    unit->next_fault = (uint32_t)((unit->next_fault + RING_ENTRY_BYTES) % RING_BYTES);
    if (behind_tail) {
        unit_write64(unit, REG_EVENT_HEAD, unit->next_fault);
    }
    return true;
}

const struct iommu_kind iommu_amdvi = {
    .name = "AMD-Vi",
    .unit_pages = UNIT_PAGES,
    .segment_pages = SEGMENT_PAGES,
    .open = amdvi_open,
    .prepare = amdvi_prepare,
    .start = amdvi_start,
    .attach = amdvi_attach,
    .block = amdvi_block,
    .mute = amdvi_mute,
    .pass = amdvi_pass,
    .reserve = amdvi_reserve,
    .set_vectors = amdvi_set_vectors,
    .message = amdvi_message,
    .line = amdvi_line,
    .flush = amdvi_flush,
    .take_fault = amdvi_take_fault,
};
