/* SPDX-License-Identifier: MIT */
/* PVH's boot information (docs/boot-protocols.md), which 64-bit guests of the kit always have. */
#ifndef TESTS_GUESTS_LIB_START_INFO_H
#define TESTS_GUESTS_LIB_START_INFO_H

#include "tests/guests/lib/guest.h"

#define START_INFO_MAGIC 0x336ec578u
#define START_INFO_RAM 1u

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, memory_map;
    uint32_t memory_map_count, reserved;
};

struct start_info_module {
    uint64_t address, bytes, cmdline, reserved;
};

struct start_info_memory {
    uint64_t address, bytes;
    uint32_t type, reserved;
};

/* Where the entry's registers point to, or NULL where that is no start information. */
static inline const struct start_info *start_info(void)
{
    const struct start_info *info = (const struct start_info *)(uintptr_t)entry_state.bx;

    return info != NULL && info->magic == START_INFO_MAGIC ? info : NULL;
}

static inline const struct start_info_memory *start_info_memory(const struct start_info *info)
{
    return (const struct start_info_memory *)(uintptr_t)info->memory_map;
}

static inline const struct start_info_module *start_info_modules(const struct start_info *info)
{
    return (const struct start_info_module *)(uintptr_t)info->modules;
}

static inline const char *start_info_cmdline(const struct start_info *info)
{
    return info->cmdline == 0 ? "" : (const char *)(uintptr_t)info->cmdline;
}

/* The text after `key` in the command line, or NULL. */
static inline const char *start_info_argument(const struct start_info *info, const char *key)
{
    for (const char *text = start_info_cmdline(info); *text != '\0'; text++) {
        const char *a = text;
        const char *b = key;

        while (*b != '\0' && *a == *b) {
            a++;
            b++;
        }
        if (*b == '\0') {
            return a;
        }
    }
    return NULL;
}

/* The number after `key`, or `otherwise` where the key is not there. */
static inline uint32_t start_info_number(const struct start_info *info, const char *key, uint32_t otherwise)
{
    const char *text = start_info_argument(info, key);
    uint32_t value = 0;

    if (text == NULL) {
        return otherwise;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint32_t)(*text - '0');
    }
    return value;
}

#endif
