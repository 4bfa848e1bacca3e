/* SPDX-License-Identifier: MIT */
/*
 * A unit of either vendor as a model: it reads the tables that registers name, remembers what it has read until a
 * command says to forget, refuses and reports. One that does not look into caches sees memory as it was last written
 * back.
 *
 * Written from the manuals, not from hv/iommu: it shares no code and no constant with it.
 */
#ifndef TESTS_UNIT_IOMMU_MODEL_H
#define TESTS_UNIT_IOMMU_MODEL_H

#include "hv/iommu/iommu_unit.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_START 0x40000000ULL
#define MODEL_BYTES (8u << 20)
#define MODEL_BASE 0xfed90000ULL
#define MODEL_REGISTERS 0x4000u
#define MODEL_CACHED 64u

struct model_cached {
    bool used;
    uint16_t device;
    uint64_t words[4];
};

struct model_unit {
    bool amd;
    bool coherent;
    bool dead; /* answers to nothing */
    uint64_t capabilities, extended;
    uint8_t registers[MODEL_REGISTERS];
    uint64_t root, vectors; /* latched */
    struct model_cached cached[MODEL_CACHED];
    uint32_t translation_was_off; /* times that it was switched off */
    uint32_t forgotten;
    uint32_t waited_us;
};

static uint8_t model_memory[MODEL_BYTES] __attribute__((aligned(4096)));
static uint8_t model_seen[MODEL_BYTES] __attribute__((aligned(4096))); /* by a unit that is not coherent */
static struct model_unit model;

static inline uint64_t *model_reg(uint32_t at)
{
    return (uint64_t *)(void *)&model.registers[at];
}

static inline uint64_t model_word(uint64_t at)
{
    const uint8_t *from = model.coherent ? model_memory : model_seen;
    uint64_t value;

    if (at < MODEL_START || at - MODEL_START > MODEL_BYTES - 8) {
        abort(); /* a table outside the memory that we have */
    }
    memcpy(&value, from + (at - MODEL_START), 8);
    return value;
}

static inline void model_put(uint64_t at, uint64_t value, uint32_t bytes)
{
    memcpy(model_memory + (at - MODEL_START), &value, bytes);
    memcpy(model_seen + (at - MODEL_START), &value, bytes);
}

static inline void model_forget(void)
{
    memset(model.cached, 0, sizeof(model.cached));
    model.forgotten++;
}

/* ---- Intel ---- */

static inline void model_vtd_queue(void)
{
    uint64_t base = *model_reg(0x90) & ~0xfffULL;

    while (*model_reg(0x80) != *model_reg(0x88) && (*model_reg(0x18) >> 58 & 1) != 0) {
        uint64_t low = model_word(base + *model_reg(0x80)), high = model_word(base + *model_reg(0x80) + 8);

        switch (low & 0xf) {
        case 1:
        case 2:
            if ((low >> 4 & 3) != 1) {
                abort(); /* the model knows global ones only */
            }
            model_forget();
            break;
        case 4:
            break;
        case 5:
            model_put(high, low >> 32, 4);
            break;
        default:
            abort();
        }
        *model_reg(0x80) = (*model_reg(0x80) + 16) % 4096;
    }
}

/* Commands and status share the word at 0x18: the status is its upper half. */
static inline void model_vtd_command(uint32_t value)
{
    uint32_t *status = (uint32_t *)(void *)&model.registers[0x1c];
    uint32_t lasting = value & (1u << 31 | 1u << 26 | 1u << 25 | 1u << 23);

    if ((*status & 1u << 31) != 0 && (value & 1u << 31) == 0) {
        model.translation_was_off++;
    }
    if ((value & 1u << 30) != 0) {
        model.root = *model_reg(0x20);
    }
    if ((value & 1u << 24) != 0) {
        model.vectors = *model_reg(0xb8);
    }
    if ((value & 1u << 26) != 0 && (*status & 1u << 26) == 0) {
        if (*model_reg(0x88) != 0) {
            abort(); /* a queue begins empty */
        }
        *model_reg(0x80) = 0;
    }
    *status = lasting | (value & (1u << 30 | 1u << 24)) | (*status & (1u << 30 | 1u << 24));
}

