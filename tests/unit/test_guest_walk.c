/* SPDX-License-Identifier: MIT */
/*
 * The guest walk's promises: the address, the page size and the exact error code that an MMU gives, in every paging
 * mode. The tables are written here by hand, and rights are compared with SDM 3A 4.6.1's text as a decision table.
 */
#define _GNU_SOURCE
#include "hv/mm/guest_walk.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

#include "tests/unit/random.h"

#define P 0x001ULL
#define W 0x002ULL
#define U 0x004ULL
#define A 0x020ULL
#define D 0x040ULL
#define PS 0x080ULL
#define NX (1ULL << 63)

/* Guest pages 0x1000.. are tables: one per level, in the order of the walk. */
#define TABLE(n) ((uint64_t)((n) + 1) * 0x1000)
#define RAM_PAGES 16u

static uint64_t ram[RAM_PAGES * 512] __attribute__((aligned(4096)));
static struct guest_memory memory;
static struct guest_paging paging;
static struct guest_translation result;

static void put64(uint64_t table, uint64_t index, uint64_t entry)
{
    ram[table / 8 + index] = entry;
}

static uint64_t get64(uint64_t table, uint64_t index)
{
    return ram[table / 8 + index];
}

static void put32(uint64_t table, uint64_t index, uint32_t entry)
{
    memcpy((uint8_t *)ram + table + index * 4, &entry, 4);
}

static uint32_t get32(uint64_t table, uint64_t index)
{
    uint32_t entry;

    memcpy(&entry, (uint8_t *)ram + table + index * 4, 4);
    return entry;
}

static int setup(void **state)
{
    (void)state;
    memset(ram, 0, sizeof(ram));
    memory = (struct guest_memory){
        .ranges = {{gpa(0), hpa(0x40000000), sizeof(ram)}},
        .range_count = 1,
        .window = (uint64_t)(uintptr_t)ram - 0x40000000,
    };
    paging = (struct guest_paging){.cr0 = CR0_PG,
                                   .cr3 = TABLE(0),
                                   .cr4 = CR4_PAE,
                                   .efer = EFER_LMA | EFER_NXE,
                                   .physical_bits = 40,
                                   .nx_supported = true,
                                   .gib_pages = true};
    return 0;
}

/* Links tables 0 .. levels-1 for a linear address in 64-bit mode, all rights; the last entry is left alone. */
static void link4(uint64_t linear, unsigned levels, unsigned leaf_level)
{
    for (unsigned level = levels - 1; level > leaf_level; level--) {
        unsigned n = levels - 1 - level;

        put64(TABLE(n), linear >> (12 + 9 * level) & 511, TABLE(n + 1) | P | W | U);
    }
}

static void expect_ok(uint64_t linear, enum guest_access access, uint64_t address, uint64_t page_bytes)
{
    assert_int_equal(guest_walk(&memory, &paging, linear, access, &result), GUEST_WALK_OK);
    assert_int_equal(result.address.value, address);
    assert_int_equal(result.page_bytes, page_bytes);
}

static void expect_fault(uint64_t linear, enum guest_access access, uint32_t error_code)
{
    assert_int_equal(guest_walk(&memory, &paging, linear, access, &result), GUEST_WALK_FAULT);
    assert_int_equal(result.error_code, error_code);
}

static void without_paging_the_address_is_the_address(void **state)
{
    (void)state;
    paging.cr0 = 0;
    expect_ok(0x12345678, GUEST_WRITE, 0x12345678, 4096);
    assert_true(result.writable && result.user);
    expect_ok(0x1ffffffffULL, GUEST_READ, 0xffffffff, 4096);
}

static void four_and_five_levels_reach_every_page_size(void **state)
{
    uint64_t linear = 0x00007abcdef12345ULL;

    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        for (unsigned leaf = 0; leaf <= 2; leaf++) {
            uint64_t bytes = 4096ULL << (9 * leaf);

            setup(state);
            paging.cr4 |= levels == 5 ? CR4_LA57 : 0;
            link4(linear, levels, leaf);
            put64(TABLE(levels - 1 - leaf), linear >> (12 + 9 * leaf) & 511,
                  (0x7fc0000000 | P | W | U) | (leaf != 0 ? PS : 0));
            expect_ok(linear, GUEST_READ, 0x7fc0000000 | (linear & (bytes - 1)), bytes);
            assert_true(result.writable && result.user);
        }
    }
}

