/* SPDX-License-Identifier: MIT */
#include "hv/guest/restart.h"

#include "hv/base/spinlock.h"
#include "hv/guest/create.h"
#include "hv/host/cpu.h"
#include "hv/x86/insn.h"

#define STEP_BYTES (256 * KIB) /* cleared between two looks at the clock */

static struct restart {
    uint64_t at; /* atomic; UINT64_MAX: none planned */
    uint32_t range;
    uint64_t done_bytes; /* of the range */
} restarts[CONFIG_GUESTS_MAX];

static struct spinlock load_lock; /* the load plan and the ACPI buffer of hv/guest/create.c are for one at a time */

void guest_restart_init(void)
{
    for (uint32_t i = 0; i < CONFIG_GUESTS_MAX; i++) {
        restarts[i].at = UINT64_MAX;
    }
}

void guest_restart_plan(struct guest *guest, uint64_t at)
{
    struct restart *restart = &restarts[guest->index];

    restart->range = 0;
    restart->done_bytes = 0;
    __atomic_store_n(&restart->at, at, __ATOMIC_RELEASE);
    cpu_kick(&cpus[guest->vcpus[0].host_cpu]);
}

uint64_t guest_restart_deadline(const struct vcpu *vcpu)
{
    return vcpu->index == 0 ? __atomic_load_n(&restarts[vcpu->guest->index].at, __ATOMIC_ACQUIRE) : UINT64_MAX;
}

/* Clears the next piece. False: there is none left. */
static bool clear_step(struct guest *guest, struct restart *restart)
{
    const struct guest_range *range = &guest->memory.ranges[restart->range];
    uint64_t bytes;

    if (restart->range == guest->memory.range_count) {
        return false;
    }
    bytes = min_u64(range->bytes - restart->done_bytes, STEP_BYTES);
    (void)guest_memory_zero(&guest->memory, gpa(range->start.value + restart->done_bytes), bytes);
    restart->done_bytes += bytes;
    if (restart->done_bytes == range->bytes) {
        restart->range++;
        restart->done_bytes = 0;
    }
    return true;
}

bool guest_restart_cancel(struct guest *guest)
{
    return __atomic_exchange_n(&restarts[guest->index].at, UINT64_MAX, __ATOMIC_ACQ_REL) != UINT64_MAX;
}

/* Unless it was cancelled meanwhile. */
static void start(struct guest *guest)
{
    if (!guest_restart_cancel(guest)) {
        return;
    }
    spinlock_take(&load_lock);
    guest_load_images(guest);
    spinlock_release(&load_lock);
    for (uint32_t v = 0; v < guest->vcpu_count; v++) {
        cpu_kick(&cpus[guest->vcpus[v].host_cpu]);
    }
}

void guest_restart_run(struct vcpu *vcpu, uint64_t until)
{
    struct guest *guest = vcpu->guest;
    struct restart *restart = &restarts[guest->index];

    while (clear_step(guest, restart)) {
        if (insn_rdtsc() >= until) {
            return;
        }
    }
    start(guest);
}
