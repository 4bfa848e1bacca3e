/* SPDX-License-Identifier: MIT */
/* What tests can do with the seams that tests/unit/support.c closes. */
#ifndef TESTS_UNIT_SUPPORT_H
#define TESTS_UNIT_SUPPORT_H

#include <stdint.h>

/* What clock_now() says, and by how much each reading moves it on. Both are 0 at first: no time passes. */
extern uint64_t support_now;
extern uint64_t support_tick;

#endif
