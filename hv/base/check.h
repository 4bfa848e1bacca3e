/* SPDX-License-Identifier: MIT */
/*
 * Assertions of two strengths. CHECK guards isolation and is always on; DEBUG_CHECK guards the obvious and is on in
 * native tests. Both print both values. check_failed() is hv_panic in the image and abort in the tests.
 */
#ifndef HV_BASE_CHECK_H
#define HV_BASE_CHECK_H

#include "hv/base/types.h"

_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right);

#define CHECK_OP(left, op, right) \
    ((left)op(right)              \
         ? (void)0                \
         : check_failed(__FILE__, __LINE__, #left " " #op " " #right, (uint64_t)(left), (uint64_t)(right)))
#define CHECK(condition) \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, (uint64_t)(condition), 1))

#ifdef PLINTH_DEBUG_CHECKS
#define DEBUG_CHECK_OP(left, op, right) CHECK_OP(left, op, right)
#define DEBUG_CHECK(condition) CHECK(condition)
#else
#define DEBUG_CHECK_OP(left, op, right) ((void)sizeof((left)op(right)))
#define DEBUG_CHECK(condition) ((void)sizeof(condition))
#endif

#endif
