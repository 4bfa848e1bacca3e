/* SPDX-License-Identifier: MIT */
/*
 * The well-behaved guest beside the hostile ones. It fills memory with a pattern, takes ticks from its own timer while
 * it hashes that memory again and again, and says at the end how late ticks came and how much work it got done.
 *
 * Each tick has a moment: start + n * period, by the guest's own TSC. The next one is asked for only after the last
 * came, so a tick that is late does not swallow another one, and a tick that never comes shows as a deadline that lies
 * far back. Late by more than LATE_LIMIT_MS counts as missed: a guest that keeps the CPU reaches that, an emulator on a
 * loaded machine does not. Where time does not depend on the host's load, the reader of what it says holds it to much
 * less (tests/boot/cases.py).
 *
 * Command line: ticks=N, each TICK_MS (100 where it does not say); `until-key`: as many as come until a byte is typed.
 */
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "neighbour";

#define TICK_MS 20u
#define TICKS_DEFAULT 100u
#define LATE_LIMIT_MS 60000u
#define TIMER_VECTOR 0x40
#define FLAGS_IF 0x200u
#define LAPIC_EOI 0xb0
#define LAPIC_LVT_TIMER 0x320
#define LVT_TSC_DEADLINE 0x40000u
#define MSR_TSC_DEADLINE 0x6e0
#define UART_STATUS 0x3fd
#define UART_HAS_BYTE 1u
#define FIELD_WORDS (256u * 1024u)
#define PASS_WORDS 4096u /* between two looks at the clock */

static uint64_t field[FIELD_WORDS];
static volatile uint32_t ticks;
static volatile uint64_t deadline;
static volatile uint64_t latest;
static volatile uint64_t earliest; /* before its time: no such tick was asked for */
static volatile uint32_t early;
static volatile uint32_t while_off; /* an interrupt that came with interrupts off: no PC does that */
static uint64_t period;
static volatile uint32_t ticks_wanted = TICKS_DEFAULT;

static uint64_t pattern(uint64_t index)
{
    uint64_t x = (index + 1) * 0x9e3779b97f4a7c15ULL;

    x ^= x >> 29;
    return x * 0xbf58476d1ce4e5b9ULL;
}

static void on_tick(struct trap_frame *frame)
{
    uint64_t late = rdtsc() - deadline;

    while_off += (frame->flags & FLAGS_IF) == 0;
    if ((int64_t)late < 0) {
        early++;
        earliest = 0 - late > earliest ? 0 - late : earliest;
        lapic_write(LAPIC_EOI, 0);
        return;
    }
    latest = late > latest ? late : latest;
    ticks++;
    deadline += period;
    if (ticks < ticks_wanted) {
        wrmsr(MSR_TSC_DEADLINE, deadline);
    }
    lapic_write(LAPIC_EOI, 0);
}

/* The handler asks for no tick beyond the last one, so the end is set only between two. */
static void end_by_key(void)
{
    if ((in8(UART_STATUS) & UART_HAS_BYTE) != 0) {
        interrupts_off();
        ticks_wanted = ticks + 1;
        interrupts_on();
    }
}

static void check_slice_of_field(uint32_t first)
{
    for (uint32_t i = first; i < first + PASS_WORDS; i++) {
        if (field[i] != pattern(i)) {
            guest_fail("word %u of its memory is 0x%q, it wrote 0x%q", i, field[i], pattern(i));
        }
    }
}

void guest_main(void)
{
    const struct start_info *info = start_info();
    uint32_t wanted = info == NULL ? 0 : start_info_number(info, "ticks=", 0);
    uint32_t khz;
    uint32_t at = 0;
    uint32_t passes = 0;
    uint64_t start;
    bool by_key;

    by_key = info != NULL && start_info_argument(info, "until-key") != NULL;
    ticks_wanted = by_key ? UINT32_MAX : wanted != 0 ? wanted : TICKS_DEFAULT;
    pic_init();
    lapic_init();
    khz = tsc_khz();
    for (uint32_t i = 0; i < FIELD_WORDS; i++) {
        field[i] = pattern(i);
    }
    trap_set(TIMER_VECTOR, on_tick);
    lapic_write(LAPIC_LVT_TIMER, LVT_TSC_DEADLINE | TIMER_VECTOR);
    period = (uint64_t)khz * TICK_MS;
    start = rdtsc();
    deadline = start + period;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    interrupts_on();
    while (ticks < ticks_wanted) {
        uint64_t now;

        check_slice_of_field(at);
        at = (at + PASS_WORDS) % FIELD_WORDS;
        passes += at == 0;
        if (by_key && at == 0 && ticks_wanted == UINT32_MAX) {
            end_by_key();
        }
        interrupts_off();
        now = rdtsc();
        if (ticks < ticks_wanted && now > deadline && now - deadline > (uint64_t)khz * LATE_LIMIT_MS) {
            /* The CPU may have been away until this instant: one more chance to take what is pending. */
            interrupts_on();
            __asm__ volatile("nop; nop" : : : "memory");
            interrupts_off();
            if (rdtsc() - deadline > (uint64_t)khz * LATE_LIMIT_MS && ticks < ticks_wanted) {
                guest_fail("tick %u did not come", ticks);
            }
        }
        interrupts_on();
    }
    interrupts_off();
    for (uint32_t first = 0; first < FIELD_WORDS; first += PASS_WORDS) {
        check_slice_of_field(first);
    }
    print("%u ticks of %u ms, latest %u us late, %u passes over its memory\n", ticks, TICK_MS,
          (uint32_t)(latest / (khz / 1000 != 0 ? khz / 1000 : 1)), passes);
    if (while_off != 0) {
        guest_fail("%u interrupts came while interrupts were off", while_off);
    }
    if (early != 0) {
        guest_fail("%u ticks came before their time, the earliest by %u ns", early,
                   (uint32_t)(earliest * 1000 / (khz / 1000 != 0 ? khz / 1000 : 1)));
    }
    if (latest > (uint64_t)khz * LATE_LIMIT_MS) {
        guest_fail("a tick was late by more than %u ms", LATE_LIMIT_MS);
    }
}
