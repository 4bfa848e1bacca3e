/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/guest/restart.h: work ends by the clock between two small pieces, nothing of the guest's memory is
 * left, the load plan is one guest's at a time, and a cancelled restart gives it back. The file itself runs here, with
 * a clock that ticks once for each look at it, and with images that are three pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/x86/insn.h"

static uint64_t fake_rdtsc(void);

#define insn_rdtsc() fake_rdtsc()
#include "hv/guest/restart.c"

#define IMAGE_PIECES 3u
#define MEMORY_PIECES 5u
#define REST_BYTES 4096u /* the last piece of the memory is not whole */
#define MEMORY_BYTES ((MEMORY_PIECES - 1) * GUEST_LOAD_PIECE_BYTES + REST_BYTES)
#define PIECES (MEMORY_PIECES + 1 + IMAGE_PIECES) /* with the plan */

struct cpu cpus[CPUS_MAX];

static uint64_t now;
static _Alignas(4096) uint8_t memory[2][MEMORY_BYTES];
static struct guest two[2];
static struct vcpu vcpus[2];
static const struct guest *planned; /* whose images the plan is for */
static uint32_t started[2];
static uint32_t kicks;
static struct due_set due; /* of the CPU of both */
static uint64_t marks;     /* that were there when that CPU was interrupted */

static uint64_t fake_rdtsc(void)
{
    return ++now;
}

void cpu_kick(const struct cpu *cpu)
{
    (void)cpu;
    kicks++;
    marks = due_set_marked(&due);
}

static uint64_t devices_ready_at; /* when a device of the guest's has been reset */

bool guest_assigned_is_ready(struct guest *guest, uint64_t at, uint64_t *again)
{
    (void)guest;
    *again = devices_ready_at;
    return at >= devices_ready_at;
}

void guest_load_begin(struct guest *guest, struct load_progress *progress)
{
    for (uint32_t i = 0; i < MEMORY_BYTES; i++) {
        assert_int_equal(memory[guest->index][i], 0);
    }
    planned = guest;
    *progress = (struct load_progress){0};
}

bool guest_load_piece(struct guest *guest, struct load_progress *progress)
{
    assert_ptr_equal(planned, guest);
    return progress->copy++ < IMAGE_PIECES;
}

void guest_load_end(struct guest *guest)
{
    assert_ptr_equal(planned, guest);
    started[guest->index]++;
}

static int set_up(void **state)
{
    (void)state;
    memset(two, 0, sizeof(two));
    memset(vcpus, 0, sizeof(vcpus));
    memset(memory, 0xcc, sizeof(memory));
    memset(started, 0, sizeof(started));
    now = 0;
    planned = NULL;
    devices_ready_at = 0;
    guest_restart_init();
    due_set_init(&due, 2);
    for (uint32_t i = 0; i < 2; i++) {
        two[i].index = i;
        two[i].vcpus = &vcpus[i];
        two[i].vcpu_count = 1;
        two[i].memory.window = (uint64_t)(uintptr_t)memory[i];
        two[i].memory.ranges[0] = (struct guest_range){gpa(0), hpa(0), MEMORY_BYTES};
        two[i].memory.range_count = 1;
        vcpus[i].guest = &two[i];
        vcpus[i].due = &due;
        vcpus[i].due_member = i;
        due_set_unmark(&due, i);
    }
    return 0;
}

static bool is_due(uint32_t guest)
{
    return guest_restart_deadline(&vcpus[guest]) != UINT64_MAX;
}

/* How many turns of one piece each it takes; at most `limit`. */
static uint32_t turns(uint32_t guest, uint32_t limit)
{
    uint32_t count = 0;

    while (is_due(guest) && count < limit) {
        guest_restart_run(&vcpus[guest], 0);
        count++;
    }
    return count;
}

static void a_turn_that_is_over_does_one_piece_and_the_rest_comes_later(void **state)
{
    (void)state;
    guest_restart_plan(&two[0], 7);
    assert_int_equal(guest_restart_deadline(&vcpus[0]), 7);
    assert_int_equal(turns(0, UINT32_MAX), PIECES + 1);
    assert_int_equal(started[0], 1);
    assert_int_equal(started[1], 0);
}

