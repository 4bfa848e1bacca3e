/* SPDX-License-Identifier: MIT */
/* guest_walk and guest_walk_way over RAM of any contents, any control registers, any address: they read and write guest
 * RAM only. */
#include "hv/mm/guest_walk.h"

#define RAM_BYTES 0x4000u

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));

static struct guest_memory memory;

/* Of the control registers, all bits that a walk looks at are free but those that choose the paging mode, and the rest
 * is 0: so the analysis knows the mode, and follows one walk of one mode at a time. */
static void prove_mode(uint64_t cr4, uint64_t efer)
{
    struct guest_translation result;
    struct guest_paging paging;
    struct guest_way way;
    enum guest_walk_result outcome;

    paging.cr0 = prove_maybe(CR0_PG) | prove_maybe(CR0_WP);
    paging.cr3 = prove_any_u64();
    paging.cr4 = cr4 | prove_maybe(CR4_PSE) | prove_maybe(CR4_SMEP) | prove_maybe(CR4_SMAP);
    paging.efer = efer | prove_maybe(EFER_NXE);
    paging.rflags = prove_any_u64();
    paging.cpl = prove_any_u8() & 3;
    paging.implicit_supervisor = prove_any_u8() & 1;
    paging.physical_bits = (uint8_t)Frama_C_interval(32, 52);
    paging.nx_supported = prove_any_u8() & 1;
    paging.gib_pages = prove_any_u8() & 1;
    paging.upper_bit8_reserved = prove_any_u8() & 1;
    paging.pointer_accessed = prove_any_u8() & 1;
    (void)guest_walk(&memory, &paging, prove_any_u64(), (enum guest_access)Frama_C_interval(GUEST_READ, GUEST_FETCH),
                     &result);
    if (guest_walk_way(&memory, &paging, prove_any_u64(), (enum guest_access)Frama_C_interval(GUEST_READ, GUEST_FETCH),
                       &result, &way) == GUEST_WALK_OK &&
        way.levels > 3 && way.leaf_level == 0) {
        (void)guest_walk_again(&paging, prove_any_u64(), (enum guest_access)Frama_C_interval(GUEST_READ, GUEST_FETCH),
                               &result, &way, &outcome);
    }
}

int main(void)
{
    Frama_C_make_unknown((char *)ram, RAM_BYTES);
    memory.range_count = 1;
    memory.window = 0;
    memory.ranges[0].start.value = 0;
    memory.ranges[0].backing.value = (uint64_t)(uintptr_t)ram;
    memory.ranges[0].bytes = RAM_BYTES;
    prove_mode(0, 0);
    prove_mode(CR4_PAE, 0);
    prove_mode(CR4_PAE, EFER_LMA);
    prove_mode(CR4_PAE | CR4_LA57, EFER_LMA);
    return 0;
}
