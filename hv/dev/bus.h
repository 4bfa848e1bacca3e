/* SPDX-License-Identifier: MIT */
/*
 * The device bus of one guest: which device answers which port and which address, when a device wants to be run, and
 * what it leaves for others.
 *
 * A device is a struct of plain data (its state) and one const row, which says all that the bus must know of it. The
 * row stands at the end of the device's file; hv/dev/devices.h lists the rows of the guest's PC, a line each, and
 * bus_attach() adds others at run time, as a PCI function is added.
 *
 *   access  ->  bus: which range?  ->  row->read() or row->write(): the device changes its own state
 *                                          |
 *   wires (platform.c)  <-  bus: bus_settle() takes what the device left in its signals
 *
 * What a device promises. It changes its own state and nothing else, knows no vCPU, no vendor and no other guest, and
 * calls no other device. Time is the host TSC of the access, never a clock of its own. Each function of a row ends
 * after a bounded number of steps, whatever the guest's values are: time that has passed is computed with, not walked
 * through (docs/exits.md, "How long an exit can take"). What it wants of others it leaves in its struct bus_signals:
 * the bus looks there after each call, and the wires carry it on. Signals are levels and stay until the state changes
 * them, but for `edges`, `power` and `wants`, which the bus takes and clears.
 *
 * What the bus promises. A row's functions are called by one CPU at a time. Before an access run() has been called if
 * the device's deadline had come. An access is one of the widths that its range lists and lies inside of the range;
 * other accesses come in pieces (bus_read()). No two ranges of one space overlap. A look-up costs a load for the ports
 * below BUS_MAPPED_PORTS and for whole blocks of 128 above, as virtio's notifications are, and a binary search for
 * other ports and in the space of memory, however many devices there are.
 *
 * Quick. Ports that are used thousands of times a second may have a short way beside read() and write(), byte accesses
 * only, and below BUS_MAPPED_PORTS. Its contract:
 *   - true: it has done exactly what read() or write() would have done, and the device's signals are as before: no
 *     line, no deadline, no want has changed. (Console bytes in a ring are no signal: the caller looks at the ring.)
 *     The bus therefore does not look at the signals after it.
 *   - false: nothing has been changed, and the access is made by read() or write().
 *   - It is not told of deadlines that have come: it answers false where run() would have to be called first.
 *
 * tests/unit/test_exit_quick.c makes random accesses both ways and compares. An `inert` row has no effect at all:
 * reads give all ones and writes vanish, without a look at the device or a lock. A bus has one such device, of byte
 * ports below BUS_MAPPED_PORTS, and it does not move.
 *
 * Moving. Each range of a device has a number, its place in the row's list, and bus_place() puts it somewhere else or
 * takes it away at any time, as a write of a PCI base address register does. Nothing but the bus's own tables changes.
 */
#ifndef HV_DEV_BUS_H
#define HV_DEV_BUS_H

#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/dev/apic_message.h"

#define BUS_DEVICES_MAX 64u
#define BUS_RANGES_MAX 8u   /* of one device: six base address registers, an expansion ROM, and one more */
#define BUS_CLAIMS_MAX 192u /* ranges that are placed, of all devices */
#define BUS_PORTS_COUNT 0x10000u
#define BUS_MAPPED_PORTS 0x1000u /* those of a PC's own devices, found by a map */
#define BUS_BLOCK_PORTS 128u     /* above: found by a map of blocks where a range has all of one, else searched for */
#define BUS_BLOCKS ((BUS_PORTS_COUNT - BUS_MAPPED_PORTS) / BUS_BLOCK_PORTS)
#define BUS_LINES_MAX 32u       /* interrupt lines of the bus */
#define BUS_DEVICE_LINES_MAX 4u /* of one device */
#define BUS_NO_LINE 0xffu

/* Names of the bus's interrupt lines: 0 to 15 are IRQs, 16 to 23 the I/O APIC's pins for PCI. */
#define BUS_LINE_PCI 16u
#define BUS_LINE_INTR 24u /* the 8259's output */

enum bus_space {
    BUS_PORT,
    BUS_MEMORY,
};

/* Widths of accesses that a device takes in one piece: an OR of 1, 2, 4 and 8. */
#define BUS_BYTES 1u
#define BUS_ALL_WIDTHS 15u

struct bus_range {
    uint64_t first; /* port or guest-physical address */
    uint64_t bytes; /* 0: nowhere, until bus_place() says where */
    uint64_t as;    /* what the device is told for `first`, counting up from there: tells its ranges apart */
    uint8_t space;  /* enum bus_space */
    uint8_t widths;
};

