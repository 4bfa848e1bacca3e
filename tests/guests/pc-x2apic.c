/* SPDX-License-Identifier: MIT */
/*
 * The local APIC in x2APIC mode: self-IPIs, priorities, task priority, level-triggered interrupts, what cannot be read
 * or written. Where the hypervisor lets the CPU serve the registers, all of this happens without it, and must be the
 * same. SDM 3A 11.8 "Handling Interrupts", 11.12 "Extended XAPIC (x2APIC)".
 *
 * Where KVM's PV EOI is offered, all of it once more, with ends of interrupts by the word in memory. Linux,
 * Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-x2apic";

#define IA32_APIC_BASE 0x1b
#define APIC_BASE_X2APIC 0xc00u
#define CPUID_1_ECX_X2APIC (1u << 21)
#define X2APIC_ID 0x802
#define X2APIC_TPR 0x808
#define X2APIC_PPR 0x80a
#define X2APIC_EOI 0x80b
#define X2APIC_SVR 0x80f
#define X2APIC_ISR 0x810
#define X2APIC_TMR 0x818
#define X2APIC_IRR 0x820
#define X2APIC_ESR 0x828
#define X2APIC_ICR 0x830
#define X2APIC_LVT_TIMER 0x832
#define X2APIC_TIMER_INITIAL 0x838
#define X2APIC_TIMER_CURRENT 0x839
#define X2APIC_TIMER_DIVIDE 0x83e
#define X2APIC_SELF_IPI 0x83f
#define ESR_SEND_VECTOR 0x20u
#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u

#define IOAPIC_UART 4u
#define IOAPIC_LEVEL 0x8000u
#define IOAPIC_MASKED 0x10000u
#define UART_IER 1u
#define UART_IIR 2u
#define UART_MCR 4u
#define UART_IER_THRE 2u
#define UART_MCR_OUT2 8u
#define LEVEL_TIMES 3u

#define GP 13

#define CPUID_KVM 0x40000000u
#define CPUID_KVM_FEATURES 0x40000001u
#define KVM_SIGNATURE 0x4b4d564bu /* "KVMK" */
#define KVM_PV_EOI (1u << 6)
#define MSR_KVM_EOI_EN 0x4b564d04
#define EOI_ENABLE 1u

static volatile uint32_t end_words[2]; /* the first: the word; the second stays 0 */
static uint32_t ended_by_word;
static bool handlers_look; /* at what is in service, which takes the bit back */

static volatile uint32_t order[8], events;
static volatile uint32_t send_inside;    /* vector that the handler sends to itself before its EOI */
static volatile uint32_t before_the_eoi; /* events that had come by then */

static bool bit_set(uint32_t base, uint32_t vector)
{
    return (rdmsr(base + vector / 32) >> (vector % 32) & 1) != 0;
}

/* The bit is tested and cleared by one instruction. */
static bool end_by_word(void)
{
    bool was_set;

    __asm__ volatile("btrl $0, %0" : "+m"(end_words[0]), "=@ccc"(was_set) : : "memory");
    ended_by_word += was_set;
    return was_set;
}

static void end_of_interrupt(void)
{
    if (!end_by_word()) {
        wrmsr(X2APIC_EOI, 0);
    }
}

static void note(const struct trap_frame *frame)
{
    if (events < sizeof(order) / sizeof(order[0])) {
        order[events] = (uint32_t)frame->vector;
    }
    events++;
}

static void on_vector(struct trap_frame *frame)
{
    uint32_t inside = send_inside;

    if (handlers_look) {
        CHECK(bit_set(X2APIC_ISR, (uint32_t)frame->vector) && !bit_set(X2APIC_IRR, (uint32_t)frame->vector));
        CHECK_EQUAL(rdmsr(X2APIC_PPR) & 0xf0, frame->vector & 0xf0);
        CHECK_EQUAL(end_words[0], 0);
    }
    note(frame);
    if (inside != 0) {
        send_inside = 0;
        wrmsr(X2APIC_SELF_IPI, inside);
        interrupts_on();
        __asm__ volatile("nop; nop" : : : "memory");
        interrupts_off();
        before_the_eoi = events;
    }
    end_of_interrupt();
    CHECK(!bit_set(X2APIC_ISR, (uint32_t)frame->vector));
}

static void open_for_a_moment(void)
{
    interrupts_on();
    __asm__ volatile("nop; nop; nop" : : : "memory");
    interrupts_off();
}

