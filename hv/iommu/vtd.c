/* SPDX-License-Identifier: MIT */
/*
 * Intel's IOMMU. VT-d in legacy mode: requester ID -> root table (by bus) -> context table (by device and function) ->
 * second-stage tree. A root or context entry that is not present blocks, so tables of zeros are "default deny".
 *
 *     root table            context table of a bus        tree of a domain
 *    +-----------+         +---------------------+       (hv/mm/page_table.h, vtd3 to vtd5)
 *    | bus 0     |-------->| 00.0  tree, domain  |-----> ...
 *    | bus 1   0 |         | 00.1  0             |
 *    +-----------+         +---------------------+
 *
 * Interrupts: messages in the remappable form index a table of which every entry is absent; the other form is blocked
 * by leaving "compatibility format interrupts" off.
 *
 * A unit that the firmware left on gets the new root pointer while it translates: the old tables hold until it has
 * forgotten them, then ours. Only the mode of its tables cannot be changed so, and where the firmware used another one
 * translation is off for the moment between; no device is a bus master then.
 */
#include "hv/iommu/iommu_unit.h"

#include "hv/base/format.h"

/* VT-d 11.4 "Register Descriptions". */
#define REG_VERSION 0x00u
#define REG_CAPABILITIES 0x08u
#define REG_EXTENDED 0x10u
#define REG_COMMAND 0x18u
#define REG_STATUS 0x1cu
#define REG_ROOT 0x20u
#define REG_FAULT_STATUS 0x34u
#define REG_FAULT_CONTROL 0x38u
#define REG_PROTECTED 0x64u
#define REG_QUEUE_HEAD 0x80u
#define REG_QUEUE_TAIL 0x88u
#define REG_QUEUE 0x90u
#define REG_VECTORS 0xb8u

/* Global command and global status: the same bits. VT-d 11.4.4.1 "Global Command Register". */
#define TRANSLATION (1u << 31)
#define SET_ROOT (1u << 30)
#define WRITE_BUFFER_FLUSH (1u << 27)
#define QUEUE (1u << 26)
#define REMAPPING (1u << 25)
#define SET_VECTORS (1u << 24)
#define COMPATIBILITY_FORMAT (1u << 23)
#define STATUS_LASTING (TRANSLATION | QUEUE | REMAPPING | COMPATIBILITY_FORMAT)

/* VT-d 11.4.2 "Capability Register". */
#define CAP_DOMAIN_BITS(cap) (4u + 2u * (uint32_t)((cap)&7u))
#define CAP_WRITE_BUFFER (1ULL << 4)
#define CAP_PROTECTED_LOW (1ULL << 5)
#define CAP_PROTECTED_HIGH (1ULL << 6)
#define CAP_LEVELS_3 (1ULL << 9)
#define CAP_LEVELS_4 (1ULL << 10)
#define CAP_LEVELS_5 (1ULL << 11)
#define CAP_FAULT_OFFSET(cap) (16u * (uint32_t)((cap) >> 24 & 0x3ffu))
#define CAP_LARGE_2M (1ULL << 34)
#define CAP_LARGE_1G (1ULL << 35)
#define CAP_DRAIN_WRITES (1ULL << 54)
#define CAP_DRAIN_READS (1ULL << 55)
#define CAP_FAULTS(cap) (1u + (uint32_t)((cap) >> 40 & 0xffu))
#define DOMAIN_BITS_MAX 16u

/* VT-d 11.4.3 "Extended Capability Register". */
#define EXT_COHERENT (1ULL << 0)
#define EXT_QUEUE (1ULL << 1)
#define EXT_REMAPPING (1ULL << 3)
#define EXT_X2APIC (1ULL << 4)
#define EXT_SNOOP (1ULL << 7)

#define ROOT_MODE (3ULL << 10) /* of REG_ROOT; 0: legacy. VT-d 11.4.5 "Root Table Address Register" */
#define PROTECTED_ENABLE (1u << 31)
#define PROTECTED_STATUS 1u

