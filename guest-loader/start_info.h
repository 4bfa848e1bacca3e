/* SPDX-License-Identifier: MIT */
/*
 * The boot information of PVH, which Plinth also gives to plain ELF and flat guests: command line, modules, memory map,
 * RSDP. Xen, public/arch-x86/hvm/start_info.h, version 1; docs/boot-protocols.md has the layout.
 */
#ifndef GUEST_LOADER_START_INFO_H
#define GUEST_LOADER_START_INFO_H

#include "guest-loader/plan.h"

#define START_INFO_MAGIC 0x336ec578u
#define START_INFO_VERSION 1u

struct start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t cmdline;
    uint64_t rsdp;
    uint64_t memory_map;
    uint32_t memory_map_count;
    uint32_t reserved;
};
_Static_assert(sizeof(struct start_info) == 56 && offsetof(struct start_info, memory_map) == 40, "start_info.h");

struct start_info_module {
    uint64_t address;
    uint64_t bytes;
    uint64_t cmdline;
    uint64_t reserved;
};
_Static_assert(sizeof(struct start_info_module) == 32, "start_info.h");

struct start_info_memory {
    uint64_t address;
    uint64_t bytes;
    uint32_t type; /* as in an e820 map */
    uint32_t reserved;
};
_Static_assert(sizeof(struct start_info_memory) == 24, "start_info.h");

/* Places the modules, opens the blob and writes it there: *address. */
enum status start_info_open(struct loader *loader, uint64_t *address);

#endif
