/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own memory after the hand-over: one span, counted before the point of no return (budget.h) and
 * handed out once, so that pool_take() cannot fail unless the count was wrong, which is our bug and a panic. Nothing is
 * given back. The host's stacks come first (they need guard pages, so they are kept together), then the host's page
 * tables.
 */
#ifndef HV_HOST_POOL_H
#define HV_HOST_POOL_H

#include "hv/base/types.h"

/* `start` is 2 MiB-aligned. The memory need not be zero. */
void pool_init(uint64_t start, uint64_t bytes);

/* Zeroed, page-aligned memory of `bytes` rounded up to pages. Panics where the pool is exhausted. BSP only. */
void *pool_take(uint64_t bytes);

uint64_t pool_left(void);
uint64_t pool_used(void);

#endif