static void expect_order(uint32_t count, uint32_t first, uint32_t second)
{
    CHECK_EQUAL(events, count);
    CHECK_EQUAL(order[0], first);
    if (count > 1) {
        CHECK_EQUAL(order[1], second);
    }
    events = 0;
}

static void a_self_ipi_waits_for_interrupts_to_be_on(void)
{
    wrmsr(X2APIC_SELF_IPI, 0x51);
    CHECK(bit_set(X2APIC_IRR, 0x51));
    CHECK_EQUAL(events, 0);
    open_for_a_moment();
    expect_order(1, 0x51, 0);
    CHECK_EQUAL(rdmsr(X2APIC_PPR), 0);
}

static void the_icr_reaches_its_own_apic(void)
{
    wrmsr(X2APIC_ICR, rdmsr(X2APIC_ID) << 32 | 0x4000u | 0x52);
    CHECK_EQUAL(rdmsr(X2APIC_ICR), rdmsr(X2APIC_ID) << 32 | 0x4000u | 0x52);
    open_for_a_moment();
    expect_order(1, 0x52, 0);
    wrmsr(X2APIC_ICR, 0x44000u | 0x53); /* by the shorthand */
    open_for_a_moment();
    expect_order(1, 0x53, 0);
}

static void the_higher_vector_comes_first(void)
{
    wrmsr(X2APIC_SELF_IPI, 0x41);
    wrmsr(X2APIC_SELF_IPI, 0x81);
    open_for_a_moment();
    expect_order(2, 0x81, 0x41);
}

static void a_lower_class_waits_for_the_eoi(void)
{
    send_inside = 0x41;
    wrmsr(X2APIC_SELF_IPI, 0x51);
    open_for_a_moment();
    expect_order(2, 0x51, 0x41);
    CHECK_EQUAL(before_the_eoi, 1);
}

static void the_same_class_waits_too(void)
{
    send_inside = 0x5f;
    wrmsr(X2APIC_SELF_IPI, 0x51);
    open_for_a_moment();
    expect_order(2, 0x51, 0x5f);
    CHECK_EQUAL(before_the_eoi, 1);
}

static void a_higher_class_interrupts_the_handler(void)
{
    send_inside = 0x71;
    wrmsr(X2APIC_SELF_IPI, 0x51);
    open_for_a_moment();
    expect_order(2, 0x51, 0x71);
    CHECK_EQUAL(before_the_eoi, 2);
}

static void the_task_priority_holds_its_class_back(void)
{
    wrmsr(X2APIC_TPR, 0x50);
    CHECK_EQUAL(rdmsr(X2APIC_PPR), 0x50);
    wrmsr(X2APIC_SELF_IPI, 0x5f);
    open_for_a_moment();
    CHECK_EQUAL(events, 0);
    CHECK(bit_set(X2APIC_IRR, 0x5f));
    wrmsr(X2APIC_SELF_IPI, 0x60); /* one class above */
    open_for_a_moment();
    expect_order(1, 0x60, 0);
    interrupts_on();
    wrmsr(X2APIC_TPR, 0x40);
    __asm__ volatile("nop; nop" : : : "memory");
    interrupts_off();
    expect_order(1, 0x5f, 0);
    wrmsr(X2APIC_TPR, 0);
}

#ifdef __x86_64__
/* QEMU 7.2's SVM ends with an assertion of its own where a guest lowers CR8 under a waiting virtual interrupt. */
static bool on_tcg(void)
{
    return cpuid(0x80000002, 0).eax == 0x554d4551; /* "QEMU" */
}

static void cr8_holds_its_class_back(void)
{
    wrmsr(X2APIC_SELF_IPI, 0x71);
    open_for_a_moment();
    CHECK_EQUAL(events, 0);
    interrupts_on();
    __asm__ volatile("mov %0, %%cr8; nop; nop" : : "r"((word_t)6) : "memory");
    interrupts_off();
    expect_order(1, 0x71, 0);
}

static void cr8_is_the_same_register(void)
{
    word_t class;

    __asm__ volatile("mov %0, %%cr8" : : "r"((word_t)7) : "memory");
    CHECK_EQUAL(rdmsr(X2APIC_TPR), 0x70);
    if (!on_tcg()) {
        cr8_holds_its_class_back();
    }
    wrmsr(X2APIC_TPR, 0x3f);
    __asm__ volatile("mov %%cr8, %0" : "=r"(class));
    CHECK_EQUAL(class, 3);
    wrmsr(X2APIC_TPR, 0);
}
#endif

