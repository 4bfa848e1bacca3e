/* SPDX-License-Identifier: MIT */
/* What CPUID must say on this PC, so that stock kernels neither warn nor look for what is not there. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "cpuid";

#define BIT(n) (1u << (n))
#define UD 6u
#define GP 13u

static void the_leaves_end_where_they_say(void)
{
    uint32_t top = cpuid(0, 0).eax, extended = cpuid(0x80000000u, 0).eax;

    print("  leaves up to %x, extended up to %x\n", top, extended);
    CHECK(top >= 1 && top < 0x100);
    CHECK(extended >= 0x80000008u && extended < 0x80000100u);
}

static void what_long_mode_kernels_need_is_there(void)
{
    struct cpuid one = cpuid(1, 0), extended = cpuid(0x80000001u, 0), sizes = cpuid(0x80000008u, 0);
    uint32_t needed = BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(13) | BIT(15) | BIT(16) |
                      BIT(24) | BIT(25) | BIT(26); /* FPU PSE TSC MSR PAE CX8 APIC PGE CMOV PAT FXSR SSE SSE2 */

    CHECK_EQUAL(one.edx & needed, needed);
    CHECK_EQUAL(extended.edx & (BIT(20) | BIT(29)), BIT(20) | BIT(29)); /* NX, long mode */
    CHECK((sizes.eax & 0xff) >= 36 && (sizes.eax & 0xff) <= 52);
    CHECK(((sizes.eax >> 8) & 0xff) == 48 || ((sizes.eax >> 8) & 0xff) == 57);
}

static void osxsave_follows_cr4(void)
{
    uint32_t ecx = cpuid(1, 0).ecx;

    CHECK_EQUAL((ecx >> 27) & 1, (read_cr4() >> 18) & 1);
    if ((ecx & BIT(26)) == 0) {
        return;
    }
    write_cr4(read_cr4() | BIT(18));
    CHECK_EQUAL(cpuid(1, 0).ecx & BIT(27), BIT(27));
    write_cr4(read_cr4() & ~(word_t)BIT(18));
    CHECK_EQUAL(cpuid(1, 0).ecx & BIT(27), 0);
}

/* Neither vendor's virtualization, nor what a guest could use to wait without an exit: MONITOR, MWAITX. */
static void what_guests_must_not_use_is_absent(void)
{
    if (on_plain_tcg()) {
        return;
    }
    CHECK_EQUAL(cpuid(1, 0).ecx & BIT(5), 0);            /* VMX */
    CHECK_EQUAL(cpuid(1, 0).ecx & BIT(3), 0);            /* MONITOR */
    CHECK_EQUAL(cpuid(0x80000001u, 0).ecx & BIT(2), 0);  /* SVM */
    CHECK_EQUAL(cpuid(0x80000001u, 0).ecx & BIT(29), 0); /* MWAITX */
}

static void expect_trap(const char *what, uint32_t vector)
{
    if (trap_last.vector != vector) {
        guest_fail("%s: vector 0x%x instead of %u", what, (uint32_t)trap_last.vector, vector);
    }
}

static bool on_qemus_cpu(void)
{
    return cpuid(0x80000002u, 0).eax == 0x554d4551; /* "QEMU" in the brand string */
}

/* PKU and PKS: nothing of them is there, whatever the CPU has. SDM 3A 4.6.2 "Protection Keys". */
static void protection_keys_are_hidden_whole(void)
{
    word_t cr4 = read_cr4();

    if (on_plain_tcg()) {
        return;
    }
    CHECK_EQUAL(cpuid(7, 0).ecx & (BIT(3) | BIT(4) | BIT(31)), 0); /* PKU, OSPKE, PKS */
    CHECK_EQUAL(cpuid(0xd, 0).eax & BIT(9), 0);
    CHECK_EQUAL(cpuid(0xd, 9).eax, 0);
    TRAP("mov %0, %%cr4", : : "r"(cr4 | BIT(22)) : "memory");
    expect_trap("CR4.PKE", GP);
    TRAP("mov %0, %%cr4", : : "r"(cr4 | BIT(24)) : "memory");
    expect_trap("CR4.PKS", GP);
    TRAP(".byte 0x0f, 0x01, 0xee", : : "c"(0) : "eax", "edx"); /* RDPKRU */
    expect_trap("RDPKRU", UD);
    TRAP(".byte 0x0f, 0x01, 0xef", : : "a"(0), "c"(0), "d"(0)); /* WRPKRU */
    expect_trap("WRPKRU", UD);
    TRAP("rdmsr", : : "c"(0x6e1) : "eax", "edx"); /* IA32_PKRS */
    expect_trap("IA32_PKRS", GP);
    TRAP("wrmsr", : : "a"(0), "c"(0x6e1), "d"(0));
    expect_trap("IA32_PKRS, written", GP);
    if ((cpuid(1, 0).ecx & BIT(26)) != 0 && !on_qemus_cpu()) { /* which ignores the XSETBV intercept */
        write_cr4(cr4 | BIT(18));
        TRAP("xsetbv", : : "a"(0x207), "c"(0), "d"(0) : "memory");
        write_cr4(cr4);
        expect_trap("XCR0's component of PKRU", GP);
    }
}

static void the_hypervisor_says_that_it_is_one(void)
{
    CHECK_EQUAL(cpuid(1, 0).ecx & BIT(31), BIT(31));
    CHECK(cpuid(0x40000000u, 0).eax >= 0x40000000u);
}

void guest_main(void)
{
    the_leaves_end_where_they_say();
    what_long_mode_kernels_need_is_there();
    osxsave_follows_cr4();
    what_guests_must_not_use_is_absent();
    protection_keys_are_hidden_whole();
    the_hypervisor_says_that_it_is_one();
}
