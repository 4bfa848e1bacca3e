/*
 * The hypervisor's own memory after the hand-over: one span, counted before the point of no return and handed out once.
 *
 * efi/ asks pool_bytes_needed() what the plan will take and gets that much memory from the firmware, so that after the
 * hand-over pool_take() cannot fail unless the count was wrong, which is our bug and a panic. Nothing is given back.
 * The host's stacks come first (they need guard pages, so they are kept together), then the host's page tables.
 */
#ifndef HV_POOL_H
#define HV_POOL_H

#include "hv/boot_info.h"
#include "hv/mm/planner.h"

/* Each CPU's normal stack and each of its three interrupt stacks; under each lies an absent guard page. */
#define POOL_STACK_BYTES (32 * KIB)
#define POOL_IST_BYTES (8 * KIB)

/* What a guest gets beside its nested tables: room for the extended state of one vCPU (x87, SSE, AVX, AVX-512, PKRU;
 * not AMX), and for one load plan, which all guests use one after the other. */
#define POOL_XSAVE_BYTES (8 * KIB)
#define POOL_LOAD_PLAN_BYTES (64 * KIB)

/* What it is counted from on this machine. Reads cpus, memory and framebuffer. */
void pool_own(const struct boot_info *info, struct planner_own *own);

/* Bytes that the plan in `info` takes, rounded up to 2 MiB. Reads config, guests, cpus, memory and framebuffer. */
uint64_t pool_bytes_needed(const struct boot_info *info);

/* `start` is 2 MiB-aligned. The memory need not be zero. */
void pool_init(uint64_t start, uint64_t bytes);

/* Zeroed, page-aligned memory of `bytes` rounded up to pages. Panics where the pool is exhausted. BSP only. */
void *pool_take(uint64_t bytes);

uint64_t pool_left(void);
uint64_t pool_used(void);

#endif
