/* SPDX-License-Identifier: MIT */
/*
 * The model test: at least 10^7 random operations against the flat reference of page_table_model.h.
 *   PLINTH_MODEL_OPERATIONS   how many instead (make soak: 10^8)
 *   PLINTH_MODEL_SEED         where to begin; a failure prints the seed of its campaign
 */
#include "tests/unit/page_table_model.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

#define OPERATIONS_PER_CAMPAIGN 400u

static uint64_t campaign_seed;

/* xorshift64*: Marsaglia 2003, Vigna 2016. */
static uint32_t generator_next(void *source)
{
    uint64_t *state = source;

    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(*state * 0x2545f4914f6cdd1dULL >> 32);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

static void say_seed(int signal_number)
{
    (void)signal_number;
    fprintf(stderr, "campaign: PLINTH_MODEL_SEED=%" PRIu64 "\n", campaign_seed);
    signal(SIGABRT, SIG_DFL);
}

static void campaign_run(struct model *model, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ULL | 1;

    campaign_seed = seed;
    model->choose = generator_next;
    model->source = &state;
    model_begin(model);
    if (model->count < 2) {
        page_table_destroy(&model->tree);
        return;
    }
    for (uint32_t i = 0; i < OPERATIONS_PER_CAMPAIGN; i++) {
        model_step(model);
        if (i % 100 == 99) {
            model_verify_all(model);
        }
    }
    model_compare(model);
    model_end(model);
}

static void random_operations_say_what_a_flat_array_says(void **state)
{
    uint64_t wanted = setting("PLINTH_MODEL_OPERATIONS", 10000000);
    uint64_t seed = setting("PLINTH_MODEL_SEED", 1);
    static struct model model;

    (void)state;
    signal(SIGABRT, say_seed);
    while (model.operations < wanted) {
        campaign_run(&model, seed++);
    }
    /* The first mismatch ends the program, with its line and seed. */
    printf("model: %" PRIu64 " operations, 0 mismatches; %" PRIu64 " refused for want of tables, %" PRIu64
           " tables taken, %" PRIu64 " trees compared with the same in another format\n",
           model.operations, model.refused, model.tables_moved, model.compared);
    assert_true(model.compared > wanted / 2000);
    assert_true(model.refused > wanted / 1000);
    assert_true(model.tables_moved > wanted / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_say_what_a_flat_array_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
