/* SPDX-License-Identifier: MIT */
/*
 * What is on the device bus, and where: devices are added, ranges are placed and moved. See bus.h.
 *
 * The map of ports and the order of memory follow from the claims; every change is checked as a whole before anything
 * is changed. Nothing here is on the way of an access, except where an access is a write of a base address register.
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/dev/bus.h"
#include "hv/dev/timebase.h"

void bus_reset(struct bus *bus)
{
    memset(bus, 0, sizeof(*bus));
    bus->due = DEADLINE_NONE;
}

/* --- Placing --- */

static bool overlaps_in(const struct bus *bus, const struct bus_order *order, uint64_t first, uint64_t last,
                        uint8_t except)
{
    for (uint32_t i = 0; i < order->count; i++) {
        const struct bus_claim *claim = &bus->claims[order->claims[i]];

        if (order->claims[i] != except && claim->first <= last && first <= claim->last) {
            return true;
        }
    }
    return false;
}

static bool overlaps_ports(const struct bus *bus, uint64_t first, uint64_t last, uint8_t except)
{
    for (uint64_t port = first; port <= last && port < BUS_MAPPED_PORTS; port++) {
        if (bus->ports[port] != BUS_NO_CLAIM && bus->ports[port] != except) {
            return true;
        }
    }
    return overlaps_in(bus, &bus->high_ports, first, last, except);
}

/* What is wrong with a place, whatever claim is asked for it; `except` may be there, because it goes. */
static enum status check_place(const struct bus *bus, const struct bus_range *to, uint8_t except)
{
    uint64_t last = to->first + (to->bytes - 1);

    if ((to->widths & BUS_ALL_WIDTHS) == 0 || to->space > BUS_MEMORY) {
        return STATUS_INVALID;
    }
    if (last < to->first || (to->space == BUS_PORT && last >= BUS_PORTS_COUNT)) {
        return STATUS_OVERFLOW;
    }
    if (to->space == BUS_PORT ? overlaps_ports(bus, to->first, last, except)
                              : overlaps_in(bus, &bus->memory, to->first, last, except)) {
        return STATUS_BUSY;
    }
    return STATUS_OK;
}

static void remove_from(struct bus_order *order, uint8_t number)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < order->count; i++) {
        if (order->claims[i] != number) {
            order->claims[kept++] = order->claims[i];
        }
    }
    order->count = kept;
}

static void insert_in(const struct bus *bus, struct bus_order *order, uint8_t number)
{
    uint32_t rank = bus_rank(bus, order, bus->claims[number].first);

    for (uint32_t i = order->count; i > rank; i--) {
        order->claims[i] = order->claims[i - 1];
    }
    order->claims[rank] = number;
    order->count++;
}

/* As far as the map goes. */
static void set_ports(struct bus *bus, const struct bus_claim *claim, uint8_t number)
{
    if (claim->first < BUS_MAPPED_PORTS) {
        memset(&bus->ports[claim->first], number, min_u64(claim->last + 1, BUS_MAPPED_PORTS) - claim->first);
    }
}

/* The blocks that the claim has whole. */
static void set_blocks(struct bus *bus, const struct bus_claim *claim, uint8_t number)
{
    uint64_t first = align_up(max_u64(claim->first, BUS_MAPPED_PORTS), BUS_BLOCK_PORTS);

    for (uint64_t at = first; at + BUS_BLOCK_PORTS <= claim->last + 1; at += BUS_BLOCK_PORTS) {
        bus->blocks[(at - BUS_MAPPED_PORTS) / BUS_BLOCK_PORTS] = number;
    }
}

/* The order that a claim is in, beside the map; NULL: in none. */
static struct bus_order *order_of(struct bus *bus, const struct bus_claim *claim)
{
    if (claim->space == BUS_MEMORY) {
        return &bus->memory;
    }
    return claim->last >= BUS_MAPPED_PORTS ? &bus->high_ports : NULL;
}

static void take_away(struct bus *bus, uint8_t number)
{
    struct bus_claim *claim = &bus->claims[number];
    struct bus_order *order = order_of(bus, claim);

    if (claim->space == BUS_PORT) {
        set_ports(bus, claim, BUS_NO_CLAIM);
        set_blocks(bus, claim, BUS_NO_CLAIM);
    }
    if (order != NULL) {
        remove_from(order, number);
    }
    bus->devices[claim->device].claims[claim->range] = BUS_NO_CLAIM;
    *claim = (struct bus_claim){0};
}

static uint8_t free_claim(const struct bus *bus)
{
    for (uint8_t number = BUS_INERT_CLAIM + 1; number < BUS_CLAIMS_MAX; number++) {
        if (bus->claims[number].row == NULL) {
            return number;
        }
    }
    return BUS_NO_CLAIM;
}

static void put(struct bus *bus, unsigned device, unsigned range, const struct bus_range *to, uint8_t number)
{
    struct bus_device *owner = &bus->devices[device];
    struct bus_order *order;

    bus->claims[number] = (struct bus_claim){
        .state = owner->state,
        .quick_read = owner->row->quick_read,
        .quick_write = owner->row->quick_write,
        .row = owner->row,
        .first = to->first,
        .last = to->first + (to->bytes - 1),
        .bias = to->as - to->first,
        .device = (uint8_t)device,
        .widths = to->widths,
        .space = to->space,
        .range = (uint8_t)range,
    };
    owner->claims[range] = number;
    order = order_of(bus, &bus->claims[number]);
    if (to->space == BUS_PORT) {
        set_ports(bus, &bus->claims[number], number);
        set_blocks(bus, &bus->claims[number], number);
    }
    if (order != NULL) {
        insert_in(bus, order, number);
    }
}

