/* SPDX-License-Identifier: MIT */
/* See hv/dev/i6300esb.h. */
#include "hv/dev/i6300esb.h"

#define VENDOR_INTEL 0x8086u
#define DEVICE_6300ESB_WATCHDOG 0x25abu
#define CLASS_SYSTEM_OTHER 0x088000u
#define BAR_BYTES 16u

#define CONFIG 0x60u
#define CONFIG_BITS 0x27u
#define CONFIG_1_MHZ 0x04u
#define CONFIG_NO_RESET 0x20u
#define LOCK 0x68u
#define LOCK_BITS 0x07u
#define LOCK_LOCKED 0x01u
#define LOCK_ENABLE 0x02u

#define PRELOAD_1 0x00u
#define PRELOAD_2 0x04u
#define PRELOAD_BITS 0xfffffu
#define RELOAD 0x0cu
#define RELOAD_NOW 0x0100u
#define RELOAD_TIMED_OUT 0x0200u
#define RELOAD_TIMED_OUT_LINUX 0x1000u /* where Linux' driver looks for it, and writes it */
#define UNLOCK_1 0x80u
#define UNLOCK_2 0x86u
#define UNLOCKED 2u

/* Cycles of the 33 MHz PCI clock, of 30 ns each, that a step of the preloads lasts. */
#define CYCLE_NS 30u
#define CYCLES_SHIFT_1_KHZ 15u
#define CYCLES_SHIFT_1_MHZ 5u
#define NS_PER_MS 1000000u

static struct i6300esb *watchdog_of(struct pci_endpoint *function)
{
    return (struct i6300esb *)function;
}

static uint64_t stage_ns(const struct i6300esb *watchdog, unsigned stage)
{
    unsigned shift = (watchdog->config & CONFIG_1_MHZ) != 0 ? CYCLES_SHIFT_1_MHZ : CYCLES_SHIFT_1_KHZ;

    return ((uint64_t)watchdog->preloads[stage] << shift) * CYCLE_NS;
}

uint64_t i6300esb_ms(const struct i6300esb *watchdog)
{
    return (stage_ns(watchdog, 0) + stage_ns(watchdog, 1)) / NS_PER_MS;
}

static uint64_t end_of_stage(const struct i6300esb *watchdog)
{
    return watchdog->begun + clock_ns_to_ticks(watchdog->clock, stage_ns(watchdog, watchdog->stage));
}

/* Where its end resets nothing, counting has no effect that could be seen, free-running or not. */
static bool is_running(const struct i6300esb *watchdog)
{
    return (watchdog->lock & LOCK_ENABLE) != 0 && (watchdog->config & CONFIG_NO_RESET) == 0;
}

/* After whatever changes when it ends. */
static void update(struct i6300esb *watchdog)
{
    watchdog->function.signals.deadline = is_running(watchdog) ? end_of_stage(watchdog) : DEADLINE_NONE;
}

static void begin(struct i6300esb *watchdog, unsigned stage, uint64_t at)
{
    watchdog->stage = (uint8_t)stage;
    watchdog->begun = at;
    update(watchdog);
}

static void run(void *state, uint64_t now)
{
    struct i6300esb *watchdog = state;

    if (is_running(watchdog) && watchdog->stage == 0 && end_of_stage(watchdog) <= now) {
        begin(watchdog, 1, end_of_stage(watchdog));
    }
    if (is_running(watchdog) && watchdog->stage == 1 && end_of_stage(watchdog) <= now) {
        watchdog->timed_out = true;
        watchdog->lock = 0;
        update(watchdog);
        bus_request_power(&watchdog->function.signals, POWER_WATCHDOG_PCI, "i6300esb");
    }
}

/* ---- configuration space ---- */

static bool config_read(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t *value)
{
    const struct i6300esb *watchdog = watchdog_of(function);

    if (offset == CONFIG && size == 2) {
        *value = watchdog->config;
        return true;
    }
    if (offset == LOCK && size == 1) {
        *value = watchdog->lock;
        return true;
    }
    return false;
}

