/* SPDX-License-Identifier: MIT */
/* The whole PC: ports, wires, deadlines, power. Driven as a guest drives it, with a time that the test gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/platform.h"
#include "tests/unit/random.h"

#include <string.h>

#define HZ 1000000000ULL
#define IOAPIC 0xfec00000ULL

static struct clock clock_1ghz;
static struct platform platform;
static uint64_t now;

static int setup_with(bool debug_ports, bool console)
{
    struct platform_config config = {
        .clock = &clock_1ghz,
        .wall_clock_ns = 1700000000ULL * HZ,
        .wall_clock_tsc = 0,
        .ram_low_bytes = 512 * MIB,
        .debug_ports = debug_ports,
        .console = console,
    };

    now = 1000;
    clock_1ghz = clock_of(HZ);
    memset(&platform, 0, sizeof(platform));
    platform_reset(&platform, &config, now);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(false, true);
}

static uint32_t in_port(uint16_t port, uint8_t size)
{
    uint32_t value = 0;

    assert_true(platform_port_read(&platform, port, size, now, &value));
    return value;
}

static void out_port(uint16_t port, uint8_t size, uint32_t value)
{
    assert_true(platform_port_write(&platform, port, size, value, now));
}

static void out_b(uint16_t port, uint8_t value)
{
    out_port(port, 1, value);
}

static void ioapic_out(uint8_t index, uint32_t value)
{
    assert_true(platform_mmio_write(&platform, gpa(IOAPIC), 4, index, now));
    assert_true(platform_mmio_write(&platform, gpa(IOAPIC + 0x10), 4, value, now));
}

static void route(unsigned pin, uint32_t low)
{
    ioapic_out((uint8_t)(0x11 + 2 * pin), 0);
    ioapic_out((uint8_t)(0x10 + 2 * pin), low);
}

static void pic_init(uint8_t master_mask, uint8_t slave_mask)
{
    static const uint8_t words[2][4] = {{0x11, 0x20, 0x04, 0x01}, {0x11, 0x28, 0x02, 0x01}};

    for (unsigned chip = 0; chip < 2; chip++) {
        out_b(chip == 0 ? 0x20 : 0xa0, words[chip][0]);
        for (unsigned i = 1; i < 4; i++) {
            out_b(chip == 0 ? 0x21 : 0xa1, words[chip][i]);
        }
    }
    out_b(0x21, master_mask);
    out_b(0xa1, slave_mask);
}

static void run_to_deadline(void)
{
    now = platform_deadline(&platform);
    assert_true(now != DEADLINE_NONE);
    platform_run_timers(&platform, now);
}

/* --- Ports --- */

static void unknown_ports_read_all_ones_and_are_reported(void **state)
{
    static const uint16_t ports[] = {0x2f8, 0x3e8, 0x2e8, 0x3d0, 0x1e0,  0x279,
                                     0x402, 0xe9,  0xf4,  0x501, 0x5658, 0xffff};
    uint32_t value;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
        assert_false(platform_port_read(&platform, ports[i], 1, now, &value));
        assert_int_equal(value, 0xff);
        assert_false(platform_port_read(&platform, ports[i], 2, now, &value));
        assert_int_equal(value & 0xff, 0xff);
        assert_false(platform_port_write(&platform, ports[i], 1, 0x55, now));
    }
    assert_false(platform_port_read(&platform, 0x5658, 4, now, &value));
    assert_int_equal(value, 0xffffffff);
    assert_int_equal(platform.power, POWER_ON);
}

/* IDENTIFY as small kernels ask for it: a status of 0 is no drive, any other is waited for until it is not busy. */
static void an_ide_channel_is_there_and_has_no_drive(void **state)
{
    static const uint16_t commands[] = {0x1f7, 0x177}, controls[] = {0x3f6, 0x376};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(commands); i++) {
        out_b((uint16_t)(commands[i] - 1), 0xa0);
        out_b(commands[i], 0xec);
        assert_int_equal(in_port(commands[i], 1), 0);
        assert_int_equal(in_port(controls[i], 1), 0);
        assert_int_equal(in_port((uint16_t)(commands[i] - 7), 2), 0);
        assert_int_equal(in_port((uint16_t)(commands[i] - 3), 1), 0);
    }
}

