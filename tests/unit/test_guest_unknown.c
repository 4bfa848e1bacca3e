/* SPDX-License-Identifier: MIT */
/* Promises of guest_note_unknown(): neighbours are one line, others have their own, and nothing is lost uncounted. */
#include "hv/core/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RIP 0x100000u
#define PAGES 16000u

static struct guest guest;
static struct vcpu vcpu;
static char text[UNKNOWN_TEXT_MAX];

static int set_up(void **state)
{
    (void)state;
    memset(&guest, 0, sizeof(guest));
    vcpu = (struct vcpu){.guest = &guest, .rip = RIP};
    return 0;
}

static void note(enum unknown_kind kind, uint64_t resource)
{
    guest_note_unknown(&vcpu, kind, resource, 0);
}

static const char *line(uint32_t index)
{
    return guest_unknown_describe(&guest.unknown[index], text, sizeof(text));
}

static void one_is_named_and_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        note(UNKNOWN_MSR_READ, 0x1a0);
    }
    assert_int_equal(guest.unknown_count, 1);
    assert_string_equal(line(0), "reads MSR 0x1a0 (first at rip 0x100000, 3 times): not offered, it gets #GP");
    assert_true((vcpu.requests & VCPU_CONSOLE) != 0);
}

static void a_walk_through_the_address_space_is_one_line(void **state)
{
    (void)state;
    for (uint64_t page = 0; page < PAGES; page++) {
        note(UNKNOWN_MMIO_WRITE, 0xd0000000 + page * PAGE_BYTES);
    }
    assert_int_equal(guest.unknown_count, 1);
    assert_int_equal(guest.unknown_dropped, 0);
    assert_string_equal(
        line(0), "writes to guest-physical page 0xd0000000 to 0xd3e7f000 (first at rip 0x100000, 16000 times): no "
                 "device is there, the write is ignored");
}

static void a_walk_downwards_is_one_as_well(void **state)
{
    (void)state;
    for (uint64_t port = 0x2ff; port >= 0x2e0; port--) {
        note(UNKNOWN_PORT_READ, port);
    }
    assert_int_equal(guest.unknown_count, 1);
    assert_string_equal(
        line(0), "reads from port 0x2e0 to 0x2ff (first at rip 0x100000, 32 times): no device is there, it reads "
                 "all ones");
}

static void others_are_lines_of_their_own(void **state)
{
    (void)state;
    note(UNKNOWN_PORT_READ, 0x2e0);
    note(UNKNOWN_PORT_WRITE, 0x2e1); /* another kind */
    note(UNKNOWN_PORT_READ, 0x2e2);  /* not beside the first */
    note(UNKNOWN_MMIO_READ, 0xd0000000);
    note(UNKNOWN_MMIO_READ, 0xd0000000 + 2 * PAGE_BYTES);
    note(UNKNOWN_BIOS, 0x1341); /* numbers, not places */
    note(UNKNOWN_BIOS, 0x1342);
    note(UNKNOWN_HYPERCALL, 0);
    note(UNKNOWN_HYPERCALL, 1);
    assert_int_equal(guest.unknown_count, 9);
}

static void more_than_there_is_room_for_are_counted(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < GUEST_UNKNOWN_MAX + 5u; i++) {
        note(UNKNOWN_MSR_READ, 0x1000 + 2 * i);
    }
    assert_int_equal(guest.unknown_count, GUEST_UNKNOWN_MAX);
    assert_int_equal(guest.unknown_dropped, 5);
}

static void a_port_of_emulators_is_told_with_the_line_that_gives_it(void **state)
{
    (void)state;
    note(UNKNOWN_PORT_WRITE, 0xe9);
    note(UNKNOWN_PORT_READ, 0xe9);
    note(UNKNOWN_PORT_WRITE, 0xf4);
    note(UNKNOWN_MSR_READ, 0xe9);
    assert_string_equal(
        line(0), "writes to port 0xe9 (first at rip 0x100000, 1 times): it is there with `debug-ports = yes` only");
    assert_non_null(strstr(line(1), "debug-ports = yes"));
    assert_non_null(strstr(line(2), "debug-ports = yes"));
    assert_null(strstr(line(3), "debug-ports = yes"));
}

static void the_longest_line_fits(void **state)
{
    (void)state;
    guest.unknown[0] = (struct unknown_access){.kind = UNKNOWN_MMIO_WRITE,
                                               .resource = UINT64_MAX - 1,
                                               .last = UINT64_MAX,
                                               .rip = UINT64_MAX,
                                               .count = UINT64_MAX};
    assert_non_null(strstr(line(0), "the write is ignored"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_is_named_and_counted, set_up),
        cmocka_unit_test_setup(a_walk_through_the_address_space_is_one_line, set_up),
        cmocka_unit_test_setup(a_walk_downwards_is_one_as_well, set_up),
        cmocka_unit_test_setup(others_are_lines_of_their_own, set_up),
        cmocka_unit_test_setup(more_than_there_is_room_for_are_counted, set_up),
        cmocka_unit_test_setup(a_port_of_emulators_is_told_with_the_line_that_gives_it, set_up),
        cmocka_unit_test_setup(the_longest_line_fits, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
