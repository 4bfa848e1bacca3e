/* SPDX-License-Identifier: MIT */
/* MSRs that stock kernels use: they keep what is written, and unknown ones raise #GP and change nothing. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "msr";

#define GP 13
#define IA32_TSC 0x10
#define IA32_TSC_ADJUST 0x3b
#define IA32_SYSENTER_CS 0x174
#define IA32_SYSENTER_ESP 0x175
#define IA32_SYSENTER_EIP 0x176
#define IA32_PAT 0x277
#define PAT_LINUX 0x0407050600070106ull
#define UNKNOWN_MSR 0x12345678u

static void keeps(uint32_t msr, uint64_t value)
{
    uint64_t before = rdmsr(msr);

    wrmsr(msr, value);
    CHECK_EQUAL(rdmsr(msr), value);
    wrmsr(msr, before);
    CHECK_EQUAL(rdmsr(msr), before);
}

static void unknown_ones_raise_general_protection(void)
{
    uint32_t low = 0x11, high = 0x22;

    if (on_plain_tcg()) {
        return; /* where they read 0 */
    }
    trap_last.vector = 0xff;
    TRAP("rdmsr", : "+a"(low), "+d"(high) : "c"(UNKNOWN_MSR) : "memory");
    CHECK_EQUAL(trap_last.vector, GP);
    CHECK_EQUAL(trap_last.error, 0);
    CHECK_EQUAL(low, 0x11);
    CHECK_EQUAL(high, 0x22);
}

static void the_tsc_can_be_moved(void)
{
    uint64_t now = rdtsc();

    CHECK(rdtsc() >= now);
    if (on_plain_tcg()) {
        return; /* where it cannot */
    }
    wrmsr(IA32_TSC, 0x1000000000000ull);
    CHECK((rdtsc() >> 40) == 0x100);
    wrmsr(IA32_TSC, now);
    CHECK((rdtsc() >> 40) == (now >> 40));
}

/* SDM 3B 18.17.3 "Time-Stamp Counter Adjustment": a move by either register shows in the other. */
static void the_adjustment_moves_with_the_tsc(void)
{
    uint64_t before, adjust;

    if (on_plain_tcg() || cpuid(0, 0).eax < 7 || (cpuid(7, 0).ebx & 2) == 0) {
        return;
    }
    adjust = rdmsr(IA32_TSC_ADJUST);
    before = rdtsc();
    wrmsr(IA32_TSC_ADJUST, adjust + (1ull << 44));
    CHECK((rdtsc() - before) >> 44 == 1);
    CHECK_EQUAL(rdmsr(IA32_TSC_ADJUST), adjust + (1ull << 44));
    wrmsr(IA32_TSC, before);
    CHECK((rdtsc() - before) >> 40 == 0);
    CHECK((rdmsr(IA32_TSC_ADJUST) - adjust + (1ull << 40)) >> 41 == 0); /* near what it was: time has passed */
    wrmsr(IA32_TSC_ADJUST, adjust);
    CHECK_EQUAL(rdmsr(IA32_TSC_ADJUST), adjust);
}

void guest_main(void)
{
    keeps(IA32_SYSENTER_CS, 0x1234);
    keeps(IA32_SYSENTER_ESP, 0x1234567);
    keeps(IA32_SYSENTER_EIP, 0x7654321);
    keeps(IA32_PAT, PAT_LINUX);
#ifdef __x86_64__
    keeps(0xc0000081, 0x0023001000000000ull);
    keeps(0xc0000082, 0xffffffff81000000ull);
    keeps(0xc0000084, 0x47700);
    keeps(0xc0000100, 0x12345678);
    keeps(0xc0000101, 0xffff888000000000ull);
    keeps(0xc0000102, 0x9abcdef0);
#endif
    unknown_ones_raise_general_protection();
    the_tsc_can_be_moved();
    the_adjustment_moves_with_the_tsc();
}