static void bit_63_and_ignored_bits_never_get_into_the_address(void **state)
{
    uint64_t ignored = 0x7ff0000000000e00ULL; /* bits 62:52 and 11:9 */

    (void)state;
    put64(TABLE(0), 0, TABLE(1) | P | W | U | ignored | NX);
    put64(TABLE(1), 0, TABLE(2) | P | W | U | ignored);
    put64(TABLE(2), 1, 0x8000200000 | P | W | U | PS | 0x1000 | ignored | NX); /* bit 12: PAT */
    expect_ok(0x3fffff, GUEST_READ, 0x80003fffff, 0x200000);
}

static void pae_walks_three_levels_from_a_32_byte_aligned_root(void **state)
{
    (void)state;
    paging.efer = EFER_NXE;
    paging.cr3 = TABLE(0) + 0x7e0;
    put64(TABLE(0) + 0x7e0, 3, TABLE(1) | P);
    put64(TABLE(1), 5, TABLE(2) | P | W | U);
    put64(TABLE(2), 7, 0xff12345000 | P | W | U | NX);
    put64(TABLE(1), 6, 0xff00200000 | P | W | U | PS);
    paging.cpl = 3; /* the pointers' missing rights take none away */
    expect_ok(0xc0a07abc, GUEST_WRITE, 0xff12345abc, 0x1000);
    paging.cpl = 0;
    expect_ok(0xffffffffc0c12345, GUEST_WRITE, 0xff00212345, 0x200000);
    expect_fault(0xc0a07abc, GUEST_FETCH, PAGE_FAULT_PRESENT | PAGE_FAULT_FETCH);
    expect_fault(0x00a07abc, GUEST_READ, 0);
    /* Page-directory pointers have neither accessed bit nor rights. */
    assert_int_equal(get64(TABLE(0) + 0x7e0, 3), TABLE(1) | P);
    assert_int_equal(get64(TABLE(1), 5), TABLE(2) | P | W | U | A);
}

static void pae_pointer_reserved_bits_fault(void **state)
{
    static const uint64_t reserved[] = {2, 4, 0x40, 0x80, 0x100, 1ULL << 40, 1ULL << 52, 1ULL << 62, NX};

    (void)state;
    paging.efer = EFER_NXE;
    put64(TABLE(1), 0, 0x200000 | P | PS);
    for (size_t i = 0; i < ARRAY_COUNT(reserved); i++) {
        put64(TABLE(0), 0, TABLE(1) | P | reserved[i]);
        expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    }
    put64(TABLE(0), 0, TABLE(1) | P | 0xe18); /* PWT, PCD and the available bits are free */
    expect_ok(0, GUEST_READ, 0x200000, 0x200000);
}