/* Root and context entries are pairs of words. VT-d 9.1 "Root Entry", 9.3 "Context Entry". */
#define ENTRY_PRESENT 1ULL
#define CONTEXT_MUTE (1ULL << 1) /* fault processing disable; it counts where the entry is not present, too */
#define CONTEXT_LEVELS(levels) ((uint64_t)(levels)-2u)
#define CONTEXT_DOMAIN(domain) ((uint64_t)(domain) << 8)
#define ADDRESS 0x000ffffffffff000ULL

/* Interrupt remapping table address: 2^(size + 1) entries of 16 bytes. VT-d 11.4.10.3 "Interrupt Remapping Table
 * Address Register". */
#define VECTORS_256 7u
#define VECTORS_X2APIC (1ULL << 11)
#define VECTORS 256u

/* Interrupt remapping entry, two words: fixed, one CPU by its physical ID; the requester is compared whole. VT-d
 * 9.9 "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts". */
#define VECTOR_LEVEL (1ULL << 4)
#define VECTOR_NUMBER(vector) ((uint64_t)(vector) << 16)
#define VECTOR_XAPIC(id) ((uint64_t)(id) << 40)
#define VECTOR_X2APIC(id) ((uint64_t)(id) << 32)
#define VECTOR_SOURCE(id) ((uint64_t)(id) | 1ULL << 18)

/* The remappable form of a message. VT-d 5.1.5.2 "MSI and MSI-X Register Programming". */
#define MESSAGE_ADDRESS 0xfee00010ULL
#define MESSAGE_INDEX(index) ((uint64_t)(index) << 5)

/* An I/O APIC's entry in the remappable form; its vector is that of the remapping entry, for the end of a level. VT-d
 * 5.1.5.1 "I/OxAPIC Programming". */
#define LINE_REMAPPED (1ULL << 48)
#define LINE_INDEX(index) ((uint64_t)((index)&0x7fffu) << 49 | (uint64_t)((index) >> 15) << 11)

/* Descriptors of 16 bytes. VT-d 6.5.2 "Queued Invalidation Interface". */
#define DESCRIPTOR_BYTES 16u
#define FORGET_CONTEXTS 0x01u
#define FORGET_TREES 0x02u
#define FORGET_VECTORS 0x04u
#define WAIT 0x05u
#define EVERYTHING (1u << 4)   /* granularity: global */
#define DRAIN_WRITES (1u << 6) /* of trees: those on the way are done before */
#define DRAIN_READS (1u << 7)
#define WAIT_WRITES (1u << 5)
#define QUEUE_BYTES PAGE_BYTES

/* VT-d 11.4.9 "Fault Status Register", 11.4.11 "Fault Recording Registers". */
#define FAULT_OVERFLOW (1u << 0)
#define FAULT_QUEUE_ERRORS (7u << 4)
#define FAULT_MASKED (1u << 31) /* no interrupt: iommu_poll() looks */
#define RECORD_BYTES 16u
#define RECORD_HIGH 8u
#define RECORD_LAST 12u
#define RECORD_VALID (1ULL << 63)
#define RECORD_READ (1ULL << 62)
#define RECORD_REASON(high) ((uint8_t)((high) >> 32))
#define RECORD_SOURCE(high) ((uint16_t)(high))
#define REASON_INTERRUPT_FIRST \
    0x20u /* VT-d 7.1.3 "Fault Conditions and Remapping Hardware Behavior for Various Requests" */
#define REASON_INTERRUPT_LAST 0x2fu
#define INTERRUPT_INDEX(low) ((low) >> 48)

#define UNIT_PAGES 4u

static enum status refuse(struct iommu_unit *unit, const char *why)
{
    (void)format_text(unit->problem, sizeof(unit->problem), "%s", why);
    return STATUS_UNSUPPORTED;
}

