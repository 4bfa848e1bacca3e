/* SPDX-License-Identifier: MIT */
/*
 * The device bus: where accesses go, what is refused, moves, what devices leave. The last test makes a random bus and
 * a naive list of ranges, moves ranges in both for a while, and compares every answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/bus.h"
#include "hv/dev/timebase.h"

#include <string.h>

#define INSTANCES 40u

/* A device that remembers what it was asked, answers with it, and leaves what the test wants. */
struct probe {
    struct bus_signals signals;
    uint64_t at;
    uint64_t value;
    uint8_t size;
    uint32_t calls;
    uint64_t hole; /* nothing is at this offset */
    uint32_t runs;
    uint64_t next; /* deadline after a run */
};

static struct bus bus;
static struct probe probes[INSTANCES];

static bool probe_read(void *state, struct bus_access *access)
{
    struct probe *probe = state;

    if (access->at == probe->hole) {
        return false;
    }
    probe->at = access->at;
    probe->size = access->size;
    probe->calls++;
    access->value = 0xa0b0c0d0e0f00000ULL + access->at;
    return true;
}

static bool probe_write(void *state, const struct bus_access *access)
{
    struct probe *probe = state;

    if (access->at == probe->hole) {
        return false;
    }
    probe->at = access->at;
    probe->size = access->size;
    probe->value = access->value;
    probe->calls++;
    return true;
}

static void probe_run(void *state, uint64_t now)
{
    struct probe *probe = state;

    (void)now;
    probe->runs++;
    probe->signals.deadline = probe->next;
}

static const struct bus_row bytes_row = {
    .name = "bytes",
    BUS_RANGES(BUS_REGISTERS(0x100, 4), BUS_PORTS(0x200, 2)),
    .read = probe_read,
    .write = probe_write,
    .run = probe_run,
    .lines = {3, 5},
    .line_count = 2,
    BUS_STATE(struct probe, signals),
};

static const struct bus_row words_row = {
    .name = "words",
    BUS_RANGES(BUS_AT(BUS_PORT, 0x300, 8, 0, 1 | 2 | 4), BUS_MMIO(0xfe000000, 0x1000)),
    .read = probe_read,
    .write = probe_write,
    .run = probe_run,
    .lines = {5},
    .line_count = 1,
    BUS_STATE(struct probe, signals),
};

static const struct bus_row function_row = {
    .name = "function",
    BUS_RANGES(BUS_LATER, BUS_LATER, BUS_LATER),
    .read = probe_read,
    .write = probe_write,
    .run = probe_run,
    BUS_STATE(struct probe, signals),
};

static const struct bus_row inert_row = {
    .name = "inert",
    BUS_RANGES(BUS_PORTS(0x80, 1), BUS_PORTS(0xf0, 2)),
    .read = probe_read,
    .write = probe_write,
    .inert = true,
    BUS_STATE(struct probe, signals),
};

static const struct bus_row dwords_row = {
    .name = "dwords",
    BUS_RANGES(BUS_AT(BUS_MEMORY, 0x1000, 16, 0, 4)),
    .read = probe_read,
    .write = probe_write,
    BUS_STATE(struct probe, signals),
};

static const struct bus_row ends_row = {
    .name = "ends",
    BUS_RANGES(BUS_PORTS(0, 1), BUS_PORTS(0xffff, 1)),
    .read = probe_read,
    .write = probe_write,
    BUS_STATE(struct probe, signals),
};

static int setup(void **state)
{
    (void)state;
    memset(probes, 0, sizeof(probes));
    for (unsigned i = 0; i < INSTANCES; i++) {
        probes[i].signals.deadline = DEADLINE_NONE;
        probes[i].hole = UINT64_MAX;
        probes[i].next = DEADLINE_NONE;
    }
    bus_reset(&bus);
    return 0;
}

static unsigned attach(const struct bus_row *row, struct probe *probe)
{
    unsigned device = UINT32_MAX;

    assert_int_equal(bus_attach(&bus, row, probe, &device), STATUS_OK);
    return device;
}

static uint64_t read_ok(enum bus_space space, uint64_t address, uint8_t size)
{
    uint64_t value;

    assert_true(bus_read(&bus, space, address, size, 0, &value));
    return value;
}

