/* SPDX-License-Identifier: MIT */
/* guest_walk and guest_walk_way over RAM of any contents, any control registers, any address: they read and write guest
 * RAM only. */
#include "hv/mm/guest_walk.h"

#define RAM_BYTES 0x4000u

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));

static struct guest_memory memory;

/* All of a guest's state is free, but for the bits that choose the paging mode: one analysis of the walk for each mode
 * is sharper than one for all. */
static void prove_mode(uint64_t cr4_set, uint64_t cr4_clear, uint64_t efer_set, uint64_t efer_clear)
{
    struct guest_translation result;
    struct guest_paging paging;
    struct guest_way way;

    paging.cr0 = prove_any_u64();
    paging.cr3 = prove_any_u64();
    paging.cr4 = (prove_any_u64() & ~cr4_clear) | cr4_set;
    paging.efer = (prove_any_u64() & ~efer_clear) | efer_set;
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
    (void)guest_walk_way(&memory, &paging, prove_any_u64(),
                         (enum guest_access)Frama_C_interval(GUEST_READ, GUEST_FETCH), &result, &way);
}

#define CR4_PAE 0x20u
#define CR4_LA57 0x1000u
#define EFER_LMA 0x400u

int main(void)
{
    Frama_C_make_unknown((char *)ram, RAM_BYTES);
    memory.range_count = 1;
    memory.window = 0;
    memory.ranges[0].start.value = 0;
    memory.ranges[0].backing.value = (uint64_t)(uintptr_t)ram;
    memory.ranges[0].bytes = RAM_BYTES;
    prove_mode(0, CR4_PAE, 0, 0);
    prove_mode(CR4_PAE, 0, 0, EFER_LMA);
    prove_mode(CR4_PAE, CR4_LA57, EFER_LMA, 0);
    prove_mode(CR4_PAE | CR4_LA57, 0, EFER_LMA, 0);
    return 0;
}