static void what_every_pc_has_is_not_unknown(void **state)
{
    static const uint16_t ports[] = {0x00,  0x0f,  0x20,  0x21,  0x40,  0x43,  0x60,  0x61,  0x64,  0x70,  0x71,  0x80,
                                     0x81,  0x92,  0xa0,  0xa1,  0xc0,  0xdf,  0xed,  0xf0,  0xf1,  0x3d4, 0x3d5, 0x3da,
                                     0x3f8, 0x3ff, 0x4d0, 0x4d1, 0x600, 0x608, 0x60b, 0xcf9, 0xcfc, 0xcff};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
        uint32_t value;

        assert_true(platform_port_read(&platform, ports[i], 1, now, &value));
        assert_true(value <= 0xff);
    }
    assert_int_equal(in_port(0x80, 1), 0xff);
    out_b(0x80, 0x12);
    out_b(0xed, 0x12);
}

static void every_port_and_size_is_safe(void **state)
{
    static const uint8_t sizes[] = {1, 2, 4};

    (void)state;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t port = 0; port < 65536; port++) {
            uint8_t size = sizes[(port + round) % 3];
            uint32_t value;

            now += 997;
            (void)platform_port_write(&platform, (uint16_t)port, size, port * 2654435761u, now);
            (void)platform_port_read(&platform, (uint16_t)port, size, now, &value);
            assert_true(size == 4 || value < 1u << (8 * size));
        }
    }
}

static void wide_accesses_are_two_byte_accesses(void **state)
{
    (void)state;
    out_port(0x70, 2, 0x5a33); /* index 0x33, data 0x5a */
    out_b(0x70, 0x33);
    assert_int_equal(in_port(0x71, 1), 0x5a);
    assert_int_equal(in_port(0x70, 2), 0x5aff);
    out_port(0x20, 2, 0xa00b); /* OCW3 and the mask */
    assert_int_equal(in_port(0x21, 1), 0xa0);
}

static void pci_address_needs_a_dword_and_data_takes_any_size(void **state)
{
    uint32_t value;

    (void)state;
    out_port(0xcf8, 4, 0x80000000);
    assert_int_equal(in_port(0xcf8, 4), 0x80000000);
    assert_int_equal(in_port(0xcfc, 4), 0x00081b36);
    assert_int_equal(in_port(0xcfe, 2), 0x0008);
    assert_int_equal(in_port(0xcfd, 1), 0x1b);
    assert_false(platform_port_read(&platform, 0xcf8, 1, now, &value));
    (void)platform_port_write(&platform, 0xcf8, 1, 0x55, now);
    assert_int_equal(in_port(0xcf8, 4), 0x80000000);
}

/* --- Wires --- */

static void the_timer_reaches_the_pic_and_pin_2(void **state)
{
    struct apic_message message;

    (void)state;
    pic_init(0xfe, 0xff);
    route(2, 0x30);
    out_b(0x43, 0x34);
    out_b(0x40, 0xa9);
    out_b(0x40, 0x04); /* 1193: 1000 Hz */
    run_to_deadline();
    assert_in_range(now, 1000000, 1003000);
    assert_true(platform.extint);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x30);
    assert_false(platform_take_message(&platform, &message));
    assert_int_equal(platform_acknowledge_extint(&platform), 0x20);
    assert_false(platform.extint);
    out_b(0x20, 0x20);
    run_to_deadline();
    assert_in_range(now, 2000000, 2003000);
    assert_true(platform.extint);
}

