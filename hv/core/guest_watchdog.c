/* SPDX-License-Identifier: MIT */
#include "hv/core/guest_watchdog.h"

#include "hv/core/guest_codes.h"
#include "hv/core/vm_exit.h"

#define NS_PER_US 1000ULL
#define US_PER_MS 1000u

/* Exits that are none of the guest's doing, or that an endless delivery of exceptions makes. */
#define NO_PROGRESS (1u << EXIT_HOST_INTERRUPT | 1u << EXIT_INTERRUPT_WINDOW | 1u << EXIT_EXCEPTION)

static uint64_t exits_of(const struct guest *guest, uint32_t kinds)
{
    uint64_t count = 0;

    for (uint32_t v = 0; v < guest->vcpu_count; v++) {
        for (uint32_t kind = 0; kind < EXIT_KIND_COUNT; kind++) {
            count += (kinds >> kind & 1u) != 0 ? guest->vcpus[v].exit_counts[kind] : 0;
        }
    }
    return count;
}

static uint64_t progress_of(const struct guest *guest)
{
    switch (guest->config->watchdog) {
    case WATCHDOG_OFF:
        break;
    case WATCHDOG_CONSOLE:
        return __atomic_load_n(&guest->platform.console_out.head, __ATOMIC_RELAXED);
    case WATCHDOG_HYPERCALL:
        return exits_of(guest, 1u << EXIT_HYPERCALL);
    case WATCHDOG_HALT:
        return exits_of(guest, 1u << EXIT_HLT);
    case WATCHDOG_EXIT:
        return exits_of(guest, ~NO_PROGRESS);
    }
    return 0;
}

static bool is_waiting(const struct guest *guest)
{
    for (uint32_t v = 0; v < guest->vcpu_count; v++) {
        if (__atomic_load_n(&guest->vcpus[v].state, __ATOMIC_RELAXED) == VCPU_STATE_HALTED) {
            return true;
        }
    }
    return false;
}

/* A CPU that is halted now waits for work: where halting or any exit is progress, nothing is wrong with that. */
static bool waiting_is_progress(const struct guest *guest)
{
    return guest->config->watchdog == WATCHDOG_HALT || guest->config->watchdog == WATCHDOG_EXIT;
}

static const char *missed(enum config_watchdog kind)
{
    switch (kind) {
    case WATCHDOG_OFF:
        break;
    case WATCHDOG_CONSOLE:
        return "printed nothing";
    case WATCHDOG_HYPERCALL:
        return "made no hypercall";
    case WATCHDOG_HALT:
        return "never halted a CPU";
    case WATCHDOG_EXIT:
        return "never needed the hypervisor";
    }
    return "?";
}

static uint64_t ticks(const struct guest *guest)
{
    return clock_ns_to_ticks(&guest->host->clock, guest->config->watchdog_us * NS_PER_US);
}

void guest_watchdog_start(struct guest *guest, uint64_t now)
{
    guest->watchdog = (struct guest_watchdog){.deadline = UINT64_MAX, .progress_at = now};
    if (guest->config->watchdog != WATCHDOG_OFF) {
        guest->watchdog.progress = progress_of(guest);
        guest->watchdog.deadline = now + ticks(guest) / WATCHDOG_LOOKS;
    }
}

void guest_watchdog_look(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;
    struct guest_watchdog *watchdog = &guest->watchdog;
    uint64_t progress = progress_of(guest);

    watchdog->deadline = now + ticks(guest) / WATCHDOG_LOOKS;
    if (progress != watchdog->progress || (waiting_is_progress(guest) && is_waiting(guest))) {
        watchdog->progress = progress;
        watchdog->progress_at = now;
    } else if (clock_ticks_since(now, watchdog->progress_at) >= ticks(guest)) {
        guest_fail(vcpu, GUEST_CODE_WATCHDOG, "it %s for %u ms (watchdog)", missed(guest->config->watchdog),
                   guest->config->watchdog_us / US_PER_MS);
    }
}
