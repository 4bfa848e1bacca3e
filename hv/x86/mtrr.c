/* SPDX-License-Identifier: MIT */
#include "hv/x86/mtrr.h"

/* IA32_MTRR_DEF_TYPE. SDM 3A 12.11.2.1, figure 12-6. */
#define DEF_TYPE_MASK 0xffULL
#define DEF_TYPE_FIXED_ENABLE (1ULL << 10)
#define DEF_TYPE_ENABLE (1ULL << 11)

/* IA32_MTRR_PHYSMASKn. SDM 3A 12.11.2.3, figure 12-7. */
#define VARIABLE_VALID (1ULL << 11)

#define FIXED_16K 0x80000ULL
#define FIXED_4K 0xc0000ULL
#define FIXED_64K_SHIFT 16u
#define FIXED_16K_SHIFT 14u
#define FIXED_4K_SHIFT 12u
#define FIXED_16K_FIRST 1u
#define FIXED_4K_FIRST 3u
#define TYPES_PER_REGISTER 8ULL

/* The three granularities of the fixed ranges. SDM 3A 12.11.2.2, table 12-9. */
static const struct {
    uint64_t start, end;
    uint32_t shift;
    uint32_t first_register;
} fixed_areas[] = {
    {0, FIXED_16K, FIXED_64K_SHIFT, 0},
    {FIXED_16K, FIXED_4K, FIXED_16K_SHIFT, FIXED_16K_FIRST},
    {FIXED_4K, MTRR_FIXED_END, FIXED_4K_SHIFT, FIXED_4K_FIRST},
};
_Static_assert(FIXED_16K == TYPES_PER_REGISTER << FIXED_64K_SHIFT, "one register of 64 KiB ranges");
_Static_assert(FIXED_4K - FIXED_16K == (FIXED_4K_FIRST - FIXED_16K_FIRST) * TYPES_PER_REGISTER << FIXED_16K_SHIFT,
               "two of 16 KiB ranges");
_Static_assert(MTRR_FIXED_END - FIXED_4K == (MTRR_FIXED_REGISTERS - FIXED_4K_FIRST) * TYPES_PER_REGISTER
                                                << FIXED_4K_SHIFT,
               "eight of 4 KiB ranges");

/* Encodings of memory types. SDM 3A 12.11, table 12-8. Reserved ones count as uncached. */
static enum cache_type type_of(uint64_t encoding)
{
    static const enum cache_type types[] = {
        [0] = CACHE_UC, [1] = CACHE_WC, [2] = CACHE_UC, [3] = CACHE_UC, [4] = CACHE_WT, [5] = CACHE_WP, [6] = CACHE_WB,
    };

    return encoding < ARRAY_COUNT(types) ? types[encoding] : CACHE_UC;
}

static uint64_t variable_bits(const struct mtrr_state *state, uint64_t value)
{
    return value & bit_mask(PAGE_SHIFT, state->physical_bits - 1u);
}

static bool variable_matches(const struct mtrr_state *state, const struct mtrr_variable *variable, uint64_t address)
{
    uint64_t mask = variable_bits(state, variable->mask);

    return (variable->mask & VARIABLE_VALID) != 0 && (address & mask) == (variable_bits(state, variable->base) & mask);
}

/* Where ranges overlap: UC wins, WT wins over WB; other mixtures are undefined and taken as UC. SDM 3A 12.11.4.1. */
static enum cache_type combine(enum cache_type a, enum cache_type b)
{
    if (a == b) {
        return a;
    }
    if ((a == CACHE_WT && b == CACHE_WB) || (a == CACHE_WB && b == CACHE_WT)) {
        return CACHE_WT;
    }
    return CACHE_UC;
}

static bool uses_fixed(const struct mtrr_state *state, uint64_t address)
{
    return address < MTRR_FIXED_END && (state->default_type & DEF_TYPE_FIXED_ENABLE) != 0;
}

static enum cache_type fixed_type(const struct mtrr_state *state, uint64_t address)
{
    for (size_t i = 0; i < ARRAY_COUNT(fixed_areas); i++) {
        if (address < fixed_areas[i].end) {
            uint64_t index = (address - fixed_areas[i].start) >> fixed_areas[i].shift;
            uint64_t word = state->fixed[fixed_areas[i].first_register + index / 8];

            return type_of(word >> (index % 8 * 8) & 0xff);
        }
    }
    return CACHE_UC;
}

