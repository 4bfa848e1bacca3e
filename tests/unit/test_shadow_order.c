/* SPDX-License-Identifier: MIT */
/*
 * Every store of a fill and of an INVLPG, one by one: the engine's tables are read-only while they run, each store to
 * them is stepped over, and behind it a CPU that walks them sees nothing that a TLB could not hold, as behind the whole
 * operation. No CPU walks a vCPU's tables at that time; what stores in an order that would do for one leaves nothing to
 * an accident in between (a machine check, a report that reads them).
 *
 * Not so flushes and switches: then the CPU's root is one that is left, and its tables go without regard to it.
 */
#define _GNU_SOURCE
#include "hv/mm/shadow.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum shadow_result watched_fault(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear,
                                        enum guest_access access, struct guest_translation *result);
static void watched_invalidate(struct shadow *shadow, uint64_t linear);

#define shadow_fault watched_fault
#define shadow_invalidate watched_invalidate
#include "tests/unit/shadow_model.h"
#undef shadow_fault
#undef shadow_invalidate

#include "tests/unit/random.h"
#include "tests/unit/single_stores.h"

#define STEPS 200000u
#define CAMPAIGN_STEPS 2000u
#define CAMPAIGN_CHANGES 1200u

static struct model model;

/* What the walk of the fault in progress ends with; bytes 0: nothing. */
static struct translation in_progress;

/* Its accessed bits have changed its own way (one entry at two levels, a PAE pointer): the model flushes everything
 * after such a fault, because it cannot say what is right. */
static bool is_lost(void)
{
    struct translation now;
    bool accessed;
    bool reserved;

    return in_progress.bytes != 0 &&
           (reference_walk(&model, in_progress.start, &now, &accessed, &reserved) != OUTCOME_OK || !accessed ||
            now.start != in_progress.start || now.to != in_progress.to);
}

static uint8_t *tables_start(void)
{
    return (uint8_t *)(uintptr_t)(window(&model) + model.shadow.tables);
}

static void tables_open(void)
{
    mprotect(tables_start(), model.shadow.count * PAGE_BYTES, PROT_READ | PROT_WRITE);
    mprotect(model.arena, PAGE_BYTES, PROT_READ | PROT_WRITE); /* the top of 3 levels */
}

static void tables_close(void)
{
    mprotect(tables_start(), model.shadow.count * PAGE_BYTES, PROT_READ);
    mprotect(model.arena, PAGE_BYTES, PROT_READ);
}

static bool open_for_store(const uint8_t *at)
{
    bool ours =
        (uint64_t)(at - tables_start()) < model.shadow.count * PAGE_BYTES || (uint64_t)(at - model.arena) < PAGE_BYTES;

    if (ours) {
        tables_open();
    }
    return ours;
}

/* The accessed and dirty bits are in the guest's tables since before the first store of a fill. */
static void look_behind_store(void)
{
    if (!is_lost()) {
        remember_all(&model);
        check_all(&model);
    }
    tables_close();
}

static enum shadow_result watched_fault(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear,
                                        enum guest_access access, struct guest_translation *result)
{
    enum shadow_result answer;
    bool accessed;
    bool reserved;

    if (reference_walk(&model, linear, &in_progress, &accessed, &reserved) != OUTCOME_OK) {
        in_progress.bytes = 0;
    }
    in_progress.dirty = in_progress.dirty || access == GUEST_WRITE;
    tables_close();
    answer = shadow_fault(shadow, paging, linear, access, result);
    tables_open();
    return answer;
}

static void watched_invalidate(struct shadow *shadow, uint64_t linear)
{
    in_progress.bytes = 0;
    tables_close();
    shadow_invalidate(shadow, linear);
    tables_open();
}

static uint32_t next(void *source)
{
    (void)source;
    return random_next();
}

static void behind_every_store_a_cpu_sees_what_a_tlb_could_hold(void **state)
{
    static const uint32_t pools[] = {SHADOW_TABLES_MIN, 40, 200};

    (void)state;
    single_stores_watch(open_for_store, look_behind_store);
    model.choose = next;
    for (uint32_t campaign = 0; model.steps < STEPS; campaign++) {
        begin(&model, pools[campaign % ARRAY_COUNT(pools)], (enum page_level)(random_next() % 3), CAMPAIGN_CHANGES);
        for (uint32_t i = 0; i < CAMPAIGN_STEPS; i++) {
            step(&model);
        }
    }
    print_message("%lu stores in %lu steps, %lu tables recycled\n", single_stores.count, model.steps, model.recycled);
    assert_true(single_stores.count > STEPS / 8 && model.recycled > STEPS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_every_store_a_cpu_sees_what_a_tlb_could_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