/* QEMU's MMU sets what it takes for an accessed bit; the walk must go where the MMU went. */
static void a_pae_pointer_that_qemu_marked_is_followed(void **state)
{
    (void)state;
    paging.efer = EFER_NXE;
    put64(TABLE(1), 0, 0x200000 | P | PS);
    put64(TABLE(0), 0, TABLE(1) | P | A);
    expect_fault(0x123, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    paging.pointer_accessed = true;
    expect_ok(0x123, GUEST_READ, 0x200123, 0x200000);
    assert_int_equal(get64(TABLE(0), 0), TABLE(1) | P | A);
}

static void thirty_two_bit_paging_with_and_without_pse(void **state)
{
    (void)state;
    paging.efer = 0;
    paging.cr4 = 0;
    put32(TABLE(0), 0x300, (uint32_t)(TABLE(1) | P | W | U | PS));
    put32(TABLE(1), 0x3ff, 0xfedcb000u | (uint32_t)(P | W | U));
    /* Without PSE bit 7 means nothing. */
    expect_ok(0xc03ff123, GUEST_WRITE, 0xfedcb123, 0x1000);
    assert_int_equal(get32(TABLE(0), 0x300), TABLE(1) | P | W | U | PS | A);
    assert_int_equal(get32(TABLE(1), 0x3ff), 0xfedcb000u | P | W | U | A | D);
    assert_int_equal(get32(TABLE(1), 0x3fe), 0);
    paging.cr4 = CR4_PSE;
    put32(TABLE(0), 0x300, 0x00c00000u | (0xab << 13) | (uint32_t)(P | W | U | PS));
    expect_ok(0xc03ff123, GUEST_WRITE, 0xab00fff123, 0x400000);
    /* Bit 21 is reserved, and so is what passes the guest's physical width. */
    put32(TABLE(0), 0x300, 0x00e00000u | (uint32_t)(P | PS));
    expect_fault(0xc03ff123, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    paging.physical_bits = 36;
    put32(TABLE(0), 0x300, (0x0f << 13) | (uint32_t)(P | PS));
    expect_ok(0xc0000000, GUEST_READ, 0xf00000000, 0x400000);
    put32(TABLE(0), 0x300, (0x10 << 13) | (uint32_t)(P | PS));
    expect_fault(0xc0000000, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    paging.physical_bits = 32;
    put32(TABLE(0), 0x300, (0x01 << 13) | (uint32_t)(P | PS));
    expect_fault(0xc0000000, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
}

/* One entry of a 4-level walk with one bit too many, at each level and size. */
static void reserved_bits_by_level_and_size(void **state)
{
    static const struct {
        unsigned level; /* where the bit is set */
        unsigned leaf;  /* level of the leaf */
        uint64_t bit;
        bool reserved;
    } cases[] = {
        {3, 0, PS, true},          {3, 0, 1ULL << 40, true}, {3, 0, 1ULL << 51, true}, {3, 0, 1ULL << 52, false},
        {3, 0, 0x100, false},      {2, 0, 1ULL << 45, true}, {2, 2, 1ULL << 13, true}, {2, 2, 1ULL << 29, true},
        {2, 2, 1ULL << 12, false}, {1, 1, 1ULL << 13, true}, {1, 1, 1ULL << 20, true}, {1, 1, 1ULL << 12, false},
        {1, 0, 1ULL << 40, true},  {0, 0, PS, false},        {0, 0, 1ULL << 40, true}, {0, 0, 1ULL << 39, false},
        {0, 0, NX, false},         {1, 0, 0x100, false},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        unsigned leaf = cases[i].leaf;

        setup(state);
        link4(0, 4, leaf);
        put64(TABLE(3 - leaf), 0, P | W | U | (leaf != 0 ? PS : 0));
        put64(TABLE(3 - cases[i].level), 0, get64(TABLE(3 - cases[i].level), 0) | cases[i].bit);
        if (cases[i].reserved) {
            expect_fault(0, GUEST_WRITE, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED | PAGE_FAULT_WRITE);
        } else {
            assert_int_equal(guest_walk(&memory, &paging, 0, GUEST_READ, &result), GUEST_WALK_OK);
        }
    }
}

static void reserved_bits_that_features_decide(void **state)
{
    (void)state;
    link4(0, 4, 2);
    put64(TABLE(1), 0, P | W | U | PS);
    expect_ok(0, GUEST_READ, 0, 1 << 30);
    paging.gib_pages = false;
    expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    paging.gib_pages = true;
    put64(TABLE(0), 0, get64(TABLE(0), 0) | 0x100);
    expect_ok(0, GUEST_READ, 0, 1 << 30);
    paging.upper_bit8_reserved = true;
    expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    put64(TABLE(0), 0, TABLE(1) | P | W | U);
    put64(TABLE(1), 0, P | W | U | PS | 0x100); /* the global bit of a leaf */
    expect_ok(0, GUEST_READ, 0, 1 << 30);
    put64(TABLE(1), 0, P | W | U | PS | NX);
    paging.efer = EFER_LMA;
    expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
    paging.efer = EFER_LMA | EFER_NXE;
    paging.nx_supported = false;
    expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
}

static void a_missing_entry_at_any_level_is_a_not_present_fault(void **state)
{
    for (unsigned level = 0; level < 4; level++) {
        setup(state);
        link4(0, 4, 0);
        put64(TABLE(3), 0, 0x5000 | P | W | U);
        put64(TABLE(3 - level), 0, get64(TABLE(3 - level), 0) & ~P);
        paging.cpl = 3;
        expect_fault(0, GUEST_WRITE, PAGE_FAULT_WRITE | PAGE_FAULT_USER);
        paging.cpl = 0;
        expect_fault(0, GUEST_FETCH, PAGE_FAULT_FETCH);
    }
}

static void only_ring_3_is_user_mode(void **state)
{
    (void)state;
    link4(0, 4, 0);
    put64(TABLE(3), 0, 0x5000 | P | W);
    for (paging.cpl = 0; paging.cpl < 3; paging.cpl++) {
        expect_ok(0, GUEST_WRITE, 0x5000, 4096);
    }
    expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_USER);
}

static void the_fetch_bit_needs_nx_or_smep(void **state)
{
    (void)state;
    paging.efer = EFER_LMA;
    expect_fault(0, GUEST_FETCH, 0);
    paging.cr4 |= CR4_SMEP;
    expect_fault(0, GUEST_FETCH, PAGE_FAULT_FETCH);
    paging.cr4 = 0;
    paging.efer = EFER_NXE; /* without PAE there is no NX */
    expect_fault(0, GUEST_FETCH, 0);
}

/* SDM 3A 4.6.1 as a list of sentences, each one line. */
static bool manual_allows(bool user_mode, bool implicit, enum guest_access access, bool page_user, bool page_write,
                          bool page_nx, uint64_t cr0, uint64_t cr4, uint64_t rflags)
{
    if (user_mode) {
        if (!page_user) {
            return false; /* user mode has no access to supervisor pages */
        }
        return access == GUEST_READ ? true : access == GUEST_WRITE ? page_write : !page_nx;
    }
    if (access == GUEST_FETCH) {
        return !page_nx && (!page_user || !(cr4 & CR4_SMEP));
    }
    if (page_user && (cr4 & CR4_SMAP) && !(!implicit && (rflags & RFLAGS_AC))) {
        return false;
    }
    return access == GUEST_READ || !(cr0 & CR0_WP) || page_write;
}

static void check_rights(unsigned rights, unsigned modes)
{
    /* Two bits each for U, W, NX: at the top and at the leaf. */
    bool user = (rights & 3) == 3;
    bool write = (rights >> 2 & 3) == 3;
    bool nx = (rights >> 4 & 3) != 0;
    bool user_mode;

    put64(TABLE(0), 0, TABLE(1) | P | (rights & 1 ? U : 0) | (rights & 4 ? W : 0) | (rights & 16 ? NX : 0));
    put64(TABLE(1), 0, TABLE(2) | P | W | U);
    put64(TABLE(2), 0, P | PS | (rights & 2 ? U : 0) | (rights & 8 ? W : 0) | (rights & 32 ? NX : 0));
    paging.cr0 = CR0_PG | (modes & 1 ? CR0_WP : 0);
    paging.cr4 = CR4_PAE | (modes & 2 ? CR4_SMEP : 0) | (modes & 4 ? CR4_SMAP : 0);
    paging.rflags = modes & 8 ? RFLAGS_AC : 0;
    paging.implicit_supervisor = (modes & 16) != 0;
    paging.cpl = modes & 32 ? 3 : 0;
    user_mode = paging.cpl == 3 && !paging.implicit_supervisor;
    for (int access = GUEST_READ; access <= GUEST_FETCH; access++) {
        bool allowed = manual_allows(user_mode, paging.implicit_supervisor, (enum guest_access)access, user, write, nx,
                                     paging.cr0, paging.cr4, paging.rflags);
        enum guest_walk_result walked = guest_walk(&memory, &paging, 0, (enum guest_access)access, &result);

        assert_int_equal(walked, allowed ? GUEST_WALK_OK : GUEST_WALK_FAULT);
        if (!allowed) {
            assert_int_equal(result.error_code, PAGE_FAULT_PRESENT | (access == GUEST_WRITE ? PAGE_FAULT_WRITE : 0) |
                                                    (access == GUEST_FETCH ? PAGE_FAULT_FETCH : 0) |
                                                    (user_mode ? PAGE_FAULT_USER : 0));
        } else {
            assert_true(result.user == user && result.writable == write);
        }
    }
}

static void rights_agree_with_the_manual_in_every_combination(void **state)
{
    (void)state;
    for (unsigned rights = 0; rights < 64; rights++) {
        for (unsigned modes = 0; modes < 64; modes++) {
            check_rights(rights, modes);
        }
    }
}

static void accessed_and_dirty_bits_are_set_as_an_mmu_does(void **state)
{
    (void)state;
    link4(0, 4, 0);
    put64(TABLE(3), 0, 0x5000 | P | W | U);
    expect_ok(0, GUEST_READ, 0x5000, 4096);
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(get64(TABLE(n), 0) & (A | D), A);
    }
    expect_ok(0, GUEST_WRITE, 0x5000, 4096);
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(get64(TABLE(n), 0) & (A | D), A);
    }
    assert_int_equal(get64(TABLE(3), 0), 0x5000 | P | W | U | A | D);
}

static void a_faulting_walk_leaves_the_tables_alone(void **state)
{
    (void)state;
    link4(0, 4, 0);
    put64(TABLE(3), 0, 0x5000 | P);
    paging.cpl = 3;
    expect_fault(0, GUEST_READ, PAGE_FAULT_PRESENT | PAGE_FAULT_USER);
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(get64(TABLE(n), 0) & (A | D), 0);
    }
}

