/* SPDX-License-Identifier: MIT */
/* The local APIC as a guest's kernel meets it: by its page, by its MSRs, and by what it delivers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/lapic_registers.h"

#include <pthread.h>
#include <string.h>

#define HZ 1000000000ULL /* one tick is one nanosecond */
#define PHYSICAL_BITS 40u

static struct lapic_page page;
static struct clock clock_1ghz;
static struct lapic lapic;

static int setup(void **state)
{
    (void)state;
    clock_1ghz = clock_of(HZ);
    lapic_init(&lapic, &page, 3, true, &clock_1ghz);
    return 0;
}

static void write_reg(uint32_t offset, uint32_t value, uint64_t now)
{
    lapic_mmio_write(&lapic, offset, 4, value, now);
}

static uint32_t read_reg(uint32_t offset, uint64_t now)
{
    return lapic_mmio_read(&lapic, offset, now);
}

static void enable(void)
{
    write_reg(LAPIC_SVR, 0x1ff, 0);
}

static void to_x2apic(void)
{
    assert_true(lapic_base_write(&lapic, lapic.base_msr | LAPIC_BASE_EXTD, PHYSICAL_BITS));
}

static void deliver(uint8_t vector)
{
    assert_int_equal(lapic_highest_deliverable(&lapic), vector);
    lapic_accept(&lapic, vector);
}

static uint64_t msr(uint32_t number, uint64_t now)
{
    uint64_t value = 0;

    assert_true(lapic_msr_read(&lapic, number, now, &value));
    return value;
}

/* --- Reset --- */

static void reset_state_is_the_manuals(void **state)
{
    (void)state;
    assert_int_equal(lapic.base_msr, 0xfee00900);
    assert_int_equal(read_reg(LAPIC_ID, 0), 3u << 24);
    assert_int_equal(read_reg(LAPIC_VERSION, 0), 0x00050014);
    assert_int_equal(read_reg(LAPIC_SVR, 0), 0xff);
    assert_int_equal(read_reg(LAPIC_DFR, 0), 0xffffffff);
    assert_int_equal(read_reg(LAPIC_LDR, 0), 0);
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16) {
        assert_int_equal(read_reg(lvt, 0), LAPIC_LVT_MASKED);
    }
    assert_int_equal(lapic_highest_requested(&lapic), -1);
    assert_true(lapic.deadline == DEADLINE_NONE);
}

static void init_keeps_id_and_mode_and_forgets_the_rest(void **state)
{
    (void)state;
    enable();
    to_x2apic();
    lapic_post(&lapic, 0x40, false);
    assert_int_equal(lapic_highest_requested(&lapic), 0x40);
    assert_true(lapic_msr_write(&lapic, 0x838, 1000, 0));
    lapic_reset(&lapic, true);
    assert_true(lapic_x2apic(&lapic));
    assert_int_equal(msr(0x802, 0), 3);
    assert_int_equal(msr(0x80f, 0), 0xff);
    assert_int_equal(lapic_highest_requested(&lapic), -1);
    assert_true(lapic.deadline == DEADLINE_NONE);
}

static void virtual_wire_lets_extint_and_nmi_through(void **state)
{
    (void)state;
    assert_false(lapic_accepts_extint(&lapic));
    assert_false(lapic_accepts_lint_nmi(&lapic));
    lapic_virtual_wire(&lapic);
    assert_true(lapic_accepts_extint(&lapic));
    assert_true(lapic_accepts_lint_nmi(&lapic));
    assert_int_equal(read_reg(LAPIC_SVR, 0), 0x1ff);
    write_reg(LAPIC_LVT_LINT0, LAPIC_LVT_MASKED | 0x700, 0);
    assert_false(lapic_accepts_extint(&lapic));
}

/* --- Base MSR --- */

static void base_msr_allows_only_the_legal_transitions(void **state)
{
    /* from (EN EXTD), to, legal */
    static const struct {
        unsigned from, to;
        bool legal;
    } cases[] = {{0, 0, true}, {0, 1, false}, {0, 2, true}, {0, 3, false}, {2, 0, true},  {2, 1, false},
                 {2, 2, true}, {2, 3, true},  {3, 0, true}, {3, 1, false}, {3, 2, false}, {3, 3, true}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        setup(NULL);
        if (cases[i].from == 0) {
            assert_true(lapic_base_write(&lapic, 0xfee00100, PHYSICAL_BITS));
        } else if (cases[i].from == 3) {
            to_x2apic();
        }
        assert_int_equal(lapic_base_write(&lapic, 0xfee00100 | (uint64_t)cases[i].to << 10, PHYSICAL_BITS),
                         cases[i].legal);
    }
}

static void base_msr_refuses_reserved_bits(void **state)
{
    (void)state;
    assert_false(lapic_base_write(&lapic, 0xfee00900 | 1, PHYSICAL_BITS));
    assert_false(lapic_base_write(&lapic, 0xfee00900 | 1u << 9, PHYSICAL_BITS));
    assert_false(lapic_base_write(&lapic, 0xfee00900 | 1ULL << 40, PHYSICAL_BITS));
    assert_int_equal(lapic.base_msr, 0xfee00900);
    assert_true(lapic_base_write(&lapic, 0xfee00900 | 1ULL << 39, PHYSICAL_BITS));
    assert_false(lapic_base_write(&lapic, 0xfee00900 | 1ULL << 63, 64 - 12));
}

static void disabling_and_enabling_again_gives_a_fresh_apic(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TPR, 0x50, 0);
    lapic_post(&lapic, 0x90, false);
    assert_true(lapic_base_write(&lapic, 0xfee00100, PHYSICAL_BITS));
    assert_int_equal(read_reg(LAPIC_SVR, 0), 0xffffffff);
    write_reg(LAPIC_SVR, 0x1ff, 0);
    lapic_post(&lapic, 0x91, false);
    assert_int_equal(lapic_highest_requested(&lapic), -1);
    assert_true(lapic_accepts_extint(&lapic)); /* LINT0 is INTR now */
    assert_true(lapic_base_write(&lapic, 0xfee00900, PHYSICAL_BITS));
    assert_int_equal(read_reg(LAPIC_SVR, 0), 0xff);
    assert_int_equal(read_reg(LAPIC_TPR, 0), 0);
    assert_int_equal(read_reg(LAPIC_ID, 0), 3u << 24);
    assert_int_equal(lapic_highest_requested(&lapic), -1);
}

/* --- Priorities --- */

