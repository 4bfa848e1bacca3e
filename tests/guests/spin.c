/* SPDX-License-Identifier: MIT */
/*
 * A guest that does nothing but spin, until a byte is typed to it: while it spins, its CPU has no reason to leave it.
 * The status that the hypervisor prints on a key tells how often that happened.
 *
 * Command line: `halt`, and it halts until the byte comes; `pause`, and it spins by PAUSE; `deadline`, and its local
 * APIC is in x2APIC mode, with its timer in TSC-deadline mode and without a deadline; `cpuid`, the same, and it spins
 * by CPUID; `share`, and it spins for SHARE_MS and says how much of that time it had the CPU: what lies between two
 * readings of the TSC is its own, unless the second is GAP_US later.
 */
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "spin";

#define IRQ 4
#define VECTOR 0x24
#define UART 0x3f8
#define UART_INTERRUPTS 0x3f9
#define UART_MODEM 0x3fc
#define RECEIVED 1u
#define OUT2 8u

#define SHARE_MS 2000u
#define GAP_US 1000u

static volatile bool typed;

static void on_byte(struct trap_frame *frame)
{
    (void)frame;
    (void)in8(UART);
    pic_eoi(IRQ);
    typed = true;
}

static void measure_share(void)
{
    uint64_t khz = tsc_khz();
    uint64_t start = rdtsc();
    uint64_t own = 0;

    pic_init();
    interrupts_on(); /* none comes; but Bochs 2.7 keeps the host's from a guest that has them off */
    for (uint64_t last = start; last - start < khz * SHARE_MS;) {
        uint64_t now = rdtsc();

        own += now - last < khz * GAP_US / 1000 ? now - last : 0;
        last = now;
    }
    interrupts_off();
    print("had the CPU for %u%% of %u ms\n", (uint32_t)(own * 100 / (khz * SHARE_MS)), SHARE_MS);
}

#define IA32_APIC_BASE 0x1b
#define APIC_BASE_X2APIC 0x400u
#define X2APIC_LVT_TIMER 0x832
#define LVT_TSC_DEADLINE 0x40000u

/* The 8259's line goes past the local APIC's registers: LINT0 is ExtINT, as the firmware has left it. */
static void set_deadline_mode(void)
{
    wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | APIC_BASE_X2APIC);
    wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR);
}

static bool cmdline_begins(char with)
{
    const struct start_info *info = start_info();

    return info != NULL && start_info_cmdline(info)[0] == with;
}

void guest_main(void)
{
    bool halts = cmdline_begins('h');
    bool pauses = cmdline_begins('p');
    bool exits = cmdline_begins('c');
    uint64_t rounds = 0;

    if (cmdline_begins('s')) {
        measure_share();
        return;
    }
    pic_init();
    if (exits || cmdline_begins('d')) {
        set_deadline_mode();
    }
    trap_set(VECTOR, on_byte);
    out8(UART_INTERRUPTS, RECEIVED);
    out8(UART_MODEM, OUT2);
    print("%s until a key is typed\n", halts ? "halts" : "spins");
    pic_mask((uint16_t) ~(1u << IRQ));
    if (!halts) {
        interrupts_on();
    }
    while (!typed) {
        if (halts) {
            wait_for_interrupt();
        } else if (pauses) {
            __builtin_ia32_pause();
        } else if (exits) {
            (void)cpuid(0, 0);
        }
        rounds++;
    }
    interrupts_off();
    CHECK(rounds != 0);
}
