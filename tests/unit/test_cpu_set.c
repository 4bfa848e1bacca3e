/* SPDX-License-Identifier: MIT */
/* Sets of CPUs against a row of flags, over every CPU that there can be. */
#include "hv/base/cpu_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/random.h"

static bool flags[CPUS_MAX];

static uint32_t next_flag(uint32_t from)
{
    while (from < CPUS_MAX && !flags[from]) {
        from++;
    }
    return from;
}

static void compare(const struct cpu_set *set)
{
    uint32_t count = 0;

    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
        assert_int_equal(cpu_set_has(set, cpu), flags[cpu]);
        assert_int_equal(cpu_set_next(set, cpu), next_flag(cpu));
        count += flags[cpu];
    }
    assert_int_equal(cpu_set_count(set), count);
}

static void every_cpu_has_a_place_of_its_own(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
        struct cpu_set set = {0};

        memset(flags, 0, sizeof(flags));
        flags[cpu] = true;
        cpu_set_add(&set, cpu);
        compare(&set);
        set = (struct cpu_set){0};
        cpu_set_post(&set, cpu);
        compare(&set);
    }
}

static void sets_agree_with_flags(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        struct cpu_set set = {0};

        memset(flags, 0, sizeof(flags));
        for (uint32_t i = 0; i < round; i++) {
            uint32_t cpu = (uint32_t)(random_next() % CPUS_MAX);

            flags[cpu] = true;
            cpu_set_add(&set, cpu);
        }
        compare(&set);
    }
}

static void what_is_posted_is_taken_once(void **state)
{
    struct cpu_set set = {0};
    struct cpu_set taken;

    (void)state;
    assert_false(cpu_set_take(&set, &taken));
    cpu_set_post(&set, CPUS_MAX - 1);
    cpu_set_post(&set, CPUS_MAX - 1);
    cpu_set_post(&set, 0);
    assert_true(cpu_set_take(&set, &taken));
    assert_int_equal(cpu_set_count(&taken), 2);
    assert_true(cpu_set_has(&taken, 0) && cpu_set_has(&taken, CPUS_MAX - 1));
    assert_false(cpu_set_take(&set, &taken));
    assert_int_equal(cpu_set_count(&taken), 0);
}

static void a_number_that_is_no_cpus_changes_nothing(void **state)
{
    static const uint32_t numbers[] = {CPUS_MAX, CPUS_MAX + 1, CPU_SET_WORDS * CPU_SET_WORD_BITS, UINT32_MAX};
    struct cpu_set set = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        cpu_set_add(&set, numbers[i]);
        cpu_set_post(&set, numbers[i]);
        assert_false(cpu_set_has(&set, numbers[i]));
        assert_int_equal(cpu_set_next(&set, numbers[i]), CPUS_MAX);
    }
    assert_int_equal(cpu_set_count(&set), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cpu_has_a_place_of_its_own),
        cmocka_unit_test(sets_agree_with_flags),
        cmocka_unit_test(what_is_posted_is_taken_once),
        cmocka_unit_test(a_number_that_is_no_cpus_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