static void the_highest_vector_goes_first_and_lower_ones_wait_for_eoi(void **state)
{
    (void)state;
    enable();
    lapic_post(&lapic, 0x31, false);
    lapic_post(&lapic, 0x82, false);
    lapic_post(&lapic, 0x35, false);
    deliver(0x82);
    assert_int_equal(read_reg(LAPIC_PPR, 0), 0x80);
    assert_int_equal(lapic_highest_deliverable(&lapic), -1);
    assert_int_equal(lapic_highest_requested(&lapic), 0x35);
    write_reg(LAPIC_EOI, 0, 0);
    deliver(0x35);
    assert_int_equal(lapic_highest_deliverable(&lapic), -1); /* 0x31 has the same class */
    write_reg(LAPIC_EOI, 0, 0);
    deliver(0x31);
    write_reg(LAPIC_EOI, 0, 0);
    assert_int_equal(read_reg(LAPIC_PPR, 0), 0);
}

static void a_higher_class_interrupts_a_lower_one(void **state)
{
    (void)state;
    enable();
    lapic_post(&lapic, 0x35, false);
    deliver(0x35);
    lapic_post(&lapic, 0x41, false);
    deliver(0x41);
    assert_int_equal(read_reg(LAPIC_ISR + 0x10, 0), 1u << 0x15);
    assert_int_equal(read_reg(LAPIC_ISR + 0x20, 0), 1u << 1);
    write_reg(LAPIC_EOI, 0, 0);
    assert_int_equal(read_reg(LAPIC_ISR + 0x20, 0), 0);
    assert_int_equal(read_reg(LAPIC_PPR, 0), 0x30);
}

static void task_priority_holds_back_its_class_and_below(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TPR, 0x43, 0);
    assert_int_equal(read_reg(LAPIC_PPR, 0), 0x43);
    assert_int_equal(lapic_cr8(&lapic), 4);
    lapic_post(&lapic, 0x4f, false);
    assert_int_equal(lapic_highest_deliverable(&lapic), -1);
    lapic_post(&lapic, 0x50, false);
    assert_int_equal(lapic_highest_deliverable(&lapic), 0x50);
    lapic_cr8_write(&lapic, 5);
    assert_int_equal(read_reg(LAPIC_TPR, 0), 0x50);
    assert_int_equal(lapic_highest_deliverable(&lapic), -1);
    lapic_cr8_write(&lapic, 3);
    assert_int_equal(lapic_highest_deliverable(&lapic), 0x50);
}

static void every_vector_can_be_posted_delivered_and_ended(void **state)
{
    (void)state;
    enable();
    for (unsigned vector = 16; vector < 256; vector++) {
        lapic_post(&lapic, (uint8_t)vector, false);
        deliver((uint8_t)vector);
        write_reg(LAPIC_EOI, 0, 0);
        assert_int_equal(lapic_highest_requested(&lapic), -1);
        assert_int_equal(read_reg(LAPIC_PPR, 0), 0);
    }
}

static void only_level_triggered_vectors_report_their_eoi(void **state)
{
    uint8_t vector;

    (void)state;
    enable();
    lapic_post(&lapic, 0x60, true);
    deliver(0x60);
    assert_int_equal(read_reg(LAPIC_TMR + 0x30, 0), 1);
    write_reg(LAPIC_EOI, 0, 0);
    assert_true(lapic.eoi_pending);
    assert_true(lapic_take_eoi(&lapic, &vector));
    assert_int_equal(vector, 0x60);
    assert_false(lapic_take_eoi(&lapic, &vector));
    lapic_post(&lapic, 0x60, false);
    deliver(0x60);
    assert_int_equal(read_reg(LAPIC_TMR + 0x30, 0), 0);
    write_reg(LAPIC_EOI, 0, 0);
    assert_false(lapic.eoi_pending);
}

static void an_eoi_with_nothing_in_service_changes_nothing(void **state)
{
    struct lapic before;

    (void)state;
    enable();
    before = lapic;
    write_reg(LAPIC_EOI, 0, 0);
    assert_memory_equal(&before, &lapic, sizeof(lapic));
}

static void a_software_disabled_apic_takes_no_vectors_and_masks_its_lvt(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_LVT_TIMER, 0x30, 0);
    write_reg(LAPIC_LVT_LINT0, 0x700, 0);
    lapic_post(&lapic, 0x44, false);
    assert_int_equal(lapic_highest_requested(&lapic), 0x44);
    write_reg(LAPIC_SVR, 0xff, 0);
    assert_int_equal(read_reg(LAPIC_LVT_TIMER, 0), LAPIC_LVT_MASKED | 0x30);
    assert_int_equal(read_reg(LAPIC_LVT_LINT0, 0), LAPIC_LVT_MASKED | 0x700);
    write_reg(LAPIC_LVT_TIMER, 0x31, 0); /* the mask cannot be taken off */
    assert_int_equal(read_reg(LAPIC_LVT_TIMER, 0), LAPIC_LVT_MASKED | 0x31);
    lapic_post(&lapic, 0x55, false);
    assert_int_equal(lapic_highest_requested(&lapic), 0x44); /* what was accepted stays */
    enable();
    assert_int_equal(read_reg(LAPIC_LVT_TIMER, 0), LAPIC_LVT_MASKED | 0x31);
}

/* --- Errors --- */

static void errors_show_after_a_write_of_esr_and_raise_the_error_interrupt(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_LVT_ERROR, 0xfe, 0);
    write_reg(LAPIC_ICR, 5, 0); /* fixed, vector 5 */
    assert_int_equal(lapic.outbox_count, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), 0);
    assert_int_equal(lapic_highest_requested(&lapic), 0xfe);
    write_reg(LAPIC_ESR, 0, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), LAPIC_ERROR_SEND_VECTOR);
    write_reg(LAPIC_ESR, 0, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), 0);
}

static void a_posted_vector_below_16_is_a_receive_error(void **state)
{
    (void)state;
    enable();
    lapic_post(&lapic, 15, false);
    lapic_post(&lapic, 16, false);
    assert_int_equal(lapic_highest_requested(&lapic), 16);
    write_reg(LAPIC_ESR, 0, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), LAPIC_ERROR_RECEIVE_VECTOR);
}

static void an_access_to_a_reserved_register_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(read_reg(0x040, 0), 0);
    write_reg(LAPIC_ESR, 0, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), LAPIC_ERROR_REGISTER);
    write_reg(0x400, 1, 0);
    write_reg(LAPIC_ESR, 0, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), LAPIC_ERROR_REGISTER);
    write_reg(LAPIC_VERSION, 1, 0); /* read-only is not reserved */
    write_reg(LAPIC_ESR, 0, 0);
    assert_int_equal(read_reg(LAPIC_ESR, 0), 0);
    assert_int_equal(read_reg(LAPIC_VERSION, 0), 0x00050014);
}

