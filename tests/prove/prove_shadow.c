/* SPDX-License-Identifier: MIT */
/*
 * The operations of shadow paging over tables, rows, entries seen, lists and guest RAM of any contents (all memory
 * below 2^53 may hold anything), any registers, any access, for 3, 4 and 5 levels. What is proved is that nothing is
 * touched but the engine's struct, its own variables and memory below 2^53; that a row's numbers fit each other is the
 * engine's invariant, which the model test and the audit check. In place of the walk of the guest's tables, which has
 * its own proof, stands what it promises.
 */
#include "hv/mm/shadow.h"

static struct guest_memory memory;
static struct shadow shadow;

static uint8_t levels; /* of the guest's paging; 0: off */

static void *any_place(void)
{
    return (void *)(uintptr_t)((uint64_t)Frama_C_unsigned_long_long_interval(1, 1ULL << 49) * sizeof(uint64_t));
}

static void any_translation(struct guest_translation *result)
{
    result->address.value = (uint64_t)Frama_C_unsigned_long_long_interval(0, (1ULL << 52) - 1);
    result->page_bytes = PAGE_BYTES;
    result->writable = prove_any_u8() & 1;
    result->user = prove_any_u8() & 1;
    result->error_code = prove_any_u32();
    result->bad_table.value = prove_any_u64();
}

enum guest_walk_result guest_walk(const struct guest_memory *of, const struct guest_paging *paging, uint64_t address,
                                  enum guest_access access, struct guest_translation *result)
{
    (void)of, (void)paging, (void)address, (void)access;
    any_translation(result);
    return (enum guest_walk_result)Frama_C_interval(GUEST_WALK_OK, GUEST_WALK_UNMAPPED);
}

enum guest_walk_result guest_walk_way(const struct guest_memory *of, const struct guest_paging *paging,
                                      uint64_t address, enum guest_access access, struct guest_translation *result,
                                      struct guest_way *way)
{
    way->levels = levels;
    way->leaf_level = (uint8_t)Frama_C_interval(0, levels > 3 ? LEVEL_1G : LEVEL_2M);
    way->entry_bytes = levels == 2 ? 4 : 8;
    way->dirty = prove_any_u8() & 1;
    for (uint32_t level = 0; level < ARRAY_COUNT(way->slots); level++) {
        way->slots[level] = any_place();
        way->entries[level] = prove_any_u64();
    }
    for (uint32_t level = 0; level < ARRAY_COUNT(way->rights); level++) {
        way->rights[level] = prove_any_u64();
    }
    return guest_walk(of, paging, address, access, result);
}

bool guest_walk_again(const struct guest_paging *paging, uint64_t address, enum guest_access access,
                      struct guest_translation *result, struct guest_way *way, enum guest_walk_result *outcome)
{
    (void)paging, (void)address, (void)access;
    any_translation(result);
    way->slots[0] = any_place();
    way->entries[0] = prove_any_u64();
    way->rights[0] = prove_any_u64();
    way->dirty = prove_any_u8() & 1;
    *outcome = (enum guest_walk_result)Frama_C_interval(GUEST_WALK_OK, GUEST_WALK_FAULT);
    return prove_any_u8() & 1;
}

const uint8_t *guest_walk_code(const struct guest_memory *of, uint64_t cr3, uint64_t cr4, uint64_t linear)
{
    (void)of, (void)cr3, (void)cr4, (void)linear;
    return any_place();
}

static void any_shadow(void)
{
    memory.window = 0;
    memory.range_count = (uint32_t)Frama_C_interval(1, GUEST_RANGES_MAX);
    for (uint32_t i = 0; i < GUEST_RANGES_MAX; i++) {
        memory.ranges[i].start.value = (uint64_t)Frama_C_unsigned_long_long_interval(0, 1ULL << 40) * PAGE_BYTES;
        memory.ranges[i].backing.value = (uint64_t)Frama_C_unsigned_long_long_interval(1, 1ULL << 39) * PAGE_BYTES;
        memory.ranges[i].bytes = (uint64_t)Frama_C_unsigned_long_long_interval(1, 1ULL << 39) * PAGE_BYTES;
    }
    shadow_init(&shadow, &memory, (enum page_level)Frama_C_interval(LEVEL_4K, LEVEL_1G), 0,
                hpa((uint64_t)Frama_C_unsigned_long_long_interval(1, 1ULL << 38) * PAGE_BYTES),
                (uint32_t)Frama_C_interval(SHADOW_TABLES_MIN, SHADOW_TABLES_MAX), hpa(0x1000));
}

static void prove_mode(uint8_t of, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    struct guest_translation result;
    struct guest_paging paging;
    uint64_t root;

    levels = of;
    paging.cr0 = cr0 | prove_maybe(CR0_WP);
    paging.cr3 = prove_any_u64();
    paging.cr4 = cr4 | prove_maybe(CR4_PGE) | prove_maybe(CR4_SMEP);
    paging.efer = efer;
    paging.rflags = prove_any_u64();
    paging.cpl = prove_any_u8() & 3;
    paging.implicit_supervisor = prove_any_u8() & 1;
    paging.physical_bits = (uint8_t)Frama_C_interval(32, 52);
    paging.nx_supported = prove_any_u8() & 1;
    paging.gib_pages = prove_any_u8() & 1;
    paging.upper_bit8_reserved = prove_any_u8() & 1;
    paging.pointer_accessed = prove_any_u8() & 1;
    any_shadow();
    shadow_flush(&shadow, &paging);
    for (uint32_t i = 0; i < 2; i++) { /* the second one may go on from the way of the first */
        (void)shadow_fault(&shadow, &paging, prove_any_u64(),
                           (enum guest_access)Frama_C_interval(GUEST_READ, GUEST_FETCH), &result);
    }
    paging.cr3 = prove_any_u64();
    (void)shadow_switch(&shadow, &paging, &root);
    shadow_invalidate(&shadow, prove_any_u64());
    (void)shadow_find_code(&shadow, &paging, prove_any_u64());
    (void)shadow_known_code(&shadow, prove_any_u64());
    (void)shadow_take_flush(&shadow);
    shadow_forget(&shadow);
}

int main(void)
{
    prove_mode(0, 0, 0, 0);
    prove_mode(2, CR0_PG, CR4_PSE, 0);
    prove_mode(3, CR0_PG, CR4_PAE, 0);
    prove_mode(4, CR0_PG, CR4_PAE, EFER_LMA);
    prove_mode(5, CR0_PG, CR4_PAE | CR4_LA57, EFER_LMA);
    return 0;
}