static void nothing(enum bus_space space, uint64_t address, uint8_t size)
{
    uint64_t value;

    assert_false(bus_read(&bus, space, address, size, 0, &value));
    assert_true(value == UINT64_MAX >> (64 - 8 * size));
    assert_false(bus_write(&bus, space, address, size, 0x55, 0));
}

/* --- Look-up --- */

static void an_empty_bus_answers_nothing_with_all_ones(void **state)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        nothing(BUS_MEMORY, 0, sizes[i]);
        nothing(BUS_MEMORY, UINT64_MAX - 3, sizes[i]);
        nothing(BUS_PORT, 0x100, sizes[i]);
        nothing(BUS_PORT, 0xffff, sizes[i]);
    }
}

static void a_range_answers_from_its_first_to_its_last_byte(void **state)
{
    (void)state;
    attach(&bytes_row, &probes[0]);
    nothing(BUS_PORT, 0xff, 1);
    assert_int_equal(read_ok(BUS_PORT, 0x100, 1), 0);
    assert_int_equal(read_ok(BUS_PORT, 0x103, 1), 3);
    nothing(BUS_PORT, 0x104, 1);
    assert_int_equal(read_ok(BUS_PORT, 0x201, 1), 0x01); /* told 0x201, and cut to a byte */
    assert_int_equal(probes[0].at, 0x201);
    nothing(BUS_MEMORY, 0x100, 1); /* the other space */
    assert_true(bus_write(&bus, BUS_PORT, 0x102, 1, 0x1234, 0));
    assert_int_equal(probes[0].value, 0x34);
    assert_int_equal(probes[0].at, 2);
}

static void a_wide_access_to_bytes_is_made_of_bytes(void **state)
{
    (void)state;
    attach(&bytes_row, &probes[0]);
    assert_int_equal(read_ok(BUS_PORT, 0x100, 4), 0x03020100);
    assert_int_equal(probes[0].calls, 4);
    assert_int_equal(read_ok(BUS_PORT, 0x102, 4), 0xffff0302); /* it leaves the range */
    assert_true(bus_write(&bus, BUS_PORT, 0x0ff, 2, 0xbeef, 0));
    assert_int_equal(probes[0].value, 0xbe);
}

static void an_access_of_a_listed_width_is_one_call(void **state)
{
    (void)state;
    attach(&words_row, &probes[0]);
    assert_int_equal(read_ok(BUS_PORT, 0x304, 4), 0xe0f00004);
    assert_int_equal(probes[0].calls, 1);
    assert_true(read_ok(BUS_MEMORY, 0xfe000ff8, 8) == 0xa0b0c0d0e0f00ff8ULL);
    assert_int_equal(probes[0].calls, 2);
    assert_int_equal(read_ok(BUS_PORT, 0x306, 4), 0xffff0706); /* past its end: bytes */
    assert_int_equal(probes[0].calls, 4);
}

static void a_width_that_is_not_listed_comes_in_the_widest_pieces_that_are(void **state)
{
    (void)state;
    attach(&dwords_row, &probes[0]);
    assert_true(read_ok(BUS_MEMORY, 0x1008, 8) == 0xe0f0000ce0f00008ULL);
    assert_int_equal(probes[0].calls, 2);
    nothing(BUS_MEMORY, 0x1004, 1); /* narrower than anything it knows */
    nothing(BUS_MEMORY, 0x1004, 2);
}

static void what_a_device_refuses_whole_is_asked_by_bytes(void **state)
{
    (void)state;
    attach(&words_row, &probes[0]);
    probes[0].hole = 2;
    assert_int_equal(read_ok(BUS_PORT, 0x302, 2), 0x03ff);
    nothing(BUS_PORT, 0x302, 1);
    assert_true(bus_write(&bus, BUS_PORT, 0x302, 2, 0xabcd, 0));
    assert_int_equal(probes[0].value, 0xab);
}

static void ports_do_not_wrap(void **state)
{
    (void)state;
    attach(&ends_row, &probes[0]);
    assert_int_equal(read_ok(BUS_PORT, 0xffff, 4), 0xffffffff);
    assert_int_equal(probes[0].calls, 1);
}

