/* SPDX-License-Identifier: MIT */
/*
 * A second CPU as every SMP kernel starts it: INIT, SIPI, a trampoline through real and protected mode. Then interrupts
 * between the two in both directions and by every shorthand, NMI, INIT of a running CPU and a second start, and a TSC
 * that does not go back from one CPU to the other. SDM 3A 9.4 "Multiple-Processor (MP) Initialization", 11.6
 * "Issuing Interprocessor Interrupts". It needs `cpus = 2`. smp-x2apic.c is the same with both local APICs in x2APIC
 * mode; here the second CPU goes there in the end, and the first stays.
 *
 * With `ask` on the command line a byte from the console says how it ends: `c`, and the second CPU makes a triple
 * fault; `h`, and both halt for good, the second one long before.
 */
#include "tests/guests/lib/start_info.h"
#include "tests/guests/lib/trampoline.h"

#ifndef SMP_X2APIC
#define SMP_X2APIC false
#define SMP_NAME "smp"
#endif

const char guest_name[] = SMP_NAME;

#define STACK_BYTES 8192u
#define APIC_ID 0x20
#define APIC_EOI 0xb0
#define APIC_ICR_LOW 0x300
#define APIC_ICR_HIGH 0x310
#define ICR_FIXED 0x4000u
#define ICR_NMI 0x4400u
#define ICR_PENDING 0x1000u
#define TO_SELF 0x40000u
#define TO_ALL 0x80000u
#define TO_OTHERS 0xc0000u
#define PING 0x50
#define PONG 0x51
#define COUNTED 0x52
#define TIMER 0x53
#define TIMER_SHOTS 80u
#define FLAG_IF 0x200u
#define LOCKS_ON 1u
#define LOCKS_END 2u
#define LOCKS_NOT 3u /* over, or never asked for */
#define APIC_LVT_TIMER 0x320
#define APIC_TIMER_INITIAL 0x380
#define NMI 2
#define PINGS 20u
#define LIMIT_MS 300000u /* only a hang reaches it */
#define HALTED_ALONE_US 300000u
#define UART 0x3f8
#define UART_STATUS 0x3fd
#define UART_HAS_BYTE 1u
#define X2APIC_ALL 0xffffffffu
#define XAPIC_ALL 0xffu
#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_AUX 0xc0000103u
#define RDTSCP (1u << 27) /* CPUID 0x80000001 EDX */
#define APIC_BASE_X2APIC 0xc00u
#define CPUID_1_X2APIC (1u << 21) /* ECX */
#define MSR_X2APIC(offset) (0x800u + (offset) / 16)
#define APIC_SVR 0xf0
#define SVR_ON 0x1ffu
#define CPUID_KVM 0x40000000u
#define CPUID_KVM_FEATURES 0x40000001u
#define KVM_SIGNATURE 0x4b4d564bu /* EBX: "KVMK" */
#define KVM_PV_SEND_IPI (1u << 11)
#define KVM_HC_SEND_IPI 10u
#define KVM_INVALID ((word_t)0 - 22)
#define BITS_A_WORD (8u * (uint32_t)sizeof(word_t))

static uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
static volatile uint32_t starts, ap_id, pings, pongs, ap_counted, bsp_counted, ap_nmis, bsp_nmis;
static volatile uint64_t ap_tsc;
static volatile uint32_t tsc_asked, mode_asked, crash_asked, halt_asked, nmi_asked, locks_asked = LOCKS_NOT, timers,
                                                                                    timers_while_off;
static uint8_t line[128] __attribute__((aligned(64)));
static uint32_t bsp_id, khz;

/* The second CPU is in x2APIC mode. SDM 3A 11.12.5 "x2APIC State Transitions". */
static volatile bool ap_went;

static bool is_second(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return here >= (uintptr_t)stack && here <= (uintptr_t)(stack + STACK_BYTES);
}

static bool by_msr(void)
{
    return SMP_X2APIC || (ap_went && is_second());
}

static void apic_on(void)
{
    if (SMP_X2APIC) {
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
        wrmsr(MSR_X2APIC(APIC_SVR), SVR_ON);
    } else {
        lapic_init();
    }
}

static uint32_t this_id(void)
{
    return by_msr() ? (uint32_t)rdmsr(MSR_X2APIC(APIC_ID)) : lapic_read(APIC_ID) >> 24;
}

static void end_of_interrupt(void)
{
    if (by_msr()) {
        wrmsr(MSR_X2APIC(APIC_EOI), 0);
    } else {
        lapic_write(APIC_EOI, 0);
    }
}