/* A row's ranges: BUS_RANGES(one, another). Ports whose device is told the port's own number; registers from 0 at
 * ports and in memory; and a range that is nowhere at first. */
#define BUS_RANGES(...)                                \
    .ranges = (const struct bus_range[]){__VA_ARGS__}, \
    .range_count = sizeof((struct bus_range[]){__VA_ARGS__}) / sizeof(struct bus_range)
#define BUS_AT(space_, first_, bytes_, as_, widths_)                                              \
    {                                                                                             \
        .space = (space_), .first = (first_), .bytes = (bytes_), .as = (as_), .widths = (widths_) \
    }
#define BUS_PORTS(port, count) BUS_AT(BUS_PORT, port, count, port, BUS_BYTES)
#define BUS_REGISTERS(port, count) BUS_AT(BUS_PORT, port, count, 0, BUS_BYTES)
#define BUS_MMIO(address, size) BUS_AT(BUS_MEMORY, address, size, 0, BUS_ALL_WIDTHS)
#define BUS_LATER BUS_AT(BUS_MEMORY, 0, 0, 0, 0)

struct bus_access {
    uint64_t at;    /* the range's `as` plus the distance from its first port or byte */
    uint64_t value; /* write: 0 above the size. read: the device's answer; what is above the size is cut off */
    uint64_t now;   /* host TSC */
    uint8_t size;   /* bytes: 1, 2, 4 or 8 */
};

/* What the guest's machine is asked to do. The first request counts. */
enum platform_power {
    POWER_ON,
    POWER_OFF_REQUESTED,   /* ACPI S5 */
    POWER_RESET_REQUESTED, /* 0xcf9, 0x92, 0x64, ACPI reset register */
    POWER_DEBUG_EXIT,      /* port 0xf4 or 0x501; the value is in debug_ports.exit_value */
    POWER_PANICKED,        /* its kernel has panicked */
    POWER_WATCHDOG,        /* its watchdog was not fed */
    POWER_WATCHDOG_PCI,    /* likewise, the one on its PCI bus */
    POWER_NO_BIOS,         /* it needs what only a BIOS has; the vector is in bios_port.vector */
};

/* What a device asks the wires to look at: bits of bus_signals.wants. */
enum bus_want {
    BUS_EDGES = 1u << 0,     /* lines in `edges` went low and high again */
    BUS_POWER = 1u << 1,     /* `power` and `power_reason` */
    BUS_MESSAGES = 1u << 2,  /* row->next_message() has some; stays until it has none */
    BUS_MASKS = 1u << 3,     /* an interrupt controller: what a guest can hear of may have changed */
    BUS_ROUTES = 1u << 4,    /* the HPET: edges, levels or their pins have changed */
    BUS_TEST_LINE = 1u << 5, /* the test device: `line` and `level` */
    BUS_PLACES = 1u << 6,    /* PCI: base address registers have changed */
    BUS_WORK = 1u << 7,      /* virtio: queues have buffers to look at, once the guest's PC has been let go */
    BUS_ENDS = 1u << 8,      /* an interrupt controller: the guest has ended levels */
};

struct bus_signals {
    uint64_t deadline; /* host TSC at which run() wants to be called; DEADLINE_NONE */
    uint32_t lines;    /* levels: bit n is high where the device's n-th line is */
    uint32_t wants;    /* enum bus_want */
    uint32_t edges;    /* with BUS_EDGES: bits as in `lines` */
    enum platform_power power;
    const char *power_reason; /* "port 0xcf9"; NULL outside of a call, so no saved state has a pointer */
};

struct platform_config;
struct byte_ring;

/* What a device may know of its guest, at a reset. All of it outlives the guest's PC. */
struct bus_environment {
    const struct platform_config *config;
    struct byte_ring *console_out; /* NULL: no console is wired */
    struct byte_ring *console_in;
    struct byte_ring *com2_out;
};

/* When a row of hv/dev/devices.h is on the bus. */
enum bus_presence {
    BUS_ALWAYS,
    BUS_WITH_DEBUG_PORTS, /* debug-ports = yes */
    BUS_WITH_COM2,        /* com2 = yes */
};

/*
 * The state's bytes from `saved_from` to its end are plain data: no pointer, and nothing of the host but TSC values.
 * They and a reset with the same environment make the device again, whole (tests/unit/test_platform.c copies every
 * device so and compares what both do). What is a pointer stands before them.
 */
