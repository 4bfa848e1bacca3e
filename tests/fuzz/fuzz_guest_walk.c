/* SPDX-License-Identifier: MIT */
/*
 * Guest walks over arbitrary tables: the input is the guest's state and the contents of its first pages. Checked: a
 * translation is a possible address, a fault has a possible code, and the walk changes nothing but accessed and dirty
 * bits, of present entries. (A faulting walk may have set some: where one entry serves two levels, setting its bit for
 * the one starts the walk again, and then the bit may be reserved for the other.)
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/mm/guest_walk.h"

#define RAM_PAGES 4u
#define WALKS 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t ram[RAM_PAGES * 512] __attribute__((aligned(4096)));
static uint64_t copy[RAM_PAGES * 512];

/* What the fuzzer chooses besides the tables. */
struct head {
    uint64_t linear;
    uint64_t cr3;
    uint32_t modes;
    uint32_t rflags;
    uint8_t physical_bits;
    uint8_t cpl;
    uint8_t pad[6];
};

static struct guest_paging paging_of(const struct head *head)
{
    return (struct guest_paging){
        .cr0 = (head->modes & 1 ? 0 : 0x80000000ULL) | (head->modes & 2 ? 0x10000 : 0),
        .cr3 = head->cr3 % sizeof(ram),
        .cr4 = (uint64_t)(head->modes & 0x301030), /* SMAP, SMEP, LA57, PAE, PSE */
        .efer = head->modes & 0xc00,               /* NXE, LMA */
        .rflags = head->rflags,
        .cpl = head->cpl & 3,
        .implicit_supervisor = (head->modes & 4) != 0,
        .physical_bits = (uint8_t)(32 + head->physical_bits % 21),
        .nx_supported = (head->modes & 8) == 0,
        .gib_pages = (head->modes & 0x100) == 0,
        .upper_bit8_reserved = (head->modes & 0x200) != 0,
    };
}

static void check_tables(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(ram); i++) {
        uint64_t changed = ram[i] ^ copy[i];

        CHECK_OP(changed & ~0x0000006000000060ULL, ==, 0);
        CHECK_OP(copy[i] & changed, ==, 0);
        CHECK((changed & 0xffffffff) == 0 || (copy[i] & 1) != 0);
    }
}

static void check_walk(const struct guest_memory *memory, const struct guest_paging *paging, uint64_t linear,
                       enum guest_access access)
{
    struct guest_translation result = {.error_code = 0};

    memcpy(copy, ram, sizeof(ram));
    switch (guest_walk(memory, paging, linear, access, &result)) {
    case GUEST_WALK_OK:
        CHECK_OP(result.address.value, <, 1ULL << 52);
        CHECK_OP(result.address.value & (result.page_bytes - 1), ==, linear & (result.page_bytes - 1));
        break;
    case GUEST_WALK_FAULT:
        CHECK_OP(result.error_code, <, 0x20);
        CHECK((result.error_code & PAGE_FAULT_RESERVED) == 0 || (result.error_code & PAGE_FAULT_PRESENT) != 0);
        break;
    case GUEST_WALK_UNMAPPED:
        CHECK(guest_memory_pointer(memory, result.bad_table, 8) == NULL ||
              guest_memory_pointer(memory, gpa(result.bad_table.value & ~0xfffULL), PAGE_BYTES) == NULL);
        break;
    }
    if (memcmp(copy, ram, sizeof(ram)) != 0) {
        check_tables();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Two pieces with a hole between them, so that tables may end up outside RAM. */
    struct guest_memory memory = {
        .ranges = {{gpa(0), hpa(0), sizeof(ram) / 2}, {gpa(0x100000), hpa(sizeof(ram) / 2), sizeof(ram) / 2}},
        .range_count = 2,
        .window = (uint64_t)(uintptr_t)ram,
    };
    struct guest_paging paging;
    struct head head;

    if (size < sizeof(head)) {
        return 0;
    }
    memcpy(&head, data, sizeof(head));
    paging = paging_of(&head);
    /* A short input is repeated, so that small inputs fill tables. */
    for (size_t at = 0; at < sizeof(ram) && size > sizeof(head);) {
        size_t piece = (size_t)min_u64(size - sizeof(head), sizeof(ram) - at);

        memcpy((uint8_t *)ram + at, data + sizeof(head), piece);
        at += piece;
    }
    for (unsigned i = 0; i < WALKS; i++) {
        check_walk(&memory, &paging, head.linear ^ (0x1234567ULL * (i / 3)), (enum guest_access)(i % 3));
    }
    return 0;
}