/* ---- A level-triggered line that stays asserted ---- */

static volatile uint32_t levels;

static void ioapic_write(uint32_t reg, uint32_t value)
{
    mmio_write32(IOAPIC_BASE, reg);
    mmio_write32(IOAPIC_BASE + 0x10, value);
}

/* The UART's line falls when IIR is read, at the last time only. */
static void on_uart(struct trap_frame *frame)
{
    CHECK_EQUAL(end_words[0], 0);
    CHECK(bit_set(X2APIC_TMR, (uint32_t)frame->vector));
    if (++levels >= LEVEL_TIMES) {
        (void)in8(COM1 + UART_IIR);
    }
    end_of_interrupt();
}

static void a_level_comes_again_until_it_falls(void)
{
    uint8_t mcr = in8(COM1 + UART_MCR);

    levels = 0;
    trap_set(0x61, on_uart);
    ioapic_write(0x10 + 2 * IOAPIC_UART + 1, 0);
    ioapic_write(0x10 + 2 * IOAPIC_UART, IOAPIC_LEVEL | 0x61);
    out8(COM1 + UART_MCR, mcr | UART_MCR_OUT2);
    interrupts_on();
    out8(COM1 + UART_IER, UART_IER_THRE);
    pit_wait_us(20000);
    interrupts_off();
    out8(COM1 + UART_IER, 0);
    ioapic_write(0x10 + 2 * IOAPIC_UART, IOAPIC_MASKED);
    out8(COM1 + UART_MCR, mcr);
    CHECK_EQUAL(levels, LEVEL_TIMES);
}

/* ---- The timer ---- */

static volatile uint32_t ticks;

static void on_timer(struct trap_frame *frame)
{
    CHECK(!bit_set(X2APIC_TMR, (uint32_t)frame->vector));
    ticks++;
    end_of_interrupt();
}

static void the_timer_wakes_a_halted_cpu(void)
{
    ticks = 0;
    trap_set(0xe0, on_timer);
    wrmsr(X2APIC_TIMER_DIVIDE, 0);
    wrmsr(X2APIC_LVT_TIMER, LVT_PERIODIC | 0xe0);
    wrmsr(X2APIC_TIMER_INITIAL, 200000);
    CHECK(rdmsr(X2APIC_TIMER_CURRENT) != 0);
    while (ticks < 20) {
        wait_for_interrupt();
    }
    wrmsr(X2APIC_LVT_TIMER, LVT_MASKED);
    wrmsr(X2APIC_TIMER_INITIAL, 0);
    open_for_a_moment();
}

/* ---- TSC-deadline mode: the deadline may be in the CPU's own register ---- */

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define IA32_TSC_ADJUST 0x3b
#define IA32_TSC_DEADLINE 0x6e0
#define LVT_TSC_DEADLINE 0x40000u
#define LONG_MS 1000u

static uint64_t ms; /* in ticks of the TSC */
static volatile uint64_t came_at;

static void on_deadline(struct trap_frame *frame)
{
    (void)frame;
    came_at = rdtsc();
    ticks++;
    end_of_interrupt();
}

static void wait_ms(uint32_t how_long)
{
    for (uint64_t end = rdtsc() + how_long * ms; rdtsc() < end;) {
        __asm__ volatile("pause");
    }
}

/* Not early, once, and then the register is 0; while the guest runs, sleeps, or makes exits all the time. */
static void a_deadline_is_kept(uint32_t how)
{
    uint64_t deadline = rdtsc() + 2 * ms;

    ticks = 0;
    wrmsr(IA32_TSC_DEADLINE, deadline);
    CHECK(rdmsr(IA32_TSC_DEADLINE) == deadline || rdtsc() >= deadline);
    while (ticks == 0) {
        if (how == 0) {
            interrupts_on();
            __asm__ volatile("nop; nop"); /* not PAUSE: QEMU keeps the shadow of STI over it (docs/emulators.md) */
            interrupts_off();
        } else if (how == 1) {
            wait_for_interrupt();
        } else {
            interrupts_on();
            (void)cpuid(0, 0);
            (void)in8(COM1 + UART_MCR);
            interrupts_off();
        }
    }
    CHECK(came_at >= deadline);
    CHECK_EQUAL(rdmsr(IA32_TSC_DEADLINE), 0);
    interrupts_on();
    wait_ms(2);
    interrupts_off();
    CHECK_EQUAL(ticks, 1);
}

