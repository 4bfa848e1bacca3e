/* SPDX-License-Identifier: MIT */
/*
 * One IOMMU of the machine, of either vendor, and how it is reached. Internal to hv/iommu: iommu.h is what others see.
 *
 * A unit's memory is a run of zeroed pages that its owner counted in advance; nothing is given back. Its registers,
 * time, and the write-back of cached lines come by struct iommu_io, so that the native tests can put a model there.
 *
 * Everything here is done on the BSP, one call at a time. The tables of devices are read by the unit meanwhile: an
 * entry is filled first and made valid by one store.
 */
#ifndef HV_IOMMU_IOMMU_UNIT_H
#define HV_IOMMU_IOMMU_UNIT_H

#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/iommu/iommu_vectors.h"
#include "hv/mm/page_table.h"

#define IOMMU_WAIT_US 100000u /* for a unit's answer; on real ones it takes less than 100 us */

struct iommu_io {
    void *context;
    uint64_t window; /* memory at host-physical h is reached at window + h */
    uint32_t (*read32)(void *context, uint64_t at);
    uint64_t (*read64)(void *context, uint64_t at);
    void (*write32)(void *context, uint64_t at, uint32_t value);
    void (*write64)(void *context, uint64_t at, uint64_t value);
    /* What the CPU has written to these bytes reaches memory: for units that do not look into caches. */
    void (*write_back)(void *context, const void *from, uint64_t bytes);
    void (*wait_us)(void *context, uint32_t us);
};

/* Pages [next, end) are zero and not used yet. */
struct iommu_pages {
    uint64_t next, end;
};

struct iommu_unit {
    const struct iommu_io *io;
    const struct iommu_kind *kind;
    struct iommu_pages *pages;
    uint64_t base; /* of the registers */
    uint64_t bytes;
    uint16_t segment;
    uint8_t flags; /* AMD-Vi: of the IVHD */
    bool x2apic;   /* the CPUs' APICs are in this mode */
    /* What `open` found. */
    bool coherent;   /* looks into caches by itself */
    bool interrupts; /* can remap interrupts */
    bool was_on;     /* the firmware left it on */
    uint64_t capabilities, more_capabilities;
    const struct page_table_format *format;
    const struct page_table_format *snooping; /* by which caches are snooped whatever a device asks; NULL: it cannot */
    struct page_table_caps caps;
    uint16_t domains; /* numbers that it can tell apart */
    /* What `start` made. */
    uint64_t table;    /* VT-d: the root table; AMD-Vi: the device table, which the units of a segment share */
    uint64_t blocked;  /* AMD-Vi: the root of the tree that maps nothing */
    uint64_t vectors;  /* VT-d: the interrupt remapping table */
    uint64_t commands; /* what the unit is told to do: a ring of one page */
    uint64_t events;   /* AMD-Vi: what it reports: a ring of one page */
    uint64_t answers;  /* where it says that it is done */
    uint32_t tail;     /* of the commands, in bytes */
    uint64_t asked;    /* how many answers it owes in all */
    uint32_t next_fault;
    uint16_t next_vector; /* VT-d: those before it are some device's */
    bool started;
    char problem[120]; /* why it cannot be used */
};

/* An access that a unit refused. */
struct iommu_fault {
    uint16_t device_id;
    uint64_t address; /* of an interrupt: VT-d the index, AMD-Vi the message's address */
    bool write;
    bool interrupt;
    uint8_t reason;
};

/*
 * What both vendors have, under the same names in vtd.c and amdvi.c.
 *
 *   open        reads what the unit can do. Not STATUS_OK: `problem` says what is missing.
 *   prepare     makes its tables, in which every device is blocked. STATUS_NO_MEMORY: too few pages.
 *   start       takes it over, with what was attached since `prepare`: all other devices are blocked, and all
 *               interrupts, from the moment at which the unit has the new tables; between the firmware's and ours it
 *               is never off. STATUS_BUSY: it does not answer.
 *   attach      the device reaches what the tree maps, and nothing else; a domain's number stands for one tree.
 *   block       it reaches nothing.
 *   mute        the same, and its accesses are not reported any more.
 *   pass        the device's NMI, INIT and the like come through, as the firmware's settings for it say.
 *   reserve     room for the messages of a device, whose ID and count are set. STATUS_NO_SPACE, STATUS_NO_MEMORY.
 *   set_vectors its messages pass, as to[] says, or none does.
 *   message     what the device has to write for message n.
 *   line        what an I/O APIC's entry has to be for its message n, trigger, polarity and mask aside.
 *   flush       what the unit has cached of trees, devices and interrupts is forgotten.
 *   take_fault  the oldest report. False: there is none.
 */
