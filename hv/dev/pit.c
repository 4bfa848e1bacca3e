/* SPDX-License-Identifier: MIT */
/*
 * The 8254. See pit.h: nothing ticks, everything is computed from the tick of the access.
 *
 * Elapsed time e counts from the tick after the count was written (or the gate rose). With N the count:
 *
 *   mode 0  OUT  ______________/‾‾‾‾‾‾‾   rises at e = N                     interrupt on terminal count
 *   mode 1  OUT  ‾‾\___________/‾‾‾‾‾‾‾   low for N after the gate rises     one-shot
 *   mode 2  OUT  ‾‾‾‾‾‾‾‾‾‾‾\_/‾‾‾‾‾‾‾‾   low at e = N-1 of every N           rate generator
 *   mode 3  OUT  ‾‾‾‾‾\_____/‾‾‾‾‾\_____   high (N+1)/2, low N/2             square wave
 *   mode 4  OUT  ‾‾‾‾‾‾‾‾‾‾‾\_/‾‾‾‾‾‾‾‾   low at e = N                       software-triggered strobe
 *   mode 5  as mode 4, started by the gate                                   hardware-triggered strobe
 *
 * 8254 data sheet, "Mode Definitions". A new count in modes 2 and 3 waits for the end of the period or half period, in
 * modes 1 and 5 for the gate; in modes 0 and 4 it starts at once.
 */
#include "hv/dev/pit.h"

#include "hv/base/memory.h"
#include "hv/dev/platform_config.h"

#define MODE_TERMINAL_COUNT 0u
#define MODE_ONE_SHOT 1u
#define MODE_RATE 2u
#define MODE_SQUARE 3u
#define MODE_STROBE 4u
#define MODE_HARDWARE_STROBE 5u

/* Control word. 8254 data sheet, "Control Word Format" and "Read-Back Command". */
#define CONTROL_PORT 3u
#define PORT_B 4u /* in the row */
#define LINE_IRQ0 1u
#define CONTROL_CHANNEL(value) ((value) >> 6)
#define CONTROL_ACCESS(value) ((value) >> 4 & 3u)
#define CONTROL_MODE(value) ((value) >> 1 & 7u)
#define CONTROL_BCD 0x01u
#define CONTROL_READ_BACK 3u
#define READ_BACK_NO_COUNT 0x20u
#define READ_BACK_NO_STATUS 0x10u
#define STATUS_OUT 0x80u
#define STATUS_NULL_COUNT 0x40u

#define ACCESS_LATCH 0u
#define ACCESS_LOW 1u
#define ACCESS_HIGH 2u
#define ACCESS_BOTH 3u

/* Port 0x61. PIIX4 4.2.4 "NMISC - NMI Status and Control Register". */
#define PORT_B_GATE2 0x01u
#define PORT_B_WRITABLE 0x0fu
#define PORT_B_REFRESH 0x10u
#define PORT_B_OUT2 0x20u
#define REFRESH_TICKS 18u /* 15 us: bit 4 toggles with each refresh of channel 1 */

/* Interrupts of channel 0 come no more often than every 20 us; a count that asks for more loses edges, not time. */
#define EDGE_GAP_TICKS 24u
#define REPEAT_GAP_TICKS (PIT_HZ / (NS_PER_SECOND / TICKS_GAP_NS))

/* --- Time within a channel --- */

static uint64_t elapsed(const struct pit_channel *channel, uint64_t tick)
{
    int64_t since = (int64_t)(tick - channel->start);

    if (!channel->running) {
        return channel->stopped_at;
    }
    return since > 0 ? (uint64_t)since : 0;
}

static bool is_periodic(const struct pit_channel *channel)
{
    return channel->mode == MODE_RATE || channel->mode == MODE_SQUARE;
}

static bool is_gate_triggered(const struct pit_channel *channel)
{
    return channel->mode == MODE_ONE_SHOT || channel->mode == MODE_HARDWARE_STROBE;
}

static uint64_t high_part(uint32_t count)
{
    return (count + 1u) / 2;
}

