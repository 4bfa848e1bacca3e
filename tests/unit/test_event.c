/* SPDX-License-Identifier: MIT */
/* Exceptions that meet each other, and what is injected when. A vCPU with a real local APIC, no vendor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"

#include <string.h>

#define HZ 1000000000ULL
#define MSR_SVR 0x80fu
#define MSR_TPR 0x808u

static struct host_facts host;
static struct guest guest;
static struct vcpu vcpu;
static struct lapic_page page;
static struct vcpu_event event;

static int setup(void **state)
{
    const struct platform_config config = {.clock = &host.clock};

    (void)state;
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    host.clock = clock_of(HZ);
    guest.host = &host;
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    platform_reset(&guest.platform, &config, 0);
    vcpu.guest = &guest;
    vcpu.state = VCPU_STATE_RUNNABLE;
    vcpu.rflags = RFLAGS_FIXED;
    lapic_init(&vcpu.lapic, &page, 0, true, &host.clock);
    assert_true(lapic_base_write(&vcpu.lapic, vcpu.lapic.base_msr | 0x400, 46));
    assert_true(lapic_msr_write(&vcpu.lapic, MSR_SVR, 0x1ff, 0));
    return 0;
}

static void deliver_first(uint8_t vector)
{
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = vector, .kind = EVENT_EXCEPTION};
    guest.state = GUEST_RUNNING;
    guest.ending = false;
    vcpu.requests = 0;
}

/* SDM 3A 6.15, table 6-5: rows are in delivery, columns come second. */
static void pairs_make_double_faults_as_the_table_says(void **state)
{
    static const uint8_t benign[] = {EXCEPTION_DB, EXCEPTION_BP, EXCEPTION_OF, EXCEPTION_BR, EXCEPTION_UD,
                                     EXCEPTION_NM, EXCEPTION_MF, EXCEPTION_AC, EXCEPTION_MC, EXCEPTION_XM};
    static const uint8_t contributory[] = {EXCEPTION_DE, EXCEPTION_TS, EXCEPTION_NP, EXCEPTION_SS, EXCEPTION_GP};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(contributory); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(contributory); j++) {
            deliver_first(contributory[i]);
            vcpu_raise_error(&vcpu, (enum exception)contributory[j], 5);
            assert_int_equal(vcpu.pending.vector, EXCEPTION_DF);
            assert_int_equal(vcpu.pending.error, 0);
            assert_true(vcpu.pending.has_error);
        }
        deliver_first(contributory[i]);
        vcpu_raise_page_fault(&vcpu, 0x1234, 2);
        assert_int_equal(vcpu.pending.vector, EXCEPTION_PF); /* handled one after the other */
        deliver_first(EXCEPTION_PF);
        vcpu_raise_error(&vcpu, (enum exception)contributory[i], 0);
        assert_int_equal(vcpu.pending.vector, EXCEPTION_DF);
        for (size_t j = 0; j < ARRAY_COUNT(benign); j++) {
            deliver_first(benign[j]);
            vcpu_raise_error(&vcpu, (enum exception)contributory[i], 0);
            assert_int_equal(vcpu.pending.vector, contributory[i]);
            deliver_first(contributory[i]);
            vcpu_raise(&vcpu, (enum exception)benign[j]);
            assert_int_equal(vcpu.pending.vector, benign[j]);
        }
    }
    deliver_first(EXCEPTION_PF);
    vcpu_raise_page_fault(&vcpu, 0x1234, 2);
    assert_int_equal(vcpu.pending.vector, EXCEPTION_DF);
    assert_int_equal(guest.state, GUEST_RUNNING);
}

static void a_fault_during_a_double_fault_is_a_triple_fault(void **state)
{
    static const uint8_t second[] = {EXCEPTION_GP, EXCEPTION_PF, EXCEPTION_NP, EXCEPTION_DF};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(second); i++) {
        deliver_first(EXCEPTION_DF);
        vcpu_raise_error(&vcpu, (enum exception)second[i], 0);
        assert_int_equal(guest.state, GUEST_CRASHED);
        assert_int_equal(guest.failure_code, GUEST_CODE_TRIPLE_FAULT);
        assert_int_not_equal(vcpu.requests & VCPU_STOPPED, 0);
    }
}