struct iommu_kind {
    const char *name;
    uint32_t unit_pages;    /* of each unit */
    uint32_t segment_pages; /* once for each segment */
    enum status (*open)(struct iommu_unit *unit);
    enum status (*prepare)(struct iommu_unit *unit);
    enum status (*start)(struct iommu_unit *unit);
    enum status (*attach)(struct iommu_unit *unit, uint16_t device_id, const struct page_table *tree, uint16_t domain);
    enum status (*block)(struct iommu_unit *unit, uint16_t device_id);
    enum status (*mute)(struct iommu_unit *unit, uint16_t device_id);
    void (*pass)(struct iommu_unit *unit, uint16_t device_id, uint8_t settings);
    enum status (*reserve)(struct iommu_unit *unit, struct iommu_vectors *vectors);
    enum status (*set_vectors)(struct iommu_unit *unit, const struct iommu_vectors *vectors, bool on);
    void (*message)(const struct iommu_vectors *vectors, uint32_t n, uint64_t *address, uint32_t *data);
    uint64_t (*line)(const struct iommu_vectors *vectors, uint32_t n);
    enum status (*flush)(struct iommu_unit *unit);
    bool (*take_fault)(struct iommu_unit *unit, struct iommu_fault *fault);
};

extern const struct iommu_kind iommu_vtd;
extern const struct iommu_kind iommu_amdvi;

static inline uint64_t *unit_words(const struct iommu_unit *unit, uint64_t at)
{
    return (uint64_t *)(uintptr_t)(unit->io->window + at);
}

/* An aligned word, in one store. Stores are seen in their order. */
static inline void unit_store(const struct iommu_unit *unit, uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    if (!unit->coherent) {
        unit->io->write_back(unit->io->context, word, sizeof(*word));
    }
}

/* 0: there are too few. */
static inline uint64_t unit_take_pages(struct iommu_unit *unit, uint32_t count)
{
    uint64_t at = unit->pages->next;

    if ((unit->pages->end - at) / PAGE_BYTES < count) {
        return 0;
    }
    unit->pages->next += count * PAGE_BYTES;
    if (!unit->coherent) {
        unit->io->write_back(unit->io->context, unit_words(unit, at), count * PAGE_BYTES);
    }
    return at;
}

static inline uint32_t unit_read32(const struct iommu_unit *unit, uint32_t reg)
{
    return unit->io->read32(unit->io->context, unit->base + reg);
}

static inline uint64_t unit_read64(const struct iommu_unit *unit, uint32_t reg)
{
    return unit->io->read64(unit->io->context, unit->base + reg);
}

static inline void unit_write32(const struct iommu_unit *unit, uint32_t reg, uint32_t value)
{
    unit->io->write32(unit->io->context, unit->base + reg, value);
}

static inline void unit_write64(const struct iommu_unit *unit, uint32_t reg, uint64_t value)
{
    unit->io->write64(unit->io->context, unit->base + reg, value);
}

/* Until the masked bits of a register are `wanted`. STATUS_BUSY: they do not become so in IOMMU_WAIT_US. */
static inline enum status unit_await(const struct iommu_unit *unit, uint32_t reg, uint64_t mask, uint64_t wanted,
                                     bool wide)
{
    for (uint32_t us = 0; us < IOMMU_WAIT_US; us++) {
        uint64_t value = wide ? unit_read64(unit, reg) : unit_read32(unit, reg);

        if ((value & mask) == wanted) {
            return STATUS_OK;
        }
        unit->io->wait_us(unit->io->context, 1);
    }
    return STATUS_BUSY;
}

/* Until the unit has written the last answer that it was asked for. */
static inline enum status unit_await_answer(const struct iommu_unit *unit)
{
    const uint64_t *answer = unit_words(unit, unit->answers);

    for (uint32_t us = 0; us < IOMMU_WAIT_US; us++) {
        if ((uint32_t)__atomic_load_n(answer, __ATOMIC_ACQUIRE) == (uint32_t)unit->asked) {
            return STATUS_OK;
        }
        unit->io->wait_us(unit->io->context, 1);
    }
    return STATUS_BUSY;
}

#endif