static void a_table_that_maps_itself_is_walked_through(void **state)
{
    uint64_t self = 511ULL << 39 | 511ULL << 30 | 511ULL << 21 | 511ULL << 12;

    (void)state;
    put64(TABLE(0), 511, TABLE(0) | P | W);
    expect_ok(0xffff000000000000ULL | self | 0x7f8, GUEST_WRITE, TABLE(0) | 0x7f8, 4096);
    assert_int_equal(get64(TABLE(0), 511), TABLE(0) | P | W | A | D);
}

static void a_table_outside_ram_is_named_and_not_read(void **state)
{
    (void)state;
    paging.cr3 = 0x8000000000 - 0x1000;
    assert_int_equal(guest_walk(&memory, &paging, 0, GUEST_READ, &result), GUEST_WALK_UNMAPPED);
    assert_int_equal(result.bad_table.value, 0x8000000000 - 0x1000);
    paging.cr3 = TABLE(0) | 0xfff; /* PCID bits are no address */
    put64(TABLE(0), 0, RAM_PAGES * 0x1000 | P | W | U);
    assert_int_equal(guest_walk(&memory, &paging, 0, GUEST_READ, &result), GUEST_WALK_UNMAPPED);
    assert_int_equal(result.bad_table.value, RAM_PAGES * 0x1000);
}