static bool channel_output(const struct pit_channel *channel, uint64_t tick)
{
    uint64_t e = elapsed(channel, tick);

    if (!channel->loaded) {
        return channel->mode != MODE_TERMINAL_COUNT;
    }
    switch (channel->mode) {
    case MODE_RATE:
        return !channel->running || e % channel->count != channel->count - 1;
    case MODE_SQUARE:
        return !channel->running || e % channel->count < high_part(channel->count);
    case MODE_STROBE:
    case MODE_HARDWARE_STROBE:
        return e != channel->count;
    default:
        return e >= channel->count;
    }
}

/* The next tick after `tick` at which OUT rises by itself, or DEADLINE_NONE. */
static uint64_t next_rise(const struct pit_channel *channel, uint64_t tick)
{
    uint64_t e = elapsed(channel, tick);
    uint64_t length = channel->mode >= MODE_STROBE ? channel->count + 1ULL : channel->count;
    uint64_t rise;

    if (!channel->loaded || !channel->running) {
        return DEADLINE_NONE;
    }
    if (!is_periodic(channel)) {
        return e < length ? channel->start + length : DEADLINE_NONE;
    }
    if (channel->count < EDGE_GAP_TICKS) {
        e += EDGE_GAP_TICKS;
    }
    rise = channel->start + (e / channel->count + 1) * channel->count;
    if (channel->waits && channel->switch_at < rise) {
        rise = channel->switch_start + channel->next_count;
    }
    return rise;
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint16_t value)
{
    return (value & 15u) + 10u * (value >> 4 & 15u) + 100u * (value >> 8 & 15u) + 1000u * (value >> 12);
}

/* The counting element as a read shows it. A square wave counts down by two, twice a period. */
static uint16_t channel_value(const struct pit_channel *channel, uint64_t tick)
{
    uint32_t modulus = channel->bcd ? 10000 : 65536;
    uint64_t e = elapsed(channel, tick);
    uint32_t value;

    if (!channel->loaded) {
        return channel->last_value;
    }
    if (channel->mode == MODE_SQUARE) {
        uint64_t phase = e % channel->count;

        phase -= phase >= high_part(channel->count) ? high_part(channel->count) : 0;
        value = (channel->count & ~1u) - 2 * (uint32_t)phase;
    } else if (channel->mode == MODE_RATE) {
        value = channel->count - (uint32_t)(e % channel->count);
    } else {
        value = channel->count + modulus - (uint32_t)(e % modulus); /* it runs on past 0 */
    }
    value %= modulus;
    return channel->bcd ? to_bcd(value) : (uint16_t)value;
}

/* --- Changes of a channel --- */

static void start_count(struct pit_channel *channel, uint64_t tick)
{
    channel->loaded = true;
    channel->running = true;
    channel->start = tick + 1;
}

/* Lets a waiting count take over where its time has come. */
static void channel_sync(struct pit_channel *channel, uint64_t tick)
{
    if (channel->waits && tick >= channel->switch_at) {
        channel->count = channel->next_count;
        channel->start = channel->switch_start;
        channel->waits = false;
    }
}

static void await_end_of_period(struct pit_channel *channel, uint64_t tick)
{
    uint64_t e = elapsed(channel, tick);
    uint64_t period_start = channel->start + e / channel->count * channel->count;
    uint64_t high = high_part(channel->count);

    if (channel->mode == MODE_SQUARE && e % channel->count < high) {
        channel->switch_at = period_start + high;
        channel->switch_start = channel->switch_at - high_part(channel->next_count);
    } else {
        channel->switch_at = period_start + channel->count;
        channel->switch_start = channel->switch_at;
    }
}

static uint32_t count_of(const struct pit_channel *channel, uint16_t written)
{
    uint32_t count = channel->bcd ? from_bcd(written) : written;

    if (count == 0) {
        count = channel->bcd ? 10000 : 65536;
    }
    return is_periodic(channel) && count == 1 ? 2 : count; /* 1 is not allowed in modes 2 and 3 */
}

