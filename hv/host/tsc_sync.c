/* SPDX-License-Identifier: MIT */
#include "hv/host/tsc_sync.h"

#include "hv/base/spinlock.h"
#include "hv/host/tsc.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define READS 2000u /* by each of the two */

static struct {
    struct spinlock lock;
    uint64_t last; /* the newest TSC that either of the two read */
    uint64_t warp;
    uint64_t adjusted;
    uint32_t arrived; /* atomic: bits, one of each */
    uint64_t boot_adjust;
    bool has_adjust;
} sync;

#define ARRIVED_BOOT 1u
#define ARRIVED_STARTING 2u
#define DONE_BOOT 4u
#define DONE_STARTING 8u
#define AGAIN_BOOT 16u
#define AGAIN_STARTING 32u

void tsc_sync_begin(void)
{
    sync.has_adjust = insn_rdmsr_safe(MSR_TSC_ADJUST, &sync.boot_adjust);
    sync.last = sync.warp = sync.adjusted = 0;
    __atomic_store_n(&sync.arrived, 0, __ATOMIC_RELEASE);
}

static bool wait_for(uint32_t bits, uint64_t deadline)
{
    while ((__atomic_load_n(&sync.arrived, __ATOMIC_ACQUIRE) & bits) == 0) {
        if (insn_rdtsc() >= deadline) {
            return false;
        }
        insn_pause();
    }
    return true;
}

/* LFENCE: the TSC is read after the lock is taken, not before. SDM 3B 18.17.3. */
static void read_in_turns(uint32_t reads)
{
    for (uint32_t i = 0; i < reads; i++) {
        uint64_t now;

        spinlock_take(&sync.lock);
        insn_lfence();
        now = insn_rdtsc();
        if (now < sync.last) {
            sync.warp = max_u64(sync.warp, sync.last - now);
        }
        sync.last = max_u64(sync.last, now);
        spinlock_release(&sync.lock);
    }
}

static void arrive(uint32_t bit)
{
    __atomic_fetch_or(&sync.arrived, bit, __ATOMIC_ACQ_REL);
}

/*
 * Each reads once more after the other has read: so one that is ahead is seen, and one that is behind, even where one
 * of the two was kept from running (an SMI, an emulator's host) until the other was through.
 */
static void compare(uint32_t mine, uint32_t other, uint32_t mine_again, uint32_t other_again)
{
    read_in_turns(READS);
    arrive(mine);
    if (wait_for(other, insn_rdtsc() + tsc_ticks_of_us(TSC_SYNC_WAIT_US))) {
        read_in_turns(1);
    }
    arrive(mine_again);
    (void)wait_for(other_again, insn_rdtsc() + tsc_ticks_of_us(TSC_SYNC_WAIT_US));
}

static void adjust(void)
{
    uint64_t own;

    if (sync.has_adjust && insn_rdmsr_safe(MSR_TSC_ADJUST, &own) && own != sync.boot_adjust) {
        sync.adjusted = sync.boot_adjust - own;
        insn_wrmsr(MSR_TSC_ADJUST, sync.boot_adjust);
    }
}

void tsc_sync_starting_cpu(void)
{
    adjust();
    arrive(ARRIVED_STARTING);
    if (wait_for(ARRIVED_BOOT, insn_rdtsc() + tsc_ticks_of_us(TSC_SYNC_WAIT_US))) {
        compare(DONE_STARTING, DONE_BOOT, AGAIN_STARTING, AGAIN_BOOT);
    }
}

bool tsc_sync_boot_cpu(uint64_t deadline, uint64_t *warp, uint64_t *adjusted)
{
    *warp = *adjusted = 0;
    if (!wait_for(ARRIVED_STARTING, deadline)) {
        return false;
    }
    arrive(ARRIVED_BOOT);
    compare(DONE_BOOT, DONE_STARTING, AGAIN_BOOT, AGAIN_STARTING);
    *warp = sync.warp;
    *adjusted = sync.adjusted;
    return true;
}
