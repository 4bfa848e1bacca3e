/* SPDX-License-Identifier: MIT */
#include "hv/guest/operator.h"

#include "hv/base/log.h"
#include "hv/console/console.h"
#include "hv/core/guest_devices.h"
#include "hv/core/guest_order.h"
#include "hv/guest/create.h"
#include "hv/guest/end.h"
#include "hv/guest/status.h"
#include "hv/host/cpu.h"
#include "hv/host/power.h"

#define US_PER_MS 1000u

static bool runs(const struct guest *guest)
{
    return __atomic_load_n(&guest->state, __ATOMIC_ACQUIRE) == GUEST_RUNNING;
}

static void give(struct guest *guest, enum guest_order order)
{
    guest_order_give(guest, order);
    cpu_kick(&cpus[guest->vcpus[0].host_cpu]);
}

static void stop(struct guest *guest)
{
    if (runs(guest)) {
        log_info("guest %s: its power button is pressed; it is killed if it has not switched itself off in %u ms",
                 guest->name, guest->config->stop_us / US_PER_MS);
        give(guest, ORDER_POWER_BUTTON);
    } else if (!guest_end_cancel_restart(guest)) {
        log_info("guest %s does not run", guest->name);
    }
}

static void kill(struct guest *guest)
{
    if (runs(guest)) {
        give(guest, ORDER_KILL);
    } else if (!guest_end_cancel_restart(guest)) {
        log_info("guest %s does not run", guest->name);
    }
}

static void start(struct guest *guest)
{
    if (guest_end_start(guest)) {
        log_info("guest %s is started again", guest->name);
    } else {
        log_info("guest %s %s", guest->name, runs(guest) ? "runs already" : "cannot be started now");
    }
}

static void link(struct guest *guest)
{
    bool up =
        guest->devices != NULL && guest->config->net_count != 0 && virtio_net_link(&guest->devices->cards[0].state.net);

    if (guest->config->net_count == 0 || !runs(guest)) {
        log_info("guest %s %s", guest->name, runs(guest) ? "has no network card" : "does not run");
        return;
    }
    log_info("guest %s: the cable of its network cards is %s", guest->name, up ? "pulled" : "plugged in");
    give(guest, ORDER_LINK);
}

static void restart(struct guest *guest)
{
    if (runs(guest)) {
        give(guest, ORDER_RESTART);
    } else {
        start(guest);
    }
}

static void carry_out(enum mux_command command, uint32_t index)
{
    switch (command) {
    case MUX_NO_COMMAND:
        break;
    case MUX_STATUS:
        guest_status_print();
        break;
    case MUX_START:
        start(guests[index]);
        break;
    case MUX_STOP:
        stop(guests[index]);
        break;
    case MUX_KILL:
        kill(guests[index]);
        break;
    case MUX_RESTART:
        restart(guests[index]);
        break;
    case MUX_LINK:
        link(guests[index]);
        break;
    case MUX_POWEROFF:
        guest_end_poweroff("a key asked for it");
    }
}

void operator_look_at_button(void)
{
    static bool pressed;

    if (!power_button_pressed()) {
        return;
    }
    if (pressed) {
        guest_end_poweroff("the power button was pressed twice");
    }
    pressed = true;
    log_info("the power button was pressed: the guests are asked to switch themselves off");
    guest_end_wants_poweroff();
    for (uint32_t i = 0; i < guest_count; i++) {
        stop(guests[i]);
    }
}

void operator_init(void)
{
    console_set_command_hook(carry_out);
}