/* It begins anew where it did not count before. */
static void change(struct i6300esb *watchdog, uint16_t config, uint8_t lock)
{
    bool was_running = is_running(watchdog);

    watchdog->config = config & CONFIG_BITS;
    watchdog->lock = lock & LOCK_BITS;
    if (is_running(watchdog) && !was_running) {
        begin(watchdog, 0, clock_now());
    }
    update(watchdog);
}

static bool config_write(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value)
{
    struct i6300esb *watchdog = watchdog_of(function);

    if (offset == CONFIG && size == 2) {
        change(watchdog, (uint16_t)value, watchdog->lock);
        return true;
    }
    if (offset == LOCK && size == 1) {
        change(watchdog, watchdog->config, (watchdog->lock & LOCK_LOCKED) != 0 ? watchdog->lock : (uint8_t)value);
        return true;
    }
    return false;
}

/* ---- registers ---- */

static uint64_t bar_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size)
{
    const struct i6300esb *watchdog = watchdog_of(function);

    (void)bar;
    if (offset == RELOAD && size == 2 && watchdog->timed_out) {
        return RELOAD_TIMED_OUT | RELOAD_TIMED_OUT_LINUX;
    }
    return 0;
}

/* The one write that was let through. */
static void write_unlocked(struct i6300esb *watchdog, uint64_t offset, uint8_t size, uint32_t value)
{
    if (offset == RELOAD && size == 2) {
        if ((value & (RELOAD_TIMED_OUT | RELOAD_TIMED_OUT_LINUX)) != 0) {
            watchdog->timed_out = false;
        }
        if ((value & RELOAD_NOW) != 0 && is_running(watchdog)) {
            begin(watchdog, 0, clock_now());
        }
    } else if ((offset == PRELOAD_1 || offset == PRELOAD_2) && size == 4) {
        watchdog->preloads[offset == PRELOAD_2] = value & PRELOAD_BITS; /* from the next reload on */
    }
}

static void bar_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    struct i6300esb *watchdog = watchdog_of(function);

    (void)bar;
    if (offset == RELOAD && value == UNLOCK_1) {
        watchdog->unlocked = 1;
    } else if (offset == RELOAD && value == UNLOCK_2 && watchdog->unlocked == 1) {
        watchdog->unlocked = UNLOCKED;
    } else if (watchdog->unlocked == UNLOCKED) {
        watchdog->unlocked = 0;
        write_unlocked(watchdog, offset, size, (uint32_t)value);
    }
}

static const struct pci_device_ops ops = {
    .read = bar_read, .write = bar_write, .config_read = config_read, .config_write = config_write};

void i6300esb_init(struct i6300esb *watchdog, const struct clock *clock)
{
    static const struct pci_identity identity = {
        .vendor = VENDOR_INTEL, .device = DEVICE_6300ESB_WATCHDOG, .class_code = CLASS_SYSTEM_OTHER};
    bool timed_out = watchdog->timed_out;

    *watchdog = (struct i6300esb){.clock = clock, .preloads = {PRELOAD_BITS, PRELOAD_BITS}, .timed_out = timed_out};
    pci_function_init(&watchdog->function, &identity, &ops, watchdog);
    pci_function_add_bar(&watchdog->function, 0, (struct pci_bar){.kind = PCI_BAR_MEMORY32, .bytes = BAR_BYTES});
    update(watchdog);
}

const struct bus_row i6300esb_row = {
    .name = "PCI watchdog",
    PCI_ROW_RANGES,
    .read = pci_row_read,
    .write = pci_row_write,
    .run = run,
    .next_message = pci_row_next_message,
    .lines = {BUS_NO_LINE},
    .line_count = 1,
    .state_bytes = sizeof(struct i6300esb),
    .signals_at = offsetof(struct i6300esb, function.signals),
    .saved_from = sizeof(struct i6300esb),
};