static inline const uint64_t *model_vtd_context(uint16_t device, struct model_cached *cached)
{
    uint64_t root = (model.root & ~0xfffULL) + 16u * (device >> 8);
    uint64_t entry = model_word(root);

    if ((entry & 1) != 0) {
        cached->words[0] = model_word((entry & ~0xfffULL) + 16u * (device & 0xff));
        cached->words[1] = model_word((entry & ~0xfffULL) + 16u * (device & 0xff) + 8);
    }
    return cached->words;
}

static inline void model_vtd_report(uint16_t device, uint64_t address, bool write, uint8_t reason)
{
    uint32_t at = 16u * (uint32_t)(model.capabilities >> 24 & 0x3ff);
    uint32_t count = 1u + (uint32_t)(model.capabilities >> 40 & 0xff);

    for (uint32_t i = 0; i < count; i++) {
        if ((*model_reg(at + 16 * i + 8) >> 63) == 0) {
            *model_reg(at + 16 * i) = address & ~0xfffULL;
            *model_reg(at + 16 * i + 8) = 1ULL << 63 | (write ? 0 : 1ULL << 62) | (uint64_t)reason << 32 | device;
            return;
        }
    }
    *(uint32_t *)(void *)&model.registers[0x34] |= 1;
}

/* ---- AMD ---- */

static inline void model_amd_queue(void)
{
    uint64_t base = *model_reg(0x08) & 0x000ffffffffff000ULL;

    if ((*model_reg(0x18) & 1) == 0 || (*model_reg(0x18) & 1u << 12) == 0) {
        return; /* off: nothing is done */
    }
    while (*model_reg(0x2000) != *model_reg(0x2008)) {
        uint64_t low = model_word(base + *model_reg(0x2000)), high = model_word(base + *model_reg(0x2000) + 8);

        switch (low >> 60) {
        case 1:
            if ((low & 1) != 0) {
                model_put(low & 0x000ffffffffffff8ULL, high, 8);
            }
            break;
        case 2:
            for (uint32_t i = 0; i < MODEL_CACHED; i++) {
                model.cached[i].used &= model.cached[i].device != (low & 0xffff);
            }
            break;
        case 3:
        case 5:
            break;
        case 8:
            if ((model.capabilities & 1u << 6) == 0) {
                abort();
            }
            model_forget();
            break;
        default:
            abort();
        }
        *model_reg(0x2000) = (*model_reg(0x2000) + 16) % 4096;
    }
}

static inline const uint64_t *model_amd_entry(uint16_t device, struct model_cached *cached)
{
    uint64_t at = (*model_reg(0x00) & 0x000ffffffffff000ULL) + 32u * device;

    for (uint32_t i = 0; i < 4; i++) {
        cached->words[i] = model_word(at + 8 * i);
    }
    return cached->words;
}

static inline void model_amd_report(uint16_t device, uint64_t address, bool write, bool interrupt)
{
    uint64_t at = (*model_reg(0x10) & 0x000ffffffffff000ULL) + *model_reg(0x2018);

    if ((*model_reg(0x18) & 4) == 0) {
        return;
    }
    if ((*model_reg(0x2018) + 16) % 4096 == *model_reg(0x2010)) {
        *model_reg(0x2020) |= 1;
        return;
    }
    model_put(at, 2ULL << 60 | (write ? 1ULL << 53 : 0) | (interrupt ? 1ULL << 51 : 0) | device, 8);
    model_put(at + 8, address, 8);
    *model_reg(0x2018) = (*model_reg(0x2018) + 16) % 4096;
}

/* ---- registers ---- */