static void a_range_may_end_with_the_address_space(void **state)
{
    const struct bus_range top = BUS_AT(BUS_MEMORY, UINT64_MAX - 0xfff, 0x1000, 0, BUS_ALL_WIDTHS);
    const struct bus_range past = BUS_AT(BUS_MEMORY, UINT64_MAX - 0xffe, 0x1000, 0, BUS_ALL_WIDTHS);
    const struct bus_range all = BUS_AT(BUS_MEMORY, 0, UINT64_MAX, 0, BUS_ALL_WIDTHS);
    unsigned device;

    (void)state;
    device = attach(&function_row, &probes[0]);
    assert_int_equal(bus_place(&bus, device, 0, &past), STATUS_OVERFLOW);
    assert_int_equal(bus_place(&bus, device, 0, &top), STATUS_OK);
    assert_int_equal(read_ok(BUS_MEMORY, UINT64_MAX, 1), 0xff);
    assert_int_equal(probes[0].at, 0xfff);
    nothing(BUS_MEMORY, UINT64_MAX - 0x1000, 1);
    assert_int_equal(read_ok(BUS_MEMORY, UINT64_MAX, 2) & 0xff00, 0xff00); /* it does not wrap to 0 */
    assert_int_equal(bus_place(&bus, device, 1, &all), STATUS_BUSY);
    assert_int_equal(bus_place(&bus, device, 0, NULL), STATUS_OK);
    assert_int_equal(bus_place(&bus, device, 1, &all), STATUS_OK);
    assert_int_equal(read_ok(BUS_MEMORY, 0, 1), 0);
}

/* --- What is refused --- */

static void overlaps_are_refused_and_change_nothing(void **state)
{
    static const uint64_t firsts[] = {0xfe000000, 0xfdfff001, 0xfe000fff, 0xfe000800};
    unsigned device;

    (void)state;
    attach(&words_row, &probes[0]);
    device = attach(&function_row, &probes[1]);
    for (unsigned i = 0; i < ARRAY_COUNT(firsts); i++) {
        const struct bus_range to = BUS_MMIO(firsts[i], 0x1000);

        assert_int_equal(bus_place(&bus, device, 0, &to), STATUS_BUSY);
        assert_int_equal(bus.devices[device].claims[0], BUS_NO_CLAIM);
    }
    for (uint16_t port = 0x2f9; port < 0x308; port++) {
        const struct bus_range to = BUS_REGISTERS(port, 8);

        assert_int_equal(bus_place(&bus, device, 0, &to), STATUS_BUSY);
    }
    assert_int_equal(bus_attach(&bus, &words_row, &probes[2], NULL), STATUS_BUSY); /* the same row again */
    assert_int_equal(bus.device_count, 2);
    assert_int_equal(read_ok(BUS_MEMORY, 0xfe000010, 1), 0x10);
    assert_int_equal(probes[0].calls, 1);
    assert_int_equal(probes[2].calls, 0);
}

static void an_attach_that_fails_leaves_no_trace(void **state)
{
    static struct bus before;

    (void)state;
    attach(&words_row, &probes[0]);
    probes[1].signals.lines = 1;
    probes[1].signals.deadline = 77;
    probes[1].signals.wants = BUS_POWER;
    memcpy(&before, &bus, sizeof(bus));
    assert_int_equal(bus_attach(&bus, &words_row, &probes[1], NULL), STATUS_BUSY);
    before.deadline_moved = bus.deadline_moved;
    assert_memory_equal(&before, &bus, sizeof(bus));
}

static void places_that_make_no_sense_are_refused(void **state)
{
    const struct bus_range ok = BUS_REGISTERS(0x1000, 8), too_far = BUS_REGISTERS(0xfffc, 8);
    const struct bus_range no_width = BUS_AT(BUS_PORT, 0x1000, 8, 0, 0), no_space = BUS_AT(7, 0x1000, 8, 0, 1);
    unsigned device;

    (void)state;
    device = attach(&function_row, &probes[0]);
    assert_int_equal(bus_place(&bus, device, 0, &too_far), STATUS_OVERFLOW);
    assert_int_equal(bus_place(&bus, device, 0, &no_width), STATUS_INVALID);
    assert_int_equal(bus_place(&bus, device, 0, &no_space), STATUS_INVALID);
    assert_int_equal(bus_place(&bus, device, 3, &ok), STATUS_INVALID);
    assert_int_equal(bus_place(&bus, device + 1, 0, &ok), STATUS_INVALID);
    assert_int_equal(bus_place(&bus, device, 2, &ok), STATUS_OK);
}