static void short_and_misaligned_accesses_see_the_register_bytes(void **state)
{
    (void)state;
    assert_int_equal(read_reg(LAPIC_VERSION + 2, 0), 0x0005);
    assert_int_equal(read_reg(LAPIC_VERSION + 4, 0), 0);
    write_reg(LAPIC_TPR + 4, 0x77, 0);
    assert_int_equal(read_reg(LAPIC_TPR, 0), 0);
}

static void write_bytes(uint32_t offset, uint8_t size, uint32_t value)
{
    lapic_mmio_write(&lapic, offset, size, value, 0);
}

/* As the CPU does where it serves the page. */
static void short_writes_change_their_bytes_and_are_writes_of_the_register(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_LVT_LINT0, 0x17041, 0);
    write_bytes(LAPIC_LVT_LINT0, 1, 0x42);
    assert_int_equal(read_reg(LAPIC_LVT_LINT0, 0), 0x12042); /* 0x5000 cannot be written */
    write_bytes(LAPIC_LVT_LINT0 + 2, 1, 0);
    assert_int_equal(read_reg(LAPIC_LVT_LINT0, 0), 0x2042);
    write_bytes(LAPIC_LVT_LINT0 + 1, 2, 0x0107);
    assert_int_equal(read_reg(LAPIC_LVT_LINT0, 0), 0x10742);
    write_bytes(LAPIC_LVT_LINT0 + 3, 2, 0xffff); /* leaves it */
    write_bytes(LAPIC_LVT_LINT0 + 2, 4, 0xffff);
    write_bytes(LAPIC_LVT_LINT0 + 4, 1, 0xff);
    assert_int_equal(read_reg(LAPIC_LVT_LINT0, 0), 0x10742);
    write_bytes(LAPIC_LVT_LINT0, 8, 0x43); /* the lower half */
    assert_int_equal(read_reg(LAPIC_LVT_LINT0, 0), 0x43);
    write_bytes(LAPIC_ICR_HIGH + 3, 1, 5);
    write_reg(LAPIC_ICR, 0x4400 | 0x51, 0); /* an NMI */
    lapic.outbox_count = 0;
    write_bytes(LAPIC_ICR, 1, 0x52);
    assert_int_equal(lapic.outbox_count, 1);
    assert_int_equal(lapic.outbox[0].delivery, APIC_NMI);
    assert_int_equal(lapic.outbox[0].vector, 0x52);
    assert_int_equal(lapic.outbox[0].destination, 5);
}

static void any_byte_of_eoi_ends_an_interrupt(void **state)
{
    (void)state;
    enable();
    for (uint32_t offset = 0; offset < 4; offset++) {
        lapic_request(&lapic, 0x51);
        deliver(0x51);
        write_bytes(LAPIC_EOI + offset, 1, 0xff);
        assert_int_equal(read_reg(LAPIC_ISR + 0x20, 0), 0);
    }
    lapic_request(&lapic, 0x51);
    deliver(0x51);
    write_bytes(LAPIC_EOI + 4, 1, 0xff);
    write_bytes(LAPIC_EOI + 3, 2, 0xff);
    assert_int_equal(read_reg(LAPIC_ISR + 0x20, 0), 1u << 0x11);
}

/* --- A page that the CPU writes --- */

static void store(uint32_t offset, uint32_t value, uint64_t now)
{
    *lapic_register(&lapic, offset) = value;
    assert_true(lapic_page_written(&lapic, offset, now));
}

/* Both ways on the same writes, at the same times: the same registers, deadlines, messages and requests. */
static void what_the_cpu_wrote_is_written_as_by_an_access(void **state)
{
    static const uint32_t offsets[] = {
        LAPIC_ID,        LAPIC_TPR,       LAPIC_LDR,           LAPIC_DFR,          LAPIC_SVR,          LAPIC_ESR,
        LAPIC_ICR,       LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL,   LAPIC_LVT_LINT0,    LAPIC_LVT_LINT1,    LAPIC_LVT_ERROR,
        LAPIC_LVT_TIMER, LAPIC_ICR_HIGH,  LAPIC_TIMER_INITIAL, LAPIC_TIMER_DIVIDE, LAPIC_TIMER_INITIAL};
    static struct lapic_page other_page;
    static struct lapic other;
    uint64_t now = 1000, seed = 1;

    (void)state;
    lapic_init(&other, &other_page, 3, true, &clock_1ghz);
    for (uint32_t round = 0; round < 100000; round++) {
        uint32_t offset, value;

        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        offset = offsets[(seed >> 33) % ARRAY_COUNT(offsets)];
        value = (uint32_t)(seed >> 20);
        if (offset == LAPIC_LVT_TIMER && (value & LAPIC_LVT_TIMER_MODE) == LAPIC_LVT_TIMER_MODE) {
            value &= ~LAPIC_TIMER_TSC_DEADLINE;
        }
        value = offset == LAPIC_SVR ? value | LAPIC_SVR_ENABLE : value;
        value = offset == LAPIC_TIMER_INITIAL ? value >> (value & 31u) : value;
        store(offset, value, now);
        lapic_mmio_write(&other, offset, 4, value, now);
        lapic.outbox_count = other.outbox_count = 0;
        assert_memory_equal(&page, &other_page, sizeof(page));
        assert_true(lapic.deadline == other.deadline);
        assert_int_equal(lapic_mmio_read(&lapic, LAPIC_TIMER_CURRENT, now),
                         lapic_mmio_read(&other, LAPIC_TIMER_CURRENT, now));
        now += seed >> 50;
        lapic_run_timer(&lapic, now);
        lapic_run_timer(&other, now);
    }
}

/* An instruction that exits behind its write: the CPU says nothing of it, and the timer goes on as it was. */
static void what_the_cpu_does_not_tell_is_not_in_force(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_ONE_SHOT | 0x51, 0);
    write_reg(LAPIC_TIMER_INITIAL, 1000, 0);
    *lapic_register(&lapic, LAPIC_TIMER_DIVIDE) = 0xffffffff;
    *lapic_register(&lapic, LAPIC_TIMER_INITIAL) = 0;
    *lapic_register(&lapic, LAPIC_LVT_TIMER) = LAPIC_TIMER_TSC_DEADLINE | 0x51;
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 400), 600);
    lapic_run_timer(&lapic, 1000);
    assert_true(lapic_requests(&lapic, 0x51));
}