static void a_thousand_ticks_take_a_second(void **state)
{
    uint64_t start;

    (void)state;
    pic_init(0xfe, 0xff);
    out_b(0x43, 0x34);
    out_b(0x40, 0xa9);
    out_b(0x40, 0x04);
    start = now;
    for (unsigned tick = 0; tick < 1000; tick++) {
        run_to_deadline();
        assert_true(platform.extint);
        assert_int_equal(platform_acknowledge_extint(&platform), 0x20);
        out_b(0x20, 0x20);
    }
    assert_in_range(now - start, 1000 * 1193ULL * HZ / PIT_HZ - 5000, 1000 * 1193ULL * HZ / PIT_HZ + 5000);
}

static void a_masked_timer_asks_for_no_wakeup_and_is_right_afterwards(void **state)
{
    (void)state;
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
    pic_init(0xff, 0xff);
    out_b(0x43, 0x34);
    out_b(0x40, 0xa9);
    out_b(0x40, 0x04);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
    now += 50 * HZ / 1000; /* fifty ticks pass */
    out_b(0x21, 0xfe);
    assert_true(platform.extint);                               /* one of them is latched */
    assert_true(platform_deadline(&platform) == DEADLINE_NONE); /* a second could not be */
    assert_int_equal(platform_acknowledge_extint(&platform), 0x20);
    out_b(0x20, 0x20);
    assert_false(platform.extint);
    assert_true(platform_deadline(&platform) - now < 1000000 * 1001 / 1000);
}

static void an_edge_before_the_unmask_does_not_fire_in_the_ioapic(void **state)
{
    struct apic_message message;

    (void)state;
    out_b(0x43, 0x34);
    out_b(0x40, 0xa9);
    out_b(0x40, 0x04);
    now += HZ;
    route(2, 0x30);
    assert_false(platform_take_message(&platform, &message));
    run_to_deadline();
    assert_true(platform_take_message(&platform, &message));
}

static void the_uart_interrupts_on_irq_4(void **state)
{
    struct apic_message message;

    (void)state;
    pic_init(0xef, 0xff);
    route(4, 0x34);
    out_b(0x3fc, 0x08);
    out_b(0x3f9, 0x02);
    assert_true(platform.extint);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x34);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x24);
    out_b(0x20, 0x20);
    assert_int_equal(in_port(0x3fa, 1), 0x02);
    out_b(0x3f8, 'x');
    assert_true(platform_take_message(&platform, &message));
}

static void typed_bytes_interrupt_and_arrive(void **state)
{
    struct apic_message message;

    (void)state;
    route(4, 0x34);
    out_b(0x3fc, 0x08);
    out_b(0x3f9, 0x01);
    assert_true(byte_ring_put(&platform.console_in, 'k'));
    platform_console_poll(&platform, now);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(in_port(0x3fd, 1), 0x61);
    assert_int_equal(in_port(0x3f8, 1), 'k');
}

static void the_rtc_interrupts_on_irq_8_through_the_slave(void **state)
{
    (void)state;
    pic_init(0xfb, 0xfe);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
    out_b(0x70, 0x0b);
    out_b(0x71, 0x12);
    run_to_deadline();
    assert_in_range(now, HZ, HZ + 10);
    assert_true(platform.extint);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x28);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
    out_b(0xa1, 0xff); /* masked: the clock runs on without wake-ups */
    out_b(0x70, 0x0c);
    assert_int_equal(in_port(0x71, 1) & 0x90, 0x90);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
}

/* A guest that has suspended itself hears of the clock by the SCI, its own line being masked. */
static void the_rtc_wakes_by_the_sci(void **state)
{
    (void)state;
    pic_init(0xfb, 0xfd);
    out_b(0x70, 0x0b);
    out_b(0x71, 0x12);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
    out_b(0x603, 0x04);
    run_to_deadline();
    assert_in_range(now, HZ, HZ + 10);
    assert_true(platform.extint);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x29);
    assert_int_equal(in_port(0x601, 1), 0x04);
    out_b(0xa0, 0x20);
    out_b(0x20, 0x20);
    assert_true(platform.extint); /* a level: it is there until the status is cleared */
    out_b(0x601, 0x04);
    assert_int_equal(in_port(0x601, 1), 0);
    assert_false(platform.extint);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE); /* the RTC's line is high, and rises no more */
    out_b(0x70, 0x0c);
    (void)in_port(0x71, 1);
    out_b(0x603, 0);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
}

