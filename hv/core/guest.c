/* SPDX-License-Identifier: MIT */
/* How a guest ends, and accesses that no device answers. */
#include "hv/core/guest.h"

#include "hv/base/format.h"
#include "hv/base/log.h"

#include <stdarg.h>

#define UNKNOWN_RANGE_TEXT_MAX 24u

/* The first reason stays: what follows from it is noise. */
static bool guest_is_first_reason(struct guest *guest)
{
    return __atomic_exchange_n(&guest->ending, true, __ATOMIC_ACQ_REL) == false;
}

/* Others look at the state, and at the reason only where the state says that there is one: so it comes last. */
static void guest_enter_state(struct guest *guest, enum guest_state state)
{
    __atomic_store_n(&guest->state, (uint32_t)state, __ATOMIC_RELEASE);
}

/* All vCPUs leave their run loops; those on other CPUs are kicked. */
static void guest_stop_vcpus(struct vcpu *vcpu)
{
    struct guest *guest = vcpu->guest;

    vcpu->requests |= VCPU_STOPPED;
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        struct vcpu *other = &guest->vcpus[i];

        if (other != vcpu) {
            (void)vcpu_kick_set(other, VCPU_KICK_STOP);
            cpu_set_post(&guest->kick_cpus, other->host_cpu);
        }
    }
}

/* The first reason to end stands; a later one, from any vCPU, only makes its vCPU leave. `code`: 0 unless it
 * crashed. */
static void guest_end_as(struct vcpu *vcpu, enum guest_state state, uint32_t code, bool well, const char *form,
                         va_list list)
{
    struct guest *guest = vcpu->guest;

    vcpu->requests |= VCPU_STOPPED;
    if (!guest_is_first_reason(guest)) {
        return;
    }
    format_list(guest->report, sizeof(guest->report), form, list);
    guest->ended_well = well;
    guest->failure_code = code;
    guest->failed_vcpu = vcpu->index;
    guest_enter_state(guest, state);
    guest_stop_vcpus(vcpu);
}

__attribute__((format(printf, 3, 4))) static void guest_end_with(struct vcpu *vcpu, enum guest_state state,
                                                                 const char *form, ...)
{
    va_list list;

    va_start(list, form);
    guest_end_as(vcpu, state, 0, true, form, list);
    va_end(list);
}

void guest_fail(struct vcpu *vcpu, uint32_t code, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    guest_end_as(vcpu, GUEST_CRASHED, code, false, form, list);
    va_end(list);
}

void guest_stop(struct vcpu *vcpu, bool well, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    guest_end_as(vcpu, GUEST_STOPPED, 0, well, form, list);
    va_end(list);
}

void guest_reset(struct vcpu *vcpu, const char *why)
{
    struct guest *guest = vcpu->guest;

    if (guest->platform.pvpanic.crash_loaded) {
        guest_fail(vcpu, GUEST_CODE_PANICKED, "its kernel panicked, and it asked for a reset (%s)", why);
    } else if (guest->config->on_reset == ACTION_CRASH) {
        guest_fail(vcpu, GUEST_CODE_RESET, "it asked for a reset (%s), which is a crash by its config", why);
    } else {
        guest_end_with(vcpu, GUEST_RESET, "asked for a reset (%s)", why);
    }
}

static const char *unknown_kind_name(enum unknown_kind kind)
{
    switch (kind) {
    case UNKNOWN_PORT_READ:
        return "reads from port";
    case UNKNOWN_PORT_WRITE:
        return "writes to port";
    case UNKNOWN_MSR_READ:
        return "reads MSR";
    case UNKNOWN_MSR_WRITE:
        return "writes MSR";
    case UNKNOWN_MMIO_READ:
        return "reads from guest-physical page";
    case UNKNOWN_MMIO_WRITE:
        return "writes to guest-physical page";
    case UNKNOWN_HYPERCALL:
        return "makes hypercall";
    case UNKNOWN_BIOS:
        return "calls BIOS service (interrupt, AH)";
    }
    return "?";
}

static const char *unknown_answer(enum unknown_kind kind)
{
    switch (kind) {
    case UNKNOWN_PORT_READ:
    case UNKNOWN_MMIO_READ:
        return "no device is there, it reads all ones";
    case UNKNOWN_PORT_WRITE:
    case UNKNOWN_MMIO_WRITE:
        return "no device is there, the write is ignored";
    case UNKNOWN_MSR_READ:
    case UNKNOWN_MSR_WRITE:
        return "not offered, it gets #GP";
    case UNKNOWN_HYPERCALL:
        return "not offered, it gets -ENOSYS";
    case UNKNOWN_BIOS:
        return "a guest has no BIOS, it gets CF set";
    }
    return "?";
}

/* Ports that emulators have and that kernels made for them use unasked: the config has a line for those. */
static bool unknown_is_debug_port(const struct unknown_access *access)
{
    bool port = access->kind == UNKNOWN_PORT_READ || access->kind == UNKNOWN_PORT_WRITE;

    return port && access->last - access->resource < sizeof(uint32_t) &&
           (access->resource == DEBUG_CONSOLE_PORT || access->resource == DEBUG_EXIT_PORT ||
            access->resource == DEBUG_EXIT_QEMU_PORT);
}

const char *guest_unknown_describe(const struct unknown_access *access, char *to, size_t capacity)
{
    char range[UNKNOWN_RANGE_TEXT_MAX] = "";

    if (access->last != access->resource) {
        (void)format_text(range, sizeof(range), " to 0x%" PRIx64, access->last);
    }
    format_text(to, capacity, "%s 0x%" PRIx64 "%s (first at rip 0x%" PRIx64 ", %" PRIu64 " times): %s",
                unknown_kind_name(access->kind), access->resource, range, access->rip, access->count,
                unknown_is_debug_port(access) ? "it is there with `debug-ports = yes` only"
                                              : unknown_answer(access->kind));
    return to;
}