/* --- another vCPU writes an entry between the walk's look at it and its mark in it --- */

#define TRAP_FLAG 0x100
#define SPARE 0x200ULL /* a bit of an entry that means nothing */

static uint32_t faster; /* how often the other vCPU still is */
static uint32_t rewritten;
static uint64_t *contested;
static uint64_t flips; /* what it changes there */

static void ram_is_written(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    (void)info;
    if (number == SIGSEGV) { /* the walk is about to write */
        mprotect(ram, sizeof(ram), PROT_READ | PROT_WRITE);
        if (faster != 0) {
            faster--;
            rewritten++;
            *contested ^= flips;
        }
        user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    } else { /* and has written, or has seen that it must not */
        user->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        mprotect(ram, sizeof(ram), PROT_READ);
    }
}

/* A read of linear address 0x3123, whose leaf another vCPU changes `times` times, each time just before the mark. */
static enum guest_walk_result walk_against(uint32_t times, uint64_t change)
{
    struct sigaction action = {.sa_sigaction = ram_is_written, .sa_flags = SA_SIGINFO};
    enum guest_walk_result outcome;

    link4(0x3000, 4, 0);
    for (unsigned n = 0; n < 3; n++) {
        put64(TABLE(n), 0, get64(TABLE(n), 0) | A);
    }
    put64(TABLE(3), 3, 0x9000 | P | W | U);
    contested = &ram[TABLE(3) / 8 + 3];
    faster = times;
    flips = change;
    rewritten = 0;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
    mprotect(ram, sizeof(ram), PROT_READ);
    outcome = guest_walk(&memory, &paging, 0x3123, GUEST_READ, &result);
    mprotect(ram, sizeof(ram), PROT_READ | PROT_WRITE);
    return outcome;
}