/* Four levels where they are: trees of 256 TiB. */
static const struct page_table_format *choose_format(uint64_t capabilities)
{
    if ((capabilities & CAP_LEVELS_4) != 0) {
        return &page_table_vtd4;
    }
    if ((capabilities & CAP_LEVELS_3) != 0) {
        return &page_table_vtd3;
    }
    return (capabilities & CAP_LEVELS_5) != 0 ? &page_table_vtd5 : NULL;
}

static const struct page_table_format *snooping_format(const struct page_table_format *format)
{
    if (format == &page_table_vtd4) {
        return &page_table_vtd4_snoop;
    }
    return format == &page_table_vtd3 ? &page_table_vtd3_snoop : &page_table_vtd5_snoop;
}

static enum status vtd_open(struct iommu_unit *unit)
{
    uint64_t capabilities = unit_read64(unit, REG_CAPABILITIES);
    uint64_t extended = unit_read64(unit, REG_EXTENDED);
    uint32_t bits = CAP_DOMAIN_BITS(capabilities);

    unit->capabilities = capabilities;
    unit->more_capabilities = extended;
    if (unit_read32(unit, REG_VERSION) == ~0u || capabilities == ~0ULL) {
        return refuse(unit, "its registers do not answer");
    }
    if (CAP_FAULT_OFFSET(capabilities) + CAP_FAULTS(capabilities) * RECORD_BYTES > unit->bytes) {
        return refuse(unit, "its fault records lie outside its registers");
    }
    if ((extended & EXT_QUEUE) == 0) {
        return refuse(unit, "it has no queued invalidation");
    }
    unit->format = choose_format(capabilities);
    if (unit->format == NULL) {
        return refuse(unit, "it has no page tables of 3, 4 or 5 levels");
    }
    unit->snooping = (extended & EXT_SNOOP) != 0 ? snooping_format(unit->format) : NULL;
    unit->coherent = (extended & EXT_COHERENT) != 0;
    unit->interrupts = (extended & EXT_REMAPPING) != 0 && (!unit->x2apic || (extended & EXT_X2APIC) != 0);
    unit->domains = (uint16_t)((1u << (bits < DOMAIN_BITS_MAX ? bits : DOMAIN_BITS_MAX)) - 1u);
    unit->was_on = (unit_read32(unit, REG_STATUS) & TRANSLATION) != 0;
    unit->caps = (struct page_table_caps){.physical_bits = 52, .largest_leaf = LEVEL_4K};
    if ((capabilities & CAP_LARGE_2M) != 0) {
        unit->caps.largest_leaf = (capabilities & CAP_LARGE_1G) != 0 ? LEVEL_1G : LEVEL_2M;
    }
    return STATUS_OK;
}

/* ---- commands ---- */

/* Switches one thing on or off, or does one, and waits until the unit says so. The lasting bits are written as they
 * are. */
static enum status command(const struct iommu_unit *unit, uint32_t bit, bool on)
{
    uint32_t lasting = unit_read32(unit, REG_STATUS) & STATUS_LASTING;

    unit_write32(unit, REG_COMMAND, on ? lasting | bit : lasting & ~bit);
    if (bit == WRITE_BUFFER_FLUSH) {
        return unit_await(unit, REG_STATUS, bit, 0, false);
    }
    return unit_await(unit, REG_STATUS, bit, on ? bit : 0, false);
}

static void queue_add(struct iommu_unit *unit, uint64_t low, uint64_t high)
{
    uint64_t *descriptor = unit_words(unit, unit->commands + unit->tail);

    unit_store(unit, &descriptor[1], high);
    unit_store(unit, &descriptor[0], low);
    unit->tail = (unit->tail + DESCRIPTOR_BYTES) % QUEUE_BYTES;
}