static void hpet_out(uint32_t offset, uint64_t value)
{
    assert_true(platform_mmio_write(&platform, gpa(0xfed00000 + offset), 8, value, now));
}

static void the_hpet_interrupts_by_the_pin_of_its_route(void **state)
{
    struct apic_message message;

    (void)state;
    route(20, 0x41);
    hpet_out(0x120, 20 << 9 | 4); /* timer 1, an edge */
    hpet_out(0x010, 1);
    hpet_out(0x128, 14318);
    run_to_deadline();
    assert_in_range(now, 1000000, 1003000);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x41);
    assert_false(platform_take_message(&platform, &message));
    hpet_out(0x120, 4); /* pin 0 is none of the HPET's */
    hpet_out(0x128, 20000);
    run_to_deadline();
    assert_false(platform_take_message(&platform, &message));
    assert_false(platform.extint);
}

/* Legacy replacement: IRQ 0 and IRQ 8 are the HPET's, and the 8254 and the RTC get them back. */
static void the_hpet_takes_the_places_of_the_8254_and_the_rtc(void **state)
{
    (void)state;
    pic_init(0xfa, 0xfe);
    hpet_out(0x100, 4);
    hpet_out(0x120, 4);
    hpet_out(0x010, 3);
    platform_run_timers(&platform, now + 10 * HZ); /* the 8254 runs at 18.2 Hz, and it interrupts no CPU */
    now += 10 * HZ;
    assert_false(platform.extint);
    hpet_out(0x108, 10 * 14318180ULL + 14318180);
    platform_run_timers(&platform, now += 2 * HZ);
    assert_true(platform.extint);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x20);
    out_b(0x20, 0x20);
    hpet_out(0x128, 13 * 14318180ULL);
    platform_run_timers(&platform, now += 2 * HZ);
    assert_true(platform.extint);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x28);
    out_b(0xa0, 0x20);
    out_b(0x20, 0x20);
    hpet_out(0x010, 1);
    out_b(0x21, 0xfb); /* the slave only */
    out_b(0x70, 0x0c);
    (void)in_port(0x71, 1);
    out_b(0x70, 0x0b);
    out_b(0x71, 0x12);
    assert_false(platform.extint);
    platform_run_timers(&platform, now += 2 * HZ);
    assert_true(platform.extint);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x28);
}

static void the_sci_is_a_level_and_repeats_until_served(void **state)
{
    struct apic_message message;

    (void)state;
    route(9, 0x8039);
    out_port(0x602, 2, 1);
    run_to_deadline(); /* ten minutes */
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x39);
    assert_true(message.level);
    platform_eoi(&platform, 0x39, now);
    assert_true(platform_take_message(&platform, &message));
    out_port(0x600, 2, 1);
    platform_eoi(&platform, 0x39, now);
    assert_false(platform_take_message(&platform, &message));
}

static void a_level_that_is_not_cleared_makes_a_pause_now_and_then(void **state)
{
    struct apic_message message;
    uint32_t repeats = 0;

    (void)state;
    route(9, 0x8039);
    out_port(0x602, 2, 1);
    run_to_deadline();
    while (platform_take_message(&platform, &message)) {
        platform_eoi(&platform, 0x39, now);
        repeats++;
        assert_true(repeats <= 1000);
    }
    assert_int_equal(repeats, 1000);
    assert_true(platform_deadline(&platform) != DEADLINE_NONE);
    run_to_deadline();
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x39);
    platform_eoi(&platform, 0x39, now);
    assert_true(platform_take_message(&platform, &message));
    out_port(0x600, 2, 1);
    platform_eoi(&platform, 0x39, now);
    assert_false(platform_take_message(&platform, &message));
}

