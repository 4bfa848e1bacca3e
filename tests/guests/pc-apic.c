/* SPDX-License-Identifier: MIT */
/*
 * The local APIC in its corners: the timer's modes changed while it counts, its clock against the TSC, the page
 * disabled and moved, CR8, priorities. SDM 3A 11.4.3, 11.5.4, 11.8.3.1, 11.8.6. Then accesses of every width to the
 * page, and what a local APIC does that software has switched off: the same where VMX's CPU serves the page and where
 * it does not.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-apic";

#define IA32_APIC_BASE 0x1b
#define IA32_TSC 0x10
#define IA32_TSC_ADJUST 0x3b
#define IA32_TSC_DEADLINE 0x6e0
#define APIC_ENABLE 0x800u
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SVR 0xf0
#define APIC_ISR_80 0x140 /* vectors 0x80 to 0x9f */
#define APIC_IRR_80 0x240
#define APIC_ESR 0x280
#define APIC_THERMAL 0x330
#define APIC_NOT_THERE 0x40
#define ERROR_REGISTER 0x80u
#define SVR_ON 0x1ffu
#define SVR_OFF 0xffu
#define APIC_ICR_LOW 0x300
#define APIC_LINT0 0x350
#define APIC_TIMER 0x320
#define APIC_INITIAL 0x380
#define APIC_CURRENT 0x390
#define APIC_DIVIDE 0x3e0
#define ICR_SELF 0x44000u
#define MODE_BITS 0x60000u
#define ONE_SHOT 0u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define MASKED 0x10000u
#define VECTOR 0xee
#define OTHER_BASE 0xfed40000u
#define GP 13

static volatile uint32_t ticks;
static volatile uint32_t ppr_in_handler;

static void on_interrupt(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    ppr_in_handler = lapic_read(APIC_PPR);
    lapic_write(APIC_EOI, 0);
}

