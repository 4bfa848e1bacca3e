/* SPDX-License-Identifier: MIT */
/*
 * A kernel changes the mapping of a global page and flushes all translations by taking CR4.PGE away and setting it
 * again, as kernels do where there is no INVPCID: what it reads then is the new page. SDM 3A 4.10.4.1 "Operations that
 * Invalidate TLBs and Paging-Structure Caches"; APM 2 5.5 "Translation-Lookaside Buffer (TLB)".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-global";

#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define CR4_PGE 0x80u
#define PRESENT 0x03u
#define LARGE 0x83u
#define GLOBAL 0x100u
#define ROUNDS 64u

static word_t pages[2][4096 / sizeof(word_t)] __attribute__((aligned(4096)));
static word_t leaves[4096 / sizeof(word_t)] __attribute__((aligned(4096)));
static word_t directory[4096 / sizeof(word_t)] __attribute__((aligned(4096)));

#ifdef __x86_64__
#define ALIAS 0x8000000000ull /* the second entry of the root */
static word_t pointers[512] __attribute__((aligned(4096)));

static void map_alias(void)
{
    word_t *root;

    __asm__("mov %%cr3, %0" : "=r"(root));
    directory[0] = (word_t)leaves | PRESENT;
    pointers[0] = (word_t)directory | PRESENT;
    root[ALIAS >> 39] = (word_t)pointers | PRESENT;
}

static void unmap_alias(void)
{
    word_t *root;

    __asm__("mov %%cr3, %0" : "=r"(root));
    root[ALIAS >> 39] = 0;
    write_cr3((word_t)root);
}
#else
#define ALIAS 0x80000000u

static void map_alias(void)
{
    for (uint32_t i = 0; i < 1024; i++) {
        directory[i] = i << 22 | LARGE;
    }
    directory[ALIAS >> 22] = (word_t)leaves | PRESENT;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((word_t)directory);
    write_cr0(read_cr0() | CR0_PG);
}

static void unmap_alias(void)
{
    write_cr0(read_cr0() & ~(word_t)CR0_PG);
    write_cr4(read_cr4() & ~(word_t)CR4_PSE);
}
#endif

static word_t read_alias(void)
{
    return *(volatile word_t *)(uintptr_t)ALIAS;
}

/* Each register that a compiler may take for it, with the value of CR4 in it. */
static void write_cr4_by(uint32_t form, word_t value)
{
    switch (form % 6) {
    case 0:
        __asm__ volatile("mov %0, %%cr4" : : "a"(value) : "memory");
        break;
    case 1:
        __asm__ volatile("mov %0, %%cr4" : : "b"(value) : "memory");
        break;
    case 2:
        __asm__ volatile("mov %0, %%cr4" : : "d"(value) : "memory");
        break;
    case 3:
        __asm__ volatile("mov %0, %%cr4" : : "S"(value) : "memory");
        break;
    case 4:
        __asm__ volatile("mov %0, %%cr4" : : "D"(value) : "memory");
        break;
    default:
#ifdef __x86_64__
        __asm__ volatile("mov %0, %%r9; mov %%r9, %%cr4" : : "r"(value) : "r9", "memory");
#else
        __asm__ volatile("mov %0, %%cr4" : : "c"(value) : "memory");
#endif
        break;
    }
}

void guest_main(void)
{
    word_t cr4;

    pages[0][0] = 0x1111;
    pages[1][0] = 0x2222;
    leaves[0] = (word_t)pages[0] | PRESENT | GLOBAL;
    map_alias();
    write_cr4(read_cr4() | CR4_PGE);
    cr4 = read_cr4();
    CHECK((cr4 & CR4_PGE) != 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        CHECK_EQUAL(read_alias(), round % 2 == 0 ? 0x1111 : 0x2222);
        *(volatile word_t *)&leaves[0] = (word_t)pages[(round + 1) % 2] | PRESENT | GLOBAL;
        write_cr4_by(round, cr4 & ~(word_t)CR4_PGE);
        CHECK_EQUAL(read_cr4(), cr4 & ~(word_t)CR4_PGE);
        write_cr4_by(round / 2, cr4);
        CHECK_EQUAL(read_cr4(), cr4);
    }
    write_cr4(cr4 & ~(word_t)CR4_PGE);
    unmap_alias();
}
