/* SPDX-License-Identifier: MIT */
/*
 * What shadow paging costs: TSC ticks, the cheapest of many, of what makes it work. As bench-exit.c; under nested
 * paging all of it is a handful of ticks. `make bench-shadow` runs it.
 *
 *   fill           a page that is touched for the first time, its entry not accessed: one exit
 *   refill         the same of a page whose entry is unchanged since an earlier time in this address space
 *   fill-8         eight pages in a row whose entries are accessed: the first one brings its neighbours
 *   switch         MOV to CR3 alone
 *   switch-touch   MOV to CR3, and one page that this address space has had before
 *   invlpg         INVLPG of a page that is there
 *   guest-fault    an access to what the guest does not map, its handler, which steps over it, and IRET
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "bench-shadow";

#define ROUNDS 100u
#define PAGES 512u
#define PAGE_SIZE 0x1000u
#define FRAMES 0x800000u       /* where the pages lie */
#define PAGES_AT 0x8000000000u /* where they are mapped: the second entry of the top table */
#define LARGE_PAGE 0x83u       /* present, writable, 2 MiB */
#define PAGE 0x03u
#define ACCESSED 0x20u
#define OTHER 0x200u /* for software: the entries are not those of before */
#define NOT_MAPPED (PAGES_AT + PAGES * PAGE_SIZE)
#define TOUCH_BYTES 2u /* of the instruction that faults */
#define PAGE_FAULT 14u

static uint64_t top[2][512] __attribute__((aligned(4096))), low[512] __attribute__((aligned(4096)));
static uint64_t directory[512] __attribute__((aligned(4096))), high[512] __attribute__((aligned(4096)));
static uint64_t high_directory[512] __attribute__((aligned(4096))), table[PAGES] __attribute__((aligned(4096)));

static inline uint64_t ticks(void)
{
    uint32_t low_half, high_half;

    __asm__ volatile("rdtsc" : "=a"(low_half), "=d"(high_half) : : "memory");
    return (uint64_t)high_half << 32 | low_half;
}

static uint64_t address_of(const void *what)
{
    return (uint64_t)(uintptr_t)what;
}

static void touch(uint32_t page)
{
    uint64_t at = PAGES_AT + (uint64_t)page * PAGE_SIZE;

    __asm__ volatile("movb (%0), %%al" : : "r"(at) : "rax", "memory");
}

static void make_tables(void)
{
    low[0] = address_of(directory) | PAGE;
    for (uint32_t i = 0; i < 512; i++) {
        directory[i] = (uint64_t)i << 21 | LARGE_PAGE;
    }
    high[0] = address_of(high_directory) | PAGE;
    high_directory[0] = address_of(table) | PAGE;
    for (uint32_t i = 0; i < 2; i++) {
        top[i][0] = address_of(low) | PAGE;
        top[i][1] = address_of(high) | PAGE;
    }
}

static void map_pages(uint64_t flags)
{
    for (uint32_t i = 0; i < PAGES; i++) {
        table[i] = (FRAMES + (uint64_t)i * PAGE_SIZE) | flags;
    }
    write_cr3(address_of(top[0]));
    touch(PAGES - 1); /* its tables are there from now on */
}

static uint64_t least(uint64_t best, uint64_t started)
{
    uint64_t taken = ticks() - started;

    return taken < best ? taken : best;
}

static uint64_t floor_of_all;

static void tell(const char *name, uint64_t best)
{
    print("bench-shadow: %s %u\n", name, (uint32_t)(best - floor_of_all));
}

static void measure_pages(const char *name, uint64_t flags, uint32_t step)
{
    uint64_t best = ~0ULL;

    map_pages(flags);
    for (uint32_t i = 0; i + step <= PAGES - step; i += step) {
        uint64_t start = ticks();

        for (uint32_t n = 0; n < step; n++) {
            touch(i + n);
        }
        best = least(best, start);
    }
    tell(name, best);
}

static void measure_switches(void)
{
    uint64_t alone = ~0ULL, touched = ~0ULL, again = ~0ULL, invalidated = ~0ULL;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t start = ticks();

        write_cr3(address_of(top[i % 2]));
        alone = least(alone, start);
        touch(0);
        start = ticks();
        write_cr3(address_of(top[i % 2]));
        touch(0);
        touched = least(touched, start);
        start = ticks();
        __asm__ volatile("invlpg (%0)" : : "r"((uint64_t)PAGES_AT) : "memory");
        invalidated = least(invalidated, start);
        start = ticks();
        touch(0);
        again = least(again, start);
    }
    tell("switch", alone);
    tell("switch-touch", touched);
    tell("invlpg", invalidated);
    tell("refill", again);
}

static void on_fault(struct trap_frame *frame)
{
    frame->ip += TOUCH_BYTES;
}

static void measure_faults(void)
{
    uint64_t best = ~0ULL;

    trap_set(PAGE_FAULT, on_fault);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t start = ticks();

        __asm__ volatile("movb (%%rcx), %%al" : : "c"((uint64_t)NOT_MAPPED) : "rax", "memory");
        best = least(best, start);
    }
    tell("guest-fault", best);
}

void guest_main(void)
{
    floor_of_all = ~0ULL;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        floor_of_all = least(floor_of_all, ticks());
    }
    make_tables();
    measure_pages("fill", PAGE, 1);
    measure_pages("fill-8", PAGE | ACCESSED | OTHER, 8);
    measure_switches();
    measure_faults();
}