static void an_entry_that_changed_is_read_again(void **state)
{
    (void)state;
    assert_int_equal(walk_against(1, 0x3000), GUEST_WALK_OK);
    assert_int_equal(result.address.value, 0xa123);
    assert_int_equal(get64(TABLE(3), 3), 0xa000 | P | W | U | A);
    assert_int_equal(walk_against(1, P), GUEST_WALK_FAULT);
    assert_int_equal(get64(TABLE(3), 3), 0x9000 | W | U);
}

static void a_guest_that_rewrites_an_entry_for_ever_gets_an_answer(void **state)
{
    (void)state;
    assert_int_equal(walk_against(UINT32_MAX, SPARE), GUEST_WALK_OK);
    assert_int_equal(result.address.value, 0x9123);
    assert_in_range(rewritten, 2, 1000);
    assert_int_equal(get64(TABLE(3), 3) & A, 0);
}

/* --- guest_walk_code --- */

static void expect_code(uint64_t linear, uint64_t address)
{
    const uint8_t *code = guest_walk_code(&memory, TABLE(0), 0, linear);

    assert_ptr_equal(code, (const uint8_t *)ram + address);
}

static void code_is_found_where_the_cpu_fetched_it(void **state)
{
    uint64_t linear = 0xffff800040201abcULL;

    (void)state;
    link4(linear, 4, 0);
    put64(TABLE(3), linear >> 12 & 511, 0x9000 | P);
    expect_code(linear, 0x9abc);
    put64(TABLE(2), linear >> 21 & 511, P | PS); /* 2 MiB at 0 */
    expect_code(linear, 0x1abc);
    put64(TABLE(1), linear >> 30 & 511, P | PS | NX); /* 1 GiB at 0; no right is looked at */
    expect_code(0xffff800040003123ULL, 0x3123);
    assert_int_equal(get64(TABLE(1), linear >> 30 & 511), P | PS | NX); /* nor anything marked */
}

static void code_is_found_with_5_levels(void **state)
{
    uint64_t linear = 0xff77800040201abcULL;

    (void)state;
    link4(linear, 5, 0);
    put64(TABLE(4), linear >> 12 & 511, 0x9000 | P);
    assert_ptr_equal(guest_walk_code(&memory, TABLE(0), CR4_LA57, linear), (const uint8_t *)ram + 0x9abc);
    put64(TABLE(0), linear >> 48 & 511, 0);
    assert_null(guest_walk_code(&memory, TABLE(0), CR4_LA57, linear));
    assert_null(guest_walk_code(&memory, 0x123456000, CR4_LA57, linear)); /* no RAM */
}

static void code_that_is_not_there_any_more_is_not_found(void **state)
{
    uint64_t linear = 0x40201abcULL;

    (void)state;
    assert_null(guest_walk_code(&memory, TABLE(0), 0, linear)); /* a hole */
    link4(linear, 4, 0);
    put64(TABLE(3), linear >> 12 & 511, 0x123456000 | P); /* a page outside RAM */
    assert_null(guest_walk_code(&memory, TABLE(0), 0, linear));
    put64(TABLE(2), linear >> 21 & 511, 0x123456000 | P); /* a table outside RAM */
    assert_null(guest_walk_code(&memory, TABLE(0), 0, linear));
    put64(TABLE(2), linear >> 21 & 511, (sizeof(ram) - 0x1000) | P); /* a table at the end of RAM is a table */
    put64(sizeof(ram) - 0x1000, linear >> 12 & 511, 0x9000 | P);
    expect_code(linear, 0x9abc);
    put64(TABLE(0), 0, 0x123456000 | P | PS); /* what no CPU has followed, but is written now */
    assert_null(guest_walk_code(&memory, TABLE(0), 0, linear));
    memory.ranges[0].bytes = 0;
    assert_null(guest_walk_code(&memory, TABLE(0), 0, linear));
}

static void code_is_looked_for_in_the_lowest_range_only(void **state)
{
    uint64_t linear = 0x40201abcULL;

    (void)state;
    link4(linear, 4, 0);
    put64(TABLE(3), linear >> 12 & 511, 0x9000 | P);
    memory.range_count = 2;
    memory.ranges[1] = (struct guest_range){gpa(0x9000), hpa(0x40009000), 0x1000};
    memory.ranges[0].bytes = 0x9000;
    assert_null(guest_walk_code(&memory, TABLE(0), 0, linear));
    memory.ranges[0].bytes = 0xa000;
    expect_code(linear, 0x9abc);
}

