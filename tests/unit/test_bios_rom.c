/* SPDX-License-Identifier: MIT */
/* The BIOS area's code: every vector leads to it, every routine decodes whole, and its port takes nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest-loader/bios.h"
#include "hv/base/memory.h"
#include "hv/dev/bios_rom.h"
#include "hv/dev/platform.h"

static uint8_t rom[BIOS_ROM_BYTES];

static int set_up(void **state)
{
    (void)state;
    memset(rom, 0, sizeof(rom));
    bios_rom_build(rom);
    return 0;
}

static uint32_t word_at(uint32_t at)
{
    return rom[at] | (uint32_t)rom[at + 1] << 8;
}

static void the_reset_vector_jumps_to_the_power_on_entry(void **state)
{
    (void)state;
    assert_int_equal(rom[BIOS_RESET], 0xea);
    assert_int_equal(word_at(BIOS_RESET + 1), BIOS_POWER_ON);
    assert_int_equal(word_at(BIOS_RESET + 3), BIOS_SEGMENT);
    assert_int_equal(rom[0xfffe], 0xfc); /* a PC/AT */
    assert_int_equal(rom[BIOS_IRET], 0xcf);
}

static void every_vector_leads_to_an_iret_or_to_a_stub_that_pushes_its_number(void **state)
{
    (void)state;
    for (uint32_t vector = 0; vector < BIOS_VECTORS; vector++) {
        uint32_t at = bios_vector(vector);

        if (vector >= BIOS_USER_FIRST && vector <= BIOS_USER_LAST) {
            assert_int_equal(at, 0);
        } else if (at != BIOS_IRET) {
            uint32_t target = (at + BIOS_STUB_BYTES + word_at(at + 3)) & 0xffff;

            assert_int_equal(rom[at], 0x6a);
            assert_int_equal(rom[at + 1], vector);
            assert_int_equal(rom[at + 2], 0xe9);
            assert_in_range(target, 0xe400, 0xe5ff);
            assert_int_not_equal(rom[target], 0);
        }
    }
}

static void tables_below_the_code_stay(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < BIOS_ROM_CODE; at++) {
        assert_int_equal(rom[at], 0);
    }
}

/* ---- the port, on the bus of a PC ---- */

static struct platform platform;
static struct clock clock_1ghz;

static void reset_pc(bool bios_interrupts)
{
    const struct platform_config config = {
        .clock = &clock_1ghz, .ram_low_bytes = 16 * MIB, .cpus = 1, .bios_interrupts = bios_interrupts};

    clock_1ghz = clock_of(1000000000);
    memset(&platform, 0, sizeof(platform));
    platform_reset(&platform, &config, 0);
}

static bool write_port(uint32_t value, uint8_t size)
{
    return platform_port_write(&platform, BIOS_ROM_PORT, size, value, 1000);
}

static void restarts_ask_for_a_reset_and_int_18_and_exceptions_end_the_guest(void **state)
{
    static const struct {
        uint32_t vector;
        enum platform_power power;
    } rows[] = {{0xff, POWER_RESET_REQUESTED},
                {0x19, POWER_RESET_REQUESTED},
                {0x18, POWER_NO_BIOS},
                {0, POWER_NO_BIOS},
                {6, POWER_NO_BIOS},
                {13, POWER_NO_BIOS}};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        reset_pc(true);
        assert_true(write_port(BIOS_ROM_SIGNATURE << 16 | rows[i].vector << 8, 4));
        assert_int_equal(platform.power, rows[i].power);
        assert_true(rows[i].power != POWER_NO_BIOS || platform.bios_port.vector == rows[i].vector);
    }
}

static void services_and_writes_without_the_signature_change_nothing(void **state)
{
    uint32_t service = 0;

    (void)state;
    reset_pc(false);
    assert_false(write_port(BIOS_ROM_SIGNATURE << 16 | 0x1342, 4));
    assert_true(bios_rom_is_service(BIOS_ROM_PORT, 4, BIOS_ROM_SIGNATURE << 16 | 0x1342, &service));
    assert_int_equal(service, 0x1342);
    assert_false(write_port(0x18, 1));
    assert_false(write_port(0xff00, 4));
    assert_false(write_port(0xff00, 2));
    assert_false(bios_rom_is_service(BIOS_ROM_PORT, 1, 0x42, &service));
    assert_false(bios_rom_is_service(0xb3, 4, BIOS_ROM_SIGNATURE << 16 | 0x1342, &service));
    assert_int_equal(platform.power, POWER_ON);
}

static void the_8259_is_open_only_for_code_that_starts_in_real_mode(void **state)
{
    uint32_t mask;

    (void)state;
    reset_pc(false);
    platform_port_read(&platform, 0x21, 1, 0, &mask);
    assert_int_equal(mask, 0xfb);
    reset_pc(true);
    platform_port_read(&platform, 0x21, 1, 0, &mask);
    assert_int_equal(mask, 0xf8);
    platform_port_read(&platform, 0xa1, 1, 0, &mask);
    assert_int_equal(mask, 0xff);
}

/* 18.2 Hz: the 8254 runs as a BIOS leaves it, and each tick is an interrupt until its EOI. */
static void the_timer_ticks_without_being_programmed(void **state)
{
    uint64_t now = 0;

    (void)state;
    reset_pc(true);
    for (uint32_t tick = 0; tick < 5; tick++) {
        now += 56 * 1000000ULL;
        platform_run_timers(&platform, now);
        assert_true(platform.extint);
        assert_int_equal(platform_acknowledge_extint(&platform), 0x08);
        platform_port_write(&platform, 0x20, 1, 0x20, now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reset_vector_jumps_to_the_power_on_entry),
        cmocka_unit_test(every_vector_leads_to_an_iret_or_to_a_stub_that_pushes_its_number),
        cmocka_unit_test(tables_below_the_code_stay),
        cmocka_unit_test(restarts_ask_for_a_reset_and_int_18_and_exceptions_end_the_guest),
        cmocka_unit_test(services_and_writes_without_the_signature_change_nothing),
        cmocka_unit_test(the_8259_is_open_only_for_code_that_starts_in_real_mode),
        cmocka_unit_test(the_timer_ticks_without_being_programmed),
    };

    return cmocka_run_group_tests_name("bios_rom", tests, set_up, NULL);
}