#define BUS_STATE(type, first_saved)                                              \
    .state_bytes = sizeof(type), .signals_at = (uint32_t)offsetof(type, signals), \
    .saved_from = (uint32_t)offsetof(type, first_saved)

struct bus_row {
    const char *name;               /* for reports and saved state; no two rows share one */
    const struct bus_range *ranges; /* where it is after a reset */
    uint32_t range_count;

    /* False: nothing is at this place of the range, and nothing has changed; a read then gives all ones. */
    bool (*read)(void *state, struct bus_access *access);
    bool (*write)(void *state, const struct bus_access *access);

    /* The short way, or NULL. `at` as in struct bus_access. See "Quick" above. */
    bool (*quick_read)(void *state, uint64_t at, uint64_t now, uint8_t *value);
    bool (*quick_write)(void *state, uint64_t at, uint8_t value);

    /*
     * A write that leaves BUS_WORK and nothing else, or NULL. True: it was one, and has been made; it was in one piece,
     * and the signals are as before: the caller knows that there is work. False: nothing has changed. It is not told of
     * deadlines that have come either.
     */
    bool (*notify)(void *state, uint64_t at, uint64_t value);

    /* Called when `deadline` has come, and may be called at any time. NULL: the device never has one. */
    void (*run)(void *state, uint64_t now);
    void (*reset)(void *state, const struct bus_environment *environment, uint64_t now);
    /* Takes the oldest; false: there is none. NULL: the device never has BUS_MESSAGES. */
    bool (*next_message)(void *state, struct apic_message *message);

    /*
     * A device outside of the guest's PC, by a line that is a level there, or both NULL. `outside_came`: source n of
     * the guest has come; where it is the device's own, its line 0 rises. `line_ended`: the guest has ended an
     * interrupt of the line that line 0 is wired to: the device lets go of it, and it comes again where it is still up.
     */
    void (*outside_came)(void *state, uint32_t source);
    void (*line_ended)(void *state);

    uint8_t lines[BUS_DEVICE_LINES_MAX]; /* which line of the bus each of its own is; BUS_NO_LINE */
    uint32_t line_count;
    /* Its deadline wakes no CPU while line 0 is masked everywhere: the state is computed when it is looked at. */
    bool asleep_unheard;
    bool inert;
    enum bus_presence presence;
    uint32_t state_bytes, signals_at, saved_from;
};

/* A range that is placed. 64 bytes, so that finding one is a shift. */
struct bus_claim {
    void *state;
    bool (*quick_read)(void *state, uint64_t at, uint64_t now, uint8_t *value);
    bool (*quick_write)(void *state, uint64_t at, uint8_t value);
    const struct bus_row *row;
    uint64_t first;
    uint64_t last; /* included, so that a range can end at the end of the space */
    uint64_t bias; /* what the device is told is the address plus this */
    uint8_t device;
    uint8_t widths;
    uint8_t space;
    uint8_t range; /* its number within the device */
};
_Static_assert(sizeof(struct bus_claim) == 64, "claims are found by a shift");

struct bus_device {
    const struct bus_row *row;
    void *state;
    struct bus_signals *signals;
    uint64_t deadline; /* and the levels, as they were when the bus last looked */
    uint32_t lines;
    uint8_t line_of[BUS_DEVICE_LINES_MAX];
    uint8_t claims[BUS_RANGES_MAX]; /* by number of the range; BUS_NO_CLAIM */
};

/* Claims, ascending by address. */
struct bus_order {
    uint32_t count;
    uint8_t claims[BUS_CLAIMS_MAX];
};

#define BUS_NO_CLAIM 0u    /* claims[0] is never used */
#define BUS_INERT_CLAIM 1u /* shared by all ports of the inert device */

struct bus {
    uint64_t due;                        /* no device has a deadline before it */
    uint64_t timed;                      /* bit n: device n has a deadline */
    uint64_t outside;                    /* bit n: device n has line_ended() */
    uint64_t wanting;                    /* bit n: device n has wants that the wires have not taken */
    uint32_t lines;                      /* levels of the bus's lines: high where any device drives one high */
    uint32_t wired;                      /* lines that some device has been connected to */
    bool deadline_moved;                 /* set where a deadline changed; the wires clear it */
    uint8_t line_drivers[BUS_LINES_MAX]; /* how many devices drive it high */
    uint32_t device_count;
    struct bus_order memory;
    struct bus_order high_ports; /* that end above the map */
    struct bus_device devices[BUS_DEVICES_MAX];
    struct bus_claim claims[BUS_CLAIMS_MAX];
    uint8_t ports[BUS_MAPPED_PORTS]; /* the claim of each */
    uint8_t blocks[BUS_BLOCKS];      /* of the ports above; BUS_NO_CLAIM: not of one claim alone */
};
_Static_assert(BUS_CLAIMS_MAX <= UINT8_MAX + 1, "a claim's number fits the map of ports");
_Static_assert(BUS_DEVICES_MAX <= 64, "sets of devices are words");
_Static_assert(BUS_LINES_MAX <= 32, "sets of lines are words");