/* The queue is empty before and after: each call waits until the unit has done all. */
static enum status flush_all(struct iommu_unit *unit)
{
    uint32_t drain = ((unit->capabilities & CAP_DRAIN_WRITES) != 0 ? DRAIN_WRITES : 0) |
                     ((unit->capabilities & CAP_DRAIN_READS) != 0 ? DRAIN_READS : 0);
    enum status status = STATUS_OK;

    if ((unit->capabilities & CAP_WRITE_BUFFER) != 0) {
        status = command(unit, WRITE_BUFFER_FLUSH, true);
    }
    unit->asked++;
    queue_add(unit, FORGET_CONTEXTS | EVERYTHING, 0);
    queue_add(unit, FORGET_TREES | EVERYTHING | drain, 0);
    if (unit->interrupts) {
        queue_add(unit, FORGET_VECTORS, 0);
    }
    queue_add(unit, WAIT | WAIT_WRITES | (uint64_t)(uint32_t)unit->asked << 32, unit->answers);
    unit_write64(unit, REG_QUEUE_TAIL, unit->tail);
    return status == STATUS_OK ? unit_await_answer(unit) : status;
}

static enum status vtd_flush(struct iommu_unit *unit)
{
    return unit->started ? flush_all(unit) : STATUS_OK;
}

/* ---- the take-over ---- */

static void clear_faults(const struct iommu_unit *unit)
{
    uint32_t at = CAP_FAULT_OFFSET(unit->capabilities);

    unit_write32(unit, REG_FAULT_CONTROL, FAULT_MASKED);
    for (uint32_t i = 0; i < CAP_FAULTS(unit->capabilities); i++) {
        unit_write32(unit, at + i * RECORD_BYTES + RECORD_LAST, (uint32_t)(RECORD_VALID >> 32));
    }
    unit_write32(unit, REG_FAULT_STATUS, FAULT_OVERFLOW | FAULT_QUEUE_ERRORS);
}

static enum status start_queue(struct iommu_unit *unit)
{
    enum status status = STATUS_OK;

    if ((unit_read32(unit, REG_STATUS) & QUEUE) != 0) {
        uint64_t tail = unit_read64(unit, REG_QUEUE_TAIL);

        status = unit_await(unit, REG_QUEUE_HEAD, ~0ULL, tail, true);
        status = status == STATUS_OK ? command(unit, QUEUE, false) : status;
    }
    if (status != STATUS_OK) {
        return status;
    }
    unit_write64(unit, REG_QUEUE_TAIL, 0);
    unit_write64(unit, REG_QUEUE, unit->commands);
    return command(unit, QUEUE, true);
}

static enum status start_translation(struct iommu_unit *unit)
{
    enum status status = STATUS_OK;

    if (unit->was_on && (unit_read64(unit, REG_ROOT) & ROOT_MODE) != 0) {
        status = command(unit, TRANSLATION, false);
    }
    unit_write64(unit, REG_ROOT, unit->table);
    status = status == STATUS_OK ? command(unit, SET_ROOT, true) : status;
    status = status == STATUS_OK ? flush_all(unit) : status;
    return status == STATUS_OK ? command(unit, TRANSLATION, true) : status;
}

/* The form of entries for x2APIC cannot be changed while remapping is on. */
static enum status start_remapping(struct iommu_unit *unit)
{
    uint64_t vectors = unit->vectors | VECTORS_256 | (unit->x2apic ? VECTORS_X2APIC : 0);
    uint32_t is = unit_read32(unit, REG_STATUS);
    enum status status = STATUS_OK;

    if (!unit->interrupts) {
        return STATUS_OK;
    }
    if ((is & REMAPPING) != 0 && ((unit_read64(unit, REG_VECTORS) ^ vectors) & VECTORS_X2APIC) != 0) {
        status = command(unit, REMAPPING, false);
    }
    unit_write64(unit, REG_VECTORS, vectors);
    status = status == STATUS_OK ? command(unit, SET_VECTORS, true) : status;
    status = status == STATUS_OK ? flush_all(unit) : status;
    status = status == STATUS_OK ? command(unit, COMPATIBILITY_FORMAT, false) : status;
    return status == STATUS_OK ? command(unit, REMAPPING, true) : status;
}