static void expect_tick(bool comes)
{
    interrupts_on();
    wait_ms(3);
    for (uint64_t end = rdtsc() + LONG_MS * ms; comes && ticks == 0 && rdtsc() < end;) {
    }
    interrupts_off();
    CHECK_EQUAL(ticks, comes ? 1u : 0u);
    CHECK_EQUAL(rdmsr(IA32_TSC_DEADLINE), 0);
    ticks = 0;
}

/* A deadline that this write ends before it passes: several attempts, where others have the CPU meanwhile. */
static void end_in_time(uint32_t msr, uint64_t value)
{
    uint64_t deadline;

    do {
        interrupts_on(); /* for the tick of the attempt before */
        __asm__ volatile("nop; nop");
        interrupts_off();
        ticks = 0;
        wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | 0xe1);
        deadline = rdtsc() + ms;
        wrmsr(IA32_TSC_DEADLINE, deadline);
        wrmsr(msr, value);
    } while (rdtsc() >= deadline);
}

/* Those that pass while interrupts are off, and those that were never to come. */
static void deadlines_that_do_not_just_pass(void)
{
    ticks = 0;
    wrmsr(IA32_TSC_DEADLINE, 1); /* long ago */
    expect_tick(true);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + ms);
    wait_ms(3);
    CHECK_EQUAL(rdmsr(IA32_TSC_DEADLINE), 0);
    expect_tick(true);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + LONG_MS * ms);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + ms); /* a nearer one */
    expect_tick(true);
    end_in_time(IA32_TSC_DEADLINE, 0);
    expect_tick(false);
    wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | LVT_MASKED | 0xe1);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + ms);
    expect_tick(false);
    wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | 0xe1);
    expect_tick(false);
}

static void a_change_of_the_timer_while_it_waits(void)
{
    end_in_time(X2APIC_LVT_TIMER, 0xe1); /* one-shot: the deadline is over */
    CHECK_EQUAL(rdmsr(IA32_TSC_DEADLINE), 0);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + ms); /* nothing in this mode */
    expect_tick(false);
    wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | 0xe1);
    expect_tick(false);
    trap_set(0xe2, on_deadline);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + 2 * ms);
    wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | 0xe2); /* another vector */
    expect_tick(true);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + 60 * LONG_MS * ms);
    wrmsr(IA32_TSC_ADJUST, 60 * LONG_MS * ms); /* the TSC is moved there */
    expect_tick(true);
    a_deadline_is_kept(0);
    a_deadline_is_kept(1);
    CHECK_EQUAL(rdmsr(IA32_TSC_ADJUST), 60 * LONG_MS * ms);
    wrmsr(IA32_TSC_ADJUST, 0);
    CHECK_EQUAL(rdmsr(IA32_TSC_ADJUST), 0);
}

static void the_tsc_deadline_in_x2apic_mode(void)
{
    if ((cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) == 0) {
        print("  this CPU has no TSC-deadline timer\n");
        return;
    }
    ms = tsc_khz();
    trap_set(0xe1, on_deadline);
    wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | 0xe1);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t how = 0; how < 3; how++) {
            a_deadline_is_kept(how);
        }
        deadlines_that_do_not_just_pass();
        a_change_of_the_timer_while_it_waits();
        wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | 0xe1);
    }
    wrmsr(X2APIC_LVT_TIMER, LVT_MASKED);
}

/* ---- What is refused ---- */

static void expect_gp_write(uint32_t msr, uint32_t low, uint32_t high)
{
    TRAP("wrmsr", : : "c"(msr), "a"(low), "d"(high) : "memory");
    if (trap_last.vector != GP) {
        guest_fail("writing 0x%x%x to MSR 0x%x gives no #GP", high, low, msr);
    }
}

