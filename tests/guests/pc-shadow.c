/* SPDX-License-Identifier: MIT */
/*
 * The shadows of STI and MOV SS, also over instructions that leave the guest, HLT's end, and values that MSRs refuse.
 * SDM 2B "STI", 3A 6.8.3 "Masking Exceptions and Interrupts When Switching Stacks".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-shadow";

#define APIC_EOI 0xb0
#define APIC_ICR_LOW 0x300
#define ICR_SELF 0x44000u
#define VECTOR 0x42
#define APIC_LVT_TIMER 0x320
#define APIC_TIMER_INITIAL 0x380
#define TIMER_SHOTS 300u
#define TIMER_PERIODIC 0x20000u
#define APIC_LVT_MASKED 0x10000u
#define STORM_ROUNDS 30u
#define STORM_TSC 20000000u
#define GP 13
#define IA32_PAT 0x277
#define IA32_MCG_CAP 0x179
#define IA32_EFER 0xc0000080u
#define IA32_MISC_ENABLE 0x1a0
#define FLAG_RF 0x10000u

extern volatile word_t place; /* assembly code writes it */
volatile word_t place;
static volatile uint32_t interrupts;
static volatile word_t interrupted;
static volatile uint64_t storm_end;

#ifdef __x86_64__
#define SET_PLACE "movq $1f, place(%%rip)\n\t"
#else
#define SET_PLACE "movl $1f, place\n\t"
#endif
#define CLOBBERS "ax", "bx", "cx", "dx", "cc", "memory"

static void on_interrupt(struct trap_frame *frame)
{
    interrupts++;
    interrupted = frame->ip;
    if (storm_end != 0 && rdtsc() >= storm_end) {
        lapic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
    }
    lapic_write(APIC_EOI, 0);
}

static void request(void)
{
    interrupts = 0;
    lapic_write(APIC_ICR_LOW, ICR_SELF | VECTOR);
}

static bool on_qemu(void)
{
    return cpuid(0x80000002u, 0).eax == 0x554d4551u; /* "QEMU" */
}

/* The label is behind the protected instruction: no earlier place may be interrupted. */
#define PROTECTED(instructions)                                                       \
    do {                                                                              \
        request();                                                                    \
        __asm__ volatile(SET_PLACE instructions "\n1: nop; nop; cli" : : : CLOBBERS); \
        CHECK_EQUAL(interrupts, 1);                                                   \
        CHECK_EQUAL(interrupted, place);                                              \
    } while (0)

static void an_instruction_after_sti_is_protected(void)
{
    PROTECTED("sti; nop");
    PROTECTED("sti; cpuid");
    PROTECTED("sti; inb $0x61, %%al");
    if (!on_qemu()) { /* where only the first of two shadows counts */
        PROTECTED("mov %%ss, %%eax; sti; mov %%eax, %%ss; nop");
        PROTECTED("mov %%ss, %%eax; sti; mov %%eax, %%ss; cpuid");
    }
    request();
    __asm__ volatile("sti; cli" : : : "memory");
    CHECK_EQUAL(interrupts, 0);
    PROTECTED("sti; hlt");
}

/*
 * Interrupts that come from outside at any instruction: about every third finds the guest behind STI, and must not come
 * between it and the next. Between STI and HLT it would be a wake-up that is lost.
 */
static void a_timer_waits_for_the_instruction_after_sti(void)
{
    lapic_write(APIC_LVT_TIMER, VECTOR);
    for (uint32_t shot = 0; shot < TIMER_SHOTS; shot++) {
        interrupts = 0;
        lapic_write(APIC_TIMER_INITIAL, 1 + shot * 7919 % 60000);
        while (interrupts == 0) {
            __asm__ volatile(SET_PLACE "sti\n1: nop; nop; cli" : : : CLOBBERS);
        }
        CHECK(interrupted != place);
    }
    lapic_init();
}

/*
 * The next interrupt comes while the last one is delivered: at PAUSE, QEMU looks for interrupts and forgets a step. The
 * handler ends what leaves the loop no time.
 */
static void pause_after_sti_is_protected_without_a_trace(void)
{
    for (uint32_t round = 0; round < (on_qemu() ? STORM_ROUNDS : 1); round++) {
        storm_end = rdtsc() + STORM_TSC;
        lapic_write(APIC_LVT_TIMER, TIMER_PERIODIC | VECTOR);
        lapic_write(APIC_TIMER_INITIAL, 1 + round * 2000);
        while (rdtsc() < storm_end) {
            __asm__ volatile(SET_PLACE "sti\n1: pause; rdtsc; nop; cli" : : : CLOBBERS);
            CHECK(interrupted != place);
        }
        lapic_init();
    }
    storm_end = 0;
}

static void expect_refused(uint32_t msr, uint64_t value)
{
    TRAP("wrmsr", : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
    if (trap_last.vector != GP || trap_last.error != 0 || (trap_last.flags & FLAG_RF) == 0) {
        guest_fail("MSR 0x%x, 0x%q: vector %u error %u flags 0x%w", msr, value, trap_last.vector, trap_last.error,
                   trap_last.flags);
    }
}

static void msrs_refuse_what_they_cannot_hold(void)
{
    uint64_t pat = rdmsr(IA32_PAT), misc;

    wrmsr(IA32_PAT, pat | 7ull << 56);
    CHECK_EQUAL(rdmsr(IA32_PAT), pat | 7ull << 56);
    expect_refused(IA32_PAT, (pat & ~0xffull) | 2);
    expect_refused(IA32_PAT, (pat & ~0xffull) | 8);
    wrmsr(IA32_PAT, pat);
    expect_refused(IA32_EFER, rdmsr(IA32_EFER) | 1ull << 40);
    expect_refused(IA32_EFER, rdmsr(IA32_EFER) | 1ull << 12); /* SVM is not offered */
    expect_refused(0x3a, 5);                                  /* locked, or not there */
    for (uint32_t bank = (uint32_t)rdmsr(IA32_MCG_CAP) & 0xff; bank < 32; bank++) {
        expect_refused(0x400 + 4 * bank, 0);
    }
    misc = rdmsr(IA32_MISC_ENABLE);
    wrmsr(IA32_MISC_ENABLE, misc | 1u << 18);
    CHECK_EQUAL(rdmsr(IA32_MISC_ENABLE), misc | 1u << 18);
    wrmsr(IA32_MISC_ENABLE, misc);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    trap_set(VECTOR, on_interrupt);
    an_instruction_after_sti_is_protected();
    a_timer_waits_for_the_instruction_after_sti();
    if (!on_plain_tcg()) { /* which has no limit for such a timer and goes nowhere, and checks no values */
        pause_after_sti_is_protected_without_a_trace();
        msrs_refuse_what_they_cannot_hold();
    }
}