static void the_tables_are_full_at_their_bounds_and_not_before(void **state)
{
    static struct probe many[BUS_DEVICES_MAX + 1];
    uint32_t placed = 0;

    (void)state;
    for (unsigned i = 0; i < BUS_DEVICES_MAX; i++) {
        many[i] = probes[0];
        assert_int_equal(bus_attach(&bus, &function_row, &many[i], NULL), STATUS_OK);
    }
    assert_int_equal(bus_attach(&bus, &function_row, &many[BUS_DEVICES_MAX], NULL), STATUS_NO_SPACE);
    for (unsigned i = 0; i < BUS_DEVICES_MAX * 3; i++) {
        const struct bus_range to = BUS_MMIO(0x1000 + 0x1000ULL * i, 0x1000);
        enum status status = bus_place(&bus, i / 3, i % 3, &to);

        placed += status == STATUS_OK;
        assert_true(status == STATUS_OK || status == STATUS_NO_SPACE);
    }
    assert_int_equal(placed, BUS_CLAIMS_MAX - 2); /* none, and the inert one's */
    assert_true(read_ok(BUS_MEMORY, 0x1000ULL * placed + 0x123, 1) == 0x23);
    assert_int_equal(bus_place(&bus, 0, 0, NULL), STATUS_OK);
    nothing(BUS_MEMORY, 0x1000, 1);
}

/* --- Moves --- */

static void a_range_moves_and_is_told_the_same_offsets(void **state)
{
    struct bus_range to = BUS_REGISTERS(0x1000, 4);
    unsigned device;

    (void)state;
    device = attach(&bytes_row, &probes[0]);
    for (uint32_t port = 0x1000; port < 0xffff; port += 0x333) {
        to.first = port;
        assert_int_equal(bus_place(&bus, device, 0, &to), STATUS_OK);
        assert_int_equal(read_ok(BUS_PORT, port + 3, 1), 3);
        nothing(BUS_PORT, 0x100, 1);
        nothing(BUS_PORT, port + 4, 1);
        nothing(BUS_PORT, port - 1, 1);
    }
    assert_int_equal(read_ok(BUS_PORT, 0x200, 1), 0); /* the other range stayed */
}

static void a_range_may_move_over_itself_and_to_the_other_space(void **state)
{
    const struct bus_range shifted = BUS_MMIO(0xfe000800, 0x1000), ports = BUS_REGISTERS(0x308, 8);
    unsigned device;

    (void)state;
    device = attach(&words_row, &probes[0]);
    assert_int_equal(bus_place(&bus, device, 1, &shifted), STATUS_OK);
    nothing(BUS_MEMORY, 0xfe000000, 4);
    assert_int_equal(read_ok(BUS_MEMORY, 0xfe0017ff, 1), 0xff);
    assert_int_equal(bus_place(&bus, device, 1, &ports), STATUS_OK);
    nothing(BUS_MEMORY, 0xfe000800, 4);
    assert_int_equal(read_ok(BUS_PORT, 0x309, 1), 1);
    assert_int_equal(bus.memory.count, 0);
}

static void ports_above_the_map_are_found_and_move_too(void **state)
{
    const struct bus_range across = BUS_REGISTERS(BUS_MAPPED_PORTS - 2, 4), above = BUS_REGISTERS(0xfff0, 16),
                           before = BUS_REGISTERS(BUS_MAPPED_PORTS - 4, 4);
    unsigned device, other;

    (void)state;
    device = attach(&function_row, &probes[0]);
    other = attach(&bytes_row, &probes[1]);
    assert_int_equal(bus_place(&bus, device, 0, &across), STATUS_OK);
    for (uint32_t at = 0; at < 4; at++) {
        assert_int_equal(read_ok(BUS_PORT, BUS_MAPPED_PORTS - 2 + at, 1), at);
    }
    assert_int_equal(bus_port_number(&bus, BUS_MAPPED_PORTS),
                     BUS_NO_CLAIM); /* the short way leaves it to the long one */
    nothing(BUS_PORT, BUS_MAPPED_PORTS - 3, 1);
    nothing(BUS_PORT, BUS_MAPPED_PORTS + 2, 1);
    assert_int_equal(bus_place(&bus, other, 0, &before), STATUS_BUSY);
    assert_int_equal(bus_place(&bus, other, 0, &across), STATUS_BUSY);
    assert_int_equal(bus_place(&bus, device, 0, &above), STATUS_OK);
    nothing(BUS_PORT, BUS_MAPPED_PORTS - 2, 4);
    assert_int_equal(read_ok(BUS_PORT, 0xffff, 1), 15);
    assert_int_equal(bus_place(&bus, other, 0, &across), STATUS_OK);
    assert_int_equal(bus_place(&bus, other, 0, NULL), STATUS_OK);
    assert_int_equal(bus_place(&bus, device, 0, NULL), STATUS_OK);
    assert_int_equal(bus.high_ports.count, 0);
}

