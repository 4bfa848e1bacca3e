/* SPDX-License-Identifier: MIT */
/* Promises of hv/mm/table_pool.h. */
#include "hv/mm/table_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_PAGES 8u

static uint8_t arena[ARENA_PAGES * PAGE_BYTES] __attribute__((aligned(4096)));

/* The arena stands for host-physical memory from 16 GiB on. */
static struct table_pool pool_of(uint64_t pages)
{
    struct table_pool pool;

    assert_int_equal(table_pool_init(&pool, (uint64_t)(uintptr_t)arena - 16 * GIB, hpa(16 * GIB), pages), STATUS_OK);
    return pool;
}

static void every_page_is_handed_out_once(void **state)
{
    struct table_pool pool = pool_of(ARENA_PAGES);
    bool seen[ARENA_PAGES] = {false};

    (void)state;
    for (uint32_t i = 0; i < ARENA_PAGES; i++) {
        uint64_t index = (table_pool_take(&pool) - 16 * GIB) / PAGE_BYTES;

        assert_true(index < ARENA_PAGES);
        assert_false(seen[index]);
        seen[index] = true;
    }
    assert_int_equal(pool.free_count, 0);
}

static void what_is_given_back_can_be_had_again(void **state)
{
    struct table_pool pool = pool_of(2);
    uint64_t first = table_pool_take(&pool);
    uint64_t second = table_pool_take(&pool);

    (void)state;
    table_pool_give(&pool, first);
    table_pool_give(&pool, second);
    assert_int_equal(pool.free_count, 2);
    assert_int_equal(table_pool_take(&pool), second);
    assert_int_equal(table_pool_take(&pool), first);
    assert_int_equal(pool.free_count, 0);
}

static void a_page_that_came_back_keeps_all_but_its_first_word(void **state)
{
    struct table_pool pool = pool_of(2);
    uint64_t at = table_pool_take(&pool);
    uint64_t *words = table_pool_pointer(&pool, at);

    (void)state;
    for (uint32_t i = 0; i < 512; i++) {
        words[i] = 0x1111111111111111ULL * (i & 7u);
    }
    table_pool_give(&pool, at);
    assert_int_equal(words[0] & 0xfff, 0);
    for (uint32_t i = 1; i < 512; i++) {
        assert_int_equal(words[i], 0x1111111111111111ULL * (i & 7u));
    }
}

static void bad_spans_get_a_named_status(void **state)
{
    struct table_pool pool;

    (void)state;
    assert_int_equal(table_pool_init(&pool, 0, hpa(0x1234), 1), STATUS_MISALIGNED);
    assert_int_equal(table_pool_init(&pool, 0x10, hpa(0x1000), 1), STATUS_MISALIGNED);
    assert_int_equal(table_pool_init(&pool, 0, hpa(0), 1), STATUS_INVALID);
    assert_int_equal(table_pool_init(&pool, 0, hpa(0x1000), 0), STATUS_INVALID);
    assert_int_equal(table_pool_init(&pool, 0, hpa(1ULL << 52), 1), STATUS_OVERFLOW);
    assert_int_equal(table_pool_init(&pool, 0, hpa(0x1000), 1ULL << 40), STATUS_OVERFLOW);
    assert_int_equal(table_pool_init(&pool, 0, hpa((1ULL << 52) - 0x1000), 1), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_handed_out_once),
        cmocka_unit_test(what_is_given_back_can_be_had_again),
        cmocka_unit_test(a_page_that_came_back_keeps_all_but_its_first_word),
        cmocka_unit_test(bad_spans_get_a_named_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