static inline uint32_t model_read32(void *context, uint64_t at)
{
    uint32_t value;

    (void)context;
    if (model.dead) {
        return ~0u;
    }
    memcpy(&value, &model.registers[at - MODEL_BASE], 4);
    return value;
}

static inline uint64_t model_read64(void *context, uint64_t at)
{
    return model_read32(context, at) | (uint64_t)model_read32(context, at + 4) << 32;
}

static inline void model_written(uint32_t at)
{
    if (model.amd && at == 0x18) {
        uint64_t runs = (*model_reg(0x18) & 1u << 12 ? 1u << 4 : 0) | (*model_reg(0x18) & 4 ? 1u << 3 : 0);

        *model_reg(0x2020) = (*model_reg(0x2020) & 1) | runs;
    }
    if (model.amd && (at == 0x18 || at == 0x2008)) {
        model_amd_queue();
    } else if (!model.amd && at == 0x88) {
        model_vtd_queue();
    }
}

static inline void model_write32(void *context, uint64_t address, uint32_t value)
{
    uint32_t at = (uint32_t)(address - MODEL_BASE);
    uint32_t faults = 16u * (uint32_t)(model.capabilities >> 24 & 0x3ff);

    (void)context;
    if (model.dead) {
        return;
    }
    if (!model.amd && at == 0x18) {
        model_vtd_command(value);
    } else if (!model.amd && at == 0x34) {
        *(uint32_t *)(void *)&model.registers[at] &= ~value;
    } else if (!model.amd && at >= faults && at % 16 == 12) {
        *(uint32_t *)(void *)&model.registers[at] &= ~(value & 1u << 31);
    } else if (!model.amd && at == 0x64) {
        *(uint32_t *)(void *)&model.registers[at] = (value & 1u << 31) | value >> 31;
    } else {
        memcpy(&model.registers[at], &value, 4);
    }
    model_written(at);
}

static inline void model_write64(void *context, uint64_t address, uint64_t value)
{
    uint32_t at = (uint32_t)(address - MODEL_BASE);

    (void)context;
    if (model.dead) {
        return;
    }
    if (model.amd && at == 0x2020) {
        *model_reg(at) &= ~value | ~1ULL;
    } else {
        *model_reg(at) = value;
    }
    model_written(at);
}

static inline void model_write_back(void *context, const void *from, uint64_t bytes)
{
    uint64_t at = (uint64_t)((const uint8_t *)from - model_memory);

    (void)context;
    if (at >= MODEL_BYTES || bytes > MODEL_BYTES - at) {
        abort();
    }
    memcpy(model_seen + at, from, bytes);
}

static inline void model_wait_us(void *context, uint32_t us)
{
    (void)context;
    model.waited_us += us;
}

/* ---- devices ---- */

static inline const uint64_t *model_entry(uint16_t device)
{
    struct model_cached *cached = &model.cached[device % MODEL_CACHED];

    if (!cached->used || cached->device != device) {
        *cached = (struct model_cached){.used = true, .device = device};
        return model.amd ? model_amd_entry(device, cached) : model_vtd_context(device, cached);
    }
    return cached->words;
}

/* A walk of the device's tree. False: refused. */
static inline bool model_walk(const uint64_t *entry, uint64_t address, bool write, uint64_t *to)
{
    uint32_t level = model.amd ? (uint32_t)(entry[0] >> 9 & 7) : 2u + (uint32_t)(entry[1] & 7);
    uint64_t table = entry[0] & 0x000ffffffffff000ULL;
    uint64_t wanted = model.amd ? 1ULL << (write ? 62 : 61) : 1ULL << write;

    if (model.amd && (entry[0] & wanted) == 0) {
        return false;
    }
    if (address >> (12 + 9 * level) != 0) {
        return false;
    }
    for (;;) {
        uint64_t value, bytes;
        bool leaf;

        level--;
        value = model_word(table + 8 * (address >> (12 + 9 * level) & 511));
        bytes = 1ULL << (12 + 9 * level);
        if ((value & wanted) == 0 || (model.amd && (value & 1) == 0)) {
            return false;
        }
        leaf = model.amd ? (value >> 9 & 7) == 0 : level == 0 || (value & 1u << 7) != 0;
        if (leaf) {
            *to = (value & 0x000ffffffffff000ULL & ~(bytes - 1)) | (address & (bytes - 1));
            return true;
        }
        if (level == 0 || (model.amd && (value >> 9 & 7) != level)) {
            abort();
        }
        table = value & 0x000ffffffffff000ULL;
    }
}

