/* SPDX-License-Identifier: MIT */
/*
 * Starts further CPUs in C code, one after the other, in x2APIC mode: for attacks that need several. smp.c tests the
 * start itself. SDM 3A 9.4 "Multiple-Processor (MP) Initialization".
 */
#ifndef TESTS_GUESTS_LIB_HOSTILE_SMP_H
#define TESTS_GUESTS_LIB_HOSTILE_SMP_H

#include "tests/guests/lib/hostile.h"
#include "tests/guests/lib/trampoline.h"

#define X2APIC_ON 0xc00u
#define MSR_ICR 0x830u
#define MSR_SVR 0x80fu
#define AP_MAX 16u
#define AP_STACK 8192u

static uint8_t ap_stacks[AP_MAX][AP_STACK] __attribute__((aligned(16)));
static volatile uint32_t ap_here;
static void (*ap_main)(void);

static inline void x2apic_on(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ON);
    wrmsr(MSR_SVR, 0x1ff);
}

static inline void send_icr(uint32_t to, uint32_t command)
{
    wrmsr(MSR_ICR, (uint64_t)to << 32 | command);
}

static void ap_c(void)
{
    traps_init();
    x2apic_on();
    ap_here = 1;
    ap_main();
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static void start_cpu(uint32_t id, void (*run)(void))
{
    trampoline_put(ap_stacks[id] + AP_STACK, ap_c);
    ap_main = run;
    ap_here = 0;
    send_icr(id, ICR_INIT);
    send_icr(id, ICR_SIPI | TRAMPOLINE >> 12);
    while (ap_here == 0) {
        __asm__ volatile("pause");
    }
}

#endif
