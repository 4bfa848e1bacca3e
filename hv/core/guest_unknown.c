/* SPDX-License-Identifier: MIT */
/*
 * Accesses that no device answers, as they are counted: guest_note_unknown() and guest_count_unknown() of guest.h,
 * apart because they are compiled for speed. A kernel's probe of one resource comes again and again, so the entry that
 * was counted last is looked at before the list.
 */
#include "hv/core/guest.h"

/* How far the next resource of its kind is; 0: neighbours have nothing to do with each other. */
static uint64_t unknown_step(enum unknown_kind kind)
{
    switch (kind) {
    case UNKNOWN_MMIO_READ:
    case UNKNOWN_MMIO_WRITE:
        return PAGE_BYTES;
    case UNKNOWN_PORT_READ:
    case UNKNOWN_PORT_WRITE:
    case UNKNOWN_MSR_READ:
    case UNKNOWN_MSR_WRITE:
        return 1;
    case UNKNOWN_HYPERCALL:
    case UNKNOWN_BIOS:
        break;
    }
    return 0;
}

/* The range in which the resource lies, or to which it is a neighbour, which it then belongs to: a guest that looks
 * through its address space is one line of the report. */
__attribute__((noinline)) static struct unknown_access *unknown_find(struct guest *guest, enum unknown_kind kind,
                                                                     uint64_t resource)
{
    uint64_t step = unknown_step(kind);

    for (uint32_t i = 0; i < guest->unknown_count; i++) {
        struct unknown_access *access = &guest->unknown[i];

        if (access->kind == kind && resource + step >= access->resource && resource <= access->last + step) {
            access->resource = min_u64(access->resource, resource);
            access->last = max_u64(access->last, resource);
            guest->unknown_latest = i;
            return access;
        }
    }
    return NULL;
}

/* With the lock, which it releases; out of line, so that what was counted last makes no stack frame. */
__attribute__((noinline)) static bool count_listed(struct guest *guest, enum unknown_kind kind, uint64_t resource)
{
    struct unknown_access *access = unknown_find(guest, kind, resource);

    if (access != NULL) {
        access->count++;
    }
    spinlock_release(&guest->unknown_lock);
    return access != NULL;
}

bool guest_count_unknown(struct guest *guest, enum unknown_kind kind, uint64_t resource)
{
    if (!spinlock_try(&guest->unknown_lock)) {
        return false;
    }
    if (!guest_unknown_is_latest(guest, kind, resource)) {
        return count_listed(guest, kind, resource);
    }
    guest->unknown[guest->unknown_latest].count++;
    spinlock_release(&guest->unknown_lock);
    return true;
}

/* One that is not in the list. */
__attribute__((noinline)) static void unknown_add(struct vcpu *vcpu, enum unknown_kind kind, uint64_t resource,
                                                  uint64_t value)
{
    struct guest *guest = vcpu->guest;

    if (guest->unknown_count == GUEST_UNKNOWN_MAX) {
        guest->unknown_dropped++;
        return;
    }
    guest->unknown[guest->unknown_count++] = (struct unknown_access){
        .kind = kind, .resource = resource, .last = resource, .value = value, .rip = vcpu->rip, .count = 1};
    vcpu->requests |= VCPU_CONSOLE;
}

void guest_note_unknown(struct vcpu *vcpu, enum unknown_kind kind, uint64_t resource, uint64_t value)
{
    struct guest *guest = vcpu->guest;
    struct unknown_access *access;

    if (!spinlock_try(&guest->unknown_lock)) {
        return; /* another one is being noted: an exit does not wait for that, and this one is not counted */
    }
    access = unknown_find(guest, kind, resource);
    if (access != NULL) {
        access->count++;
    } else {
        unknown_add(vcpu, kind, resource, value);
    }
    spinlock_release(&guest->unknown_lock);
}