static void write_count(struct pit_channel *channel, uint16_t written, uint64_t tick)
{
    uint32_t count = count_of(channel, written);

    if (is_gate_triggered(channel) || (is_periodic(channel) && channel->loaded)) {
        channel->next_count = count;
        channel->waits = true;
        channel->switch_at = DEADLINE_NONE;
        if (is_periodic(channel) && channel->running) {
            await_end_of_period(channel, tick);
        }
        return;
    }
    channel->count = count;
    start_count(channel, tick);
    if (!channel->gate) {
        channel->running = false;
        channel->stopped_at = 0;
    }
}

/* In mode 0 the first byte of two stops the count and OUT is low until the second has been written and counted. */
static void write_counter(struct pit_channel *channel, uint8_t value, uint64_t tick)
{
    if (channel->access == ACCESS_LOW) {
        write_count(channel, value, tick);
    } else if (channel->access == ACCESS_HIGH) {
        write_count(channel, (uint16_t)(value << 8), tick);
    } else if (channel->write_high) {
        channel->write_high = false;
        write_count(channel, (uint16_t)(channel->write_low | value << 8), tick);
    } else {
        channel->write_low = value;
        channel->write_high = true;
        if (channel->mode == MODE_TERMINAL_COUNT) {
            channel->last_value = channel_value(channel, tick);
            channel->loaded = false;
        }
    }
}

static void set_gate(struct pit_channel *channel, bool gate, uint64_t tick)
{
    bool rises = gate && !channel->gate;
    bool falls = !gate && channel->gate;

    channel->gate = gate;
    if (is_gate_triggered(channel) || is_periodic(channel)) {
        if (rises && channel->waits) {
            channel->count = channel->next_count;
            channel->waits = false;
        }
        if (rises && channel->count != 0) {
            start_count(channel, tick);
        }
    } else if (rises && channel->loaded) {
        channel->start = tick - channel->stopped_at;
        channel->running = true;
    }
    if (falls && channel->running && !is_gate_triggered(channel)) {
        channel->stopped_at = elapsed(channel, tick);
        channel->running = false;
        channel->switch_at = DEADLINE_NONE; /* a waiting count now waits for the gate */
    }
}

/* --- Latches --- */

static void latch_count(struct pit_channel *channel, uint64_t tick)
{
    if (channel->latched_bytes == 0) {
        channel->latched_count = channel_value(channel, tick);
        channel->latched_bytes = channel->access == ACCESS_BOTH ? 2 : 1;
    }
}

static bool null_count(const struct pit_channel *channel, uint64_t tick)
{
    return !channel->loaded || channel->waits || (channel->running && (int64_t)(tick - channel->start) < 0);
}

static void latch_status(struct pit_channel *channel, uint64_t tick)
{
    if (channel->status_latched) {
        return;
    }
    channel->status_latched = true;
    channel->latched_status = (uint8_t)((unsigned)channel->access << 4 | (unsigned)channel->mode << 1);
    channel->latched_status |= channel_output(channel, tick) ? STATUS_OUT : 0;
    channel->latched_status |= null_count(channel, tick) ? STATUS_NULL_COUNT : 0;
    channel->latched_status |= channel->bcd ? CONTROL_BCD : 0;
}

static void read_back(struct pit *pit, uint8_t value, uint64_t tick)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        if ((value >> (i + 1) & 1u) == 0) {
            continue;
        }
        if ((value & READ_BACK_NO_COUNT) == 0) {
            latch_count(&pit->channels[i], tick);
        }
        if ((value & READ_BACK_NO_STATUS) == 0) {
            latch_status(&pit->channels[i], tick);
        }
    }
}

static uint8_t byte_of(uint16_t value, bool high)
{
    return (uint8_t)(high ? value >> 8 : value);
}

static uint8_t read_counter(struct pit_channel *channel, uint64_t tick)
{
    if (channel->status_latched) {
        channel->status_latched = false;
        return channel->latched_status;
    }
    if (channel->latched_bytes != 0) {
        bool high = channel->access == ACCESS_HIGH || (channel->access == ACCESS_BOTH && channel->latched_bytes == 1);

        channel->latched_bytes--;
        return byte_of(channel->latched_count, high);
    }
    if (channel->access == ACCESS_BOTH) {
        channel->read_high = !channel->read_high;
        return byte_of(channel_value(channel, tick), !channel->read_high);
    }
    return byte_of(channel_value(channel, tick), channel->access == ACCESS_HIGH);
}

