/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/host_irq.h, on a model of two I/O APICs: a pin is masked until it is opened, while its interrupt
 * waits for the guest's CPU, and for good once the guest has ended; one vector has one source, one pin one vector; and
 * what arrives becomes an edge of the guest's line that its I/O APIC turns into a message.
 */
#include "hv/host/host_irq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/guest_irq.h"
#include "hv/core/guest_order.h"
#include "hv/host/host_vectors.h"
#include "hv/x86/insn.h"
#include "tests/unit/support.h"

#define APICS 2u
#define PINS 24u
#define BASE(n) (0xfec00000ULL + (n)*0x10000ULL)
#define MASKED 0x10000u
#define LEVEL 0x8000u
#define LOW 0x2000u
#define HZ 1000000000ULL
#define SERIAL_IRQ 3u
#define VECTOR 0x45u

static struct {
    uint32_t select;
    uint32_t words[0x10 + 2 * PINS];
} apics[APICS];

static uint32_t *register_at(uint64_t address)
{
    uint32_t n = address < BASE(1) ? 0 : 1;

    assert_true(address == BASE(n) || address == BASE(n) + 0x10);
    if (address == BASE(n)) {
        return &apics[n].select;
    }
    assert_true(apics[n].select < ARRAY_COUNT(apics[n].words));
    return &apics[n].words[apics[n].select];
}

uint32_t insn_mmio_read32(uint64_t address)
{
    return *register_at(address);
}

void insn_mmio_write32(uint64_t address, uint32_t value)
{
    *register_at(address) = value;
}

static uint32_t entry(uint32_t apic, uint32_t pin)
{
    return apics[apic].words[0x10 + 2 * pin];
}

static uint32_t destination(uint32_t apic, uint32_t pin)
{
    return apics[apic].words[0x11 + 2 * pin] >> 24;
}

static struct host_facts host;
static struct config_guest config;
static struct guest guests[2];
static struct vcpu vcpus[2];
static struct lapic_page page __attribute__((aligned(4096)));

static void make_guest(struct guest *guest, struct vcpu *vcpu)
{
    struct platform_config platform = {.clock = &host.clock};

    memset(guest, 0, sizeof(*guest));
    memset(vcpu, 0, sizeof(*vcpu));
    guest->host = &host;
    guest->config = &config;
    guest->vcpus = vcpu;
    guest->vcpu_count = 1;
    guest->watchdog.deadline = UINT64_MAX;
    platform_reset(&guest->platform, &platform, 0);
    guest->platform_deadline = platform_deadline(&guest->platform);
    guest_order_forget(guest);
    vcpu->guest = guest;
    vcpu->pass_end = UINT64_MAX;
    lapic_init(&vcpu->lapic, &page, 0, true, &host.clock);
    lapic_reset(&vcpu->lapic, false);
}

static int set_up(void **state)
{
    static struct host_acpi acpi;

    (void)state;
    host.clock = clock_of(HZ);
    for (uint32_t n = 0; n < APICS; n++) {
        apics[n].words[1] = 0x20 | (PINS - 1) << 16;
        for (uint32_t pin = 0; pin < PINS; pin++) {
            apics[n].words[0x10 + 2 * pin] = MASKED;
        }
        acpi.ioapics[n] = BASE(n);
        acpi.ioapic_gsis[n] = n * PINS;
    }
    acpi.ioapic_count = APICS;
    host_irq_init(&acpi);
    make_guest(&guests[0], &vcpus[0]);
    make_guest(&guests[1], &vcpus[1]);
    return 0;
}

/* The sources of the tests, given out once: they stay for ever. */
static uint8_t uart_vector(void)
{
    static uint8_t vector;
    const struct host_irq_pin pin = {.gsi = SERIAL_IRQ, .apic_id = 5};

    if (vector == 0) {
        vector = host_irq_vector(&guests[0], SERIAL_IRQ);
        assert_int_equal(host_irq_route(vector, &pin), STATUS_OK);
    }
    return vector;
}

static void a_routed_pin_is_masked_and_goes_to_its_cpu(void **state)
{
    uint8_t vector = uart_vector();

    (void)state;
    assert_true(vector >= HOST_VECTOR_DEVICE);
    assert_int_equal(entry(0, SERIAL_IRQ), vector | MASKED);
    assert_int_equal(destination(0, SERIAL_IRQ), 5);
}