static void send(uint32_t to, uint32_t command)
{
    if (by_msr()) {
        wrmsr(MSR_X2APIC(APIC_ICR_LOW), (uint64_t)to << 32 | command);
        return;
    }
    lapic_write(APIC_ICR_HIGH, to << 24);
    lapic_write(APIC_ICR_LOW, command);
    while ((lapic_read(APIC_ICR_LOW) & ICR_PENDING) != 0) {
        __asm__ volatile("pause");
    }
}

/* The BSP waits with interrupts on, so that they come meanwhile. */
static void wait_until(volatile uint32_t *what, uint32_t value, const char *sentence)
{
    uint64_t start = rdtsc();

    interrupts_on();
    while (*what < value) {
        __asm__ volatile("pause");
        if (rdtsc() - start > (uint64_t)khz * LIMIT_MS) {
            guest_fail("%s: %u instead of %u", sentence, *what, value);
        }
    }
    interrupts_off();
}

static void on_ping(struct trap_frame *frame)
{
    (void)frame;
    pings++;
    end_of_interrupt();
    send(bsp_id, ICR_FIXED | PONG);
}

static void on_pong(struct trap_frame *frame)
{
    (void)frame;
    pongs++;
    end_of_interrupt();
}

static void on_counted(struct trap_frame *frame)
{
    (void)frame;
    if (this_id() == bsp_id) {
        bsp_counted++;
    } else {
        ap_counted++;
    }
    end_of_interrupt();
}

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    if (this_id() == bsp_id) {
        bsp_nmis++;
    } else {
        ap_nmis++;
    }
}

static void on_timer(struct trap_frame *frame)
{
    timers++;
    timers_while_off += (frame->flags & FLAG_IF) == 0;
    end_of_interrupt();
}

/* Locked accesses to two cache lines at once stop every other CPU for a moment, and QEMU's loops with them. */
static void split_locks(void)
{
    interrupts_on();
    while (locks_asked == LOCKS_ON) {
        __asm__ volatile("lock incl %0" : "+m"(*(volatile uint32_t *)(void *)(line + 62)));
        for (uint32_t i = 0; i < 1000; i++) {
            __asm__ volatile("pause");
        }
    }
    interrupts_off();
    locks_asked = LOCKS_NOT;
}

/* The second CPU: it halts between interrupts, and answers one question about its TSC in between. */
static void ap_main(void)
{
    traps_init();
    apic_on();
    ap_id = this_id();
    starts++;
    for (;;) {
        wait_for_interrupt();
        if (tsc_asked != 0) {
            ap_tsc = rdtsc();
            tsc_asked = 0;
        }
        if (locks_asked != LOCKS_NOT) {
            split_locks();
        }
        if (mode_asked != 0) {
            wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
            ap_went = true;
            mode_asked = 0;
        }
        if (nmi_asked != 0) {
            nmi_asked = 0;
            send(bsp_id, ICR_NMI);
        }
        if (crash_asked != 0) {
            const struct table_pointer nothing = {.limit = 0};

            __asm__ volatile("lidt %0; int3" : : "m"(nothing));
        }
        if (halt_asked != 0) {
            halt_asked = 2;
            __asm__ volatile("cli; hlt");
        }
    }
}

static void start_second(uint32_t expected)
{
    send(0, TO_OTHERS | ICR_INIT);
    pit_wait_us(10000);
    CHECK_EQUAL(starts, expected - 1); /* an INIT alone starts nothing */
    send(0, TO_OTHERS | ICR_SIPI | TRAMPOLINE >> 12);
    wait_until(&starts, expected, "starts of the second CPU");
    send(0, TO_OTHERS | ICR_SIPI | TRAMPOLINE >> 12); /* the second one of every kernel: no CPU waits for it */
    pit_wait_us(10000);
    CHECK_EQUAL(starts, expected);
}

static void interrupts_go_both_ways(void)
{
    for (uint32_t i = 0; i < PINGS; i++) {
        uint32_t before = pongs;

        send(ap_id, ICR_FIXED | PING);
        wait_until(&pongs, before + 1, "answers of the second CPU");
    }
    CHECK_EQUAL(pings, pongs);
}