static void the_8259_can_be_wired_through_pin_0(void **state)
{
    struct apic_message message;

    (void)state;
    pic_init(0xef, 0xff);
    route(0, 0x700);
    out_b(0x3fc, 0x08);
    out_b(0x3f9, 0x02);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.delivery, APIC_EXTINT);
}

/* --- Memory --- */

static void the_ioapic_and_the_hpet_are_all_mmio(void **state)
{
    uint64_t value;

    (void)state;
    assert_true(platform_mmio_write(&platform, gpa(IOAPIC), 4, 1, now));
    assert_true(platform_mmio_read(&platform, gpa(IOAPIC + 0x10), 4, now, &value));
    assert_int_equal(value, 0x00170020);
    assert_false(platform_mmio_read(&platform, gpa(IOAPIC + 0x1000), 8, now, &value));
    assert_true(value == UINT64_MAX);
    assert_true(platform_mmio_read(&platform, gpa(0xfed00000), 8, now, &value));
    assert_int_equal(value, 0x0429b17f8086a201);
    assert_false(platform_mmio_read(&platform, gpa(0xfed00400), 4, now, &value));
    assert_int_equal(value, 0xffffffff);
    assert_false(platform_mmio_read(&platform, gpa(IOAPIC - 1), 1, now, &value));
    assert_int_equal(value, 0xff);
    assert_false(platform_mmio_write(&platform, gpa(0xa0000), 2, 0, now));
}

/* --- Power and debug ports --- */

static void each_way_of_power_off_and_reset_names_itself(void **state)
{
    static const struct {
        uint16_t port;
        uint8_t size;
        uint32_t value;
        enum platform_power power;
        const char *reason;
    } ways[] = {
        {0x604, 2, 0x2000, POWER_OFF_REQUESTED, "ACPI S5"},
        {0xcf9, 1, 0x06, POWER_RESET_REQUESTED, "port 0xcf9"},
        {0x64, 1, 0xfe, POWER_RESET_REQUESTED, "port 0x64"},
        {0x92, 1, 0x01, POWER_RESET_REQUESTED, "port 0x92"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ways); i++) {
        setup(NULL);
        out_port(ways[i].port, ways[i].size, ways[i].value);
        assert_int_equal(platform.power, ways[i].power);
        assert_string_equal(platform.power_reason, ways[i].reason);
    }
}

static void debug_ports_work_when_they_are_configured(void **state)
{
    uint8_t byte;

    (void)state;
    setup_with(true, true);
    assert_int_equal(in_port(0xe9, 1), 0xe9);
    out_b(0xe9, '!');
    assert_true(byte_ring_take(&platform.console_out, &byte));
    assert_int_equal(byte, '!');
    out_port(0xf4, 4, 0x12345678);
    assert_int_equal(platform.power, POWER_DEBUG_EXIT);
    assert_int_equal(platform.debug_ports.exit_value, 0x12345678);
    setup_with(true, true);
    out_port(0x501, 2, 41); /* Solo5's last write */
    assert_int_equal(platform.power, POWER_DEBUG_EXIT);
    assert_int_equal(platform.debug_ports.exit_value, 41);
    assert_string_equal(platform.power_reason, "port 0x501");
}

static void the_second_serial_port_is_there_when_it_is_configured(void **state)
{
    struct platform_config config = platform.config;
    struct apic_message message;
    uint8_t byte;

    (void)state;
    config.com2 = true;
    platform_reset(&platform, &config, now);
    out_b(0x2f8, '2');
    assert_true(byte_ring_take(&platform.com2_out, &byte));
    assert_int_equal(byte, '2');
    assert_int_equal(byte_ring_count(&platform.console_out), 0);
    route(3, 0x33);
    out_b(0x2fc, 8);
    out_b(0x2f9, 2); /* the transmitter is empty */
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x33);
    for (uint32_t i = 0; i < BYTE_RING_BYTES; i++) {
        out_b(0x2f8, 'x');
    }
    out_b(0x2f8, 'y');
    assert_int_equal(in_port(0x2fd, 1) & 0x20, 0);
    while (byte_ring_take(&platform.com2_out, &byte)) {
        assert_int_equal(byte, 'x');
    }
    platform_console_poll(&platform, now);
    assert_true(byte_ring_take(&platform.com2_out, &byte));
    assert_int_equal(byte, 'y');
}

