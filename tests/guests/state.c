/* SPDX-License-Identifier: MIT */
/*
 * What a guest has in its registers survives the turns of others on its CPU: x87, SSE and AVX registers, debug
 * registers, the MSRs of SYSCALL and SYSENTER, CR2. Several of these guests in one boot are each other's disturbers,
 * because each has a pattern of its own. Alone on a CPU it must hold, too.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "state";

#define ROUNDS 20
#define SPIN_MS 30 /* several slices of 10 ms */
#define CR0_MP_NE 0x22u
#define CR0_EM_TS 0x0cu
#define CR4_SSE 0x600u
#define CR4_OSXSAVE 0x40000u
#define XCR0_AVX 7u
#define CPUID_XSAVE (1u << 26)
#define CPUID_AVX (1u << 28)
#define DR7_NOTHING 0x400u
#define SYSENTER_FIRST 0x174u
#define KERNEL_GS_BASE 0xc0000102u
#define LSTAR 0xc0000082u

#ifdef __x86_64__
#define VECTORS 16
#else
#define VECTORS 8
#endif

struct __attribute__((aligned(32))) live {
    uint8_t vectors[VECTORS][32];
    uint64_t x87[4];
    word_t debug[4];
    word_t cr2;
    uint64_t msrs[5];
};

static struct live before, after;
static bool avx;
static uint32_t khz;

static void enable(void)
{
    write_cr0((read_cr0() & ~(word_t)CR0_EM_TS) | CR0_MP_NE);
    write_cr4(read_cr4() | CR4_SSE);
    __asm__ volatile("fninit");
    avx = (cpuid(1, 0).ecx & (CPUID_XSAVE | CPUID_AVX)) == (CPUID_XSAVE | CPUID_AVX);
    if (avx) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        __asm__ volatile("xsetbv" : : "c"(0), "a"(XCR0_AVX), "d"(0));
    }
    print("  vectors of %u bytes, TSC %u kHz\n", avx ? 32u : 16u, khz);
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Breakpoint addresses are in the guest's memory, and no breakpoint is enabled. MSR values are canonical. */
static void fill(uint32_t seed)
{
    for (uint32_t i = 0; i < sizeof(before.vectors); i++) {
        ((uint8_t *)before.vectors)[i] = (uint8_t)next(&seed);
    }
    for (uint32_t i = 0; i < 4; i++) {
        before.x87[i] = (uint64_t)next(&seed) << 30 | next(&seed);
        before.debug[i] = next(&seed);
    }
    before.cr2 = next(&seed) << 8 | sizeof(word_t); /* whose it is can be seen */
    for (uint32_t i = 0; i < 5; i++) {
        before.msrs[i] = i == 0 ? next(&seed) & 0xfffcu : next(&seed); /* IA32_SYSENTER_CS has 16 bits */
    }
}

#ifdef __x86_64__
#define VECTORS_EACH(OP) \
    OP(0) OP(1) OP(2) OP(3) OP(4) OP(5) OP(6) OP(7) OP(8) OP(9) OP(10) OP(11) OP(12) OP(13) OP(14) OP(15)
#else
#define VECTORS_EACH(OP) OP(0) OP(1) OP(2) OP(3) OP(4) OP(5) OP(6) OP(7)
#endif
#define LOAD_XMM(n) "movups 32*" #n "(%0), %%xmm" #n ";"
#define SAVE_XMM(n) "movups %%xmm" #n ", 32*" #n "(%0);"
#define LOAD_YMM(n) "vmovups 32*" #n "(%0), %%ymm" #n ";"
#define SAVE_YMM(n) "vmovups %%ymm" #n ", 32*" #n "(%0);"

static void load_vectors(void)
{
    if (avx) {
        __asm__ volatile(VECTORS_EACH(LOAD_YMM) : : "r"(before.vectors) : "memory");
    } else {
        __asm__ volatile(VECTORS_EACH(LOAD_XMM) : : "r"(before.vectors) : "memory");
    }
    __asm__ volatile("fildll 0(%0); fildll 8(%0); fildll 16(%0); fildll 24(%0)" : : "r"(before.x87) : "memory");
}

