/* SPDX-License-Identifier: MIT */
/*
 * NMIs in a guest that shares its CPU. Each handler lasts longer than a turn, so others have the CPU while NMIs are
 * masked here, and the other way round. The masking must not reach them, nor their IRETs end it here: an NMI comes at
 * once when none is being handled, and waits when one is. SDM 3A 6.7.1 "Handling Multiple NMIs". For two copies on a
 * CPU.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "nmi-shared";

#define APIC_ID 0x20
#define APIC_ICR_LOW 0x300
#define APIC_ICR_HIGH 0x310
#define ICR_NMI 0x4400u
#define NMI 2
#define ROUNDS 6u
#define HANDLER_MS 23u /* more than two turns */
#define PAUSE_MS 7u

static volatile uint32_t nmis;
static volatile bool nested; /* an NMI came while one was handled */
static volatile bool handling;
static uint32_t khz;

static void wait_ms(uint32_t ms)
{
    uint64_t start = rdtsc();

    while (rdtsc() - start < (uint64_t)khz * ms) {
        __asm__ volatile("pause");
    }
}

static void send_nmi(void)
{
    lapic_write(APIC_ICR_HIGH, lapic_read(APIC_ID));
    lapic_write(APIC_ICR_LOW, ICR_NMI);
    __asm__ volatile("nop; nop" : : : "memory");
}

/* The first NMI of a round lasts, and sends the second, which may come only after its end. */
static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nested = nested || handling;
    handling = true;
    nmis++;
    if (nmis % 2 == 1) {
        wait_ms(HANDLER_MS);
        send_nmi();
    }
    handling = false;
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    khz = tsc_khz();
    trap_set(NMI, on_nmi);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        send_nmi();
        CHECK_EQUAL(nmis, 2 * round);
        CHECK(!nested);
        wait_ms(PAUSE_MS);
    }
}