static void an_inert_device_stays_and_has_one_claim(void **state)
{
    const struct bus_range to = BUS_PORTS(0x81, 1), over = BUS_REGISTERS(0x7f, 4);
    unsigned inert, device;

    (void)state;
    inert = attach(&inert_row, &probes[0]);
    device = attach(&function_row, &probes[1]);
    assert_int_equal(bus_port_number(&bus, 0x80), BUS_INERT_CLAIM);
    assert_int_equal(bus_port_number(&bus, 0xf1), BUS_INERT_CLAIM);
    assert_int_equal(bus_port_number(&bus, 0xf2), BUS_NO_CLAIM);
    assert_int_equal(bus_place(&bus, inert, 0, &to), STATUS_INVALID);
    assert_int_equal(bus_place(&bus, device, 0, &over), STATUS_BUSY);
    assert_int_equal(bus_attach(&bus, &inert_row, &probes[2], NULL), STATUS_INVALID);
    assert_int_equal(read_ok(BUS_PORT, 0xf1, 1), 0xf1);
    assert_int_equal(bus_place(&bus, inert, 1, NULL), STATUS_OK);
    nothing(BUS_PORT, 0xf1, 1);
    assert_int_equal(bus_port_number(&bus, 0x80), BUS_INERT_CLAIM);
}

/* --- What devices leave --- */

static void a_line_is_high_while_any_device_drives_it(void **state)
{
    unsigned a, b;

    (void)state;
    a = attach(&bytes_row, &probes[0]); /* lines 3 and 5 */
    b = attach(&words_row, &probes[1]); /* line 5 */
    assert_int_equal(bus.wired, 1u << 3 | 1u << 5);
    probes[0].signals.lines = 2;
    bus_settle(&bus, a);
    assert_int_equal(bus.lines, 1u << 5);
    probes[1].signals.lines = 1;
    bus_settle(&bus, b);
    probes[0].signals.lines = 1;
    bus_settle(&bus, a);
    assert_int_equal(bus.lines, 1u << 5 | 1u << 3);
    probes[1].signals.lines = 0;
    bus_settle(&bus, b);
    assert_int_equal(bus.lines, 1u << 3);
    bus_wire(&bus, a, 0, 17); /* a line that is high is carried along */
    assert_int_equal(bus.lines, 1u << 17);
    bus_wire(&bus, a, 0, BUS_NO_LINE);
    assert_int_equal(bus.lines, 0);
}

static void an_access_takes_the_lines_that_it_changed(void **state)
{
    (void)state;
    attach(&bytes_row, &probes[0]);
    probes[0].signals.lines = 1;
    (void)read_ok(BUS_PORT, 0x100, 1);
    assert_int_equal(bus.lines, 1u << 3);
    probes[0].signals.lines = 0;
    assert_true(bus_write(&bus, BUS_PORT, 0x100, 1, 0, 0));
    assert_int_equal(bus.lines, 0);
}

static void what_is_due_is_run_once_and_the_rest_is_not(void **state)
{
    unsigned a, b;

    (void)state;
    probes[0].signals.deadline = 100;
    probes[1].signals.deadline = 200;
    a = attach(&bytes_row, &probes[0]);
    b = attach(&words_row, &probes[1]);
    assert_int_equal(bus.due, 100);
    probes[0].next = 300;
    bus_run(&bus, 99);
    assert_int_equal(probes[0].runs + probes[1].runs, 0);
    bus_run(&bus, 150);
    assert_int_equal(probes[0].runs, 1);
    assert_int_equal(probes[1].runs, 0);
    assert_int_equal(bus.due, 200);
    probes[1].signals.deadline = 400;
    bus_settle(&bus, b);
    assert_int_equal(bus.due, 300);
    probes[0].signals.deadline = DEADLINE_NONE;
    bus_settle(&bus, a);
    assert_int_equal(bus.due, 400);
    probes[0].signals.deadline = 50;
    bus_settle(&bus, a);
    assert_int_equal(bus.due, 50);
    bus_run(&bus, 1000);
    assert_int_equal(probes[0].runs, 2);
    assert_int_equal(probes[1].runs, 1);
    assert_true(bus.due == 300);
}