static void without_a_console_output_vanishes_and_nothing_blocks(void **state)
{
    (void)state;
    setup_with(true, false);
    for (unsigned i = 0; i < 10000; i++) {
        out_b(0xe9, 'x');
        assert_int_equal(in_port(0x3fd, 1), 0x60);
        out_b(0x3f8, 'x');
    }
    assert_int_equal(byte_ring_count(&platform.console_out), 0);
}

static void a_reset_gives_a_fresh_pc_and_keeps_the_last_words(void **state)
{
    const struct platform_config config = platform.config;
    uint8_t byte;

    (void)state;
    out_b(0x3f8, 'w');
    pic_init(0, 0);
    out_b(0xcf9, 6);
    platform_reset(&platform, &config, now + 5);
    assert_int_equal(platform.power, POWER_ON);
    assert_int_equal(in_port(0x21, 1), 0xfb);
    assert_true(platform_deadline(&platform) == DEADLINE_NONE);
    assert_true(byte_ring_take(&platform.console_out, &byte));
    assert_int_equal(byte, 'w');
}

/* --- Saved state --- */

/* An access as a guest makes it, to something that answers: its answer and what the PC says outside. */
static uint64_t random_access(struct platform *pc, const uint32_t random[4], uint64_t at)
{
    const struct bus_claim *claim = &pc->bus.claims[1 + random[0] % 32];
    uint64_t bytes = claim->last - claim->first + 1, address = claim->first + random[1] % bytes, value = 0;
    uint8_t size = (uint8_t)(1u << random[2] % 3);
    bool write = random[2] % 2 == 0;
    uint32_t port_value = 0;

    if (claim->row == NULL || claim->row->inert) {
        return 0;
    }
    if (claim->space == BUS_MEMORY && write) {
        return platform_mmio_write(pc, gpa(address), size, random[3], at);
    }
    if (claim->space == BUS_MEMORY) {
        return platform_mmio_read(pc, gpa(address), size, at, &value) ? 1 + value : value;
    }
    value = write ? platform_port_write(pc, (uint16_t)address, size, random[3], at)
                  : platform_port_read(pc, (uint16_t)address, size, at, &port_value);
    return value + port_value;
}

/* What the wires remember beside the devices. */
static void copy_wires(struct platform *to, const struct platform *from)
{
    to->lines = from->lines;
    to->hpet_levels = from->hpet_levels;
    memcpy(to->hpet_pins, from->hpet_pins, sizeof(to->hpet_pins));
    to->extint = from->extint;
    to->level_deadline = from->level_deadline;
    to->level_repeats = from->level_repeats;
    to->console_quiet_until = from->console_quiet_until;
    to->console_deadline = from->console_deadline;
    memcpy(&to->console_out, &from->console_out, sizeof(to->console_out));
    memcpy(&to->console_in, &from->console_in, sizeof(to->console_in));
}

static void restore(struct platform *to, const struct platform *from)
{
    platform_reset(to, &from->config, 0);
    copy_wires(to, from);
    for (unsigned i = 0; i < from->bus.device_count; i++) {
        const struct bus_device *device = &from->bus.devices[i];
        uint32_t at = device->row->saved_from;

        memcpy((uint8_t *)to->bus.devices[i].state + at, (const uint8_t *)device->state + at,
               device->row->state_bytes - at);
        bus_settle(&to->bus, i);
    }
    to->bus_lines = from->bus_lines;
}