static void a_cpu_is_told_of_a_plan_and_of_a_start_with_the_vcpu_marked(void **state)
{
    (void)state;
    guest_restart_plan(&two[1], 7);
    assert_int_equal(marks, 2);
    due_set_unmark(&due, 1);
    (void)turns(1, UINT32_MAX);
    assert_int_equal(started[1], 1);
    assert_int_equal(marks, 2);
}

static void a_longer_turn_ends_by_the_clock(void **state)
{
    (void)state;
    guest_restart_plan(&two[0], 0);
    guest_restart_run(&vcpus[0], 4); /* the clock is 1, 2, 3, 4 after its pieces */
    assert_int_equal(now, 4);
    assert_int_equal(memory[0][4 * GUEST_LOAD_PIECE_BYTES - 1], 0);
    assert_int_equal(memory[0][4 * GUEST_LOAD_PIECE_BYTES], 0xcc);
    guest_restart_run(&vcpus[0], UINT64_MAX);
    assert_int_equal(started[0], 1);
    assert_false(is_due(0));
}

static void another_guest_waits_for_the_load_plan_without_holding_its_cpu(void **state)
{
    (void)state;
    guest_restart_plan(&two[0], 0);
    guest_restart_plan(&two[1], 0);
    assert_int_equal(turns(0, MEMORY_PIECES + 2), MEMORY_PIECES + 2); /* the plan is made, and a piece copied */
    guest_restart_run(&vcpus[1], UINT64_MAX);
    assert_true(is_due(1));
    assert_ptr_equal(planned, &two[0]);
    guest_restart_run(&vcpus[0], UINT64_MAX);
    assert_int_equal(started[0], 1);
    guest_restart_run(&vcpus[1], UINT64_MAX);
    assert_int_equal(started[1], 1);
}

static void a_cancelled_restart_gives_the_load_plan_back(void **state)
{
    (void)state;
    guest_restart_plan(&two[0], 0);
    guest_restart_plan(&two[1], 0);
    (void)turns(0, MEMORY_PIECES + 2);
    assert_true(guest_restart_cancel(&two[0]));
    assert_false(guest_restart_cancel(&two[0]));
    guest_restart_run(&vcpus[0], UINT64_MAX);
    assert_int_equal(started[0], 0);
    guest_restart_run(&vcpus[1], UINT64_MAX);
    assert_int_equal(started[1], 1);
    assert_false(guest_restart_cancel(&two[1]));
}

static void one_that_is_planned_again_begins_anew(void **state)
{
    (void)state;
    guest_restart_plan(&two[0], 0);
    (void)turns(0, MEMORY_PIECES + 2);
    assert_true(guest_restart_cancel(&two[0]));
    memset(memory, 0xcc, sizeof(memory));
    guest_restart_plan(&two[0], 0);
    assert_int_equal(turns(0, UINT32_MAX), PIECES + 1); /* guest_load_begin() looks at the memory */
    assert_int_equal(started[0], 1);
}

static void one_with_devices_waits_for_their_reset_without_holding_its_cpu(void **state)
{
    (void)state;
    devices_ready_at = 1000000;
    guest_restart_plan(&two[0], 0);
    guest_restart_run(&vcpus[0], UINT64_MAX);
    assert_int_equal(started[0], 0);
    assert_int_equal(guest_restart_deadline(&vcpus[0]), 1000000);
    now = 1000000;
    guest_restart_run(&vcpus[0], UINT64_MAX);
    assert_int_equal(started[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_turn_that_is_over_does_one_piece_and_the_rest_comes_later, set_up),
        cmocka_unit_test_setup(a_longer_turn_ends_by_the_clock, set_up),
        cmocka_unit_test_setup(a_cpu_is_told_of_a_plan_and_of_a_start_with_the_vcpu_marked, set_up),
        cmocka_unit_test_setup(another_guest_waits_for_the_load_plan_without_holding_its_cpu, set_up),
        cmocka_unit_test_setup(a_cancelled_restart_gives_the_load_plan_back, set_up),
        cmocka_unit_test_setup(one_that_is_planned_again_begins_anew, set_up),
        cmocka_unit_test_setup(one_with_devices_waits_for_their_reset_without_holding_its_cpu, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
