/* SPDX-License-Identifier: MIT */
/* The promises of hv/mm/shadow.h, by the model in shadow_model.h and by cases that have a name. */
#define _GNU_SOURCE
#include "tests/unit/shadow_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STEPS 1000000u
#define CAMPAIGN_STEPS 4000u
#define CAMPAIGN_CHANGES 1200u

static struct model model;

static uint32_t next(void *source)
{
    uint64_t *state = source;

    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

static void nothing_is_shown_that_a_tlb_could_not_hold(void **state)
{
    static const uint32_t pools[] = {SHADOW_TABLES_MIN, SHADOW_TABLES_MIN + 1, 40, 200};
    const char *wanted = getenv("PLINTH_MODEL_OPERATIONS");
    const char *seed_text = getenv("PLINTH_MODEL_SEED");
    uint64_t steps = wanted != NULL ? strtoull(wanted, NULL, 0) : STEPS;
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : 0x5eed5eed5eed5eedULL;

    (void)state;
    model.choose = next;
    model.source = &seed;
    for (uint32_t campaign = 0; model.steps < steps; campaign++) {
        begin(&model, pools[campaign % ARRAY_COUNT(pools)], (enum page_level)(next(&seed) % 3), CAMPAIGN_CHANGES);
        for (uint32_t i = 0; i < CAMPAIGN_STEPS; i++) {
            step(&model);
        }
    }
    print_message("%lu steps: %lu accesses let through, %lu exits, %lu faults of the guest, %lu of devices, %lu bad "
                  "tables, %lu flushes, %lu tables recycled\n",
                  model.steps, model.through, model.exits, model.guest_faults, model.devices, model.bad_tables,
                  model.flushes, model.recycled);
    assert_true(model.through > steps / 50 && model.guest_faults > steps / 50 && model.devices > steps / 1000);
    assert_true(model.bad_tables != 0 && model.recycled > steps / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_shown_that_a_tlb_could_not_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
