/* SPDX-License-Identifier: MIT */
#include "hv/host/pool.h"

#include "hv/base/memory.h"
#include "hv/host/panic.h"

static struct {
    uint64_t start, next, end;
} pool;

static uint64_t pages_of(uint64_t bytes)
{
    return align_up(bytes, PAGE_BYTES);
}

void pool_init(uint64_t start, uint64_t bytes)
{
    pool.start = pool.next = start;
    pool.end = start + bytes;
}

void *pool_take(uint64_t bytes)
{
    uint64_t start = pool.next;

    if (pages_of(bytes) > pool.end - pool.next) {
        hv_panic(PANIC_POOL,
                 "the hypervisor's memory pool has %" PRIu64 " KiB left of %" PRIu64 ", %" PRIu64 " are wanted",
                 pool_left() / KIB, (pool.end - pool.start) / KIB, bytes / KIB);
    }
    pool.next += pages_of(bytes);
    memset((void *)(uintptr_t)start, 0, pages_of(bytes));
    return (void *)(uintptr_t)start;
}

uint64_t pool_left(void)
{
    return pool.end - pool.next;
}

uint64_t pool_used(void)
{
    return pool.next - pool.start;
}