static void expect_gp_read(uint32_t msr)
{
    uint32_t low, high;

    TRAP("rdmsr", : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    if (trap_last.vector != GP) {
        guest_fail("reading MSR 0x%x gives no #GP", msr);
    }
}

static void what_does_not_exist_is_refused(void)
{
    static const uint16_t unreadable[] = {0x800,     0x801, 0x804, 0x80b, 0x80c, 0x80e,
                                          0x82f - 1, 0x831, 0x83f, 0x840, 0x8ff};

    for (uint32_t i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++) {
        expect_gp_read(unreadable[i]);
    }
    expect_gp_write(X2APIC_TPR, 0x100, 0);
    expect_gp_write(X2APIC_TPR, 0, 1);
    expect_gp_write(X2APIC_EOI, 1, 0);
    expect_gp_write(X2APIC_EOI, 0, 1);
    expect_gp_write(X2APIC_SELF_IPI, 0x151, 0);
    expect_gp_write(X2APIC_SELF_IPI, 0x51, 1);
    expect_gp_write(X2APIC_PPR, 0, 0);
    expect_gp_write(X2APIC_ID, 0, 0);
    expect_gp_write(X2APIC_ISR, 0, 0);
    expect_gp_write(X2APIC_ESR, 1, 0);
    CHECK_EQUAL(events, 0);
}

static void a_vector_below_16_is_an_error(void)
{
    wrmsr(X2APIC_ESR, 0);
    wrmsr(X2APIC_SELF_IPI, 5);
    open_for_a_moment();
    wrmsr(X2APIC_ESR, 0);
    CHECK_EQUAL(rdmsr(X2APIC_ESR) & ESR_SEND_VECTOR, ESR_SEND_VECTOR);
    wrmsr(X2APIC_ESR, 0);
    CHECK_EQUAL(rdmsr(X2APIC_ESR), 0);
}

static void interrupts_come_as_they_should(void)
{
    a_self_ipi_waits_for_interrupts_to_be_on();
    the_icr_reaches_its_own_apic();
    the_higher_vector_comes_first();
    a_lower_class_waits_for_the_eoi();
    the_same_class_waits_too();
    a_higher_class_interrupts_the_handler();
    the_task_priority_holds_its_class_back();
#ifdef __x86_64__
    cr8_is_the_same_register();
#endif
    a_level_comes_again_until_it_falls();
    the_timer_wakes_a_halted_cpu();
}

/* With the word, whether handlers look at the APIC or not; and after it was given up. */
static void interrupts_end_by_a_word_of_memory(void)
{
    uint32_t word = (uint32_t)(word_t)&end_words[0];

    if (cpuid(CPUID_KVM, 0).ebx != KVM_SIGNATURE || (cpuid(CPUID_KVM_FEATURES, 0).eax & KVM_PV_EOI) == 0) {
        CHECK(cpuid(CPUID_KVM, 0).ebx != KVM_SIGNATURE); /* a plain machine */
        return;
    }
    expect_gp_write(MSR_KVM_EOI_EN, word | 3, 0);
    expect_gp_write(MSR_KVM_EOI_EN, word | EOI_ENABLE, 1); /* no memory is there */
    CHECK_EQUAL(rdmsr(MSR_KVM_EOI_EN), 0);
    wrmsr(MSR_KVM_EOI_EN, word | EOI_ENABLE);
    CHECK_EQUAL(rdmsr(MSR_KVM_EOI_EN), word | EOI_ENABLE);
    interrupts_come_as_they_should();
    handlers_look = false;
    interrupts_come_as_they_should();
    print("  %u ends of interrupts by the word\n", ended_by_word);
    wrmsr(MSR_KVM_EOI_EN, 0);
    ended_by_word = 0;
    interrupts_come_as_they_should();
    CHECK_EQUAL(ended_by_word, 0);
    CHECK_EQUAL(end_words[0] | end_words[1], 0);
}

void guest_main(void)
{
    static const uint8_t vectors[] = {0x41, 0x51, 0x52, 0x53, 0x5f, 0x60, 0x71, 0x81};

    if ((cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC) == 0 && on_plain_tcg()) {
        print("  QEMU's own CPU has no x2APIC: nothing to test\n");
        return;
    }
    CHECK((cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC) != 0);
    pic_init();
    lapic_init();
    wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | APIC_BASE_X2APIC);
    for (uint32_t i = 0; i < sizeof(vectors); i++) {
        trap_set(vectors[i], on_vector);
    }
    handlers_look = true;
    interrupts_come_as_they_should();
    what_does_not_exist_is_refused();
    a_vector_below_16_is_an_error();
    interrupts_end_by_a_word_of_memory();
    the_tsc_deadline_in_x2apic_mode();
}