static void the_first_reason_of_an_end_stays(void **state)
{
    (void)state;
    guest_fail(&vcpu, GUEST_CODE_TRIPLE_FAULT, "first");
    guest_fail(&vcpu, GUEST_CODE_UNKNOWN_EXIT, "second");
    guest_stop(&vcpu, true, "third");
    assert_int_equal(guest.state, GUEST_CRASHED);
    assert_int_equal(guest.failure_code, GUEST_CODE_TRIPLE_FAULT);
    assert_string_equal(guest.report, "first");
    assert_false(guest.ended_well);
}

static void an_interrupt_in_delivery_makes_no_double_fault(void **state)
{
    (void)state;
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = EXCEPTION_PF, .kind = EVENT_INTERRUPT};
    vcpu_raise_error(&vcpu, EXCEPTION_GP, 7);
    assert_int_equal(vcpu.pending.vector, EXCEPTION_GP);
    assert_int_equal(vcpu.pending.error, 7);
}

static void a_page_fault_sets_cr2_and_rf_but_a_trap_sets_no_rf(void **state)
{
    (void)state;
    vcpu_raise_page_fault(&vcpu, 0xdeadb000, 2);
    assert_int_equal(vcpu.system.cr2, 0xdeadb000);
    assert_int_not_equal(vcpu.requests & VCPU_CR2_WRITE, 0);
    assert_int_not_equal(vcpu.rflags & RFLAGS_RF, 0);
    vcpu.rflags = RFLAGS_FIXED;
    deliver_first(EXCEPTION_BP);
    vcpu_raise(&vcpu, EXCEPTION_DB);
    assert_int_equal(vcpu.rflags & RFLAGS_RF, 0);
}

static void stepping_over_an_instruction_ends_rf_and_honours_tf(void **state)
{
    (void)state;
    vcpu.rip = 0x1000;
    vcpu.rflags |= RFLAGS_RF;
    vcpu_advance(&vcpu, 2);
    assert_int_equal(vcpu.rip, 0x1002);
    assert_int_equal(vcpu.rflags & RFLAGS_RF, 0);
    assert_int_equal(vcpu.requests, VCPU_ADVANCED);
    vcpu.rflags |= RFLAGS_TF;
    vcpu_advance(&vcpu, 3);
    assert_true(vcpu.pending.valid);
    assert_int_equal(vcpu.pending.vector, EXCEPTION_DB);
    assert_int_not_equal(vcpu.requests & VCPU_STEP_TRAP, 0);
}

static void exceptions_go_before_nmis_and_nmis_before_interrupts(void **state)
{
    (void)state;
    lapic_post(&vcpu.lapic, 0x41, false);
    vcpu_note_nmi(&vcpu);
    vcpu_raise(&vcpu, EXCEPTION_UD);
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_INJECT);
    assert_int_equal(event.vector, EXCEPTION_UD);
    assert_false(vcpu.pending.valid);
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_INJECT);
    assert_int_equal(event.kind, EVENT_NMI);
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_INJECT);
    assert_int_equal(event.kind, EVENT_INTERRUPT);
    assert_int_equal(event.vector, 0x41);
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_NOTHING);
    assert_int_equal(vcpu.requests & VCPU_EVENT, 0);
}

static void a_masked_nmi_lets_interrupts_pass(void **state)
{
    bool nmi;

    (void)state;
    vcpu_note_nmi(&vcpu);
    lapic_post(&vcpu.lapic, 0x41, false);
    assert_int_equal(vcpu_select_event(&vcpu, true, false, &event), EVENT_INJECT);
    assert_int_equal(event.vector, 0x41);
    assert_false(vcpu_wants_window(&vcpu, EVENT_INJECT, &nmi));
    assert_true(nmi);
}

static void two_nmis_at_once_are_two_and_one_is_remembered_during_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        vcpu_note_nmi(&vcpu);
    }
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_INJECT);
    for (unsigned i = 0; i < 3; i++) {
        vcpu_note_nmi(&vcpu);
        assert_int_equal(vcpu_select_event(&vcpu, true, false, &event), EVENT_NOTHING);
    }
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_INJECT);
    assert_int_equal(event.kind, EVENT_NMI);
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_NOTHING);
}