static void a_pin_is_masked_while_its_interrupt_waits(void **state)
{
    uint8_t vector = uart_vector();

    (void)state;
    host_irq_open_all(&guests[0]);
    assert_int_equal(entry(0, SERIAL_IRQ), vector);
    assert_true(host_irq_arrived(vector));
    assert_int_equal(entry(0, SERIAL_IRQ), vector | MASKED);
    assert_int_equal(guests[0].sources[0], 1u << SERIAL_IRQ);
    assert_int_equal(vcpus[0].kick, VCPU_KICK_SOURCES);
    assert_int_equal(guests[1].sources[0], 0);
    host_irq_rearm(&guests[1]);
    assert_int_equal(entry(0, SERIAL_IRQ), vector | MASKED);
    host_irq_rearm(&guests[0]);
    assert_int_equal(entry(0, SERIAL_IRQ), vector);
}

static void what_arrives_is_a_message_of_the_guests_io_apic(void **state)
{
    uint8_t vector = uart_vector();

    (void)state;
    platform_mmio_write(&guests[0].platform, gpa(0xfec00000), 4, 0x10 + 2 * SERIAL_IRQ, 0);
    platform_mmio_write(&guests[0].platform, gpa(0xfec00010), 4, VECTOR, 0);
    lapic_mmio_write(&vcpus[0].lapic, 0xf0, 4, 0x1ff, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(host_irq_arrived(vector));
        host_irq_rearm(&guests[0]);
        guest_take_sources(&vcpus[0], 0);
        assert_int_equal(guests[0].sources[0], 0);
        lapic_merge_pending(&vcpus[0].lapic);
        assert_true(lapic_requests(&vcpus[0].lapic, VECTOR));
        lapic_reset(&vcpus[0].lapic, false);
        lapic_mmio_write(&vcpus[0].lapic, 0xf0, 4, 0x1ff, 0);
    }
}

static void what_came_before_the_end_is_not_the_next_lifes(void **state)
{
    uint8_t vector = uart_vector();

    (void)state;
    host_irq_open_all(&guests[0]);
    assert_true(host_irq_arrived(vector));
    host_irq_close_all(&guests[0]);
    assert_int_equal(entry(0, SERIAL_IRQ), vector | MASKED);
    assert_int_equal(guests[0].sources[0], 0);
}

static void refusals(void **state)
{
    const struct host_irq_pin pins[] = {{.gsi = SERIAL_IRQ}, {.gsi = APICS * PINS}, {.gsi = 9, .apic_id = 255}};
    const enum status wanted[] = {STATUS_BUSY, STATUS_NOT_FOUND, STATUS_UNSUPPORTED};
    uint8_t vector = host_irq_vector(&guests[1], 4);

    (void)state;
    uart_vector();
    for (uint32_t i = 0; i < ARRAY_COUNT(pins); i++) {
        assert_int_equal(host_irq_route(vector, &pins[i]), wanted[i]);
    }
    assert_int_equal(host_irq_route(HOST_VECTOR_TIMER, &pins[0]), STATUS_NOT_FOUND);
    assert_false(host_irq_arrived(HOST_VECTOR_DEVICE + HOST_VECTOR_DEVICES - 1));
}

static void a_level_of_the_second_io_apic_stays_masked_until_it_is_opened(void **state)
{
    uint8_t vector = host_irq_vector(&guests[1], 100);
    const struct host_irq_pin pin = {.gsi = PINS + 7, .level = true, .active_low = true, .apic_id = 1};

    (void)state;
    assert_int_equal(host_irq_route(vector, &pin), STATUS_OK);
    host_irq_open(vector);
    assert_int_equal(entry(1, 7), vector | LEVEL | LOW);
    assert_true(host_irq_arrived(vector));
    host_irq_rearm(&guests[1]);
    assert_int_equal(entry(1, 7), vector | LEVEL | LOW | MASKED);
    assert_int_equal(guests[1].sources[1], 1ULL << (100 - 64));
    host_irq_open(vector);
    assert_int_equal(entry(1, 7), vector | LEVEL | LOW);
}

static void vectors_end(void **state)
{
    uint32_t count = 0;

    (void)state;
    while (host_irq_vector(&guests[1], 200) != 0) {
        count++;
    }
    assert_true(count < HOST_VECTOR_DEVICES);
    assert_true(host_irq_arrived(HOST_VECTOR_DEVICE + HOST_VECTOR_DEVICES - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_routed_pin_is_masked_and_goes_to_its_cpu, set_up),
        cmocka_unit_test_setup(a_pin_is_masked_while_its_interrupt_waits, set_up),
        cmocka_unit_test_setup(what_arrives_is_a_message_of_the_guests_io_apic, set_up),
        cmocka_unit_test_setup(what_came_before_the_end_is_not_the_next_lifes, set_up),
        cmocka_unit_test_setup(refusals, set_up),
        cmocka_unit_test_setup(a_level_of_the_second_io_apic_stays_masked_until_it_is_opened, set_up),
        cmocka_unit_test_setup(vectors_end, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