static void shorthands_reach_the_cpus_that_they_name(void)
{
    uint32_t ap = ap_counted, bsp = bsp_counted;

    send(0, TO_SELF | ICR_FIXED | COUNTED);
    wait_until(&bsp_counted, bsp + 1, "interrupts to self");
    send(0, TO_ALL | ICR_FIXED | COUNTED);
    wait_until(&bsp_counted, bsp + 2, "interrupts to all, here");
    wait_until(&ap_counted, ap + 1, "interrupts to all, there");
    send(0, TO_OTHERS | ICR_FIXED | COUNTED);
    wait_until(&ap_counted, ap + 2, "interrupts to the others");
    CHECK_EQUAL(bsp_counted, bsp + 2);
    send(SMP_X2APIC ? X2APIC_ALL : XAPIC_ALL, ICR_FIXED | COUNTED);
    wait_until(&ap_counted, ap + 3, "interrupts to the broadcast address");
    wait_until(&bsp_counted, bsp + 3, "interrupts to the broadcast address, here");
}

static void an_nmi_wakes_a_halted_cpu(void)
{
    send(ap_id, ICR_NMI);
    wait_until(&ap_nmis, 1, "NMIs of the second CPU");
    CHECK_EQUAL(bsp_nmis, 0);
}

/* KVM_HC_SEND_IPI: how many CPUs it reached. Linux, Documentation/virt/kvm/x86/hypercalls.rst. */
static word_t send_to_set(word_t low, word_t high, uint32_t first, uint32_t icr)
{
    word_t result = KVM_HC_SEND_IPI;

    __asm__ volatile("vmcall" : "+a"(result) : "b"(low), "c"(high), "d"((word_t)first), "S"((word_t)icr) : "memory");
    return result;
}

static void a_hypercall_reaches_a_set_of_cpus(void)
{
    uint32_t ap = ap_counted, bsp = bsp_counted, nmis = ap_nmis;

    if (cpuid(CPUID_KVM, 0).ebx != KVM_SIGNATURE || (cpuid(CPUID_KVM_FEATURES, 0).eax & KVM_PV_SEND_IPI) == 0) {
        CHECK(cpuid(CPUID_KVM, 0).ebx != KVM_SIGNATURE); /* a plain machine */
        return;
    }
    CHECK_EQUAL(send_to_set((word_t)3 << bsp_id, 0, 0, COUNTED), 2); /* their ids follow each other */
    wait_until(&ap_counted, ap + 1, "interrupts by hypercall, there");
    wait_until(&bsp_counted, bsp + 1, "interrupts by hypercall, here");
    CHECK_EQUAL(send_to_set(1, 0, ap_id, COUNTED), 1);
    wait_until(&ap_counted, ap + 2, "interrupts by hypercall from an id on");
    CHECK_EQUAL(send_to_set(1, 0, ap_id, ICR_NMI & 0x7ffu), 1);
    wait_until(&ap_nmis, nmis + 1, "NMIs by hypercall");
    CHECK_EQUAL(send_to_set(0, (word_t)1, (uint32_t)(0 - BITS_A_WORD), COUNTED), 0); /* ids do not wrap round */
    CHECK_EQUAL(send_to_set(4, ~(word_t)0, bsp_id, COUNTED), 0);                     /* no such CPUs */
    CHECK_EQUAL(send_to_set(1, 0, ap_id, 5), KVM_INVALID);                           /* no interrupt's vector */
    CHECK_EQUAL(send_to_set(1, 0, ap_id, ICR_INIT & 0x7ffu), KVM_INVALID);
    CHECK_EQUAL(send_to_set(1, 0, ap_id, TO_ALL | COUNTED), KVM_INVALID);
    CHECK_EQUAL(bsp_counted, bsp + 1);
}

/* One from each CPU, as nearly at once as can be: the second waits for the end of the first and is not lost in it. */
static void two_nmis_at_once_are_two(void)
{
    for (uint32_t i = 0; i < PINGS; i++) {
        uint32_t before = bsp_nmis;

        nmi_asked = 1;
        interrupts_on();
        send(ap_id, ICR_FIXED | COUNTED);
        while (nmi_asked != 0) {
            __asm__ volatile("pause");
        }
        send(bsp_id, ICR_NMI);
        wait_until(&bsp_nmis, before + 2, "NMIs from two CPUs");
        CHECK_EQUAL(bsp_nmis, before + 2);
    }
}

static void write_timer(uint32_t offset, uint32_t value)
{
    if (SMP_X2APIC) {
        wrmsr(MSR_X2APIC(offset), value);
    } else {
        lapic_write(offset, value);
    }
}