static void a_count_that_means_nothing_does_not_stay_in_the_page(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_TSC_DEADLINE | 0x51, 0);
    store(LAPIC_TIMER_INITIAL, 1000, 0);
    assert_int_equal(read_reg(LAPIC_TIMER_INITIAL, 0), 0);
    store(LAPIC_EOI, 5, 0);
    assert_int_equal(lapic_get(&lapic, LAPIC_EOI), 0);
}

/* --- IPIs --- */

static void an_icr_write_sends_what_it_says(void **state)
{
    struct apic_message message;

    (void)state;
    enable();
    write_reg(LAPIC_ICR_HIGH, 0x05000000, 0);
    write_reg(LAPIC_ICR, 0x000048c1 & ~0x800u, 0);
    assert_int_equal(lapic.outbox_count, 1);
    message = lapic.outbox[0];
    assert_int_equal(message.destination, 5);
    assert_int_equal(message.vector, 0xc1);
    assert_int_equal(message.delivery, APIC_FIXED);
    assert_int_equal(message.shorthand, APIC_TO_DESTINATION);
    assert_false(message.logical);
    assert_false(message.x2apic);
    lapic.outbox_count = 0;
    write_reg(LAPIC_ICR, 0x000c4500, 0); /* INIT to all but self */
    assert_int_equal(lapic.outbox[0].delivery, APIC_INIT);
    assert_int_equal(lapic.outbox[0].shorthand, APIC_TO_OTHERS);
    assert_false(lapic.outbox[0].deassert);
    lapic.outbox_count = 0;
    write_reg(LAPIC_ICR, 0x000c8500, 0); /* INIT level de-assert */
    assert_true(lapic.outbox[0].deassert);
    lapic.outbox_count = 0;
    write_reg(LAPIC_ICR, 0x000c4608, 0); /* SIPI, vector 8 is legal */
    assert_int_equal(lapic.outbox[0].delivery, APIC_STARTUP);
    assert_int_equal(lapic.outbox[0].vector, 8);
    assert_int_equal(read_reg(LAPIC_ICR, 0), 0x000c4608); /* delivery status idle */
}

static void the_self_shorthand_needs_no_other_cpu(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_ICR, 0x00044033, 0);
    assert_int_equal(lapic.outbox_count, 0);
    assert_int_equal(lapic_highest_deliverable(&lapic), 0x33);
}

/* Invalid by the manual, and delivered by every CPU: as a message to its own id. Other modes are not. */
static void an_nmi_by_the_self_shorthand_is_a_message_to_itself(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_ICR, 0x00044402, 0);
    assert_int_equal(lapic.outbox_count, 1);
    assert_int_equal(lapic.outbox[0].delivery, APIC_NMI);
    assert_int_equal(lapic.outbox[0].shorthand, APIC_TO_DESTINATION);
    assert_true(lapic_matches(&lapic, &lapic.outbox[0]));
    lapic.outbox_count = 0;
    for (uint32_t delivery = 2; delivery < 8; delivery++) { /* SMI to ExtINT, with the logical bit */
        if (delivery != APIC_NMI) {
            write_reg(LAPIC_ICR, 0x00044802 | delivery << 8, 0);
        }
    }
    assert_int_equal(lapic.outbox_count, 0);
    write_reg(LAPIC_ICR, 0x00044c02, 0);
    assert_false(lapic.outbox[0].logical);
    assert_true(lapic_matches(&lapic, &lapic.outbox[0]));
}

static void matches(uint32_t destination, bool logical, bool x2apic, bool expected)
{
    const struct apic_message message = {.destination = destination, .logical = logical, .x2apic = x2apic};

    assert_int_equal(lapic_matches(&lapic, &message), expected);
}

static void destinations_match_in_every_mode(void **state)
{
    (void)state;
    matches(3, false, false, true);
    matches(4, false, false, false);
    matches(0xff, false, false, true);
    write_reg(LAPIC_LDR, 0x24000000, 0); /* flat */
    matches(0x04, true, false, true);
    matches(0x30, true, false, true);
    matches(0x03, true, false, false);
    write_reg(LAPIC_DFR, 0x0fffffff, 0); /* cluster 2, member 4 */
    matches(0x24, true, false, true);
    matches(0x2c, true, false, true);
    matches(0x14, true, false, false);
    matches(0x23, true, false, false);
    matches(0xff, true, false, true);
    to_x2apic();
    matches(3, false, true, true);
    matches(0xff, false, true, false);
    matches(0xffffffff, false, true, true);
    matches(0x00000008, true, true, true);
    matches(0x00000004, true, true, false);
    matches(0x00010008, true, true, false);
    matches(3, false, false, true); /* from the I/O APIC */
}

/* --- Timer --- */

static void a_one_shot_count_fires_once_at_its_end(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, 0); /* by 1 */
    write_reg(LAPIC_LVT_TIMER, 0xef, 0);
    write_reg(LAPIC_TIMER_INITIAL, 1000, 5000);
    assert_int_equal(lapic.deadline, 6000);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 5250), 750);
    lapic_run_timer(&lapic, 5999);
    assert_int_equal(lapic_highest_requested(&lapic), -1);
    lapic_run_timer(&lapic, 6000);
    deliver(0xef);
    assert_true(lapic.deadline == DEADLINE_NONE);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 6000), 0);
    assert_int_equal(read_reg(LAPIC_TIMER_INITIAL, 6000), 1000);
}

static void every_divider_divides(void **state)
{
    static const struct {
        uint32_t code, divider;
    } codes[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};

    (void)state;
    enable();
    write_reg(LAPIC_LVT_TIMER, 0xef, 0);
    for (unsigned i = 0; i < ARRAY_COUNT(codes); i++) {
        write_reg(LAPIC_TIMER_DIVIDE, codes[i].code, 0);
        write_reg(LAPIC_TIMER_INITIAL, 1000, 0);
        assert_int_equal(lapic.deadline, 1000 * codes[i].divider);
        assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 10 * codes[i].divider), 990);
    }
}

static void a_periodic_timer_keeps_its_phase_when_it_is_served_late(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_PERIODIC | 0xef, 0);
    write_reg(LAPIC_TIMER_INITIAL, 100000, 7);
    assert_int_equal(lapic.deadline, 100007);
    lapic_run_timer(&lapic, 100500);
    assert_int_equal(lapic_highest_requested(&lapic), 0xef);
    assert_int_equal(lapic.deadline, 200007);
    lapic_run_timer(&lapic, 1234567);
    assert_int_equal(lapic.deadline, 1300007);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 1250007), 50000);
}

