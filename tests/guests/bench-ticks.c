/* SPDX-License-Identifier: MIT */
/*
 * A guest that does nothing but tick: TICKS interrupts of its own timer, one a millisecond, asleep in between. What the
 * hypervisor does for one of them, as it has more such guests, is what `make bench-guests` counts.
 */
#include "tests/bench/marks.h"
#include "tests/guests/lib/guest.h"

const char guest_name[] = "bench-ticks";

#define TICKS 1000u
#define FIRST_COUNTED 100u /* by then all guests tick, and none has ended before LAST_COUNTED */
#define LAST_COUNTED 900u
#define TIMER_VECTOR 0x40
#define LAPIC_EOI 0xb0
#define LAPIC_LVT_TIMER 0x320
#define LVT_TSC_DEADLINE 0x40000u
#define MSR_TSC_DEADLINE 0x6e0

static volatile uint32_t ticks;
static uint64_t deadline, period;

static void on_tick(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    deadline += period;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    lapic_write(LAPIC_EOI, 0);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    period = tsc_khz();
    trap_set(TIMER_VECTOR, on_tick);
    lapic_write(LAPIC_LVT_TIMER, LVT_TSC_DEADLINE | TIMER_VECTOR);
    deadline = rdtsc() + period;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    while (ticks < TICKS) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
        if (ticks == FIRST_COUNTED) {
            MARK(0);
        } else if (ticks == LAST_COUNTED) {
            MARK(1);
        }
    }
    wrmsr(MSR_TSC_DEADLINE, 0);
}
