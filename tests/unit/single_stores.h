/* SPDX-License-Identifier: MIT */
/*
 * Every store to some memory, one by one: while it is closed (mapped read-only, by the test) each store faults; the
 * test opens it, the CPU takes one step, and the test looks at what a CPU would see now before it closes it again. So
 * every store is met that the code really does, whatever the compiler made of it.
 */
#ifndef TESTS_UNIT_SINGLE_STORES_H
#define TESTS_UNIT_SINGLE_STORES_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100

static struct {
    bool (*before)(
        const uint8_t *at); /* opens the memory; false: `at` is none of it, and the test ends with its fault */
    void (*behind)(void);   /* looks, and closes it */
    uint64_t count;
} single_stores;

static void single_stores_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    if (!single_stores.before(info->si_addr)) {
        signal(number, SIG_DFL);
        return;
    }
    user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void single_stores_trap(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    (void)number;
    (void)info;
    user->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    single_stores.count++;
    single_stores.behind();
}

/* From now on. */
static void single_stores_watch(bool (*before)(const uint8_t *at), void (*behind)(void))
{
    struct sigaction fault = {.sa_sigaction = single_stores_fault, .sa_flags = SA_SIGINFO};
    struct sigaction trap = {.sa_sigaction = single_stores_trap, .sa_flags = SA_SIGINFO};

    single_stores.before = before;
    single_stores.behind = behind;
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGTRAP, &trap, NULL);
}

#endif