static void a_masked_timer_counts_without_a_deadline(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, 0);
    write_reg(LAPIC_TIMER_INITIAL, 1000000, 0); /* LVT is masked */
    assert_true(lapic.deadline == DEADLINE_NONE);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 400000), 600000);
    write_reg(LAPIC_LVT_TIMER, 0xef, 400000);
    assert_int_equal(lapic.deadline, 1000000);
    write_reg(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED | 0xef, 500000);
    write_reg(LAPIC_LVT_TIMER, 0xef, 2000000); /* it expired while masked */
    assert_true(lapic.deadline == DEADLINE_NONE);
    assert_int_equal(lapic_highest_requested(&lapic), -1);
}

static void a_new_divider_applies_to_what_is_left(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, 0);
    write_reg(LAPIC_LVT_TIMER, 0xef, 0);
    write_reg(LAPIC_TIMER_INITIAL, 1000, 0);
    write_reg(LAPIC_TIMER_DIVIDE, 0, 600); /* 400 are left, now 2 ns each */
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 600), 400);
    assert_int_equal(lapic.deadline, 1400);
}

static void start(uint32_t mode, uint32_t count, uint64_t now)
{
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, now);
    write_reg(LAPIC_LVT_TIMER, mode | 0xef, now);
    write_reg(LAPIC_TIMER_INITIAL, count, now);
}

static void a_one_shot_count_becomes_periodic_while_it_runs(void **state)
{
    (void)state;
    start(LAPIC_TIMER_ONE_SHOT, 100000, 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_PERIODIC | 0xef, 40000);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 40000), 60000);
    assert_int_equal(lapic.deadline, 100000);
    lapic_run_timer(&lapic, 100000);
    assert_int_equal(lapic.deadline, 200000);
}

static void a_one_shot_count_that_ended_does_not_start_again_as_periodic(void **state)
{
    (void)state;
    start(LAPIC_TIMER_ONE_SHOT, 100000, 0);
    lapic_run_timer(&lapic, 100000);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_PERIODIC | 0xef, 150000);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 160000), 0);
    assert_int_equal(read_reg(LAPIC_TIMER_INITIAL, 160000), 100000);
    assert_true(lapic.deadline == DEADLINE_NONE);
    write_reg(LAPIC_TIMER_INITIAL, 50000, 200000); /* only a new count does */
    assert_int_equal(lapic.deadline, 250000);
}

static void a_periodic_count_becomes_one_shot_in_its_present_period(void **state)
{
    (void)state;
    start(LAPIC_TIMER_PERIODIC | LAPIC_LVT_MASKED, 4096, 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_ONE_SHOT | 0xef, 10 * 4096 + 96);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 10 * 4096 + 96), 4000);
    assert_int_equal(lapic.deadline, 11 * 4096);
    lapic_run_timer(&lapic, 11 * 4096);
    deliver(0xef);
    assert_int_equal(read_reg(LAPIC_TIMER_CURRENT, 12 * 4096), 0);
    assert_true(lapic.deadline == DEADLINE_NONE);
}

static void what_was_due_fires_before_a_register_changes(void **state)
{
    (void)state;
    start(LAPIC_TIMER_ONE_SHOT, 1000, 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED | 0xef, 1500); /* the timer was not run since its end */
    deliver(0xef);
}

static void the_timer_is_never_faster_than_the_tsc(void **state)
{
    struct clock slow = clock_of(50000000);

    (void)state;
    assert_int_equal(lapic_timer_hz(3000000000ULL), 1000000000);
    assert_int_equal(lapic_timer_hz(1000000000ULL), 1000000000);
    assert_int_equal(lapic_timer_hz(999999999ULL), 500000000);
    assert_int_equal(lapic_timer_hz(50000000), 31250000);
    lapic_init(&lapic, &page, 3, true, &slow);
    start(LAPIC_TIMER_ONE_SHOT, 31250, 0); /* a millisecond */
    assert_in_range(lapic.deadline, 49999, 50001);
}

static void a_count_of_zero_stops_the_timer(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_LVT_TIMER, 0xef, 0);
    write_reg(LAPIC_TIMER_INITIAL, 1000, 0);
    write_reg(LAPIC_TIMER_INITIAL, 0, 10);
    assert_true(lapic.deadline == DEADLINE_NONE);
}

static void a_tiny_period_cannot_starve_the_machine(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_TIMER_DIVIDE, 0xb, 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_PERIODIC | 0xef, 0);
    write_reg(LAPIC_TIMER_INITIAL, 1, 0);
    lapic_run_timer(&lapic, lapic.deadline);
    assert_in_range(lapic.deadline, 30000, 50000);
}

static void tsc_deadline_fires_at_the_guests_tsc(void **state)
{
    const uint64_t offset = 1000000;

    (void)state;
    enable();
    lapic_tsc_deadline_write(&lapic, 5000, offset, 100); /* not in this mode: ignored */
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 0), 0);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_TSC_DEADLINE | 0xec, 0);
    lapic_tsc_deadline_write(&lapic, offset + 9000, offset, 100);
    assert_int_equal(lapic.deadline, 9000);
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 8999), offset + 9000);
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 9000), 0); /* it has passed, and is about to fire */
    lapic_run_timer(&lapic, 9000);
    deliver(0xec);
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 0), 0);
    assert_true(lapic.deadline == DEADLINE_NONE);
    write_reg(LAPIC_TIMER_INITIAL, 1000, 0); /* ignored in this mode */
    assert_int_equal(read_reg(LAPIC_TIMER_INITIAL, 0), 0);
}

/* The register is another's: hv/vmx/timer.c. */
static void what_fires_elsewhere_is_requested_here(void **state)
{
    (void)state;
    enable();
    assert_false(lapic_takes_tsc_deadline(&lapic));
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_TSC_DEADLINE | 0xec, 0);
    assert_true(lapic_takes_tsc_deadline(&lapic));
    lapic.deadline = lapic.tsc_deadline = 9000;
    lapic_timer_fired(&lapic, 8000); /* of an older one */
    deliver(0xec);
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 8000), 9000);
    write_reg(LAPIC_EOI, 0, 0);
    lapic_timer_fired(&lapic, 9000);
    deliver(0xec);
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 0), 0);
    assert_true(lapic.deadline == DEADLINE_NONE);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_TSC_DEADLINE | LAPIC_LVT_MASKED | 0xec, 0);
    lapic_timer_fired(&lapic, 9500);
    assert_int_equal(lapic_highest_requested(&lapic), -1);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_PERIODIC | 0xec, 0);
    assert_false(lapic_takes_tsc_deadline(&lapic));
}