/* --- a walk that begins at the last table of the one before --- */

static uint64_t maybe(uint64_t bit, uint32_t of)
{
    return random_next() % of == 0 ? bit : 0;
}

static uint64_t random_entry(uint64_t address)
{
    return address | P | (W & ~maybe(W, 8)) | (U & ~maybe(U, 8)) | maybe(A, 2) | maybe(D, 2) | maybe(NX, 8);
}

static void random_access(void)
{
    paging.cpl = maybe(3, 2) != 0 ? 3 : 0;
    paging.implicit_supervisor = maybe(1, 8) != 0;
    paging.rflags = maybe(RFLAGS_AC, 2);
}

/* A way to the last table, which has eight random pages. */
static void random_tables(uint64_t linear)
{
    unsigned levels = maybe(1, 2) != 0 ? 5 : 4;

    setup(NULL);
    paging.cr0 |= maybe(CR0_WP, 2);
    paging.cr4 |= maybe(CR4_SMEP, 2) | maybe(CR4_SMAP, 2) | (levels == 5 ? CR4_LA57 : 0);
    paging.efer &= ~maybe(EFER_NXE, 4);
    for (unsigned level = levels; level-- > 1;) {
        put64(TABLE(levels - 1 - level), linear >> (12 + 9 * level) & 511, random_entry(TABLE(levels - level)));
    }
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t bad = maybe(1ULL << random_next() % 64, 4);

        put64(TABLE(levels - 1), i, maybe(1, 4) != 0 ? 0 : random_entry(0x80000 + i * 0x1000) ^ bad);
    }
}

static void compare_ways(const struct guest_way *one, const struct guest_way *other)
{
    assert_int_equal(one->dirty, other->dirty);
    for (unsigned level = 0; level < one->levels; level++) {
        assert_ptr_equal(one->slots[level], other->slots[level]);
        assert_int_equal(one->entries[level], other->entries[level]);
        assert_int_equal(one->rights[level], other->rights[level]);
    }
}

/* Both ways on the same tables: what they answer and what they leave there. False: an entry above was changed. */
static bool walks_alike(struct guest_way *way, uint64_t linear, enum guest_access access)
{
    static uint64_t before[RAM_PAGES * 512], after[RAM_PAGES * 512];
    struct guest_translation quick = result;
    struct guest_way whole;
    enum guest_walk_result outcome;

    memcpy(before, ram, sizeof(ram));
    if (!guest_walk_again(&paging, linear, access, &quick, way, &outcome)) {
        assert_memory_equal(before, ram, sizeof(ram));
        return false;
    }
    memcpy(after, ram, sizeof(ram));
    memcpy(ram, before, sizeof(ram));
    assert_int_equal(guest_walk_way(&memory, &paging, linear, access, &result, &whole), outcome);
    assert_memory_equal(after, ram, sizeof(ram));
    assert_int_equal(quick.error_code, result.error_code);
    if (outcome == GUEST_WALK_OK) {
        assert_int_equal(quick.address.value, result.address.value);
        assert_int_equal(quick.page_bytes, result.page_bytes);
        assert_true(quick.writable == result.writable && quick.user == result.user);
        compare_ways(way, &whole);
    }
    return true;
}

static void a_walk_to_the_same_last_table_is_what_the_whole_walk_is(void **state)
{
    uint64_t linear = 0x00ff7abcde000000ULL;
    uint32_t alike = 0;
    uint32_t other = 0;

    (void)state;
    for (uint32_t round = 0; round < 20000; round++) {
        struct guest_way way;

        random_tables(linear);
        random_access();
        if (guest_walk_way(&memory, &paging, linear, GUEST_READ, &result, &way) != GUEST_WALK_OK) {
            continue;
        }
        for (uint32_t i = 0; i < 8; i++) {
            unsigned level = random_next() % way.levels;
            bool changes = maybe(1, 8) != 0;

            *(uint64_t *)way.slots[level] ^= changes ? 1ULL << random_next() % 64 : 0;
            random_access();
            if (walks_alike(&way, linear + (random_next() % 8) * 0x1000 + 0x123,
                            (enum guest_access)(random_next() % 3))) {
                assert_true(!changes || level == 0);
                alike++;
            } else {
                assert_true(changes && level != 0);
                other++;
                break;
            }
        }
    }
    assert_true(alike > 20000 && other > 1000);
}