static void wants_stay_until_they_are_taken(void **state)
{
    unsigned a;

    (void)state;
    a = attach(&bytes_row, &probes[0]);
    bus_request_power(&probes[0].signals, POWER_RESET_REQUESTED, "a port");
    (void)read_ok(BUS_PORT, 0x100, 1);
    assert_int_equal(bus.wanting, 1ULL << a);
    assert_int_equal(bus_take_wants(&bus, a), BUS_POWER);
    assert_int_equal(bus.wanting, 0);
    assert_int_equal(bus_take_wants(&bus, a), 0);
}

/* --- Against a naive list --- */

struct naive_range {
    bool placed;
    unsigned space;
    uint64_t first, bytes, as;
    uint8_t widths;
};

static struct naive_range naive[INSTANCES][3];

static uint64_t random_next(void)
{
    static uint64_t state = 88172645463325252ULL;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Addresses come in a few clusters, so that ranges meet; one is at the very end. */
static uint64_t random_address(unsigned space)
{
    static const uint64_t clusters[] = {0, 0xfec00000, 0xfffff000, 0x100000000ULL, UINT64_MAX - 0x3fff};

    if (space == BUS_PORT) {
        static const uint64_t ports[] = {0, 0x100, BUS_MAPPED_PORTS - 0x80, 0xff00};

        return ports[random_next() % ARRAY_COUNT(ports)] + random_next() % 0x100;
    }
    return clusters[random_next() % ARRAY_COUNT(clusters)] + random_next() % 0x4000;
}

static struct bus_range random_range(void)
{
    unsigned space = (unsigned)(random_next() % 2);

    return (struct bus_range){.space = (uint8_t)space,
                              .first = random_address(space),
                              .bytes =
                                  random_next() % (space == BUS_PORT ? (random_next() % 4 == 0 ? 300 : 40) : 0x1800),
                              .as = random_next() % 0x10000,
                              .widths = (uint8_t)(1 + random_next() % 15)};
}

static bool naive_fits(unsigned device, unsigned range, const struct bus_range *to)
{
    uint64_t last = to->first + to->bytes - 1;

    if (last < to->first || (to->space == BUS_PORT && last > 0xffff)) {
        return false;
    }
    for (unsigned d = 0; d < INSTANCES; d++) {
        for (unsigned r = 0; r < 3; r++) {
            const struct naive_range *other = &naive[d][r];

            if (other->placed && (d != device || r != range) && other->space == to->space && other->first <= last &&
                to->first <= other->first + other->bytes - 1) {
                return false;
            }
        }
    }
    return true;
}

static void move_both(void)
{
    unsigned device = (unsigned)(random_next() % INSTANCES), range = (unsigned)(random_next() % 3);
    struct bus_range to = random_range();
    bool fits = to.bytes == 0 || naive_fits(device, range, &to);

    assert_int_equal(bus_place(&bus, device, range, &to) == STATUS_OK, fits);
    if (fits) {
        naive[device][range] = (struct naive_range){to.bytes != 0, to.space, to.first, to.bytes, to.as, to.widths};
    }
}

/* What the naive list says of a piece: which device answers, and which offset it is told. */
static bool naive_piece(unsigned space, uint64_t address, uint8_t size, unsigned *device, uint64_t *at)
{
    for (unsigned d = 0; d < INSTANCES; d++) {
        for (unsigned r = 0; r < 3; r++) {
            const struct naive_range *range = &naive[d][r];

            if (range->placed && range->space == space && address - range->first < range->bytes) {
                *device = d;
                *at = range->as + (address - range->first);
                return (range->widths & size) != 0 && range->bytes - (address - range->first) >= size;
            }
        }
    }
    return false;
}

static uint8_t naive_widths(unsigned space, uint64_t address, uint8_t size)
{
    for (unsigned d = 0; d < INSTANCES; d++) {
        for (unsigned r = 0; r < 3; r++) {
            const struct naive_range *range = &naive[d][r];

            if (range->placed && range->space == space && address - range->first < range->bytes) {
                return range->bytes - (address - range->first) >= size ? range->widths : 0;
            }
        }
    }
    return 0;
}

static uint64_t naive_read(unsigned space, uint64_t address, uint8_t size, bool *answered)
{
    uint8_t piece = size, widths = naive_widths(space, address, size);
    uint64_t value = 0;

    while (piece > 1 && (widths & piece) == 0) {
        piece /= 2;
    }
    *answered = false;
    for (uint8_t done = 0; done < size; done = (uint8_t)(done + piece)) {
        uint64_t here = address + done, at, part = UINT64_MAX, mask = UINT64_MAX >> (64 - 8 * piece);
        unsigned device;

        if (here >= address && (space == BUS_MEMORY || here <= 0xffff) &&
            naive_piece(space, here, piece, &device, &at)) {
            part = 0xa0b0c0d0e0f00000ULL + at;
            *answered = true;
        }
        value |= (part & mask) << (8 * done);
    }
    return value;
}

static bool naive_hole(uint64_t address, uint8_t size)
{
    for (uint8_t i = 0; i < size && address + i >= address; i++) {
        if (naive_widths(BUS_MEMORY, address + i, 1) != 0) {
            return false;
        }
    }
    return true;
}

static void read_both(void)
{
    unsigned space = (unsigned)(random_next() % 2);
    uint64_t address = random_address(space), value, expected;
    uint8_t size = (uint8_t)(1u << random_next() % 4);
    bool answered, expected_answer;

    answered = bus_read(&bus, (enum bus_space)space, address, size, 0, &value);
    expected = naive_read(space, address, size, &expected_answer);
    assert_int_equal(answered, expected_answer);
    assert_true(value == expected);
    if (space == BUS_MEMORY) {
        assert_int_equal(bus_is_hole(&bus, address, size), naive_hole(address, size));
    }
}

static void a_random_bus_answers_as_a_naive_list_does(void **state)
{
    (void)state;
    memset(naive, 0, sizeof(naive));
    for (unsigned i = 0; i < INSTANCES; i++) {
        attach(&function_row, &probes[i]);
    }
    for (unsigned round = 0; round < 20000; round++) {
        move_both();
        for (unsigned i = 0; i < 10; i++) {
            read_both();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_bus_answers_nothing_with_all_ones, setup),
        cmocka_unit_test_setup(a_range_answers_from_its_first_to_its_last_byte, setup),
        cmocka_unit_test_setup(a_wide_access_to_bytes_is_made_of_bytes, setup),
        cmocka_unit_test_setup(an_access_of_a_listed_width_is_one_call, setup),
        cmocka_unit_test_setup(a_width_that_is_not_listed_comes_in_the_widest_pieces_that_are, setup),
        cmocka_unit_test_setup(what_a_device_refuses_whole_is_asked_by_bytes, setup),
        cmocka_unit_test_setup(ports_do_not_wrap, setup),
        cmocka_unit_test_setup(a_range_may_end_with_the_address_space, setup),
        cmocka_unit_test_setup(overlaps_are_refused_and_change_nothing, setup),
        cmocka_unit_test_setup(an_attach_that_fails_leaves_no_trace, setup),
        cmocka_unit_test_setup(places_that_make_no_sense_are_refused, setup),
        cmocka_unit_test_setup(the_tables_are_full_at_their_bounds_and_not_before, setup),
        cmocka_unit_test_setup(a_range_moves_and_is_told_the_same_offsets, setup),
        cmocka_unit_test_setup(a_range_may_move_over_itself_and_to_the_other_space, setup),
        cmocka_unit_test_setup(ports_above_the_map_are_found_and_move_too, setup),
        cmocka_unit_test_setup(an_inert_device_stays_and_has_one_claim, setup),
        cmocka_unit_test_setup(a_line_is_high_while_any_device_drives_it, setup),
        cmocka_unit_test_setup(an_access_takes_the_lines_that_it_changed, setup),
        cmocka_unit_test_setup(what_is_due_is_run_once_and_the_rest_is_not, setup),
        cmocka_unit_test_setup(wants_stay_until_they_are_taken, setup),
        cmocka_unit_test_setup(a_random_bus_answers_as_a_naive_list_does, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