static void an_interrupt_comes_once_whatever_the_others_do(void)
{
    locks_asked = LOCKS_ON;
    send(ap_id, ICR_FIXED | COUNTED);
    write_timer(APIC_LVT_TIMER, TIMER);
    for (uint32_t shot = 0; shot < TIMER_SHOTS; shot++) {
        write_timer(APIC_TIMER_INITIAL, 1 + shot * 7919 % 30000);
        wait_until(&timers, shot + 1, "timer interrupts");
    }
    locks_asked = LOCKS_END;
    wait_until(&locks_asked, LOCKS_NOT, "the end of the locked accesses");
    CHECK_EQUAL(timers_while_off, 0);
    CHECK_EQUAL(timers, TIMER_SHOTS);
}

/* Interrupts are on while it waits, because Bochs gives the CPU to another only then. */
static void the_tsc_does_not_go_back(void)
{
    interrupts_on();
    for (uint32_t i = 0; i < 10; i++) {
        uint64_t before = rdtsc(), after;

        tsc_asked = 1;
        send(ap_id, ICR_FIXED | COUNTED);
        while (tsc_asked != 0) {
            __asm__ volatile("pause");
            CHECK(rdtsc() - before < (uint64_t)khz * LIMIT_MS);
        }
        after = rdtsc();
        CHECK(ap_tsc > before && ap_tsc < after);
    }
    interrupts_off();
}

/* Where the CPU serves the page in memory, the first goes on with it when the second has left. */
static void modes_can_differ(void)
{
    uint32_t before = bsp_counted;

    if (SMP_X2APIC || (cpuid(1, 0).ecx & CPUID_1_X2APIC) == 0) {
        return;
    }
    mode_asked = 1;
    send(ap_id, ICR_FIXED | COUNTED);
    interrupts_on();
    while (mode_asked != 0) {
        __asm__ volatile("pause");
    }
    interrupts_off();
    write_cr3(read_cr3());
    for (uint32_t i = 0; i < PINGS; i++) {
        send(0, TO_SELF | ICR_FIXED | COUNTED);
        wait_until(&bsp_counted, before + i + 1, "interrupts to self beside another mode");
    }
    interrupts_go_both_ways();
    shorthands_reach_the_cpus_that_they_name();
}

/* The TSC was 0 at the guest's start. */
static void halt_both(void)
{
    uint32_t ms = 0;

    halt_asked = 1;
    send(ap_id, ICR_FIXED | COUNTED);
    wait_until(&halt_asked, 2, "the second CPU's halt");
    pit_wait_us(HALTED_ALONE_US);
    for (uint64_t left = rdtsc(); left >= khz; left -= khz) {
        ms++;
    }
    print("halts now, %u ms after its start\n", ms);
    __asm__ volatile("cli; hlt");
}

static void end_as_asked(void)
{
    const struct start_info *info = start_info();
    uint8_t byte;

    if (info == NULL || start_info_cmdline(info)[0] != 'a') {
        return;
    }
    print("crash, halt or end?\n");
    while ((in8(UART_STATUS) & UART_HAS_BYTE) == 0) {
        __asm__ volatile("pause");
    }
    byte = in8(UART);
    if (byte == 'h') {
        halt_both();
    }
    if (byte == 'c') {
        crash_asked = 1;
        send(ap_id, ICR_FIXED | COUNTED);
        wait_until(&crash_asked, 2, "the end of this guest");
    }
}

/* What the guest before a restart has left in a register that exits neither save nor load. */
static void tsc_aux_is_new(void)
{
    if ((cpuid(0x80000001u, 0).edx & RDTSCP) != 0) {
        CHECK_EQUAL(rdmsr(MSR_TSC_AUX), 0);
        wrmsr(MSR_TSC_AUX, 0x5a5a);
        CHECK_EQUAL(rdmsr(MSR_TSC_AUX), 0x5a5a);
    }
}

void guest_main(void)
{
    tsc_aux_is_new();
    khz = tsc_khz();
    pic_init();
    apic_on();
    bsp_id = this_id();
    trap_set(PING, on_ping);
    trap_set(PONG, on_pong);
    trap_set(COUNTED, on_counted);
    trap_set(NMI, on_nmi);
    trap_set(TIMER, on_timer);
    trampoline_put(stack + STACK_BYTES, ap_main);
    start_second(1);
    CHECK(ap_id != bsp_id);
    interrupts_go_both_ways();
    shorthands_reach_the_cpus_that_they_name();
    an_nmi_wakes_a_halted_cpu();
    a_hypercall_reaches_a_set_of_cpus();
    if (!on_plain_tcg()) { /* whose CPU remembers one, also before it has begun it */
        two_nmis_at_once_are_two();
    }
    an_interrupt_comes_once_whatever_the_others_do();
    the_tsc_does_not_go_back();
    start_second(2);
    interrupts_go_both_ways();
    modes_can_differ();
    end_as_asked();
}
