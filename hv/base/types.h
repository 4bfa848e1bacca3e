/* SPDX-License-Identifier: MIT */
/*
 * The vocabulary that every other file uses: fixed-width types, the two kinds of physical address, sizes, alignment.
 *
 * The image is LLP64 (`long` has 32 bits), the native tests are LP64: only fixed-width types and size_t are used.
 *
 * This folder has what every other file may use: types, status, checks, log, text, locks. Nothing here knows a CPU, a
 * guest or a page table.
 */
#ifndef HV_BASE_TYPES_H
#define HV_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* printf conversions for 64-bit values on both targets; the compiler predefines the letters. */
#ifndef PRIu64
#define PRIu64 __UINT64_FMTu__
#define PRIx64 __UINT64_FMTx__
#endif

#define KIB 0x400ULL
#define MIB 0x100000ULL
#define GIB 0x40000000ULL

#define PAGE_SHIFT 12u
#define PAGE_BYTES 4096u
_Static_assert(PAGE_BYTES == 1u << PAGE_SHIFT && PAGE_BYTES == 4 * KIB, "one size of page");
_Static_assert(MIB == KIB * KIB && GIB == MIB * KIB, "powers of 1024");

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A guest-physical address: what a guest believes is physical. */
typedef struct gpa {
    uint64_t value;
} gpa_t;

/* A host-physical address: what the memory bus sees. Identity-mapped in the hypervisor. */
typedef struct hpa {
    uint64_t value;
} hpa_t;

_Static_assert(sizeof(gpa_t) == 8 && sizeof(hpa_t) == 8, "an address type costs nothing");

static inline gpa_t gpa(uint64_t value)
{
    return (gpa_t){value};
}

static inline hpa_t hpa(uint64_t value)
{
    return (hpa_t){value};
}

/* `alignment` is a power of two in the four below; align_up wraps to 0 past the top of the address space. */
static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t alignment)
{
    return (value & (alignment - 1)) == 0;
}

static inline bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A mask of bits [low, high], both included, high < 64. */
static inline uint64_t bit_mask(unsigned low, unsigned high)
{
    return (~0ULL >> (63u - high)) & (~0ULL << low);
}

/* The bits of a value of so many bytes: 1 to 8. */
static inline uint64_t size_mask(uint8_t bytes)
{
    return UINT64_MAX >> (64 - 8 * bytes);
}

/* The bits [low, high] of a value, shifted down. */
static inline uint64_t bit_field(uint64_t value, unsigned low, unsigned high)
{
    return (value & bit_mask(low, high)) >> low;
}

#endif
