/* SPDX-License-Identifier: MIT */
/* Promises of hv/report/unwind.h, on images made by hand after Microsoft's description of the tables. */
#include "hv/report/unwind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BASE 0x180000000ULL
#define IMAGE_BYTES 0x4000u
#define HEADER 0x80u
#define PDATA 0x2000u
#define XDATA 0x3000u
#define STACK_BASE 0x7000u
#define STACK_WORDS 64u
#define OUTER_RVA 0x1000u
#define INNER_RVA 0x1100u
#define LEAF_RVA 0x1200u

enum { RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7 };

static uint8_t bytes[IMAGE_BYTES];
static uint64_t stack[STACK_WORDS];
static struct unwind_image image;
static struct unwind_context context;

static void put32(uint32_t at, uint32_t value)
{
    memcpy(bytes + at, &value, 4);
}

static void add_function(uint32_t index, uint32_t start, uint32_t end, uint32_t info)
{
    put32(PDATA + index * 12, start);
    put32(PDATA + index * 12 + 4, end);
    put32(PDATA + index * 12 + 8, info);
}

/*
 * outer: push rbp (1 byte), push rsi (2), sub rsp 0x28 (6)
 * inner: push rdi (1), sub rsp 0x800 (8), lea rbp, [rsp + 0x80] (16), mov [rsp + 0x40], rbx (20)
 */
static void make_image(void)
{
    static const uint8_t outer[] = {0x01, 6, 3, 0, 6, 0x42, 2, 0x60, 1, 0x50, 0, 0};
    static const uint8_t inner[] = {0x01, 20, 6, 0x85, 20, 0x34, 0x08, 0x00, 16, 0x03, 8, 0x01, 0x00, 0x01, 1, 0x70};

    memset(bytes, 0, sizeof(bytes));
    memset(stack, 0, sizeof(stack));
    put32(0x3c, HEADER);
    put32(HEADER + 24 + 112 + 3 * 8, PDATA);
    put32(HEADER + 24 + 112 + 3 * 8 + 4, 24);
    add_function(0, OUTER_RVA, OUTER_RVA + 0x80, XDATA);
    add_function(1, INNER_RVA, INNER_RVA + 0x80, XDATA + 0x40);
    memcpy(bytes + XDATA, outer, sizeof(outer));
    memcpy(bytes + XDATA + 0x40, inner, sizeof(inner));
    image = (struct unwind_image){.image = {bytes, sizeof(bytes)},
                                  .base = BASE,
                                  .stack = {(uint8_t *)stack, sizeof(stack)},
                                  .stack_base = STACK_BASE};
    context = (struct unwind_context){0};
}

static void pushes_and_allocations_are_undone(void **state)
{
    (void)state;
    make_image();
    context.rip = BASE + OUTER_RVA + 0x40;
    context.gpr[RSP] = STACK_BASE;
    stack[5] = 0x5151; /* rsi, above 0x28 bytes */
    stack[6] = 0xb0b0; /* rbp */
    stack[7] = BASE + LEAF_RVA;
    assert_true(unwind_step(&image, &context));
    assert_int_equal(context.rip, BASE + LEAF_RVA);
    assert_int_equal(context.gpr[RSI], 0x5151);
    assert_int_equal(context.gpr[RBP], 0xb0b0);
    assert_int_equal(context.gpr[RSP], STACK_BASE + 8 * 8);
}

static void a_frame_register_saved_registers_and_large_frames_are_undone(void **state)
{
    (void)state;
    make_image();
    context.rip = BASE + INNER_RVA + 0x40;
    context.gpr[RSP] = STACK_BASE - 0x1000; /* alloca: useless */
    context.gpr[RBP] = STACK_BASE + 0x80;
    image.stack_base = STACK_BASE + 0x40; /* word 0: saved rbx at rsp + 0x40 */
    image.stack.bytes = sizeof(stack);
    stack[0] = 0xbbbb;
    assert_false(unwind_step(&image, &context)); /* the top of the 0x800-byte frame is outside this short stack */
    assert_int_equal(context.gpr[RBX], 0xbbbb);
    context.rip = BASE + INNER_RVA + 0x40;
    context.gpr[RBP] = STACK_BASE + 0x80;
    context.gpr[RSP] = STACK_BASE - 0x1000;
    image.stack_base = STACK_BASE + 0x800;
    stack[0] = 0xd1d1;
    stack[1] = BASE + OUTER_RVA + 0x20;
    bytes[XDATA + 0x40 + 4] = 0xff; /* the step that saves rbx was not reached yet */
    assert_true(unwind_step(&image, &context));
    assert_int_equal(context.gpr[RDI], 0xd1d1);
    assert_int_equal(context.rip, BASE + OUTER_RVA + 0x20);
}