static void a_tsc_deadline_in_the_past_fires_at_once(void **state)
{
    const uint64_t offset = 1ULL << 60; /* a guest that set its TSC far ahead: 5 is long ago for it */

    (void)state;
    enable();
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_TSC_DEADLINE | 0xec, 0);
    lapic_tsc_deadline_write(&lapic, 5, offset, 100);
    assert_int_equal(lapic_highest_requested(&lapic), 0xec);
    assert_true(lapic.deadline == DEADLINE_NONE);
    lapic_tsc_deadline_write(&lapic, UINT64_MAX, offset, 100);
    assert_true(lapic.deadline > 1ULL << 62);
    lapic_tsc_deadline_write(&lapic, 0, offset, 100);
    assert_true(lapic.deadline == DEADLINE_NONE);
}

static void leaving_tsc_deadline_mode_disarms(void **state)
{
    (void)state;
    enable();
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_TSC_DEADLINE | 0xec, 0);
    lapic_tsc_deadline_write(&lapic, 9000, 0, 100);
    write_reg(LAPIC_LVT_TIMER, LAPIC_TIMER_PERIODIC | 0xec, 200);
    assert_true(lapic.deadline == DEADLINE_NONE);
    assert_int_equal(lapic_tsc_deadline_read(&lapic, 0), 0);
}

/* --- x2APIC --- */

static void x2apic_shows_the_full_id_and_the_derived_logical_id(void **state)
{
    (void)state;
    lapic_init(&lapic, &page, 0x25, false, &clock_1ghz);
    to_x2apic();
    assert_int_equal(msr(0x802, 0), 0x25);
    assert_int_equal(msr(0x80d, 0), 2u << 16 | 1u << 5);
    assert_int_equal(read_reg(LAPIC_ID, 0), 0xffffffff); /* the page is gone */
}

static void x2apic_reserved_bits_and_registers_fault(void **state)
{
    /* MSR, value, legal */
    static const struct {
        uint32_t msr;
        uint64_t value;
        bool legal;
    } writes[] = {
        {0x802, 0, false},       {0x803, 0, false},       {0x808, 0xff, true},       {0x808, 0x100, false},
        {0x80b, 0, true},        {0x80b, 1, false},       {0x80d, 0, false},         {0x80e, 0, false},
        {0x80f, 0x1ff, true},    {0x80f, 0x1000, false},  {0x810, 0, false},         {0x828, 0, true},
        {0x828, 1, false},       {0x82f, 0, false},       {0x830, 0x000c4500, true}, {0x830, 0x00100000, false},
        {0x832, 0x200ef, true},  {0x832, 0x600ef, false}, {0x832, 0x800ef, false},   {0x835, 0x10700, true},
        {0x835, 0x20700, false}, {0x837, 0xfe, true},     {0x838, 0xffffffff, true}, {0x838, 1ULL << 32, false},
        {0x839, 0, false},       {0x83e, 0xb, true},      {0x83e, 4, false},         {0x83f, 0x100, false},
        {0x840, 0, false},       {0x831, 0, false},       {0x7ff, 0, false},
    };
    uint64_t value;

    (void)state;
    assert_false(lapic_msr_write(&lapic, 0x808, 0, 0)); /* not in x2APIC mode */
    assert_false(lapic_msr_read(&lapic, 0x808, 0, &value));
    to_x2apic();
    for (unsigned i = 0; i < ARRAY_COUNT(writes); i++) {
        lapic.outbox_count = 0;
        if (lapic_msr_write(&lapic, writes[i].msr, writes[i].value, 0) != writes[i].legal) {
            fail_msg("MSR %#x value %#llx", writes[i].msr, (unsigned long long)writes[i].value);
        }
    }
    assert_false(lapic_msr_read(&lapic, 0x80b, 0, &value)); /* write-only */
    assert_false(lapic_msr_read(&lapic, 0x83f, 0, &value));
    assert_false(lapic_msr_read(&lapic, 0x80e, 0, &value));
    assert_false(lapic_msr_read(&lapic, 0x831, 0, &value));
    assert_true(lapic_msr_read(&lapic, 0x839, 0, &value));
}

static void x2apic_icr_has_64_bits(void **state)
{
    (void)state;
    enable();
    to_x2apic();
    assert_true(lapic_msr_write(&lapic, 0x830, 0x12345678000008f1, 0));
    assert_int_equal(lapic.outbox[0].destination, 0x12345678);
    assert_int_equal(lapic.outbox[0].vector, 0xf1);
    assert_true(lapic.outbox[0].logical);
    assert_true(lapic.outbox[0].x2apic);
    assert_int_equal(msr(0x830, 0), 0x12345678000008f1);
    assert_true(lapic_msr_write(&lapic, 0x83f, 0x77, 0));
    assert_int_equal(lapic_highest_requested(&lapic), 0x77);
}

#define INITS 200000u
static bool inits_done;

static void *take_inits(void *unused)
{
    for (unsigned i = 0; i < INITS; i++) {
        lapic_reset(&lapic, true);
    }
    __atomic_store_n(&inits_done, true, __ATOMIC_RELEASE);
    return unused;
}