static void same_outside(struct platform *a, struct platform *b)
{
    struct apic_message message[2];

    assert_int_equal(a->extint, b->extint);
    assert_int_equal(a->lines, b->lines);
    assert_int_equal(a->power, b->power);
    assert_true(platform_deadline(a) == platform_deadline(b));
    while (platform_take_message(a, &message[0])) {
        assert_true(platform_take_message(b, &message[1]));
        assert_memory_equal(&message[0], &message[1], sizeof(message[0]));
        if (message[0].level) {
            platform_eoi(a, message[0].vector, now);
            platform_eoi(b, message[0].vector, now);
        }
    }
    assert_false(platform_take_message(b, &message[1]));
    if (a->extint) {
        assert_int_equal(platform_acknowledge_extint(a), platform_acknowledge_extint(b));
    }
}

/* The same access, but that what devices leave is always carried the whole way. */
static uint64_t carried_access(struct platform *pc, const uint32_t random[4], uint64_t at)
{
    const struct bus_claim *claim = &pc->bus.claims[1 + random[0] % 32];
    uint64_t bytes = claim->last - claim->first + 1, address = claim->first + random[1] % bytes, value = 0;
    uint8_t size = (uint8_t)(1u << random[2] % 3);
    bool known;

    if (claim->row == NULL || claim->row->inert) {
        return 0;
    }
    if (random[2] % 2 == 0) {
        known = bus_write(&pc->bus, (enum bus_space)claim->space, address, size, random[3], at);
    } else {
        known = bus_read(&pc->bus, (enum bus_space)claim->space, address, size, at, &value);
    }
    if (platform_has_news(pc)) {
        platform_carry(pc);
    }
    return known + value;
}

static void what_touches_no_line_is_carried_past_them_to_the_same_end(void **state)
{
    static struct platform whole;
    uint32_t messages = 0;

    (void)state;
    setup_with(true, true);
    memset(&whole, 0, sizeof(whole));
    restore(&whole, &platform);
    for (unsigned i = 0; i < 100000; i++) {
        const uint32_t random[4] = {random_next(), random_next(), random_next(), random_next()};

        now += random_next() % 10000;
        platform_run_timers(&platform, now);
        platform_run_timers(&whole, now);
        if (i % 16 == 0) { /* an entry of the I/O APIC: fixed, edge or level, seldom masked */
            uint32_t low = 0x30 | (random_next() & 0xa000) | (random_next() % 8 == 0 ? 1u << 16 : 0),
                     pin = random_next() % 24;

            for (unsigned half = 0; half < 2; half++) {
                uint64_t value = half == 0 ? 0x10 + 2 * pin : low;

                assert_true(platform_mmio_write(&platform, gpa(IOAPIC + 0x10 * half), 4, value, now));
                assert_true(bus_write(&whole.bus, BUS_MEMORY, IOAPIC + 0x10 * half, 4, value, now));
                platform_carry(&whole);
            }
        }
        assert_true(random_access(&platform, random, now) == carried_access(&whole, random, now));
        messages += platform.outbox_count;
        assert_int_equal(platform.device_work, whole.device_work);
        same_outside(&platform, &whole);
        platform.power = whole.power = POWER_ON;
        platform.console_out.tail = platform.console_out.head;
        whole.console_out.tail = whole.console_out.head;
    }
    assert_true(messages > 1000);
}

/* What a row calls its saved state, and a reset, make the device again: the copy goes on as the original does. */
static void saved_state_is_all_that_a_device_is(void **state)
{
    static struct platform copy;

    (void)state;
    setup_with(true, true);
    for (unsigned round = 0; round < 60; round++) {
        memset(&copy, 0, sizeof(copy));
        restore(&copy, &platform);
        for (unsigned i = 0; i < 3000; i++) {
            const uint32_t random[4] = {random_next(), random_next(), random_next(), random_next()};

            now += random_next() % 64 == 0 ? random_next() % 200000000 : random_next() % 10000;
            platform_run_timers(&platform, now);
            platform_run_timers(&copy, now);
            assert_true(random_access(&platform, random, now) == random_access(&copy, random, now));
            same_outside(&platform, &copy);
            platform.power = copy.power = POWER_ON;
        }
        assert_memory_equal(&platform.console_out, &copy.console_out, sizeof(copy.console_out));
        platform.console_out.tail = platform.console_out.head;
    }
}