/* --- The control word --- */

/* Modes 6 and 7 are 2 and 3. Everything but the gate and the counting element's value starts afresh. */
static void write_mode(struct pit_channel *channel, uint8_t value, uint64_t tick)
{
    *channel = (struct pit_channel){
        .mode = (uint8_t)(CONTROL_MODE(value) > MODE_HARDWARE_STROBE ? CONTROL_MODE(value) - 4 : CONTROL_MODE(value)),
        .access = CONTROL_ACCESS(value),
        .bcd = (value & CONTROL_BCD) != 0,
        .gate = channel->gate,
        .last_value = channel_value(channel, tick),
    };
}

static void write_control(struct pit *pit, uint8_t value, uint64_t tick)
{
    unsigned channel = CONTROL_CHANNEL(value);

    if (channel == CONTROL_READ_BACK) {
        read_back(pit, value, tick);
    } else if (CONTROL_ACCESS(value) == ACCESS_LATCH) {
        latch_count(&pit->channels[channel], tick);
    } else {
        write_mode(&pit->channels[channel], value, tick);
    }
}

/* --- The whole --- */

static void update_deadline(struct pit *pit)
{
    pit->signals.deadline = timebase_tsc(&pit->base, min_u64(pit->next_edge, ticks_deadline(&pit->ticks)));
}

static void plan_next_edge(struct pit *pit, uint64_t tick)
{
    pit->next_edge = next_rise(&pit->channels[0], tick);
    update_deadline(pit);
}

static void raise_irq0(struct pit *pit)
{
    pit->signals.lines = LINE_IRQ0;
    pit->signals.edges = LINE_IRQ0;
    pit->signals.wants |= BUS_EDGES;
}

/* Edges after the one that has come, up to `tick`. Those of a count that asks for too many are lost, not owed. */
static uint64_t further_edges(const struct pit *pit, uint64_t tick)
{
    const struct pit_channel *channel = &pit->channels[0];

    return is_periodic(channel) && channel->count >= EDGE_GAP_TICKS ? (tick - pit->next_edge) / channel->count : 0;
}

static inline void sync_all(struct pit *pit, uint64_t tick)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        channel_sync(&pit->channels[i], tick);
    }
}

/* Meets the edges up to `tick`; several are one, and what may be owed for the others. */
static void run_to(struct pit *pit, uint64_t tick)
{
    sync_all(pit, tick);
    if (tick >= pit->next_edge) {
        ticks_miss(&pit->ticks, further_edges(pit, tick));
        ticks_made(&pit->ticks, tick, REPEAT_GAP_TICKS);
        raise_irq0(pit);
        plan_next_edge(pit, tick);
    } else if (ticks_due(&pit->ticks, tick)) {
        if (ticks_repeat(&pit->ticks, false, tick, REPEAT_GAP_TICKS)) {
            raise_irq0(pit);
        }
        update_deadline(pit);
    }
}

void pit_edge_merged(struct pit *pit)
{
    ticks_miss(&pit->ticks, 1);
    update_deadline(pit);
}

void pit_run(struct pit *pit, uint64_t now)
{
    run_to(pit, timebase_ticks(&pit->base, now));
}

bool pit_output(const struct pit *pit, unsigned channel, uint64_t now)
{
    struct pit_channel copy = pit->channels[channel];
    uint64_t tick = timebase_ticks(&pit->base, now);

    channel_sync(&copy, tick);
    return channel_output(&copy, tick);
}

uint8_t pit_read(struct pit *pit, unsigned port, uint64_t now)
{
    uint64_t tick = timebase_ticks(&pit->base, now);

    run_to(pit, tick);
    if (port == CONTROL_PORT) {
        return 0xff; /* write-only */
    }
    return read_counter(&pit->channels[port], tick);
}

