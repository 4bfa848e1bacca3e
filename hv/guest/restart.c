/* SPDX-License-Identifier: MIT */
#include "hv/guest/restart.h"

#include "hv/base/spinlock.h"
#include "hv/guest/assigned.h"
#include "hv/guest/create.h"
#include "hv/host/cpu.h"
#include "hv/x86/insn.h"

/*
 * `lock` is held for one piece by the CPU that works, and by another one for a moment that plans or cancels. So a
 * cancelled restart leaves off between two pieces, and the load plan is free again.
 */
static struct restart {
    struct spinlock lock;
    uint64_t at; /* atomic; UINT64_MAX: none planned */
    uint32_t range;
    uint64_t done_bytes; /* cleared of the range */
    struct load_progress load;
} restarts[CONFIG_GUESTS_MAX];

static struct guest *loading; /* atomic: whose images the load plan of hv/guest/create.h is for; NULL: it is free */

void guest_restart_init(void)
{
    for (uint32_t i = 0; i < CONFIG_GUESTS_MAX; i++) {
        restarts[i].at = UINT64_MAX;
    }
}

void guest_restart_plan(struct guest *guest, uint64_t at)
{
    struct restart *restart = &restarts[guest->index];

    spinlock_take(&restart->lock);
    restart->range = 0;
    restart->done_bytes = 0;
    __atomic_store_n(&restart->at, at, __ATOMIC_RELEASE);
    spinlock_release(&restart->lock);
    vcpu_look_at(&guest->vcpus[0]);
    cpu_kick(&cpus[guest->vcpus[0].host_cpu]);
}

uint64_t guest_restart_deadline(const struct vcpu *vcpu)
{
    return vcpu->index == 0 ? __atomic_load_n(&restarts[vcpu->guest->index].at, __ATOMIC_ACQUIRE) : UINT64_MAX;
}

/* True where the plan is this guest's from now on, and it was not before. */
static bool take_load_plan(struct guest *guest)
{
    struct guest *none = NULL;

    return __atomic_compare_exchange_n(&loading, &none, guest, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool has_load_plan(const struct guest *guest)
{
    return __atomic_load_n(&loading, __ATOMIC_RELAXED) == guest;
}

static void release_load_plan(const struct guest *guest)
{
    if (has_load_plan(guest)) {
        __atomic_store_n(&loading, NULL, __ATOMIC_RELEASE);
    }
}

bool guest_restart_cancel(struct guest *guest)
{
    struct restart *restart = &restarts[guest->index];
    bool planned;

    spinlock_take(&restart->lock);
    planned = __atomic_exchange_n(&restart->at, UINT64_MAX, __ATOMIC_ACQ_REL) != UINT64_MAX;
    release_load_plan(guest);
    spinlock_release(&restart->lock);
    return planned;
}

/* Clears the next piece. False: there is none left. */
static bool clear_piece(struct guest *guest, struct restart *restart)
{
    const struct guest_range *range = &guest->memory.ranges[restart->range];
    uint64_t bytes;

    if (restart->range == guest->memory.range_count) {
        return false;
    }
    bytes = min_u64(range->bytes - restart->done_bytes, GUEST_LOAD_PIECE_BYTES);
    (void)guest_memory_zero(&guest->memory, gpa(range->start.value + restart->done_bytes), bytes);
    restart->done_bytes += bytes;
    if (restart->done_bytes == range->bytes) {
        restart->range++;
        restart->done_bytes = 0;
    }
    return true;
}

static void start(struct guest *guest, struct restart *restart)
{
    __atomic_store_n(&restart->at, UINT64_MAX, __ATOMIC_RELEASE);
    guest_load_end(guest);
    release_load_plan(guest);
    for (uint32_t v = 0; v < guest->vcpu_count; v++) {
        vcpu_look_at(&guest->vcpus[v]);
        cpu_kick(&cpus[guest->vcpus[v].host_cpu]);
    }
}

/* The next piece of work. False: the guest runs, the restart was cancelled, or another guest has the load plan. */
static bool next_piece(struct guest *guest, struct restart *restart)
{
    uint64_t again;

    if (__atomic_load_n(&restart->at, __ATOMIC_RELAXED) == UINT64_MAX) {
        return false;
    }
    if (clear_piece(guest, restart)) {
        return true;
    }
    if (!guest_assigned_is_ready(guest, insn_rdtsc(), &again)) {
        __atomic_store_n(&restart->at, again, __ATOMIC_RELEASE);
        return false;
    }
    if (take_load_plan(guest)) {
        guest_load_begin(guest, &restart->load);
        return true;
    }
    if (!has_load_plan(guest)) {
        return false;
    }
    if (guest_load_piece(guest, &restart->load)) {
        return true;
    }
    start(guest, restart);
    return false;
}

void guest_restart_run(struct vcpu *vcpu, uint64_t until)
{
    struct restart *restart = &restarts[vcpu->guest->index];
    bool goes_on;

    do {
        spinlock_take(&restart->lock);
        goes_on = next_piece(vcpu->guest, restart);
        spinlock_release(&restart->lock);
    } while (goes_on && insn_rdtsc() < until);
}
