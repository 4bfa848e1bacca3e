#include "hv/pool.h"

#include "hv/base/memory.h"
#include "hv/cpu.h"
#include "hv/host_memory.h"
#include "hv/panic.h"
#include "hv/smp.h"
#include "hv/virt.h"

/* For what nobody counts one by one: page roundings of small things. */
#define POOL_MARGIN_BYTES (512 * KIB)

static struct {
    uint64_t start, next, end;
} pool;

static uint64_t pages_of(uint64_t bytes)
{
    return align_up(bytes, PAGE_BYTES);
}

static uint64_t cpu_bytes(void)
{
    return smp_stacks_bytes() + pages_of(virt_cpu_bytes());
}

static uint64_t vcpu_bytes(void)
{
    return pages_of(sizeof(struct vcpu)) + pages_of(sizeof(struct lapic_page)) + pages_of(virt_vcpu_bytes()) +
           POOL_XSAVE_BYTES;
}

void pool_own(const struct boot_info *info, struct planner_own *own)
{
    *own = (struct planner_own){
        .fixed_bytes = POOL_MARGIN_BYTES + POOL_LOAD_PLAN_BYTES + info->cpu_count * cpu_bytes() +
                       host_memory_tables_max(info) * PAGE_BYTES,
        .guest_bytes = pages_of(sizeof(struct guest)),
        .vcpu_bytes = vcpu_bytes(),
    };
}

uint64_t pool_bytes_needed(const struct boot_info *info)
{
    struct planner_own own;
    uint32_t vcpus = 0;
    uint64_t tables = 0;

    for (uint32_t i = 0; i < info->config.guest_count; i++) {
        vcpus += info->config.guests[i].cpu_count;
        tables += info->guests[i].plan.table_count;
    }
    pool_own(info, &own);
    return planner_own_bytes(&own, info->config.guest_count, vcpus, tables);
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