/* Programming can move OUT 0 by itself: up is an interrupt, down takes an unacknowledged one back. */
void pit_write(struct pit *pit, unsigned port, uint8_t value, uint64_t now)
{
    uint64_t tick = timebase_ticks(&pit->base, now);
    bool was_high;
    bool is_high;

    run_to(pit, tick);
    was_high = channel_output(&pit->channels[0], tick);
    if (port == 0 || (port == CONTROL_PORT && CONTROL_CHANNEL(value) == 0 && CONTROL_ACCESS(value) != ACCESS_LATCH)) {
        ticks_forget(&pit->ticks); /* of the rate that was */
    }
    if (port == CONTROL_PORT) {
        write_control(pit, value, tick);
    } else {
        write_counter(&pit->channels[port], value, tick);
    }
    is_high = channel_output(&pit->channels[0], tick);
    if (is_high && !was_high) {
        raise_irq0(pit);
    } else if (!is_high && was_high) {
        pit->signals.lines = 0;
    }
    plan_next_edge(pit, tick);
}

static uint8_t port_b_at(const struct pit *pit, uint64_t tick)
{
    uint8_t refresh = (tick / REFRESH_TICKS & 1u) != 0 ? PORT_B_REFRESH : 0;

    return pit->port_b | refresh | (channel_output(&pit->channels[2], tick) ? PORT_B_OUT2 : 0);
}

uint8_t pit_port_b_read(struct pit *pit, uint64_t now)
{
    uint64_t tick = timebase_ticks(&pit->base, now);

    run_to(pit, tick);
    return port_b_at(pit, tick);
}

void pit_port_b_write(struct pit *pit, uint8_t value, uint64_t now)
{
    uint64_t tick = timebase_ticks(&pit->base, now);

    run_to(pit, tick);
    pit->port_b = value & PORT_B_WRITABLE;
    set_gate(&pit->channels[2], (value & PORT_B_GATE2) != 0, tick);
}

void pit_reset(struct pit *pit, const struct clock *clock, uint64_t now)
{
    static const uint8_t modes[PIT_CHANNELS] = {MODE_SQUARE, MODE_RATE, MODE_SQUARE};
    static const uint32_t counts[PIT_CHANNELS] = {65536, REFRESH_TICKS, 0};

    memset(pit, 0, sizeof(*pit));
    pit->base = timebase_of(clock, PIT_HZ, now);
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        struct pit_channel *channel = &pit->channels[i];

        channel->mode = modes[i];
        channel->access = ACCESS_BOTH;
        channel->gate = i != 2;
        channel->count = counts[i];
        channel->loaded = counts[i] != 0;
        channel->running = channel->loaded;
    }
    plan_next_edge(pit, 0);
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value =
        access->at == PORT_B ? pit_port_b_read(state, access->now) : pit_read(state, (unsigned)access->at, access->now);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    if (access->at == PORT_B) {
        pit_port_b_write(state, (uint8_t)access->value, access->now);
    } else {
        pit_write(state, (unsigned)access->at, (uint8_t)access->value, access->now);
    }
    return true;
}

/* Port B, which kernels wait for OUT 2 at, where no edge has come. */
static bool quick_read_at(void *state, uint64_t at, uint64_t now, uint8_t *value)
{
    struct pit *pit = state;
    uint64_t tick = timebase_ticks(&pit->base, now);

    if (at != PORT_B || tick >= pit->next_edge || ticks_due(&pit->ticks, tick)) {
        return false;
    }
    sync_all(pit, tick);
    *value = port_b_at(pit, tick);
    return true;
}

static void run(void *state, uint64_t now)
{
    pit_run(state, now);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    pit_reset(state, environment->config->clock, now);
}

const struct bus_row pit_row = {
    .name = "8254",
    BUS_RANGES(BUS_REGISTERS(0x40, 4), BUS_AT(BUS_PORT, 0x61, 1, PORT_B, BUS_BYTES)),
    .read = read_at,
    .write = write_at,
    .quick_read = quick_read_at,
    .run = run,
    .reset = reset,
    .lines = {PIT_IRQ},
    .line_count = 1,
    .asleep_unheard = true,
    BUS_STATE(struct pit, signals),
};