enum cache_type mtrr_type(const struct mtrr_state *state, uint64_t address)
{
    enum cache_type type = CACHE_WB;
    bool matched = false;

    if (!state->present) {
        return CACHE_WB;
    }
    if ((state->default_type & DEF_TYPE_ENABLE) == 0) {
        return CACHE_UC;
    }
    if (uses_fixed(state, address)) {
        return fixed_type(state, address);
    }
    for (uint32_t i = 0; i < state->variable_count; i++) {
        if (variable_matches(state, &state->variable[i], address)) {
            enum cache_type own = type_of(state->variable[i].base & DEF_TYPE_MASK);

            type = matched ? combine(type, own) : own;
            matched = true;
        }
    }
    if (matched) {
        return type;
    }
    if (address >= 4 * GIB && address < state->force_wb_end) {
        return CACHE_WB;
    }
    return type_of(state->default_type & DEF_TYPE_MASK);
}

/*
 * The next address after `address` at which this range may begin or end to match. A mask without gaps means one block
 * in each period, which is the whole address space where the mask's highest bit is the CPU's; a firmware that keeps the
 * upper bits for keys of memory encryption (TME-MK) leaves them out of the mask, and there is nothing up there. A mask
 * with gaps means many blocks, so every multiple of its lowest bit is a candidate.
 */
static uint64_t variable_boundary(const struct mtrr_state *state, const struct mtrr_variable *variable,
                                  uint64_t address)
{
    uint64_t mask = variable_bits(state, variable->mask);
    uint64_t block = mask & (0 - mask);
    uint64_t period = mask + block;
    uint64_t start = variable_bits(state, variable->base) & mask;
    uint64_t offset;

    if ((variable->mask & VARIABLE_VALID) == 0 || mask == 0) {
        return UINT64_MAX;
    }
    if (!is_power_of_two(period)) {
        return align_down(address, block) + block;
    }
    offset = address & (period - 1);
    if (offset < start) {
        return address - offset + start;
    }
    return address - offset + start + (offset < start + block ? block : period);
}

static uint64_t next_boundary(const struct mtrr_state *state, uint64_t address)
{
    uint64_t next = UINT64_MAX;

    if (uses_fixed(state, address)) {
        return align_down(address, PAGE_BYTES) + PAGE_BYTES;
    }
    if (address < MTRR_FIXED_END) {
        next = MTRR_FIXED_END;
    } else if (address < 4 * GIB) {
        next = 4 * GIB;
    } else if (address < state->force_wb_end) {
        next = state->force_wb_end;
    }
    for (uint32_t i = 0; i < state->variable_count; i++) {
        next = min_u64(next, variable_boundary(state, &state->variable[i], address));
    }
    return next;
}

uint64_t mtrr_run(const struct mtrr_state *state, uint64_t start, uint64_t limit, enum cache_type *type)
{
    uint64_t end = start;

    *type = mtrr_type(state, start);
    while (end < limit && mtrr_type(state, end) == *type) {
        end = next_boundary(state, end);
    }
    return min_u64(end, limit);
}

static bool same_variables(const struct mtrr_state *one, const struct mtrr_state *other)
{
    for (uint32_t i = 0; i < one->variable_count; i++) {
        const struct mtrr_variable *left = &one->variable[i], *right = &other->variable[i];

        if (((left->mask | right->mask) & VARIABLE_VALID) != 0 &&
            (left->base != right->base || left->mask != right->mask)) {
            return false;
        }
    }
    return true;
}

enum mtrr_likeness mtrr_compare(const struct mtrr_state *one, const struct mtrr_state *other)
{
    bool same = one->default_type == other->default_type && same_variables(one, other);

    if (one->present != other->present || one->variable_count != other->variable_count ||
        one->physical_bits != other->physical_bits || one->force_wb_end != other->force_wb_end) {
        return MTRR_UNLIKE;
    }
    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS; i++) {
        same = same && one->fixed[i] == other->fixed[i];
    }
    return same ? MTRR_ALIKE : MTRR_SETTABLE;
}
