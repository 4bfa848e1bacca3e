/* SPDX-License-Identifier: MIT */
/* See hv/dev/wdat.h. */
#include "hv/dev/wdat.h"

#include "hv/dev/acpi_dsdt.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"

#define CONTROL 0u
#define FEED 1u
#define STATUS 2u
#define TIME 4u
#define LEFT 6u
#define CONTROL_RUNS 0x01u
#define NS_PER_SECOND 1000000000ULL

/* --- The device --- */

static uint64_t end_of(const struct wdat *wdat)
{
    return wdat->fed_at + clock_ns_to_ticks(wdat->clock, wdat->seconds * NS_PER_SECOND);
}

static void update(struct wdat *wdat)
{
    wdat->signals.deadline = wdat->running ? end_of(wdat) : DEADLINE_NONE;
}

static void feed(struct wdat *wdat, uint64_t now)
{
    wdat->fed_at = now;
    update(wdat);
}

static void run(void *state, uint64_t now)
{
    struct wdat *wdat = state;

    if (wdat->running && now >= end_of(wdat)) {
        wdat->running = false;
        bus_request_power(&wdat->signals, POWER_WATCHDOG, "WDAT");
    }
    update(wdat);
}

static uint64_t seconds_left(const struct wdat *wdat, uint64_t now)
{
    uint64_t left = wdat->running && end_of(wdat) > now ? end_of(wdat) - now : 0;

    return (clock_ticks_to_ns(wdat->clock, left) + NS_PER_SECOND - 1) / NS_PER_SECOND;
}

static bool read_at(void *state, struct bus_access *access)
{
    const struct wdat *wdat = state;

    switch (access->at) {
    case CONTROL:
        access->value = wdat->running ? CONTROL_RUNS : 0;
        return true;
    case FEED:
    case STATUS:
        access->value = 0;
        return true;
    case TIME:
        access->value = wdat->seconds;
        return access->size == 2;
    case LEFT:
        access->value = seconds_left(wdat, access->now);
        return access->size == 2;
    default:
        return false;
    }
}

static void set_seconds(struct wdat *wdat, uint64_t seconds)
{
    wdat->seconds = (uint16_t)min_u64(max_u64(seconds, 1), WDAT_SECONDS_MAX);
}

static bool write_at(void *state, const struct bus_access *access)
{
    struct wdat *wdat = state;

    switch (access->at) {
    case CONTROL:
        wdat->running = (access->value & CONTROL_RUNS) != 0;
        break;
    case FEED:
    case STATUS:
        break;
    case TIME:
        if (access->size != 2) {
            return false;
        }
        set_seconds(wdat, access->value);
        break;
    default:
        return false;
    }
    if (access->at != STATUS) {
        feed(wdat, access->now);
    }
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    *(struct wdat *)state = (struct wdat){.clock = environment->config->clock,
                                          .signals.deadline = DEADLINE_NONE,
                                          .seconds = WDAT_SECONDS_DEFAULT,
                                          .fed_at = now};
}

const struct bus_row wdat_row = {
    .name = "WDAT watchdog",
    BUS_RANGES(BUS_AT(BUS_PORT, WDAT_PORT, WDAT_BYTES, 0, 1 | 2)),
    .read = read_at,
    .write = write_at,
    .run = run,
    .reset = reset,
    BUS_STATE(struct wdat, signals),
};

/* --- The table --- */

/* "Watchdog Action Table": its header, and 2.3 "Watchdog Instruction Entries" with actions and instructions. */
#define HEADER_BYTES 32u
#define NO_PCI_SEGMENT 0xffu
#define NO_PCI 0xffu
#define PERIOD_MS 1000u
#define FLAG_ENABLED 0x01u
#define SPACE_IO 1u

enum action {
    ACTION_RESET = 0x01,
    ACTION_QUERY_CURRENT_COUNTDOWN = 0x04,
    ACTION_QUERY_COUNTDOWN = 0x05,
    ACTION_SET_COUNTDOWN = 0x06,
    ACTION_QUERY_RUNNING = 0x08,
    ACTION_SET_RUNNING = 0x09,
    ACTION_QUERY_STOPPED = 0x0a,
    ACTION_SET_STOPPED = 0x0b,
    ACTION_QUERY_STATUS = 0x20,
    ACTION_SET_STATUS = 0x21,
};

enum wdat_instruction {
    INSTRUCTION_READ_VALUE = 0,
    INSTRUCTION_READ_COUNTDOWN = 1,
    INSTRUCTION_WRITE_VALUE = 2,
    INSTRUCTION_WRITE_COUNTDOWN = 3,
};

struct entry {
    uint8_t action, instruction, offset, bytes;
    uint32_t value, mask;
};

static const struct entry entries[] = {
    {ACTION_RESET, INSTRUCTION_WRITE_VALUE, FEED, 1, 1, 0xff},
    {ACTION_QUERY_CURRENT_COUNTDOWN, INSTRUCTION_READ_COUNTDOWN, LEFT, 2, 0, 0xffff},
    {ACTION_QUERY_COUNTDOWN, INSTRUCTION_READ_COUNTDOWN, TIME, 2, 0, 0xffff},
    {ACTION_SET_COUNTDOWN, INSTRUCTION_WRITE_COUNTDOWN, TIME, 2, 0, 0xffff},
    {ACTION_QUERY_RUNNING, INSTRUCTION_READ_VALUE, CONTROL, 1, 1, 1},
    {ACTION_SET_RUNNING, INSTRUCTION_WRITE_VALUE, CONTROL, 1, 1, 1},
    {ACTION_QUERY_STOPPED, INSTRUCTION_READ_VALUE, CONTROL, 1, 0, 1},
    {ACTION_SET_STOPPED, INSTRUCTION_WRITE_VALUE, CONTROL, 1, 0, 1},
    {ACTION_QUERY_STATUS, INSTRUCTION_READ_VALUE, STATUS, 1, 1, 1},
    {ACTION_SET_STATUS, INSTRUCTION_WRITE_VALUE, STATUS, 1, 1, 1},
};

static void put_entry(struct table_writer *out, const struct entry *entry)
{
    writer_u8(out, entry->action);
    writer_u8(out, entry->instruction);
    writer_zeroes(out, 2);
    writer_u8(out, SPACE_IO); /* a Generic Address Structure: ACPI 6.5, 5.2.3.2 */
    writer_u8(out, (uint8_t)(entry->bytes * 8));
    writer_u8(out, 0);
    writer_u8(out, entry->bytes); /* access size: 1 a byte, 2 a word */
    writer_uint(out, WDAT_PORT + entry->offset, 8);
    writer_uint(out, entry->value, 4);
    writer_uint(out, entry->mask, 4);
}

uint64_t wdat_put_table(struct table_writer *out)
{
    uint64_t start = acpi_table_begin(out, "WDAT", 1);

    writer_uint(out, HEADER_BYTES, 4);
    writer_uint(out, NO_PCI_SEGMENT, 2);
    writer_u8(out, NO_PCI);
    writer_u8(out, NO_PCI);
    writer_u8(out, NO_PCI);
    writer_zeroes(out, 3);
    writer_uint(out, PERIOD_MS, 4);
    writer_uint(out, WDAT_SECONDS_MAX, 4);
    writer_uint(out, 1, 4); /* the least */
    writer_u8(out, FLAG_ENABLED);
    writer_zeroes(out, 3);
    writer_uint(out, ARRAY_COUNT(entries), 4);
    for (size_t i = 0; i < ARRAY_COUNT(entries); i++) {
        put_entry(out, &entries[i]);
    }
    acpi_table_end(out, start);
    return start;
}
