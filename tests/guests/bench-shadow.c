/* SPDX-License-Identifier: MIT */
/*
 * What shadow paging costs: TSC ticks, the cheapest of many, of what makes it work. As bench-exit.c; under nested
 * paging all of it is a handful of ticks. `make bench-shadow` runs it.
 *
 *   fill           a page that is touched for the first time, its entry not accessed: one exit
 *   refill         the same of a page whose entry is unchanged since an earlier time in this address space
 *   fill-16        sixteen pages in a row whose entries are accessed: the first one brings its neighbours
 *   switch         MOV to CR3, to an address space that was here before and has 16 pages; nothing has changed
 *   switch-touch   the same, and a page of it
 *   switch-512     with 512 pages
 *   switch-global  with 16 pages, and 512 global ones beside them that both address spaces have
 *   invlpg         INVLPG of a page that is there
 *   guest-fault    an access to what the guest does not map, its handler, which steps over it, and IRET
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "bench-shadow";

#define ROUNDS 100u
#define PAGES 512u
#define PAGE_SIZE 0x1000u
#define FRAMES 0x800000u         /* where the pages lie */
#define PAGES_AT 0x8000000000u   /* where they are mapped: the second entry of the top table */
#define GLOBAL_AT 0x10000000000u /* and the third one */
#define LARGE_PAGE 0x83u         /* present, writable, 2 MiB */
#define PAGE 0x03u
#define ACCESSED 0x20u
#define GLOBAL 0x100u
#define CR4_PGE 0x80u
#define FEW 16u      /* pages */
#define OTHER 0x200u /* for software: the entries are not those of before */
#define NOT_MAPPED (PAGES_AT + PAGES * PAGE_SIZE)
#define TOUCH_BYTES 2u /* of the instruction that faults */
#define PAGE_FAULT 14u

static uint64_t top[2][512] __attribute__((aligned(4096))), low[512] __attribute__((aligned(4096)));
static uint64_t directory[512] __attribute__((aligned(4096))), high[512] __attribute__((aligned(4096)));
static uint64_t high_directory[512] __attribute__((aligned(4096))), table[PAGES] __attribute__((aligned(4096)));
static uint64_t other_high[512] __attribute__((aligned(4096))), other_directory[512] __attribute__((aligned(4096)));
static uint64_t other_table[PAGES] __attribute__((aligned(4096)));
static uint64_t global_high[512] __attribute__((aligned(4096))), global_directory[512] __attribute__((aligned(4096)));
static uint64_t global_table[PAGES] __attribute__((aligned(4096)));

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

static void touch_at(uint64_t address)
{
    __asm__ volatile("movb (%0), %%al" : : "r"(address) : "rax", "memory");
}

static void touch(uint32_t page)
{
    touch_at(PAGES_AT + (uint64_t)page * PAGE_SIZE);
}

static void make_tables(void)
{
    low[0] = address_of(directory) | PAGE;
    for (uint32_t i = 0; i < 512; i++) {
        directory[i] = (uint64_t)i << 21 | LARGE_PAGE;
    }
    high[0] = address_of(high_directory) | PAGE;
    high_directory[0] = address_of(table) | PAGE;
    other_high[0] = address_of(other_directory) | PAGE;
    other_directory[0] = address_of(other_table) | PAGE;
    global_high[0] = address_of(global_directory) | PAGE;
    global_directory[0] = address_of(global_table) | PAGE;
    for (uint32_t i = 0; i < 2; i++) {
        top[i][2] = address_of(global_high) | PAGE;
        top[i][0] = address_of(low) | PAGE;
        top[i][1] = address_of(i == 0 ? high : other_high) | PAGE;
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

/* Both address spaces have these pages and nothing else from now on. */
static void have_pages(uint32_t count, uint64_t flags)
{
    for (uint32_t i = 0; i < PAGES; i++) {
        table[i] = i < count ? (FRAMES + (uint64_t)i * PAGE_SIZE) | flags : 0;
        other_table[i] = table[i];
    }
    for (uint32_t i = 0; i < 4; i++) {
        write_cr3(address_of(top[i % 2]));
        for (uint32_t page = 0; page < count; page++) {
            touch(page);
        }
    }
}

static void measure_switch(const char *name, bool touched)
{
    uint64_t best = ~0ULL;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t start = ticks();

        write_cr3(address_of(top[i % 2]));
        if (touched) {
            touch(0);
        }
        best = least(best, start);
        touch(0);
    }
    tell(name, best);
}

static void measure_switches(void)
{
    have_pages(FEW, PAGE);
    measure_switch("switch", false);
    measure_switch("switch-touch", true);
    have_pages(PAGES, PAGE);
    measure_switch("switch-512", false);
    write_cr4(read_cr4() | CR4_PGE);
    for (uint32_t i = 0; i < PAGES; i++) {
        global_table[i] = (FRAMES + (uint64_t)i * PAGE_SIZE) | PAGE | GLOBAL;
        touch_at(GLOBAL_AT + (uint64_t)i * PAGE_SIZE);
    }
    have_pages(FEW, PAGE);
    measure_switch("switch-global", false);
    write_cr4(read_cr4() & ~(uint64_t)CR4_PGE);
}

static void measure_invalidations(void)
{
    uint64_t again = ~0ULL, invalidated = ~0ULL;

    have_pages(FEW, PAGE);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t start = ticks();

        __asm__ volatile("invlpg (%0)" : : "r"((uint64_t)PAGES_AT) : "memory");
        invalidated = least(invalidated, start);
        start = ticks();
        touch(0);
        again = least(again, start);
    }
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
    measure_pages("fill-16", PAGE | ACCESSED | OTHER, 16);
    measure_switches();
    measure_invalidations();
    measure_faults();
}