/* All ports of the inert device share a claim; where they are is in its row. */
static enum status place_inert(struct bus *bus, unsigned device, unsigned range, const struct bus_range *to)
{
    struct bus_device *owner = &bus->devices[device];
    const struct bus_range *own = &owner->row->ranges[range];
    struct bus_claim *shared = &bus->claims[BUS_INERT_CLAIM];
    bool placed = owner->claims[range] == BUS_INERT_CLAIM;
    enum status status;

    if (to == NULL) {
        memset(&bus->ports[own->first], BUS_NO_CLAIM, placed ? own->bytes : 0);
        owner->claims[range] = BUS_NO_CLAIM;
        return STATUS_OK;
    }
    if (placed || to->space != BUS_PORT || to->first != own->first || to->bytes != own->bytes ||
        to->first + to->bytes > BUS_MAPPED_PORTS || (shared->row != NULL && shared->device != device)) {
        return STATUS_INVALID;
    }
    status = check_place(bus, to, BUS_NO_CLAIM);
    if (status == STATUS_OK) {
        *shared = (struct bus_claim){.state = owner->state,
                                     .row = owner->row,
                                     .last = BUS_PORTS_COUNT - 1,
                                     .device = (uint8_t)device,
                                     .widths = BUS_BYTES};
        memset(&bus->ports[to->first], BUS_INERT_CLAIM, to->bytes);
        owner->claims[range] = BUS_INERT_CLAIM;
    }
    return status;
}

enum status bus_place(struct bus *bus, unsigned device, unsigned range, const struct bus_range *to)
{
    bool away = to == NULL || to->bytes == 0;
    enum status status;
    uint8_t number;

    if (device >= bus->device_count || range >= bus->devices[device].row->range_count) {
        return STATUS_INVALID;
    }
    if (bus->devices[device].row->inert) {
        return place_inert(bus, device, range, away ? NULL : to);
    }
    number = bus->devices[device].claims[range];
    status = away ? STATUS_OK : check_place(bus, to, number);
    if (status != STATUS_OK) {
        return status;
    }
    if (number == BUS_NO_CLAIM && !away && free_claim(bus) == BUS_NO_CLAIM) {
        return STATUS_NO_SPACE;
    }
    if (number != BUS_NO_CLAIM) {
        take_away(bus, number);
    }
    if (!away) {
        put(bus, device, range, to, free_claim(bus));
    }
    return STATUS_OK;
}

/* --- Devices --- */

static struct bus_signals *signals_of(const struct bus_row *row, void *state)
{
    return (struct bus_signals *)(void *)((uint8_t *)state + row->signals_at);
}

static enum status place_ranges(struct bus *bus, unsigned device, const struct bus_row *row)
{
    enum status status = STATUS_OK;

    for (unsigned i = 0; i < row->range_count && status == STATUS_OK; i++) {
        status = bus_place(bus, device, i, &row->ranges[i]);
    }
    return status;
}

enum status bus_add(struct bus *bus, const struct bus_row *row, void *state, unsigned *device)
{
    unsigned number = bus->device_count;

    if (row->read == NULL || row->write == NULL || row->line_count > BUS_DEVICE_LINES_MAX ||
        row->range_count > BUS_RANGES_MAX) {
        return STATUS_INVALID;
    }
    if (number == BUS_DEVICES_MAX) {
        return STATUS_NO_SPACE;
    }
    bus->devices[number] =
        (struct bus_device){.row = row, .state = state, .signals = signals_of(row, state), .deadline = DEADLINE_NONE};
    bus->outside |= (uint64_t)(row->line_ended != NULL) << number;
    bus->device_count++;
    for (unsigned i = 0; i < BUS_DEVICE_LINES_MAX; i++) {
        bus->devices[number].line_of[i] = BUS_NO_LINE;
        bus_wire(bus, number, i, i < row->line_count ? row->lines[i] : BUS_NO_LINE);
    }
    bus_settle(bus, number);
    if (device != NULL) {
        *device = number;
    }
    return STATUS_OK;
}

/* Its lines fall, its deadline and its wants are void. */
static void remove_last(struct bus *bus, struct bus_device *last)
{
    unsigned number = bus->device_count - 1;

    for (unsigned i = 0; i < BUS_RANGES_MAX; i++) {
        (void)bus_place(bus, number, i, NULL);
    }
    for (unsigned i = 0; i < BUS_DEVICE_LINES_MAX; i++) {
        bus_wire(bus, number, i, BUS_NO_LINE);
    }
    bus->timed &= ~(1ULL << number);
    bus->wanting &= ~(1ULL << number);
    bus->outside &= ~(1ULL << number);
    bus_find_due(bus);
    *last = (struct bus_device){0};
    bus->device_count--;
}

/* A device whose ranges cannot be placed is the last one, so that it goes without a trace. */
enum status bus_attach(struct bus *bus, const struct bus_row *row, void *state, unsigned *device)
{
    struct bus_device *last = &bus->devices[bus->device_count];
    enum status status = bus_add(bus, row, state, device);

    if (status != STATUS_OK) {
        return status;
    }
    status = place_ranges(bus, bus->device_count - 1, row);
    if (status != STATUS_OK) {
        remove_last(bus, last);
    }
    return status;
}