/* What the firmware had protected by ranges our tables protect. */
static enum status end_protected_ranges(const struct iommu_unit *unit)
{
    if ((unit->capabilities & (CAP_PROTECTED_LOW | CAP_PROTECTED_HIGH)) == 0 ||
        (unit_read32(unit, REG_PROTECTED) & (PROTECTED_ENABLE | PROTECTED_STATUS)) == 0) {
        return STATUS_OK;
    }
    unit_write32(unit, REG_PROTECTED, 0);
    return unit_await(unit, REG_PROTECTED, PROTECTED_STATUS, 0, false);
}

static enum status vtd_prepare(struct iommu_unit *unit)
{
    unit->table = unit_take_pages(unit, 1);
    unit->vectors = unit_take_pages(unit, 1);
    unit->commands = unit_take_pages(unit, 1);
    unit->answers = unit_take_pages(unit, 1);
    return unit->answers != 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status vtd_start(struct iommu_unit *unit)
{
    enum status status;

    unit->tail = 0;
    clear_faults(unit);
    status = start_queue(unit);
    status = status == STATUS_OK ? start_translation(unit) : status;
    status = status == STATUS_OK ? start_remapping(unit) : status;
    status = status == STATUS_OK ? end_protected_ranges(unit) : status;
    unit->started = status == STATUS_OK;
    return status;
}

/* ---- devices ---- */

/* The device's context entry; the bus's table is made where there is none. NULL: too few pages. */
static uint64_t *context_of(struct iommu_unit *unit, uint16_t device_id)
{
    uint64_t *root = unit_words(unit, unit->table) + 2u * (device_id >> 8);
    uint64_t at;

    if ((*root & ENTRY_PRESENT) == 0) {
        at = unit_take_pages(unit, 1);
        if (at == 0) {
            return NULL;
        }
        unit_store(unit, root, at | ENTRY_PRESENT);
    }
    return unit_words(unit, *root & ADDRESS) + 2u * (device_id & 0xffu);
}

static enum status set_context(struct iommu_unit *unit, uint16_t device_id, uint64_t low, uint64_t high)
{
    uint64_t *context = context_of(unit, device_id);
    enum status status = STATUS_OK;

    if (context == NULL) {
        return STATUS_NO_MEMORY;
    }
    if ((*context & ENTRY_PRESENT) != 0) {
        unit_store(unit, &context[0], 0);
        status = vtd_flush(unit);
    }
    unit_store(unit, &context[1], high);
    unit_store(unit, &context[0], low);
    return status == STATUS_OK ? vtd_flush(unit) : status;
}

static enum status vtd_attach(struct iommu_unit *unit, uint16_t device_id, const struct page_table *tree,
                              uint16_t domain)
{
    return set_context(unit, device_id, tree->root.value | ENTRY_PRESENT,
                       CONTEXT_LEVELS(page_table_levels(tree->format)) | CONTEXT_DOMAIN(domain));
}

static enum status vtd_block(struct iommu_unit *unit, uint16_t device_id)
{
    return set_context(unit, device_id, 0, 0);
}

static enum status vtd_mute(struct iommu_unit *unit, uint16_t device_id)
{
    return set_context(unit, device_id, CONTEXT_MUTE, 0);
}

/* Interrupts that are no messages do not come by the unit. */
static void vtd_pass(struct iommu_unit *unit, uint16_t device_id, uint8_t settings)
{
    (void)unit;
    (void)device_id;
    (void)settings;
}

/* ---- interrupts of devices ---- */

static enum status vtd_reserve(struct iommu_unit *unit, struct iommu_vectors *vectors)
{
    if (vectors->count > VECTORS - unit->next_vector) {
        return STATUS_NO_SPACE;
    }
    vectors->first = unit->next_vector;
    unit->next_vector = (uint16_t)(unit->next_vector + vectors->count);
    return STATUS_OK;
}

/* The second word first: the first says that the entry is there. */
static enum status vtd_set_vectors(struct iommu_unit *unit, const struct iommu_vectors *vectors, bool on)
{
    uint64_t *entry = unit_words(unit, unit->vectors) + 2u * vectors->first;

