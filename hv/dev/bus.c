/* SPDX-License-Identifier: MIT */
/*
 * The device bus: look-up, accesses, and what devices leave. See bus.h for what it promises; bus_place.c puts devices
 * on it.
 *
 *   ports[port] ------------------------------------+--> claims[number]: range, device, row, state
 *   memory and high_ports, searched by halves ------+
 *
 * A claim's number is its index in claims[]; 0 is none, and claims[0] answers nothing.
 */
#include "hv/dev/bus.h"

#include "hv/base/check.h"
#include "hv/dev/timebase.h"

/* --- Look-up --- */

uint32_t bus_rank(const struct bus *bus, const struct bus_order *order, uint64_t address)
{
    uint32_t low = 0;
    uint32_t high = order->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (bus->claims[order->claims[middle]].first <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct bus_claim *find_in(const struct bus *bus, const struct bus_order *order, uint64_t address)
{
    uint32_t rank = bus_rank(bus, order, address);
    const struct bus_claim *claim;

    if (rank == 0) {
        return NULL;
    }
    claim = &bus->claims[order->claims[rank - 1]];
    return address <= claim->last ? claim : NULL;
}

const struct bus_claim *bus_find(const struct bus *bus, enum bus_space space, uint64_t address)
{
    if (space == BUS_MEMORY) {
        return find_in(bus, &bus->memory, address);
    }
    if (address >= BUS_MAPPED_PORTS) {
        uint64_t block = (address - BUS_MAPPED_PORTS) / BUS_BLOCK_PORTS;

        return block < BUS_BLOCKS && bus->blocks[block] != BUS_NO_CLAIM ? &bus->claims[bus->blocks[block]]
                                                                        : find_in(bus, &bus->high_ports, address);
    }
    return bus->ports[address] == BUS_NO_CLAIM ? NULL : &bus->claims[bus->ports[address]];
}

bool bus_is_hole(const struct bus *bus, uint64_t address, uint8_t bytes)
{
    uint32_t rank = bus_rank(bus, &bus->memory, address);

    return (rank == 0 || bus->claims[bus->memory.claims[rank - 1]].last < address) &&
           (rank == bus->memory.count || bus->claims[bus->memory.claims[rank]].first - address >= bytes);
}

/* --- Accesses --- */

/* Does the range take this access in one piece? */
static bool takes_whole(const struct bus_claim *claim, uint64_t address, uint8_t size)
{
    return claim != NULL && (claim->widths & size) != 0 && claim->last - address >= size - 1u;
}

static bool read_piece(struct bus *bus, enum bus_space space, uint64_t address, struct bus_access *access)
{
    const struct bus_claim *claim = bus_find(bus, space, address);
    bool answered;

    if (!takes_whole(claim, address, access->size)) {
        return false;
    }
    access->at = address + claim->bias;
    access->value = ~0ULL;
    answered = claim->row->read(claim->state, access);
    bus_settle(bus, claim->device);
    return answered;
}

static bool write_piece(struct bus *bus, enum bus_space space, uint64_t address, struct bus_access *access)
{
    const struct bus_claim *claim = bus_find(bus, space, address);
    bool answered;

    if (!takes_whole(claim, address, access->size)) {
        return false;
    }
    access->at = address + claim->bias;
    answered = claim->row->write(claim->state, access);
    bus_settle(bus, claim->device);
    return answered;
}

bool bus_notify(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t value)
{
    const struct bus_claim *claim = bus_find(bus, space, address);

    return takes_whole(claim, address, size) && claim->row->notify != NULL &&
           claim->row->notify(claim->state, address + claim->bias, value);
}

/* The width of the pieces of an access that was not taken whole. */
static uint8_t piece_size(const struct bus *bus, enum bus_space space, uint64_t address, uint8_t size)
{
    const struct bus_claim *claim = bus_find(bus, space, address);

    if (claim == NULL || claim->last - address < size - 1u) {
        return 1;
    }
    for (uint8_t piece = size / 2; piece > 1; piece /= 2) {
        if ((claim->widths & piece) != 0) {
            return piece;
        }
    }
    return 1;
}

/* Past the end of the space there is nothing: an access does not wrap. */
static bool is_past_end(enum bus_space space, uint64_t first, uint64_t address)
{
    return address < first || (space == BUS_PORT && address >= BUS_PORTS_COUNT);
}

static bool read_in_pieces(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t now,
                           uint64_t *value)
{
    uint8_t piece = piece_size(bus, space, address, size);
    bool answered = false;

    *value = 0;
    for (uint8_t done = 0; done < size; done = (uint8_t)(done + piece)) {
        struct bus_access access = {.now = now, .size = piece};
        bool here = !is_past_end(space, address, address + done) && read_piece(bus, space, address + done, &access);

        *value |= (here ? access.value & size_mask(piece) : size_mask(piece)) << (8 * done);
        answered |= here;
    }
    return answered;
}

bool bus_read(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t now, uint64_t *value)
{
    struct bus_access access = {.now = now, .size = size};

    if (read_piece(bus, space, address, &access)) {
        *value = access.value & size_mask(size);
        return true;
    }
    if (size == 1) {
        *value = size_mask(1);
        return false;
    }
    return read_in_pieces(bus, space, address, size, now, value);
}

static bool write_in_pieces(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t value,
                            uint64_t now)
{
    uint8_t piece = piece_size(bus, space, address, size);
    bool answered = false;

    for (uint8_t done = 0; done < size; done = (uint8_t)(done + piece)) {
        struct bus_access access = {.now = now, .size = piece, .value = value >> (8 * done) & size_mask(piece)};

        answered |= !is_past_end(space, address, address + done) && write_piece(bus, space, address + done, &access);
    }
    return answered;
}

bool bus_write(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t value, uint64_t now)
{
    struct bus_access access = {.now = now, .size = size, .value = value & size_mask(size)};

    return write_piece(bus, space, address, &access) ||
           (size > 1 && write_in_pieces(bus, space, address, size, value, now));
}

/* --- What devices leave --- */

/* A line is high while any device drives it so. */
static void drive(struct bus *bus, uint8_t line, bool high)
{
    if (line == BUS_NO_LINE) {
        return;
    }
    if (high) {
        bus->line_drivers[line]++;
        bus->lines |= 1u << line;
    } else if (--bus->line_drivers[line] == 0) {
        bus->lines &= ~(1u << line);
    }
}

static void take_lines(struct bus *bus, struct bus_device *known)
{
    uint32_t changed = known->lines ^ known->signals->lines;

    for (unsigned n = 0; n < BUS_DEVICE_LINES_MAX; n++) {
        if ((changed >> n & 1u) != 0) {
            drive(bus, known->line_of[n], (known->signals->lines >> n & 1u) != 0);
        }
    }
    known->lines = known->signals->lines;
}

void bus_find_due(struct bus *bus)
{
    bus->due = DEADLINE_NONE;
    for (uint64_t left = bus->timed; left != 0; left &= left - 1) {
        bus->due = min_u64(bus->due, bus->devices[__builtin_ctzll(left)].deadline);
    }
}

static void take_deadline(struct bus *bus, unsigned device)
{
    struct bus_device *known = &bus->devices[device];
    uint64_t before = known->deadline;

    known->deadline = known->signals->deadline;
    bus->deadline_moved = true;
    if (known->deadline == DEADLINE_NONE) {
        bus->timed &= ~(1ULL << device);
    } else {
        bus->timed |= 1ULL << device;
    }
    if (known->deadline <= bus->due) {
        bus->due = known->deadline;
    } else if (before == bus->due) {
        bus_find_due(bus);
    }
}

void bus_take_signals(struct bus *bus, unsigned device)
{
    struct bus_device *known = &bus->devices[device];

    if (known->signals->deadline != known->deadline) {
        take_deadline(bus, device);
    }
    if (known->signals->lines != known->lines) {
        take_lines(bus, known);
    }
    if (known->signals->wants != 0) {
        bus->wanting |= 1ULL << device;
    }
}

uint32_t bus_take_wants(struct bus *bus, unsigned device)
{
    struct bus_signals *signals = bus->devices[device].signals;
    uint32_t wants = signals->wants;

    signals->wants = 0;
    bus->wanting &= ~(1ULL << device);
    return wants;
}

void bus_wire(struct bus *bus, unsigned device, unsigned n, uint8_t line)
{
    struct bus_device *known = &bus->devices[device];
    bool high = (known->lines >> n & 1u) != 0;

    CHECK(device < bus->device_count && n < BUS_DEVICE_LINES_MAX && (line < BUS_LINES_MAX || line == BUS_NO_LINE));
    if (high) {
        drive(bus, known->line_of[n], false);
        drive(bus, line, true);
    }
    known->line_of[n] = line;
    bus->wired |= line != BUS_NO_LINE ? 1u << line : 0;
}

/* --- Time --- */

/* Each device is run once. One whose deadline is still in the past after that is run at the next access. */
void bus_run(struct bus *bus, uint64_t now)
{
    for (uint64_t left = now >= bus->due ? bus->timed : 0; left != 0; left &= left - 1) {
        unsigned device = (unsigned)__builtin_ctzll(left);
        const struct bus_device *known = &bus->devices[device];

        if (now >= known->deadline) {
            known->row->run(known->state, now);
            bus_settle(bus, device);
        }
    }
}