/* What a device's access does: true: it reaches memory, at *to. */
static inline bool model_access(uint16_t device, uint64_t address, bool write, uint64_t *to)
{
    const uint64_t *entry;
    bool on = model.amd ? (*model_reg(0x18) & 1) != 0 : (*model_reg(0x18) >> 63) != 0;

    *to = address;
    if (!on) {
        return true;
    }
    entry = model_entry(device);
    if (model.amd) {
        if ((entry[0] & 1) == 0 || (entry[0] & 2) == 0) {
            return true; /* not valid: everything passes */
        }
        if (model_walk(entry, address, write, to)) {
            return true;
        }
        if ((entry[1] >> 34 & 1) == 0) {
            model_amd_report(device, address, write, false);
        }
        return false;
    }
    if ((entry[0] & 1) != 0 && model_walk(entry, address, write, to)) {
        return true;
    }
    if ((entry[0] & 2) == 0) {
        model_vtd_report(device, address, write, (entry[0] & 1) != 0 ? (write ? 5 : 6) : 2);
    }
    return false;
}

/* A message of a device: true: an interrupt comes. */
static inline bool model_interrupt(uint16_t device, uint32_t address)
{
    if (model.amd) {
        const uint64_t *entry = model_entry(device);

        if ((*model_reg(0x18) & 1) == 0 || (entry[2] & 1) == 0 || (entry[2] >> 60 & 3) == 1) {
            return true;
        }
        model_amd_report(device, address, true, true);
        return false;
    }
    if ((*model_reg(0x18) >> 57 & 1) == 0) {
        return true;
    }
    if ((address & 0x10) == 0) {
        return (*model_reg(0x18) >> 55 & 1) != 0;
    }
    if ((model_word((model.vectors & ~0xfffULL)) & 1) != 0) {
        return true;
    }
    model_vtd_report(device, 0, true, 0x22);
    return false;
}

/* Where a message of a device comes: false: nowhere. As the tables say it, through what the unit has seen of them. */
static inline bool model_message(uint16_t device, uint64_t address, uint32_t data, uint8_t *vector, uint32_t *cpu)
{
    if (model.amd) {
        const uint64_t *entry = model_entry(device);
        uint32_t row;

        if ((entry[2] >> 60 & 3) != 2 || data >= 1u << (entry[2] >> 1 & 15)) {
            return false;
        }
        row = (uint32_t)(model_word((entry[2] & 0x000fffffffffffc0ULL) + (data & ~1u) * 4ull) >> (data & 1) * 32);
        *vector = (uint8_t)(row >> 16);
        *cpu = row >> 8 & 0xff;
        return (row & 1) != 0;
    } else {
        uint64_t at = (model.vectors & ~0xfffULL) + (address >> 5 & 0x7fff) * 16;
        uint64_t low = model_word(at), high = model_word(at + 8);

        *vector = (uint8_t)(low >> 16);
        *cpu = (uint32_t)(low >> 32);
        return (address & 0x10) != 0 && data == 0 && (low & 1) != 0 && (high >> 18 & 3) == 1 &&
               (uint16_t)high == device;
    }
}

static const struct iommu_io model_io = {
    NULL, 0, model_read32, model_read64, model_write32, model_write64, model_write_back, model_wait_us};

#endif