static void no_state_is_saved_that_is_a_pointer(void **state)
{
    (void)state;
    setup_with(true, true);
    for (unsigned i = 0; i < platform.bus.device_count; i++) {
        const struct bus_row *row = platform.bus.devices[i].row;
        const uint8_t *bytes = platform.bus.devices[i].state;

        assert_true(row->saved_from <= row->signals_at + sizeof(struct bus_signals) &&
                    row->saved_from <= row->state_bytes);
        for (uint32_t at = row->saved_from; at + sizeof(uint64_t) <= row->state_bytes; at += 4) {
            uint64_t word;

            memcpy(&word, bytes + at, sizeof(word));
            assert_false(word - (uintptr_t)&platform < sizeof(platform));
            assert_false(word - (uintptr_t)&clock_1ghz < sizeof(clock_1ghz));
        }
        for (unsigned other = 0; other < i; other++) {
            assert_string_not_equal(row->name, platform.bus.devices[other].row->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(unknown_ports_read_all_ones_and_are_reported, setup),
        cmocka_unit_test_setup(an_ide_channel_is_there_and_has_no_drive, setup),
        cmocka_unit_test_setup(what_every_pc_has_is_not_unknown, setup),
        cmocka_unit_test_setup(every_port_and_size_is_safe, setup),
        cmocka_unit_test_setup(wide_accesses_are_two_byte_accesses, setup),
        cmocka_unit_test_setup(pci_address_needs_a_dword_and_data_takes_any_size, setup),
        cmocka_unit_test_setup(the_timer_reaches_the_pic_and_pin_2, setup),
        cmocka_unit_test_setup(a_thousand_ticks_take_a_second, setup),
        cmocka_unit_test_setup(a_masked_timer_asks_for_no_wakeup_and_is_right_afterwards, setup),
        cmocka_unit_test_setup(an_edge_before_the_unmask_does_not_fire_in_the_ioapic, setup),
        cmocka_unit_test_setup(the_uart_interrupts_on_irq_4, setup),
        cmocka_unit_test_setup(typed_bytes_interrupt_and_arrive, setup),
        cmocka_unit_test_setup(the_rtc_interrupts_on_irq_8_through_the_slave, setup),
        cmocka_unit_test_setup(the_rtc_wakes_by_the_sci, setup),
        cmocka_unit_test_setup(the_hpet_interrupts_by_the_pin_of_its_route, setup),
        cmocka_unit_test_setup(the_hpet_takes_the_places_of_the_8254_and_the_rtc, setup),
        cmocka_unit_test_setup(the_sci_is_a_level_and_repeats_until_served, setup),
        cmocka_unit_test_setup(a_level_that_is_not_cleared_makes_a_pause_now_and_then, setup),
        cmocka_unit_test_setup(the_8259_can_be_wired_through_pin_0, setup),
        cmocka_unit_test_setup(the_ioapic_and_the_hpet_are_all_mmio, setup),
        cmocka_unit_test_setup(each_way_of_power_off_and_reset_names_itself, setup),
        cmocka_unit_test_setup(debug_ports_work_when_they_are_configured, setup),
        cmocka_unit_test_setup(the_second_serial_port_is_there_when_it_is_configured, setup),
        cmocka_unit_test_setup(without_a_console_output_vanishes_and_nothing_blocks, setup),
        cmocka_unit_test_setup(a_reset_gives_a_fresh_pc_and_keeps_the_last_words, setup),
        cmocka_unit_test_setup(what_touches_no_line_is_carried_past_them_to_the_same_end, setup),
        cmocka_unit_test_setup(saved_state_is_all_that_a_device_is, setup),
        cmocka_unit_test_setup(no_state_is_saved_that_is_a_pointer, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
