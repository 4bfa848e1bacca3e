/* SPDX-License-Identifier: MIT */
/*
 * The paravirtual clock: the pages of all vCPUs of a guest show one time, whenever each was asked for. And where the
 * word for ends of interrupts may lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/policy/paravirt.h"

#include <string.h>

#define RAM_BYTES 0x4000u
#define START_TSC 0x123456789abULL
#define DAY_NS (86400ULL * NS_PER_SECOND)

/* The guest's view of its page. Linux, arch/x86/include/asm/pvclock-abi.h. */
struct page {
    uint32_t version, pad;
    uint64_t tsc, ns;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags, pad2[2];
};

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static struct host_facts host;
static struct guest guest;
static struct vcpu vcpus[2];

static void begin(uint64_t tsc_hz)
{
    memset(ram, 0, sizeof(ram));
    memset(&guest, 0, sizeof(guest));
    memset(vcpus, 0, sizeof(vcpus));
    host.clock = clock_of(tsc_hz);
    host.tsc_stable = true;
    guest.host = &host;
    guest.vcpus = vcpus;
    guest.vcpu_count = ARRAY_COUNT(vcpus);
    guest.start_tsc = START_TSC;
    guest.memory.window = (uint64_t)(uintptr_t)ram;
    guest.memory.range_count = 1;
    guest.memory.ranges[0] = (struct guest_range){gpa(0), hpa(0), RAM_BYTES};
    for (size_t i = 0; i < ARRAY_COUNT(vcpus); i++) {
        vcpus[i].guest = &guest;
        vcpus[i].tsc_offset = 0 - START_TSC;
    }
}

static uint64_t place_of(size_t vcpu)
{
    return 0x1ff0 + 0x1000 * vcpu; /* across two pages: only 4-byte alignment is asked for */
}

static void ask(size_t vcpu, uint64_t host_tsc)
{
    vcpus[vcpu].exit_tsc = host_tsc;
    paravirt_system_time_write(&vcpus[vcpu], place_of(vcpu) | 1);
}

static uint64_t time_ns(size_t vcpu, uint64_t host_tsc)
{
    struct page page;
    uint64_t ticks;

    memcpy(&page, ram + place_of(vcpu), sizeof(page));
    assert_int_equal(page.version & 1, 0);
    assert_int_equal(page.flags, 1);
    ticks = host_tsc + vcpus[vcpu].tsc_offset - page.tsc;
    ticks = page.shift < 0 ? ticks >> -page.shift : ticks << page.shift;
    return page.ns + (uint64_t)(((unsigned __int128)ticks * page.multiplier) >> 32);
}

static const uint64_t frequencies[] = {50000000, 999999999, 1000000001, 2095087654, 2899999999, 5700000001};

static void a_page_of_tomorrow_shows_the_same_time_as_one_of_today(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(frequencies); i++) {
        uint64_t tomorrow = START_TSC + 86400 * frequencies[i];

        begin(frequencies[i]);
        ask(0, START_TSC + 1000);
        ask(1, tomorrow);
        for (uint64_t later = 0; later < 1000000; later += 99991) {
            assert_in_range(time_ns(1, tomorrow + later) + 2 - time_ns(0, tomorrow + later), 0, 4);
        }
        assert_in_range(time_ns(0, tomorrow), DAY_NS - 50000, DAY_NS + 50000);
    }
}

static void a_moved_tsc_does_not_move_the_time(void **state)
{
    uint64_t now;

    (void)state;
    begin(frequencies[3]);
    now = START_TSC + 3600 * frequencies[3];
    ask(0, START_TSC + 1000);
    ask(1, START_TSC + 2000);
    vcpus[1].tsc_offset += 0xf000000000000000ULL;
    vcpus[1].exit_tsc = now;
    paravirt_tsc_moved(&vcpus[1]);
    assert_in_range(time_ns(1, now + 5000) + 2 - time_ns(0, now + 5000), 0, 4);
}

/* The word of MSR_KVM_EOI_EN is RAM on a border of 4 bytes; what is refused leaves the one before. */
static void ends_of_interrupts_have_a_word_that_is_ram(void **state)
{
    static const uint64_t refused[] = {0x1003, 0x1002, RAM_BYTES | 1, (1ULL << 40) | 1, ~0ULL, ~2ULL};

    (void)state;
    begin(frequencies[0]);
    assert_true(paravirt_eoi_write(&vcpus[0], 0x1f04 | 1));
    assert_ptr_equal(vcpus[0].lapic.end_word, ram + 0x1f04);
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        assert_false(paravirt_eoi_write(&vcpus[0], refused[i]));
        assert_int_equal(vcpus[0].msrs.kvm_eoi, 0x1f04 | 1);
    }
    assert_true(paravirt_eoi_write(&vcpus[0], (RAM_BYTES - 4) | 1));
    assert_ptr_equal(vcpus[0].lapic.end_word, ram + RAM_BYTES - 4);
    assert_null(vcpus[1].lapic.end_word);
    assert_true(paravirt_eoi_write(&vcpus[0], 0x1f04));
    assert_null(vcpus[0].lapic.end_word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_of_tomorrow_shows_the_same_time_as_one_of_today),
        cmocka_unit_test(a_moved_tsc_does_not_move_the_time),
        cmocka_unit_test(ends_of_interrupts_have_a_word_that_is_ram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
