/* SPDX-License-Identifier: MIT */
/*
 * The host's address space: which memory there is, what is where in it, and the tree in use (hv/x86/host_map.h builds
 * it). Order: host_memory_tables_max() before the hand-over; host_memory_init() once on the BSP, after smp_assign();
 * host_memory_load_cpu() on every other CPU.
 */
#ifndef HV_HOST_HOST_MEMORY_H
#define HV_HOST_HOST_MEMORY_H

#include "hv/boot_info.h"
#include "hv/x86/host_map.h"

/* Tables of the host's tree, at most: for the pool's count. */
uint64_t host_memory_tables_max(const struct boot_info *info);

/* Windows of devices, those of host_memory_init() and of host_memory_map_device() together. */
#define HOST_WINDOWS_MAX 64u

/* What of the address space is special: pages that are absent (CPU_GUARDS_MAX at most), and windows of devices. */
struct host_places {
    const uint64_t *guards;
    uint32_t guard_count;
    const struct host_range *windows; /* whole pages */
    uint32_t window_count;
};

/* Builds the tree from the pool and loads it on the calling CPU; panics where that fails. Mapped are memory, ACPI's
 * tables, the image, the screen and the windows, and nothing else. */
void host_memory_init(const struct boot_info *info, const struct host_places *places);

/* Maps [start, start + bytes), widened to whole pages, as a device, unless it is. BSP only, while no other CPU runs.
 * False: it is memory, or there are too many windows. */
bool host_memory_map_device(uint64_t start, uint64_t bytes);

/* Loads the tree on another CPU. */
void host_memory_load_cpu(void);

/* The page at `address` becomes RX or again RW: the trampoline, while CPUs start. Caller: the BSP, no other CPU
 * runs. */
void host_memory_set_executable(uint64_t address, bool executable);

/* The tree's root for CR3. */
uint64_t host_memory_root(void);

/* One line for the start-up report. */
void host_memory_report(void);

#endif
