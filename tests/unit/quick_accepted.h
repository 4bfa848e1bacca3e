/* SPDX-License-Identifier: MIT */
/*
 * Before the vendor's files, in the tests that make each exit twice: how often an interrupt of the local APIC is chosen
 * and accepted the short way, by each of its functions. In the long way it never is.
 */
#ifndef TESTS_UNIT_QUICK_ACCEPTED_H
#define TESTS_UNIT_QUICK_ACCEPTED_H

#include "hv/dev/lapic_registers.h"

static uint32_t accepted_alone, accepted_by_word, published_alone;
static bool long_way;

static inline int count_vector(uint32_t *count, int vector)
{
    *count += vector >= 0;
    return vector;
}

#define lapic_accept_alone(lapic) (long_way ? -1 : count_vector(&accepted_alone, lapic_accept_alone(lapic)))
#define lapic_accept_alone_by_word(lapic) \
    (long_way ? -1 : count_vector(&accepted_by_word, lapic_accept_alone_by_word(lapic)))
#define lapic_requests_alone(lapic) (long_way ? -1 : count_vector(&published_alone, lapic_requests_alone(lapic)))

#endif
