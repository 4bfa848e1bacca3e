/* SPDX-License-Identifier: MIT */
/* What every unit test of a protocol asks of the loader: a plan that keeps its promises and is executed, or an error
 * that names what is wrong. Included once, behind cmocka. */
#ifndef TESTS_UNIT_LOADER_CHECKS_H
#define TESTS_UNIT_LOADER_CHECKS_H

#include "tests/unit/loader_support.h"

static struct image image;
static struct load_plan plan;
static struct load_error error;

static inline void plan_ok(const struct load_request *request)
{
    enum status status = loader_plan(request, &plan, &error);

    assert_string_equal(error.sentence, "");
    assert_int_equal(status, STATUS_OK);
    check_plan(request, &plan);
    arena_load(&plan);
}

static inline void plan_fails(const struct load_request *request, enum status status, const char *named)
{
    assert_int_equal(loader_plan(request, &plan, &error), status);
    assert_non_null(strstr(error.sentence, named));
}

#endif
