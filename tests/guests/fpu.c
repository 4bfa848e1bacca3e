/* SPDX-License-Identifier: MIT */
/* x87 and SSE registers across exits: a hypervisor must not lose or leak a bit of them. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "fpu";

#define ROUNDS 2000
#define CR0_MP_NE 0x22u
#define CR0_EM_TS 0x0cu
#define CR4_SSE 0x600u

struct __attribute__((aligned(16))) registers {
    uint8_t xmm[8][16];
    uint64_t x87[8];
};

static struct registers before, after;

static void enable(void)
{
    write_cr0((read_cr0() & ~(word_t)CR0_EM_TS) | CR0_MP_NE);
    write_cr4(read_cr4() | CR4_SSE);
    __asm__ volatile("fninit");
}

static void fill(uint32_t seed)
{
    for (uint32_t i = 0; i < sizeof(before.xmm); i++) {
        seed = seed * 1664525u + 1013904223u;
        ((uint8_t *)before.xmm)[i] = (uint8_t)(seed >> 24);
    }
    for (uint32_t i = 0; i < 8; i++) {
        before.x87[i] = (uint64_t)seed * (i + 1);
    }
}

/* Loads everything, exits by `out`, `cpuid` and an MMIO read, and stores everything. */
static void round_trip(void)
{
    __asm__ volatile("movaps 0(%0), %%xmm0; movaps 16(%0), %%xmm1; movaps 32(%0), %%xmm2; movaps 48(%0), %%xmm3;"
                     "movaps 64(%0), %%xmm4; movaps 80(%0), %%xmm5; movaps 96(%0), %%xmm6; movaps 112(%0), %%xmm7;"
                     "fildll 128(%0); fildll 136(%0); fildll 144(%0); fildll 152(%0);"
                     "fildll 160(%0); fildll 168(%0); fildll 176(%0); fildll 184(%0)"
                     :
                     : "r"(&before)
                     : "memory");
    out8(0x80, 0);
    (void)cpuid(0, 0);
    (void)lapic_read(0x20);
    __asm__ volatile("movaps %%xmm0, 0(%0); movaps %%xmm1, 16(%0); movaps %%xmm2, 32(%0); movaps %%xmm3, 48(%0);"
                     "movaps %%xmm4, 64(%0); movaps %%xmm5, 80(%0); movaps %%xmm6, 96(%0); movaps %%xmm7, 112(%0);"
                     "fistpll 184(%0); fistpll 176(%0); fistpll 168(%0); fistpll 160(%0);"
                     "fistpll 152(%0); fistpll 144(%0); fistpll 136(%0); fistpll 128(%0)"
                     :
                     : "r"(&after)
                     : "memory");
}

void guest_main(void)
{
    enable();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        fill(round);
        round_trip();
        for (uint32_t i = 0; i < sizeof(before); i++) {
            CHECK_EQUAL(((const uint8_t *)&after)[i], ((const uint8_t *)&before)[i]);
        }
    }
}