static void save_vectors(void)
{
    if (avx) {
        __asm__ volatile(VECTORS_EACH(SAVE_YMM) : : "r"(after.vectors) : "memory");
    } else {
        __asm__ volatile(VECTORS_EACH(SAVE_XMM) : : "r"(after.vectors) : "memory");
    }
    __asm__ volatile("fistpll 24(%0); fistpll 16(%0); fistpll 8(%0); fistpll 0(%0)" : : "r"(after.x87) : "memory");
}

#define DEBUG_WRITE(n) __asm__ volatile("mov %0, %%dr" #n : : "r"(before.debug[n]))
#define DEBUG_READ(n) __asm__ volatile("mov %%dr" #n ", %0" : "=r"(after.debug[n]))

static const uint32_t msrs[] = {SYSENTER_FIRST, SYSENTER_FIRST + 1, SYSENTER_FIRST + 2,
#ifdef __x86_64__
                                KERNEL_GS_BASE, LSTAR
#endif
};
#define MSRS (sizeof(msrs) / sizeof(msrs[0]))

static void load_system(void)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"((word_t)DR7_NOTHING));
    DEBUG_WRITE(0);
    DEBUG_WRITE(1);
    DEBUG_WRITE(2);
    DEBUG_WRITE(3);
    write_cr2(before.cr2);
    for (uint32_t i = 0; i < MSRS; i++) {
        wrmsr(msrs[i], before.msrs[i]);
    }
}

static void save_system(void)
{
    DEBUG_READ(0);
    DEBUG_READ(1);
    DEBUG_READ(2);
    DEBUG_READ(3);
    after.cr2 = read_cr2();
    for (uint32_t i = 0; i < MSRS; i++) {
        after.msrs[i] = rdmsr(msrs[i]);
    }
}

/*
 * Others run meanwhile: the longest gap between two looks at the TSC shows it. Interrupts are on, though none is due,
 * because Bochs takes the hypervisor's timer out of a guest's code only then.
 */
static uint32_t spin_us(void)
{
    uint64_t start = rdtsc(), last = start, gap = 0;

    interrupts_on();
    while (last - start < (uint64_t)khz * SPIN_MS) {
        uint64_t now = rdtsc();

        gap = now - last > gap ? now - last : gap;
        last = now;
    }
    interrupts_off();
    return (uint32_t)gap / (khz / 1000u + 1u);
}

static void compare(void)
{
    uint32_t width = avx ? 32 : 16;

    for (uint32_t i = 0; i < VECTORS; i++) {
        for (uint32_t j = 0; j < width; j++) {
            if (after.vectors[i][j] != before.vectors[i][j]) {
                guest_fail("vector register %u byte %u: 0x%x instead of 0x%x", i, j, after.vectors[i][j],
                           before.vectors[i][j]);
            }
        }
    }
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQUAL(after.x87[i], before.x87[i]);
        CHECK_EQUAL(after.debug[i], before.debug[i]);
    }
    CHECK_EQUAL(after.cr2, before.cr2);
    for (uint32_t i = 0; i < MSRS; i++) {
        CHECK_EQUAL(after.msrs[i], before.msrs[i]);
    }
}

void guest_main(void)
{
    uint32_t away_us = 0;
    uint32_t seed = (uint32_t)rdtsc();

    pic_init();
    khz = tsc_khz();
    enable();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t gap;

        fill(seed + round);
        load_system();
        load_vectors();
        gap = spin_us();
        save_vectors();
        save_system();
        compare();
        away_us = gap > away_us ? gap : away_us;
    }
    print("  %u rounds of %u ms; others had the CPU for up to %u us\n", ROUNDS, SPIN_MS, away_us);
}