/* Another CPU looks whether its SIPI is for the CPU that takes the INIT right now: it always is. */
static void an_init_never_hides_the_apic_from_a_sipi(void **state)
{
    const struct apic_message sipi = {.delivery = APIC_STARTUP, .destination = 3, .x2apic = true};
    const struct apic_message logical = {.delivery = APIC_FIXED, .destination = 8, .logical = true, .x2apic = true};
    uint64_t looks = 0;
    pthread_t thread;

    (void)state;
    to_x2apic();
    inits_done = false;
    assert_int_equal(pthread_create(&thread, NULL, take_inits, NULL), 0);
    while (!__atomic_load_n(&inits_done, __ATOMIC_ACQUIRE) || looks == 0) {
        assert_true(lapic_matches(&lapic, &sipi));
        assert_true(lapic_matches(&lapic, &logical));
        looks++;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* --- Ends of interrupts by a word of the guest's memory --- */

static uint32_t end_word;

/* What a guest does at the end of a handler. True: no EOI is needed. */
static bool end_by_word(void)
{
    bool was_set = (end_word & 1) != 0;

    end_word &= ~1u;
    return was_set;
}

static void start_end_word(void)
{
    enable();
    end_word = 0xa0;
    lapic_set_end_word(&lapic, &end_word);
}

static bool in_service(uint8_t vector)
{
    return (page.registers[(LAPIC_ISR + vector / 32u * 16) / 4] >> vector % 32u & 1) != 0;
}

static void an_edge_ends_by_the_word(void **state)
{
    (void)state;
    start_end_word();
    lapic_post(&lapic, 0x51, false);
    deliver(0x51);
    assert_int_equal(end_word, 0xa1);
    assert_true(end_by_word());
    assert_true(in_service(0x51)); /* until the APIC is looked at */
    lapic_post(&lapic, 0x41, false);
    deliver(0x41); /* of a lower class: 0x51 is over */
    assert_false(in_service(0x51));
    assert_true(end_by_word());
    assert_int_equal(read_reg(LAPIC_ISR + 0x41 / 32 * 16, 0), 0);
    assert_int_equal(read_reg(LAPIC_PPR, 0), 0);
    assert_int_equal(end_word, 0xa0);
}

static void what_waits_for_the_end_takes_the_word_back(void **state)
{
    (void)state;
    start_end_word();
    lapic_post(&lapic, 0x51, false);
    deliver(0x51);
    lapic_post(&lapic, 0x41, false);
    assert_int_equal(lapic_highest_deliverable(&lapic), -1);
    assert_false(end_by_word());
    assert_true(lapic_end_of_interrupt(&lapic));
    deliver(0x41);
    assert_true(end_by_word());
    lapic_post(&lapic, 0x42, false); /* both wait: the end of the first is one that something has to be done at */
    lapic_post(&lapic, 0x52, false);
    deliver(0x52);
    assert_false(end_by_word());
    assert_true(lapic_end_of_interrupt(&lapic));
    deliver(0x42);
    assert_true(end_by_word());
}

static void a_level_ends_by_eoi(void **state)
{
    uint8_t vector = 0;

    (void)state;
    start_end_word();
    lapic_post(&lapic, 0x61, true);
    deliver(0x61);
    assert_false(end_by_word());
    assert_true(lapic_end_of_interrupt(&lapic));
    assert_true(lapic_take_eoi(&lapic, &vector));
    assert_int_equal(vector, 0x61);
}

/* The inner one by the word, the outer one, whose bit was taken back for it, by EOI. */
static void nested_ones_end_in_their_order(void **state)
{
    (void)state;
    start_end_word();
    lapic_post(&lapic, 0x51, false);
    deliver(0x51);
    lapic_post(&lapic, 0x71, false);
    deliver(0x71);
    assert_true(end_by_word());
    assert_false(end_by_word());
    assert_true(lapic_end_of_interrupt(&lapic));
    assert_false(in_service(0x71));
    assert_false(in_service(0x51));
    assert_false(lapic_end_of_interrupt(&lapic));
}

static void eoi_counts_where_the_guest_does_not_look_at_the_word(void **state)
{
    (void)state;
    start_end_word();
    lapic_post(&lapic, 0x51, false);
    deliver(0x51);
    assert_true(lapic_end_of_interrupt(&lapic));
    assert_false(in_service(0x51));
    assert_int_equal(end_word, 0xa0);
    assert_false(lapic_end_of_interrupt(&lapic));
}

static void the_word_is_left_alone_once_it_is_gone(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        start_end_word();
        lapic_post(&lapic, 0x51, false);
        deliver(0x51);
        if (how == 0) {
            lapic_set_end_word(&lapic, NULL);
            assert_int_equal(end_word, 0xa0);
            assert_true(lapic_end_of_interrupt(&lapic));
        } else {
            lapic_reset(&lapic, how == 1);
        }
        enable();
        end_word = 0x55aa55aa;
        lapic_post(&lapic, 0x51, false);
        deliver(0x51);
        assert_true(lapic_end_of_interrupt(&lapic));
        assert_int_equal(end_word, 0x55aa55aa);
    }
}

/* ---- Short ways against a search ---- */

#define STEPS 200000u

static uint64_t seed = 7;

static uint32_t random_below(uint32_t end) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * 0x2545f4914f6cdd1dULL >> 33) % end);
}

/* Bit by bit. */
static int searched(const struct lapic_page *in, uint32_t base)
{
    for (int vector = 255; vector >= 0; vector--) {
        if ((in->registers[(base + (uint32_t)vector / 32 * 16) / 4] >> vector % 32 & 1) != 0) {
            return vector;
        }
    }
    return -1;
}

static uint32_t class_in_service(void)
{
    int vector = searched(&page, LAPIC_ISR);

    return vector < 0 ? 0 : (uint32_t)vector & 0xf0u;
}

/* As lapic.c says it: exact where TPR is the one that PPR was computed from, and never below what is in service. */
static void check_ppr(void)
{
    uint32_t tpr = lapic_get(&lapic, LAPIC_TPR), ppr = lapic_get(&lapic, LAPIC_PPR);

    assert_true((ppr & 0xf0u) >= class_in_service());
    if (tpr == lapic.ppr_tpr) {
        assert_int_equal(ppr & 0xf0u, (tpr & 0xf0u) >= class_in_service() ? tpr & 0xf0u : class_in_service());
    }
}

/* Both ways from the same state. True: there is a short one. */
static bool accept_both_ways(void)
{
    static struct lapic_page before;
    struct lapic copy = lapic;
    bool posted = lapic.pending_words != 0, moved = lapic_get(&lapic, LAPIC_TPR) != lapic.ppr_tpr;
    int quick, vector;

    memcpy(&before, &page, sizeof(page));
    copy.page = &before;
    vector = lapic_highest_deliverable(&copy);
    if (vector >= 0) {
        lapic_accept(&copy, (uint8_t)vector);
    }
    quick = lapic_accept_alone(&lapic);
    if (quick >= 0) {
        assert_int_equal(quick, vector);
        assert_int_equal(searched(&page, LAPIC_IRR), -1);
        assert_memory_equal(&page, &before, sizeof(page));
        return true;
    }
    assert_true(vector < 0 || posted || moved || searched(&before, LAPIC_IRR) >= 0 || vector != lapic.latest);
    if (lapic_highest_deliverable(&lapic) >= 0) {
        lapic_accept(&lapic, (uint8_t)vector);
    }
    assert_memory_equal(&page, &before, sizeof(page));
    return false;
}

static void end_the_highest(void)
{
    static struct lapic_page expected;
    int vector = searched(&page, LAPIC_ISR);

    memcpy(&expected, &page, sizeof(page));
    if (vector >= 0) {
        expected.registers[(LAPIC_ISR + (uint32_t)vector / 32 * 16) / 4] &= ~(1u << vector % 32);
    }
    assert_int_equal(lapic_end_of_interrupt(&lapic), vector >= 0);
    expected.registers[LAPIC_PPR / 4] = lapic_get(&lapic, LAPIC_PPR);
    assert_memory_equal(&page, &expected, sizeof(page));
}

