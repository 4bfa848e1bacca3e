/* SPDX-License-Identifier: MIT */
/* A memory map from descriptors of any contents, with any stride; then any change, search and sum on any map. */
#include "hv/plan/memory_map.h"

#define BYTES_MAX 4096u

static uint8_t bytes[BYTES_MAX];
static struct memory_map map;

static void any_map(void)
{
    Frama_C_make_unknown((char *)&map, sizeof(map));
    map.count = (uint32_t)Frama_C_interval(0, MEMORY_REGIONS_MAX);
}

int main(void)
{
    uint64_t start;

    Frama_C_make_unknown((char *)bytes, BYTES_MAX);
    (void)memory_map_from_uefi(&map, bytes, (uint64_t)Frama_C_interval(0, BYTES_MAX), prove_any_u64());
    any_map();
    (void)memory_map_set(&map, prove_any_u64(), prove_any_u64(), (enum memory_type)Frama_C_interval(0, MEMORY_MMIO));
    any_map();
    (void)memory_map_convert(&map, prove_any_u64(), prove_any_u64(), (enum memory_type)Frama_C_interval(0, MEMORY_MMIO),
                             (enum memory_type)Frama_C_interval(0, MEMORY_MMIO));
    any_map();
    (void)memory_map_find(&map, (enum memory_type)Frama_C_interval(0, MEMORY_MMIO), prove_any_u64(), prove_any_u64(),
                          prove_any_u64(), prove_any_u64(), &start);
    (void)memory_map_bytes(&map, MEMORY_FREE);
    return (int)(memory_map_top(&map) >> 60);
}