static void take_interrupts(void)
{
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void set_mode(uint32_t mode)
{
    lapic_write(APIC_TIMER, (lapic_read(APIC_TIMER) & ~MODE_BITS) | mode);
}

static void wait_below(uint32_t limit)
{
    while (lapic_read(APIC_CURRENT) > limit) {
        __asm__ volatile("pause");
    }
}

static void wait_for_zero(void)
{
    while (lapic_read(APIC_CURRENT) != 0) {
        __asm__ volatile("pause");
    }
}

/* What the undivided timer counts in 100 ms: long enough for a slow emulator. */
static uint32_t measure(void)
{
    lapic_write(APIC_DIVIDE, 0xb);
    lapic_write(APIC_TIMER, MASKED | ONE_SHOT | VECTOR);
    lapic_write(APIC_INITIAL, 0xffffffffu);
    pit_wait_us(10000);
    return (0xffffffffu - lapic_read(APIC_CURRENT)) * 10;
}

/* False: something held this CPU up for longer than half a count, so nothing can be said. */
static bool mode_changes_in_time(uint32_t count)
{
    lapic_write(APIC_TIMER, MASKED | ONE_SHOT | VECTOR);
    lapic_write(APIC_INITIAL, count);
    wait_below(count / 2);
    set_mode(PERIODIC);
    if (lapic_read(APIC_CURRENT) - 1 >= count / 2) { /* it goes on from where it was */
        return false;
    }
    CHECK_EQUAL(lapic_read(APIC_INITIAL), count);
    while (lapic_read(APIC_CURRENT) <= count / 2) { /* and starts again */
        __asm__ volatile("pause");
    }
    wait_below(count / 2);
    set_mode(ONE_SHOT);
    if (lapic_read(APIC_CURRENT) >= count / 2) {
        return false;
    }
    wait_for_zero();
    set_mode(PERIODIC);
    CHECK_EQUAL(lapic_read(APIC_CURRENT), 0); /* only a new count starts it */
    return true;
}

static void the_mode_can_change_while_the_timer_counts(void)
{
    uint32_t count = measure();

    for (uint32_t tries = 0; tries < 20; tries++) {
        if (mode_changes_in_time(count)) {
            return;
        }
    }
    guest_fail("the count does not go on over a change of mode");
}

static void periodic_to_one_shot_ends_with_one_interrupt(void)
{
    lapic_write(APIC_TIMER, MASKED | PERIODIC | VECTOR);
    lapic_write(APIC_INITIAL, 4096);
    pit_wait_us(1000);
    ticks = 0;
    lapic_write(APIC_TIMER, ONE_SHOT | VECTOR);
    while (ticks == 0) {
        take_interrupts();
    }
    pit_wait_us(1000);
    take_interrupts();
    CHECK_EQUAL(ticks, 1);
    CHECK_EQUAL(lapic_read(APIC_CURRENT), 0);
    lapic_write(APIC_INITIAL, 0);
}

/* The timer's clock is never faster than the TSC, so a count takes at least as many TSC ticks. */
static void a_count_takes_no_fewer_tsc_ticks(void)
{
    uint64_t start;

    ticks = 0;
    lapic_write(APIC_TIMER, ONE_SHOT | VECTOR);
    start = rdtsc();
    lapic_write(APIC_INITIAL, 0x10000);
    while (ticks == 0) {
        take_interrupts();
    }
    CHECK(rdtsc() - start >= 0x10000);
}

static void the_deadline_follows_a_moved_tsc(void)
{
    static const uint64_t places[] = {0x13371337, 0xf000000000u, 0xf000000000000000u};

    if ((cpuid(1, 0).ecx & (1u << 24)) == 0) {
        return;
    }
    lapic_write(APIC_TIMER, DEADLINE | VECTOR);
    for (uint32_t i = 0; i < 3; i++) {
        ticks = 0;
        wrmsr(IA32_TSC, places[i]);
        CHECK(rdtsc() > places[i] && rdtsc() - places[i] < 1ull << 40);
        wrmsr(IA32_TSC_DEADLINE, places[i] - 1);
        CHECK_EQUAL(rdmsr(IA32_TSC_DEADLINE), 0);
        take_interrupts();
        CHECK_EQUAL(ticks, 1);
        wrmsr(IA32_TSC_DEADLINE, places[i] + (1ull << 50)); /* far away, until the TSC is moved */
        wrmsr(IA32_TSC, places[i] + (1ull << 50));
        take_interrupts();
        CHECK_EQUAL(ticks, 2);
    }
    wrmsr(IA32_TSC_ADJUST, 0);
    CHECK_EQUAL(rdmsr(IA32_TSC_ADJUST), 0);
    lapic_write(APIC_TIMER, MASKED | VECTOR);
}

static void the_page_is_gone_while_the_apic_is_off(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    uint32_t version = lapic_read(APIC_VERSION);

    wrmsr(IA32_APIC_BASE, base & ~(uint64_t)APIC_ENABLE);
    CHECK_EQUAL(lapic_read(APIC_VERSION), 0xffffffffu);
    lapic_write(APIC_TPR, 0x50);
    for (uint32_t offset = 0; offset < 0x400; offset++) {
        *(volatile uint8_t *)(uintptr_t)(LAPIC_BASE + offset) = 0xff;
    }
#ifdef __x86_64__
    __asm__ volatile("movq %0, %%cr8" : : "r"(0xcull));
#endif
    wrmsr(IA32_APIC_BASE, base);
    CHECK_EQUAL(lapic_read(APIC_VERSION), version);
    CHECK_EQUAL(lapic_read(APIC_LINT0), MASKED);
#ifdef __x86_64__
    CHECK_EQUAL(lapic_read(APIC_TPR), 0xc0); /* CR8 works without an APIC */
    __asm__ volatile("movq %0, %%cr8" : : "r"(0ull));
#endif
    CHECK_EQUAL(lapic_read(APIC_TPR), 0);
    lapic_write(APIC_LINT0, MASKED | 33);
    CHECK_EQUAL(lapic_read(APIC_LINT0), MASKED | 33);
    lapic_write(APIC_SVR, 0x1ff);
}

static void the_page_can_move(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    uint32_t version = lapic_read(APIC_VERSION);

    wrmsr(IA32_APIC_BASE, base & ~(uint64_t)APIC_ENABLE);
    wrmsr(IA32_APIC_BASE, (base & 0xfffu) | OTHER_BASE);
    CHECK_EQUAL(mmio_read32(OTHER_BASE + APIC_VERSION), version);
    wrmsr(IA32_APIC_BASE, base);
    CHECK_EQUAL(lapic_read(APIC_VERSION), version);
    lapic_write(APIC_SVR, 0x1ff);
}

static void expect_gp(uint64_t value)
{
    TRAP("wrmsr", : : "c"(IA32_APIC_BASE), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
    if (trap_last.vector != GP || trap_last.error != 0) {
        guest_fail("IA32_APIC_BASE 0x%q: vector %u error %u", value, trap_last.vector, trap_last.error);
    }
}

static void wrong_bases_are_refused(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);

    expect_gp(base | 1);
    expect_gp(base | 1ull << (cpuid(0x80000008u, 0).eax & 0xff));
    expect_gp((base & ~(uint64_t)APIC_ENABLE) | 0x400);
    wrmsr(IA32_APIC_BASE, base & ~(uint64_t)APIC_ENABLE);
    expect_gp(base | 0xc00);
    wrmsr(IA32_APIC_BASE, base);
    lapic_write(APIC_SVR, 0x1ff);
}

/* Every class of the TPR against one vector: through the page and through CR8. */
static void the_priority_is_the_higher_of_task_and_service(void)
{
    for (uint32_t class = 0; class < 16; class ++) {
        lapic_write(APIC_TPR, class << 4);
        CHECK_EQUAL(lapic_read(APIC_PPR), class << 4);
        ticks = 0;
        lapic_write(APIC_ICR_LOW, ICR_SELF | 0x82);
        take_interrupts();
        CHECK_EQUAL(ticks, class < 8);
        if (class < 8) {
            CHECK_EQUAL(ppr_in_handler & 0xf0, 0x80);
        }
#ifdef __x86_64__
        __asm__ volatile("movq %0, %%cr8" : : "r"(0ull));
#else
        lapic_write(APIC_TPR, 0);
#endif
        take_interrupts();
        CHECK_EQUAL(ticks, 1);
    }
}

#ifdef __x86_64__
/* With interrupts on, a lower CR8 lets what waits in at once. */
static void lowering_cr8_delivers(void)
{
    __asm__ volatile("movq %0, %%cr8" : : "r"(0xfull));
    CHECK_EQUAL(lapic_read(APIC_TPR), 0xf0);
    ticks = 0;
    lapic_write(APIC_ICR_LOW, ICR_SELF | 0x82);
    interrupts_on();
    __asm__ volatile("nop; nop" : : : "memory");
    CHECK_EQUAL(ticks, 0);
    __asm__ volatile("movq %0, %%cr8; nop; nop" : : "r"(7ull) : "memory");
    CHECK_EQUAL(ticks, 1);
    interrupts_off();
    __asm__ volatile("movq %0, %%cr8" : : "r"(0ull));
}
#endif

#define ACCESSES(bits)                                                        \
    static uint##bits##_t read##bits(uint32_t offset)                         \
    {                                                                         \
        return *(volatile uint##bits##_t *)(uintptr_t)(LAPIC_BASE + offset);  \
    }                                                                         \
    static void write##bits(uint32_t offset, uint##bits##_t value)            \
    {                                                                         \
        *(volatile uint##bits##_t *)(uintptr_t)(LAPIC_BASE + offset) = value; \
    }
ACCESSES(8)
ACCESSES(16)
ACCESSES(32)
#ifdef __x86_64__
ACCESSES(64)
#endif

static void reads_of_any_width_see_the_registers_bytes(void)
{
    uint32_t version = lapic_read(APIC_VERSION), copied[2];
    const void *from = (const void *)(uintptr_t)(LAPIC_BASE + APIC_VERSION);
    void *to = copied;
    word_t count = 2;

    for (uint32_t byte = 0; byte < 4; byte++) {
        CHECK_EQUAL(read8(APIC_VERSION + byte), version >> 8 * byte & 0xff);
    }
    CHECK_EQUAL(read16(APIC_VERSION + 2), version >> 16);
    CHECK_EQUAL(read32(APIC_VERSION + 2), version >> 16);
    CHECK_EQUAL(read16(APIC_VERSION + 3), version >> 24);
    CHECK_EQUAL(read32(APIC_VERSION + 4), 0);
    CHECK_EQUAL(read32(APIC_EOI), 0);
#ifdef __x86_64__
    CHECK_EQUAL(read64(APIC_VERSION), version);
#endif
    __asm__ volatile("cld; rep movsl" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    CHECK_EQUAL(copied[0], version);
    CHECK_EQUAL(copied[1], 0);
}

static void writes_of_any_width_change_their_bytes(void)
{
    lapic_write(APIC_THERMAL, MASKED | 0x41);
    write8(APIC_THERMAL, 0x42);
    CHECK_EQUAL(lapic_read(APIC_THERMAL), MASKED | 0x42);
    write16(APIC_THERMAL + 1, 0x0104);
    CHECK_EQUAL(lapic_read(APIC_THERMAL), MASKED | 0x442);
    write32(APIC_THERMAL + 2, 0xffff); /* over its end */
    write16(APIC_THERMAL + 3, 0xffff);
    write8(APIC_THERMAL + 4, 0xff);
    write32(APIC_VERSION, 0xffff);
    write32(APIC_CURRENT, 0xffff);
    CHECK_EQUAL(lapic_read(APIC_THERMAL), MASKED | 0x442);
    lapic_write(APIC_THERMAL, 0xffffffffu);
    CHECK_EQUAL(lapic_read(APIC_THERMAL), 0x107ff);
#ifdef __x86_64__
    write64(APIC_THERMAL, 0xffffffff00000000ull | MASKED | 0x43);
    CHECK_EQUAL(lapic_read(APIC_THERMAL), MASKED | 0x43);
#endif
    write8(APIC_TPR, 0x25);
    write8(APIC_TPR + 1, 0xff);
    CHECK_EQUAL(lapic_read(APIC_TPR), 0x25);
    lapic_write(APIC_TPR, 0xabcdef31u);
    CHECK_EQUAL(lapic_read(APIC_TPR), 0x31);
    __asm__ volatile("orl $0x40, %0" : "+m"(*(volatile uint32_t *)(uintptr_t)(LAPIC_BASE + APIC_TPR)));
    CHECK_EQUAL(lapic_read(APIC_TPR), 0x71);
    CHECK_EQUAL(lapic_read(APIC_PPR), 0x71);
    lapic_write(APIC_TPR, 0);
    lapic_write(APIC_LDR, 0x12345678);
    CHECK_EQUAL(lapic_read(APIC_LDR), 0x12000000);
    lapic_write(APIC_DFR, 0);
    CHECK_EQUAL(lapic_read(APIC_DFR), 0x0fffffff);
    lapic_write(APIC_DFR, 0xffffffffu);
    lapic_write(APIC_SVR, 0xfffff000u | SVR_ON);
    CHECK_EQUAL(lapic_read(APIC_SVR), SVR_ON);
}

static void registers_that_are_not_there_are_errors(void)
{
    lapic_write(APIC_ESR, 0);
    CHECK_EQUAL(lapic_read(APIC_NOT_THERE), 0);
    lapic_write(APIC_ESR, 0x5a5a5a5a);
    CHECK_EQUAL(lapic_read(APIC_ESR), ERROR_REGISTER);
    lapic_write(APIC_ESR, 0);
    CHECK_EQUAL(lapic_read(APIC_ESR), 0);
}

enum end_of_interrupt {
    END_BY_WORD,
    END_BY_LAST_BYTE,
    END_BY_TWO_WORDS,
    ENDS,
};
static volatile enum end_of_interrupt end_by;

static void on_ended(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    CHECK_EQUAL(lapic_read(APIC_ISR_80), 1u << 3);
    if (end_by == END_BY_LAST_BYTE) {
        write8(APIC_EOI + 3, 0xff);
#ifdef __x86_64__
    } else if (end_by == END_BY_TWO_WORDS) {
        write64(APIC_EOI, ~0ull);
#endif
    } else {
        lapic_write(APIC_EOI, 0xffffffffu);
    }
}

/* Then the next one of a lower class comes. */
static void any_write_of_eoi_ends_an_interrupt(void)
{
    for (end_by = END_BY_WORD; end_by < ENDS; end_by++) {
        ticks = 0;
        lapic_write(APIC_ICR_LOW, ICR_SELF | 0x83);
        CHECK_EQUAL(lapic_read(APIC_IRR_80), 1u << 3);
        take_interrupts();
        CHECK_EQUAL(ticks, 1);
        CHECK_EQUAL(lapic_read(APIC_ISR_80), 0);
        CHECK_EQUAL(lapic_read(APIC_PPR), 0);
        lapic_write(APIC_ICR_LOW, ICR_SELF | 0x72);
        take_interrupts();
        CHECK_EQUAL(ticks, 2);
    }
    lapic_write(APIC_ICR_LOW, ICR_SELF | 0x72);
    take_interrupts();
    write8(APIC_ICR_LOW, 0x82); /* the rest of it stands there */
    take_interrupts();
    CHECK_EQUAL(ticks, 4);
}

static void what_is_off_takes_no_interrupts(void)
{
    ticks = 0;
    lapic_write(APIC_SVR, SVR_OFF);
    lapic_write(APIC_ICR_LOW, ICR_SELF | 0x82);
    take_interrupts();
    CHECK_EQUAL(lapic_read(APIC_IRR_80), 0);
    lapic_write(APIC_THERMAL, 0x41);
    CHECK_EQUAL(lapic_read(APIC_THERMAL), MASKED | 0x41);
    lapic_write(APIC_TPR, 0x30);
    CHECK_EQUAL(lapic_read(APIC_TPR), 0x30);
    lapic_write(APIC_TPR, 0);
    lapic_write(APIC_SVR, SVR_ON);
    take_interrupts();
    CHECK_EQUAL(ticks, 0);
    lapic_write(APIC_ICR_LOW, ICR_SELF | 0x82);
    take_interrupts();
    CHECK_EQUAL(ticks, 1);
}

static void the_page_answers_every_access(void)
{
    reads_of_any_width_see_the_registers_bytes();
    writes_of_any_width_change_their_bytes();
    registers_that_are_not_there_are_errors();
    any_write_of_eoi_ends_an_interrupt();
    what_is_off_takes_no_interrupts();
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    trap_set(VECTOR, on_interrupt);
    trap_set(0x72, on_interrupt);
    trap_set(0x82, on_interrupt);
    trap_set(0x83, on_ended);
    if (!on_plain_tcg()) { /* whose timer starts its count again */
        the_mode_can_change_while_the_timer_counts();
        periodic_to_one_shot_ends_with_one_interrupt();
    }
    a_count_takes_no_fewer_tsc_ticks();
    the_priority_is_the_higher_of_task_and_service();
#ifdef __x86_64__
    lowering_cr8_delivers();
#endif
    the_deadline_follows_a_moved_tsc();
    if (!on_plain_tcg()) { /* whose APIC cannot be switched off or moved */
        the_page_answers_every_access();
        the_page_is_gone_while_the_apic_is_off();
        the_page_can_move();
        wrong_bases_are_refused();
        the_page_answers_every_access();
    }
}