/* --- What is on the bus --- */

/* No device, no claim, no line. */
void bus_reset(struct bus *bus);

/*
 * Adds a device whose state has been reset; its row and state outlive the bus. bus_add() places none of its ranges,
 * bus_attach() all or none. *device is its number, and may be NULL. STATUS_NO_SPACE where BUS_DEVICES_MAX is reached,
 * STATUS_INVALID for a row without read or write; and what bus_place() says.
 */
enum status bus_add(struct bus *bus, const struct bus_row *row, void *state, unsigned *device);
enum status bus_attach(struct bus *bus, const struct bus_row *row, void *state, unsigned *device);

/*
 * Puts range number `range` of a device where *to says, in place of where it is; NULL or 0 bytes: nowhere. Fails and
 * changes nothing with STATUS_BUSY where it would overlap a range of the same space, STATUS_OVERFLOW where it passes
 * the end of the space, STATUS_INVALID for a device or range that there is not, no widths, or an inert range that
 * would move, STATUS_NO_SPACE where BUS_CLAIMS_MAX is reached. The steps are bounded by the range's ports, or by
 * BUS_CLAIMS_MAX.
 */
enum status bus_place(struct bus *bus, unsigned device, unsigned range, const struct bus_range *to);

/* Connects a device's own line `n` to a line of the bus; BUS_NO_LINE: to none. A line that is high is carried
 * along. */
void bus_wire(struct bus *bus, unsigned device, unsigned n, uint8_t line);

/* --- Accesses. The caller has run what is due, and carries afterwards what devices left. --- */

/*
 * An access that no single device takes in one piece is made in pieces, lowest first: of the widest width below its
 * size that the range knows, or bytes where it leaves the range or meets none. A piece that meets nothing reads all
 * ones. Ports do not wrap: past 0xffff there is nothing. False: no piece was answered. size is 1, 2, 4 or 8; *value
 * has that many bytes.
 */
bool bus_read(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t now, uint64_t *value);
bool bus_write(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t value, uint64_t now);

/* Makes a write that is a notification (row->notify). False: it is none, and nothing has changed. */
bool bus_notify(struct bus *bus, enum bus_space space, uint64_t address, uint8_t size, uint64_t value);

/* The number of a port's claim; BUS_NO_CLAIM above the map, too. The one question that needs no lock is whether it is
 * BUS_INERT_CLAIM: those do not move. */
static inline uint8_t bus_port_number(const struct bus *bus, uint16_t port)
{
    return port < BUS_MAPPED_PORTS ? __atomic_load_n(&bus->ports[port], __ATOMIC_RELAXED) : BUS_NO_CLAIM;
}

/* The claim at an address; NULL: nothing is there. */
const struct bus_claim *bus_find(const struct bus *bus, enum bus_space space, uint64_t address);

/* Is nothing at any of these addresses in memory? */
bool bus_is_hole(const struct bus *bus, uint64_t address, uint8_t bytes);

/* How many claims begin at or before the address: the place of a new one. */
uint32_t bus_rank(const struct bus *bus, const struct bus_order *order, uint64_t address);

/* --- What devices leave --- */

/* Computes `due` anew. */
void bus_find_due(struct bus *bus);

void bus_take_signals(struct bus *bus, unsigned device);

/* After each call of one of a device's functions, or of the wires to it. */
static inline void bus_settle(struct bus *bus, unsigned device)
{
    const struct bus_device *known = &bus->devices[device];
    const struct bus_signals *signals = known->signals;

    if (signals->deadline != known->deadline || signals->lines != known->lines || signals->wants != 0) {
        bus_take_signals(bus, device);
    }
}

/* Runs every device whose deadline has come. */
void bus_run(struct bus *bus, uint64_t now);

/* A device's way to ask for a power-off or reset; `reason` is a constant text. */
static inline void bus_request_power(struct bus_signals *signals, enum platform_power power, const char *reason)
{
    signals->power = power;
    signals->power_reason = reason;
    signals->wants |= BUS_POWER;
}

/* Takes and clears a device's wants; the other signals stay. */
uint32_t bus_take_wants(struct bus *bus, unsigned device);

#endif
