/* SPDX-License-Identifier: MIT */
/*
 * What crosses from efi/ to hv/ at the point of no return: plain data, no UEFI type, versioned.
 * All pointers are physical addresses (identity-mapped) in MEMORY_LOADER regions of `memory`.
 *
 * This folder itself has the start after the hand-over and what crosses it; all else is in a folder of its own.
 */
#ifndef HV_BOOT_INFO_H
#define HV_BOOT_INFO_H

#include "config/parse.h"
#include "hv/base/random.h"
#include "hv/base/span.h"
#include "hv/plan/memory_map.h"
#include "hv/plan/numa.h"
#include "hv/plan/planner.h"

#define BOOT_INFO_VERSION 4u
#define BOOT_SECTIONS_MAX 16u
#define BOOT_UARTS_MAX 8u

struct boot_cpu {
    uint32_t apic_id;
    bool is_bsp;
    bool healthy;
    uint32_t package, core, thread; /* as MP services say it; 0 where unknown */
    enum config_cpu_kind kind;      /* CPU_KIND_ANY: all are alike, or it did not say */
    uint32_t node;                  /* of boot_info.numa; 0 where there is none, or the SRAT leaves it out */
};

/* A section of our own image. The host map gives it exactly these permissions. */
struct boot_section {
    char name[9];
    uint64_t start, end; /* page-aligned, host-physical */
    bool write, execute;
};

enum boot_pixel {
    BOOT_PIXEL_NONE, /* no framebuffer */
    BOOT_PIXEL_BGRX,
    BOOT_PIXEL_RGBX,
    BOOT_PIXEL_MASK,
};

struct boot_framebuffer {
    enum boot_pixel format;
    uint64_t base;
    uint64_t bytes; /* stride x height: what the picture takes */
    uint32_t width, height, stride_pixels;
    uint32_t red_mask, green_mask, blue_mask, bytes_per_pixel;
    uint32_t outputs; /* how many have a picture in memory */
    bool is_console;  /* the firmware's own text is on it */
};

/* A 16550 that answered. */
struct boot_uart {
    uint64_t base; /* I/O port, or physical address below 4 GiB */
    bool mmio;
    uint8_t stride; /* bytes from one register to the next; MMIO with 4 is read and written as words of 32 bits */
    bool keep_rate; /* its clock is not known to be a PC's: the rate stays as the firmware set it */
};

/* The memory of a disk. Its pages are MEMORY_LOADER and no guest's. */
struct boot_disk {
    struct span image; /* of `stored_pages` in memory, whole and filled with zeroes behind the image's end */
    uint64_t places;   /* where each page of the image is among them: struct disk_stored; 0: all are there */
    uint64_t map;      /* DISK_MAP_BYTES for each page of the image */
    uint64_t changes;  /* 0: there is none */
    uint32_t stored_pages;
    uint32_t change_pages;
    bool in_place; /* the image's own pages are changed */
};

_Static_assert(CONFIG_GUEST_SHARES_MAX == GUEST_SHARES_MAX && CONFIG_SHARE_BYTES_MAX == GUEST_SHARE_SLOT,
               "what the config allows has room");

/* What a guest of the config wants of the planner. */
static inline struct planner_request boot_planner_request(const struct config *config, const struct config_guest *guest,
                                                          const struct numa_map *numa, bool small_code)
{
    struct planner_request request = {.memory_bytes = guest->memory_bytes,
                                      .test_memory = guest->debug_ports,
                                      .at = guest->memory_at,
                                      .numa = numa,
                                      .pci_count = guest->pci_count,
                                      .node = guest->node,
                                      .small_code = small_code};

    request.device_tables =
        guest->framebuffer ? planner_device_tables(GUEST_FRAMEBUFFER_START, 0, GUEST_FRAMEBUFFER_BYTES) : 0;
    for (uint32_t i = 0; i < guest->mmio_count; i++) {
        const struct config_mmio *mmio = &guest->mmio[i];

        request.device_tables += planner_device_tables(mmio->guest_start, mmio->start, mmio->bytes);
    }
    request.share_count = guest->share_count;
    for (uint32_t i = 0; i < guest->share_count; i++) {
        request.share_bytes[i] = config_share_named(config, guest->shares[i].name)->bytes;
    }
    return request;
}

struct boot_guest {
    struct guest_plan plan;
    struct span kernel;
    struct span modules[CONFIG_MODULES_MAX];
    struct boot_disk disks[CONFIG_DISKS_MAX];
    struct span roms[CONFIG_PCI_MAX]; /* of each `pci`: the firmware's copy of its expansion ROM; 0 bytes: none */
};

struct boot_info {
    uint32_t version;
    uint64_t tsc_start;      /* at the first instruction of efi_main */
    uint64_t stall_hz;       /* the TSC's rate by the firmware's Stall(); 0: not measured */
    uint64_t tsc_file_ticks; /* spent reading files and waiting for the firmware's disk */
    struct config config;
    struct boot_guest guests[CONFIG_GUESTS_MAX];
    uint64_t shares[CONFIG_SHARES_MAX]; /* the memory of each [shared]; from 2 MiB on aligned to 2 MiB. MEMORY_LOADER */
    struct memory_map memory;           /* the final one */
    struct boot_cpu cpus[CPUS_MAX];
    uint32_t cpu_count;
    bool kinds_known; /* its CPUs are of two kinds */
    struct numa_map numa;
    struct boot_section sections[BOOT_SECTIONS_MAX];
    uint32_t section_count;
    uint64_t image_start, image_end;
    uint64_t pool_start,
        pool_bytes;        /* the hypervisor's own memory after the hand-over: tables, stacks, vCPUs. 2 MiB-aligned */
    uint64_t trampoline;   /* a page below 1 MiB for starting CPUs; 0: none could be had */
    uint64_t console_ring; /* a struct console_ram that survives a warm reset; 0: none could be had */
    uint64_t rsdp;         /* 0: firmware has no ACPI tables */
    struct boot_uart uarts[BOOT_UARTS_MAX];
    uint32_t uart_count;
    struct boot_framebuffer framebuffer;
    uint64_t wall_clock_s;            /* Unix time at the hand-over */
    bool zone_guessed;                /* the clock shows local time, and nothing says of which zone */
    uint8_t random[RANDOM_KEY_BYTES]; /* of the firmware's generator; all 0: it has none */
};

_Noreturn void hv_main(struct boot_info *info);

/* The firmware does not give the machine and cannot have it back: says so on every console, and stops. */
_Noreturn void hv_refused(struct boot_info *info);

#endif