/* Requests from everywhere, ends, and TPRs that the guest or the CPU writes, in any order. */
static void the_short_ways_agree_with_a_search(void **state)
{
    uint32_t quick = 0;

    (void)state;
    to_x2apic();
    assert_true(lapic_msr_write(&lapic, 0x80f, 0x1ff, 0));
    for (uint32_t step = 0; step < STEPS; step++) {
        uint8_t vector = (uint8_t)(16 + random_below(240));
        uint8_t ended;
        int alone;

        switch (random_below(11)) {
        case 0:
            if (random_below(8) == 0) {
                lapic_post(&lapic, vector, random_below(2) != 0);
            }
            break;
        case 1:
            assert_true(lapic_msr_write(&lapic, 0x83f, vector, 0));
            break;
        case 2:
            lapic_tpr_write(&lapic, random_below(4) == 0 ? random_below(256) : 0);
            break;
        case 3: /* by CR8 with a TPR shadow: PPR stays as it was */
            *lapic_register(&lapic, LAPIC_TPR) = random_below(4) == 0 ? random_below(16) << 4 : 0;
            break;
        case 4:
        case 5:
        case 6:
            quick += accept_both_ways();
            break;
        case 7:
            alone = lapic_requests_alone(&lapic);
            assert_true(alone < 0 || alone == searched(&page, LAPIC_IRR));
            break;
        default:
            end_the_highest();
            while (lapic_take_eoi(&lapic, &ended)) {
            }
            break;
        }
        check_ppr();
    }
    assert_true(quick > STEPS / 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_init_never_hides_the_apic_from_a_sipi, setup),
        cmocka_unit_test_setup(reset_state_is_the_manuals, setup),
        cmocka_unit_test_setup(init_keeps_id_and_mode_and_forgets_the_rest, setup),
        cmocka_unit_test_setup(virtual_wire_lets_extint_and_nmi_through, setup),
        cmocka_unit_test_setup(base_msr_allows_only_the_legal_transitions, setup),
        cmocka_unit_test_setup(base_msr_refuses_reserved_bits, setup),
        cmocka_unit_test_setup(disabling_and_enabling_again_gives_a_fresh_apic, setup),
        cmocka_unit_test_setup(the_highest_vector_goes_first_and_lower_ones_wait_for_eoi, setup),
        cmocka_unit_test_setup(a_higher_class_interrupts_a_lower_one, setup),
        cmocka_unit_test_setup(task_priority_holds_back_its_class_and_below, setup),
        cmocka_unit_test_setup(every_vector_can_be_posted_delivered_and_ended, setup),
        cmocka_unit_test_setup(only_level_triggered_vectors_report_their_eoi, setup),
        cmocka_unit_test_setup(an_eoi_with_nothing_in_service_changes_nothing, setup),
        cmocka_unit_test_setup(a_software_disabled_apic_takes_no_vectors_and_masks_its_lvt, setup),
        cmocka_unit_test_setup(errors_show_after_a_write_of_esr_and_raise_the_error_interrupt, setup),
        cmocka_unit_test_setup(a_posted_vector_below_16_is_a_receive_error, setup),
        cmocka_unit_test_setup(an_access_to_a_reserved_register_is_an_error, setup),
        cmocka_unit_test_setup(short_and_misaligned_accesses_see_the_register_bytes, setup),
        cmocka_unit_test_setup(short_writes_change_their_bytes_and_are_writes_of_the_register, setup),
        cmocka_unit_test_setup(any_byte_of_eoi_ends_an_interrupt, setup),
        cmocka_unit_test_setup(what_the_cpu_wrote_is_written_as_by_an_access, setup),
        cmocka_unit_test_setup(what_the_cpu_does_not_tell_is_not_in_force, setup),
        cmocka_unit_test_setup(a_count_that_means_nothing_does_not_stay_in_the_page, setup),
        cmocka_unit_test_setup(an_icr_write_sends_what_it_says, setup),
        cmocka_unit_test_setup(the_self_shorthand_needs_no_other_cpu, setup),
        cmocka_unit_test_setup(an_nmi_by_the_self_shorthand_is_a_message_to_itself, setup),
        cmocka_unit_test_setup(destinations_match_in_every_mode, setup),
        cmocka_unit_test_setup(a_one_shot_count_fires_once_at_its_end, setup),
        cmocka_unit_test_setup(every_divider_divides, setup),
        cmocka_unit_test_setup(a_periodic_timer_keeps_its_phase_when_it_is_served_late, setup),
        cmocka_unit_test_setup(a_masked_timer_counts_without_a_deadline, setup),
        cmocka_unit_test_setup(a_new_divider_applies_to_what_is_left, setup),
        cmocka_unit_test_setup(a_one_shot_count_becomes_periodic_while_it_runs, setup),
        cmocka_unit_test_setup(a_one_shot_count_that_ended_does_not_start_again_as_periodic, setup),
        cmocka_unit_test_setup(a_periodic_count_becomes_one_shot_in_its_present_period, setup),
        cmocka_unit_test_setup(what_was_due_fires_before_a_register_changes, setup),
        cmocka_unit_test_setup(the_timer_is_never_faster_than_the_tsc, setup),
        cmocka_unit_test_setup(a_count_of_zero_stops_the_timer, setup),
        cmocka_unit_test_setup(a_tiny_period_cannot_starve_the_machine, setup),
        cmocka_unit_test_setup(tsc_deadline_fires_at_the_guests_tsc, setup),
        cmocka_unit_test_setup(what_fires_elsewhere_is_requested_here, setup),
        cmocka_unit_test_setup(a_tsc_deadline_in_the_past_fires_at_once, setup),
        cmocka_unit_test_setup(leaving_tsc_deadline_mode_disarms, setup),
        cmocka_unit_test_setup(an_edge_ends_by_the_word, setup),
        cmocka_unit_test_setup(what_waits_for_the_end_takes_the_word_back, setup),
        cmocka_unit_test_setup(a_level_ends_by_eoi, setup),
        cmocka_unit_test_setup(nested_ones_end_in_their_order, setup),
        cmocka_unit_test_setup(eoi_counts_where_the_guest_does_not_look_at_the_word, setup),
        cmocka_unit_test_setup(the_word_is_left_alone_once_it_is_gone, setup),
        cmocka_unit_test_setup(the_short_ways_agree_with_a_search, setup),
        cmocka_unit_test_setup(x2apic_shows_the_full_id_and_the_derived_logical_id, setup),
        cmocka_unit_test_setup(x2apic_reserved_bits_and_registers_fault, setup),
        cmocka_unit_test_setup(x2apic_icr_has_64_bits, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