/* Its own CPU has not looked yet: two wait, however many came. One that comes meanwhile counts for itself. */
static void nmis_of_other_cpus_are_counted_to_two(void **state)
{
    static struct vcpu sender;
    (void)state;
    memset(&sender, 0, sizeof(sender));
    sender.guest = &guest;
    for (unsigned sent = 1; sent <= 3; sent++) {
        sender.lapic.outbox[0] = (struct apic_message){.shorthand = APIC_TO_OTHERS, .delivery = APIC_NMI};
        sender.lapic.outbox_count = 1;
        guest_route_ipis(&sender);
        assert_true((sender.requests & VCPU_MESSAGES) != 0);
    }
    vcpu_take_nmis(&vcpu, __atomic_exchange_n(&vcpu.kick, 0, __ATOMIC_ACQ_REL));
    assert_int_equal(vcpu.nmi_pending, 2);
    vcpu.nmi_pending = 0;
    sender.lapic.outbox_count = 1;
    guest_route_ipis(&sender);
    vcpu_take_nmis(&vcpu, __atomic_exchange_n(&vcpu.kick, 0, __ATOMIC_ACQ_REL));
    assert_int_equal(vcpu.nmi_pending, 1);
}

/* Which value is success is the config's to say: other projects' kernels do not agree. */
static void the_debug_exit_port_ends_well_with_the_configured_value(void **state)
{
    static const struct {
        uint64_t ok;
        uint32_t written;
        bool well;
    } rows[] = {{0, 0, true}, {0, 1, false}, {0, 0x10, false}, {0x10, 0x10, true}, {0x10, 0, false}};

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct platform_config config = {.clock = &host.clock, .debug_ports = true, .debug_exit_ok = rows[i].ok};

        assert_int_equal(setup(state), 0);
        platform_reset(&guest.platform, &config, 0);
        assert_true(guest_port_write(&vcpu, 0xf4, 4, rows[i].written));
        assert_int_equal(guest.state, rows[i].well ? GUEST_STOPPED : GUEST_CRASHED);
        assert_int_equal(guest.ended_well, rows[i].well);
    }
}

static void a_closed_guest_gets_a_window_and_a_low_vector_waits_for_the_tpr(void **state)
{
    (void)state;
    lapic_post(&vcpu.lapic, 0x41, false);
    assert_int_equal(vcpu_select_event(&vcpu, false, true, &event), EVENT_WANT_WINDOW);
    assert_true(lapic_msr_write(&vcpu.lapic, MSR_TPR, 0x50, 0));
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_NOTHING);
    assert_true(lapic_msr_write(&vcpu.lapic, MSR_TPR, 0, 0));
    assert_int_equal(vcpu_select_event(&vcpu, true, true, &event), EVENT_INJECT);
}

static void a_halted_vcpu_wakes_for_what_it_can_take(void **state)
{
    (void)state;
    vcpu.state = VCPU_STATE_HALTED;
    assert_false(vcpu_can_wake(&vcpu));
    lapic_post(&vcpu.lapic, 0x41, false);
    assert_false(vcpu_can_wake(&vcpu));
    assert_true(vcpu_is_down(&vcpu));
    vcpu.rflags |= RFLAGS_IF;
    assert_true(vcpu_can_wake(&vcpu));
    assert_false(vcpu_is_down(&vcpu));
    vcpu.rflags &= ~RFLAGS_IF;
    vcpu_note_nmi(&vcpu);
    assert_true(vcpu_can_wake(&vcpu));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pairs_make_double_faults_as_the_table_says, setup),
        cmocka_unit_test_setup(a_fault_during_a_double_fault_is_a_triple_fault, setup),
        cmocka_unit_test_setup(the_first_reason_of_an_end_stays, setup),
        cmocka_unit_test_setup(an_interrupt_in_delivery_makes_no_double_fault, setup),
        cmocka_unit_test_setup(a_page_fault_sets_cr2_and_rf_but_a_trap_sets_no_rf, setup),
        cmocka_unit_test_setup(stepping_over_an_instruction_ends_rf_and_honours_tf, setup),
        cmocka_unit_test_setup(exceptions_go_before_nmis_and_nmis_before_interrupts, setup),
        cmocka_unit_test_setup(a_masked_nmi_lets_interrupts_pass, setup),
        cmocka_unit_test_setup(two_nmis_at_once_are_two_and_one_is_remembered_during_one, setup),
        cmocka_unit_test_setup(nmis_of_other_cpus_are_counted_to_two, setup),
        cmocka_unit_test_setup(the_debug_exit_port_ends_well_with_the_configured_value, setup),
        cmocka_unit_test_setup(a_closed_guest_gets_a_window_and_a_low_vector_waits_for_the_tpr, setup),
        cmocka_unit_test_setup(a_halted_vcpu_wakes_for_what_it_can_take, setup),
    };

    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