static void only_the_prologue_steps_that_ran_are_undone(void **state)
{
    (void)state;
    make_image();
    context.rip = BASE + OUTER_RVA + 1; /* after push rbp */
    context.gpr[RSP] = STACK_BASE;
    context.gpr[RSI] = 7;
    stack[0] = 0xb0b0;
    stack[1] = BASE + LEAF_RVA;
    assert_true(unwind_step(&image, &context));
    assert_int_equal(context.gpr[RBP], 0xb0b0);
    assert_int_equal(context.gpr[RSI], 7);
    assert_int_equal(context.gpr[RSP], STACK_BASE + 16);
}

static void a_leaf_and_a_bad_jump_return_to_the_top_of_the_stack(void **state)
{
    (void)state;
    make_image();
    context.rip = BASE + LEAF_RVA;
    context.gpr[RSP] = STACK_BASE;
    stack[0] = BASE + OUTER_RVA + 0x20;
    assert_true(unwind_step(&image, &context));
    assert_int_equal(context.rip, BASE + OUTER_RVA + 0x20);
    context.rip = 0x1234;
    context.gpr[RSP] = STACK_BASE;
    assert_true(unwind_step(&image, &context));
    assert_int_equal(context.rip, BASE + OUTER_RVA + 0x20);
}

static void chained_tables_continue_with_the_parent(void **state)
{
    static const uint8_t chained[] = {0x21, 0, 0, 0}; /* flag 4, no codes; then the parent's entry */

    (void)state;
    make_image();
    memcpy(bytes + XDATA + 0x80, chained, sizeof(chained));
    put32(XDATA + 0x84, OUTER_RVA);
    put32(XDATA + 0x88, OUTER_RVA + 0x80);
    put32(XDATA + 0x8c, XDATA);
    add_function(1, INNER_RVA, INNER_RVA + 0x80, XDATA + 0x80);
    context.rip = BASE + INNER_RVA + 1;
    context.gpr[RSP] = STACK_BASE;
    stack[7] = BASE + LEAF_RVA;
    assert_true(unwind_step(&image, &context));
    assert_int_equal(context.gpr[RSP], STACK_BASE + 8 * 8);
}

static void the_outermost_frame_and_nonsense_end_the_walk(void **state)
{
    (void)state;
    make_image();
    context.rip = BASE + LEAF_RVA;
    context.gpr[RSP] = STACK_BASE;
    assert_false(unwind_step(&image, &context)); /* return address 0 */
    context.rip = BASE + LEAF_RVA;
    context.gpr[RSP] = STACK_BASE;
    stack[0] = 0x4242;
    assert_false(unwind_step(&image, &context)); /* not in the image */
    context.rip = BASE + LEAF_RVA;
    context.gpr[RSP] = STACK_BASE + sizeof(stack) - 4;
    assert_false(unwind_step(&image, &context)); /* past the stack */
    context.rip = BASE + LEAF_RVA;
    context.gpr[RSP] = STACK_BASE - 8;
    assert_false(unwind_step(&image, &context)); /* the guard page */
}

static void damaged_tables_and_stacks_are_read_within_bounds(void **state)
{
    uint32_t seed = 3;

    (void)state;
    for (uint32_t round = 0; round < 200000; round++) {
        if (round % 64 == 0) {
            make_image();
        }
        for (uint32_t i = 0; i < 4; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(i % 2 == 0 ? XDATA : PDATA) + ((seed >> 8) & 0x7f)] = (uint8_t)(seed >> 24);
        }
        stack[(seed >> 16) % STACK_WORDS] = BASE + (seed >> 18);
        context.rip = BASE + OUTER_RVA + (seed >> 20) % 0x300;
        context.gpr[RSP] = STACK_BASE + (seed >> 24);
        for (uint32_t i = 0; i < 16 && unwind_step(&image, &context); i++) {
            assert_true(context.rip >= BASE && context.rip < BASE + IMAGE_BYTES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_and_allocations_are_undone),
        cmocka_unit_test(a_frame_register_saved_registers_and_large_frames_are_undone),
        cmocka_unit_test(only_the_prologue_steps_that_ran_are_undone),
        cmocka_unit_test(a_leaf_and_a_bad_jump_return_to_the_top_of_the_stack),
        cmocka_unit_test(chained_tables_continue_with_the_parent),
        cmocka_unit_test(the_outermost_frame_and_nonsense_end_the_walk),
        cmocka_unit_test(damaged_tables_and_stacks_are_read_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
