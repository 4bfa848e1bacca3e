/* SPDX-License-Identifier: MIT */
/*
 * A vector that waits in the local APIC, in x2APIC mode, comes when RFLAGS.IF is set and not before, whatever
 * interrupts the host takes meanwhile: its timer, which the guest's own needs, fires while the guest spins. SDM 3A
 * 6.8.1 "Masking Maskable Hardware Interrupts".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-masked";

#define IA32_APIC_BASE 0x1b
#define APIC_BASE_X2APIC 0xc00u
#define CPUID_1_ECX_X2APIC (1u << 21)
#define X2APIC_EOI 0x80b
#define X2APIC_SVR 0x80f
#define X2APIC_LVT_TIMER 0x832
#define X2APIC_TIMER_INITIAL 0x838
#define X2APIC_TIMER_DIVIDE 0x83e
#define X2APIC_SELF_IPI 0x83f
#define SVR_ON 0x1ffu
#define DIVIDE_BY_1 0xbu
#define FLAG_IF 0x200u

#define VECTOR 0x51u
#define SOFTWARE_VECTOR 0x61u
#define OUTER_VECTOR 0x71u
#define TIMER_VECTOR 0x41u
#define SPIN_MS 40u
#define TIMER_COUNT 1000u
#define NOPS "nop; nop; nop; nop; nop; nop; nop; nop"

static volatile uint32_t events, ticks, inside, masked_events;
static uint32_t khz;

static void note(struct trap_frame *frame)
{
    events++;
    masked_events += (frame->flags & FLAG_IF) == 0;
    wrmsr(X2APIC_EOI, 0);
}

static void on_tick(struct trap_frame *frame)
{
    ticks++;
    masked_events += (frame->flags & FLAG_IF) == 0;
    wrmsr(X2APIC_EOI, 0);
}

static void on_software(struct trap_frame *frame)
{
    (void)frame;
}

/* The timer's vector waits with the other one when this is over. */
static void send_and_spin(void)
{
    uint64_t start = rdtsc();
    uint64_t until = start + (uint64_t)khz * SPIN_MS;

    wrmsr(X2APIC_SELF_IPI, VECTOR);
    wrmsr(X2APIC_TIMER_INITIAL, TIMER_COUNT);
    while (rdtsc() < until) {
    }
}

/* Sent while interrupts are off; STI and the instruction behind it come first. */
static void a_vector_waits_for_sti(void)
{
    events = ticks = 0;
    send_and_spin();
    CHECK_EQUAL(events + ticks, 0);
    __asm__ volatile("sti; int $0x61; " NOPS "; cli" : : : "memory");
    CHECK_EQUAL(events, 1);
    CHECK_EQUAL(ticks, 1);
}

/* The last entry into the guest was with interrupts on. */
static void a_vector_waits_where_interrupts_were_on_before(void)
{
    events = ticks = 0;
    __asm__ volatile("sti; nop" : : : "memory");
    out8(0x80, 0);
    __asm__ volatile("cli" : : : "memory");
    send_and_spin();
    CHECK_EQUAL(events + ticks, 0);
    __asm__ volatile("sti; " NOPS "; cli" : : : "memory");
    CHECK_EQUAL(events, 1);
    CHECK_EQUAL(ticks, 1);
}

/* In a handler, behind its EOI. */
static void on_outer(struct trap_frame *frame)
{
    (void)frame;
    wrmsr(X2APIC_EOI, 0);
    send_and_spin();
    inside = events + ticks;
}

static void a_vector_waits_for_the_handlers_end(void)
{
    events = ticks = inside = 0;
    wrmsr(X2APIC_SELF_IPI, OUTER_VECTOR);
    __asm__ volatile("sti; " NOPS "; cli" : : : "memory");
    CHECK_EQUAL(inside, 0);
    CHECK_EQUAL(events, 1);
    CHECK_EQUAL(ticks, 1);
}

void guest_main(void)
{
    if ((cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC) == 0 && on_plain_tcg()) {
        print("  QEMU's own CPU has no x2APIC: nothing to test\n");
        return;
    }
    pic_init();
    lapic_init();
    wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | APIC_BASE_X2APIC);
    wrmsr(X2APIC_SVR, SVR_ON);
    trap_set(VECTOR, note);
    trap_set(SOFTWARE_VECTOR, on_software);
    trap_set(TIMER_VECTOR, on_tick);
    trap_set(OUTER_VECTOR, on_outer);
    wrmsr(X2APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    wrmsr(X2APIC_LVT_TIMER, TIMER_VECTOR);
    khz = tsc_khz();
    for (uint32_t i = 0; i < 3; i++) {
        a_vector_waits_for_sti();
        a_vector_waits_where_interrupts_were_on_before();
        a_vector_waits_for_the_handlers_end();
    }
    CHECK_EQUAL(masked_events, 0);
}
