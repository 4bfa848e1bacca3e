/* SPDX-License-Identifier: MIT */
#include "hv/core/guest_order.h"

#include "hv/core/guest_devices.h"
#include "hv/core/guest_irq.h"
#include "hv/core/platform_lock.h"

#define NS_PER_US 1000ULL
#define US_PER_MS 1000u

void guest_order_forget(struct guest *guest)
{
    guest->stop_deadline = UINT64_MAX;
    __atomic_store_n(&guest->order, (uint32_t)ORDER_NONE, __ATOMIC_RELEASE);
    guest->obeyed = ORDER_NONE;
}

void guest_order_give(struct guest *guest, enum guest_order order)
{
    __atomic_store_n(&guest->order, (uint32_t)order, __ATOMIC_RELEASE);
    (void)vcpu_kick_set(&guest->vcpus[0], VCPU_KICK_ORDER);
}

/* The first press counts: what follows does not give the guest more time. Where the platform cannot be had now, the
 * order is given once more, but for a later one. */
static void press_power_button(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    if (guest->stop_deadline == UINT64_MAX) {
        guest->stop_deadline = now + clock_ns_to_ticks(&guest->host->clock, guest->config->stop_us * NS_PER_US);
    }
    if (!guest_hold_in_pass(vcpu)) {
        uint32_t none = ORDER_NONE;

        (void)__atomic_compare_exchange_n(&guest->order, &none, (uint32_t)ORDER_POWER_BUTTON, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED);
        (void)vcpu_kick_set(vcpu, VCPU_KICK_ORDER);
        return;
    }
    platform_press_power_button(&guest->platform);
    guest_collect(vcpu, now);
    guest_deadline_changed(vcpu);
    guest_release(vcpu);
}

void guest_order_take(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;
    uint32_t taken = __atomic_exchange_n(&guest->order, (uint32_t)ORDER_NONE, __ATOMIC_ACQ_REL);
    enum guest_order order = (enum guest_order)taken;

    if (order == ORDER_NONE) {
        return;
    }
    guest->obeyed = order == ORDER_LINK ? guest->obeyed : order;
    switch (order) {
    case ORDER_NONE:
        break;
    case ORDER_POWER_BUTTON:
        press_power_button(vcpu, now);
        break;
    case ORDER_KILL:
        guest_stop(vcpu, true, "killed by a key");
        break;
    case ORDER_RESTART:
        guest_stop(vcpu, true, "ended by a key, to be restarted");
        break;
    case ORDER_LINK:
        guest_devices_toggle_link(vcpu, now);
        break;
    }
}

void guest_order_expire(struct vcpu *vcpu)
{
    struct guest *guest = vcpu->guest;

    guest->stop_deadline = UINT64_MAX;
    guest_stop(vcpu, true, "killed: it was still on %u ms after its power button was pressed (stop-time)",
               guest->config->stop_us / US_PER_MS);
}