    for (uint32_t i = 0; i < vectors->count; i++, entry += 2) {
        uint32_t id = vectors->to[i].apic_id;

        unit_store(unit, &entry[1], on ? VECTOR_SOURCE(vectors->device_id) : 0);
        unit_store(unit, &entry[0],
                   on ? ENTRY_PRESENT | VECTOR_NUMBER(vectors->to[i].vector) |
                            (vectors->to[i].level ? VECTOR_LEVEL : 0) |
                            (unit->x2apic ? VECTOR_X2APIC(id) : VECTOR_XAPIC(id))
                      : 0);
    }
    return vtd_flush(unit);
}

static void vtd_message(const struct iommu_vectors *vectors, uint32_t n, uint64_t *address, uint32_t *data)
{
    *address = MESSAGE_ADDRESS | MESSAGE_INDEX(vectors->first + n);
    *data = 0;
}

static uint64_t vtd_line(const struct iommu_vectors *vectors, uint32_t n)
{
    return LINE_REMAPPED | LINE_INDEX(vectors->first + n) | vectors->to[n].vector;
}

/* ---- faults ---- */

static bool is_interrupt(uint8_t reason)
{
    return reason >= REASON_INTERRUPT_FIRST && reason <= REASON_INTERRUPT_LAST;
}

static bool take_record(const struct iommu_unit *unit, uint32_t at, struct iommu_fault *fault)
{
    uint64_t high = unit_read64(unit, at + RECORD_HIGH);
    uint64_t low = unit_read64(unit, at);

    if ((high & RECORD_VALID) == 0) {
        return false;
    }
    *fault = (struct iommu_fault){.device_id = RECORD_SOURCE(high),
                                  .reason = RECORD_REASON(high),
                                  .write = (high & RECORD_READ) == 0,
                                  .address = low & ~(PAGE_BYTES - 1)};
    fault->interrupt = is_interrupt(fault->reason);
    if (fault->interrupt) {
        fault->address = INTERRUPT_INDEX(low);
    }
    unit_write32(unit, at + RECORD_LAST, (uint32_t)(RECORD_VALID >> 32));
    return true;
}

/* The records are a ring that the unit fills in order. One that is full takes no more until the overflow is cleared. */
static bool vtd_take_fault(struct iommu_unit *unit, struct iommu_fault *fault)
{
    uint32_t count = CAP_FAULTS(unit->capabilities);
    uint32_t status = unit_read32(unit, REG_FAULT_STATUS);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (unit->next_fault + i) % count;

        if (take_record(unit, CAP_FAULT_OFFSET(unit->capabilities) + index * RECORD_BYTES, fault)) {
            unit->next_fault = (index + 1) % count;
            return true;
        }
    }
    if ((status & FAULT_OVERFLOW) != 0) {
        unit_write32(unit, REG_FAULT_STATUS, FAULT_OVERFLOW);
    }
    return false;
}

const struct iommu_kind iommu_vtd = {
    .name = "VT-d",
    .unit_pages = UNIT_PAGES,
    .segment_pages = 0,
    .open = vtd_open,
    .prepare = vtd_prepare,
    .start = vtd_start,
    .attach = vtd_attach,
    .block = vtd_block,
    .mute = vtd_mute,
    .pass = vtd_pass,
    .reserve = vtd_reserve,
    .set_vectors = vtd_set_vectors,
    .message = vtd_message,
    .line = vtd_line,
    .flush = vtd_flush,
    .take_fault = vtd_take_fault,
};