/* Another vCPU rewrites the page's entry before its accessed bit can be set: the walk begins at the top again, and is
 * told so by a "false" after which nothing is written. */
static void a_walk_to_the_same_last_table_that_loses_a_race_is_left_to_the_whole_walk(void **state)
{
    struct guest_way way;
    enum guest_walk_result outcome;

    (void)state;
    assert_int_equal(walk_against(0, 0), GUEST_WALK_OK);
    for (uint32_t races = 0; races < 2; races++) {
        bool again;

        assert_int_equal(guest_walk_way(&memory, &paging, 0x3123, GUEST_READ, &result, &way), GUEST_WALK_OK);
        put64(TABLE(3), 4, 0x9000 | P | W | U);
        contested = &ram[TABLE(3) / 8 + 4];
        faster = races;
        flips = 0x3000;
        mprotect(ram, sizeof(ram), PROT_READ);
        again = guest_walk_again(&paging, 0x4123, GUEST_READ, &result, &way, &outcome);
        mprotect(ram, sizeof(ram), PROT_READ | PROT_WRITE);
        assert_int_equal(again, races == 0);
        assert_int_equal(get64(TABLE(3), 4), races == 0 ? 0x9000 | P | W | U | A : 0xa000 | P | W | U);
    }
    assert_int_equal(guest_walk_way(&memory, &paging, 0x4123, GUEST_READ, &result, &way), GUEST_WALK_OK);
    assert_int_equal(result.address.value, 0xa123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_paging_the_address_is_the_address, setup),
        cmocka_unit_test_setup(four_and_five_levels_reach_every_page_size, setup),
        cmocka_unit_test_setup(bit_63_and_ignored_bits_never_get_into_the_address, setup),
        cmocka_unit_test_setup(pae_walks_three_levels_from_a_32_byte_aligned_root, setup),
        cmocka_unit_test_setup(pae_pointer_reserved_bits_fault, setup),
        cmocka_unit_test_setup(a_pae_pointer_that_qemu_marked_is_followed, setup),
        cmocka_unit_test_setup(thirty_two_bit_paging_with_and_without_pse, setup),
        cmocka_unit_test_setup(reserved_bits_by_level_and_size, setup),
        cmocka_unit_test_setup(reserved_bits_that_features_decide, setup),
        cmocka_unit_test_setup(a_missing_entry_at_any_level_is_a_not_present_fault, setup),
        cmocka_unit_test_setup(only_ring_3_is_user_mode, setup),
        cmocka_unit_test_setup(the_fetch_bit_needs_nx_or_smep, setup),
        cmocka_unit_test_setup(rights_agree_with_the_manual_in_every_combination, setup),
        cmocka_unit_test_setup(accessed_and_dirty_bits_are_set_as_an_mmu_does, setup),
        cmocka_unit_test_setup(a_faulting_walk_leaves_the_tables_alone, setup),
        cmocka_unit_test_setup(a_table_that_maps_itself_is_walked_through, setup),
        cmocka_unit_test_setup(a_table_outside_ram_is_named_and_not_read, setup),
        cmocka_unit_test_setup(an_entry_that_changed_is_read_again, setup),
        cmocka_unit_test_setup(a_guest_that_rewrites_an_entry_for_ever_gets_an_answer, setup),
        cmocka_unit_test_setup(code_is_found_where_the_cpu_fetched_it, setup),
        cmocka_unit_test_setup(code_is_found_with_5_levels, setup),
        cmocka_unit_test_setup(code_that_is_not_there_any_more_is_not_found, setup),
        cmocka_unit_test_setup(code_is_looked_for_in_the_lowest_range_only, setup),
        cmocka_unit_test(a_walk_to_the_same_last_table_is_what_the_whole_walk_is),
        cmocka_unit_test_setup(a_walk_to_the_same_last_table_that_loses_a_race_is_left_to_the_whole_walk, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
