/* SPDX-License-Identifier: MIT */
/*
 * Attacks on time: interrupts as fast as the machine makes them, at itself and at CPUs that are not its own, and
 * floods of output. Each lasts STORM_MS. The neighbour's ticks tell whether the hypervisor let it get away with it.
 */
#include "tests/guests/lib/cmos.h"
#include "tests/guests/lib/hostile.h"

const char guest_name[] = "hostile-storm";

#define STORM_MS 150u
#define GRACE_MS 30u /* one that halts must be woken once more */
#define VECTOR 0x50

static volatile uint64_t taken;
static volatile uint64_t storm_end; /* where interrupts leave no time for anything else, the handlers end the storm */
static volatile bool rearm;

static void on_interrupt(struct trap_frame *frame)
{
    (void)frame;
    taken++;
    if (rdtsc() >= storm_end + (uint64_t)hostile_khz() * GRACE_MS) {
        lapic_write(LAPIC_LVT_TIMER, 0x10000);
    } else if (rearm) {
        wrmsr(MSR_TSC_DEADLINE, 1); /* long past */
    }
    lapic_write(LAPIC_EOI, 0);
}

static void on_pic(struct trap_frame *frame)
{
    taken++;
    if (rdtsc() >= storm_end + (uint64_t)hostile_khz() * GRACE_MS) {
        pic_mask(0xffff);
    }
    if (frame->vector == 0x28) {
        (void)cmos_read(RTC_C);
    }
    pic_eoi((uint8_t)(frame->vector - 0x20));
}

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    taken++;
}

static uint64_t end_of_storm(void)
{
    storm_end = rdtsc() + (uint64_t)hostile_khz() * STORM_MS;
    return storm_end;
}

static void spin_until(uint64_t end)
{
    while (rdtsc() < end) {
        interrupts_on();
        __asm__ volatile("pause");
    }
    interrupts_off();
    print("%u interrupts\n", (uint32_t)taken);
    taken = 0;
}

static uint64_t apic_timer(uint32_t lvt, uint32_t count)
{
    uint64_t end = end_of_storm();

    trap_set(VECTOR, on_interrupt);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
    lapic_write(LAPIC_LVT_TIMER, lvt | VECTOR);
    lapic_write(LAPIC_TIMER_INITIAL, count);
    return end;
}

static void periodic_timer(void)
{
    spin_until(apic_timer(0x20000, 1));
    lapic_init();
}

/* As often as possible, and halting in between, so that each interrupt is a wake-up. */
static void periodic_timer_halted(void)
{
    uint64_t end = apic_timer(0x20000, 1);

    while (rdtsc() < end) {
        wait_for_interrupt();
    }
    lapic_init();
}

static void deadline_in_the_past(void)
{
    uint64_t end = apic_timer(0x40000, 0);

    rearm = true;
    wrmsr(MSR_TSC_DEADLINE, 1);
    spin_until(end);
    rearm = false;
    wrmsr(MSR_TSC_DEADLINE, 0);
    interrupts_on();
    __asm__ volatile("nop; nop; nop");
    interrupts_off();
    lapic_init();
}

static void old_timers(void)
{
    for (uint8_t vector = 0x20; vector < 0x30; vector++) {
        trap_set(vector, on_pic);
    }
    pic_init();
    out8(0x43, 0x34);
    out8(0x40, 2);
    out8(0x40, 0);
    cmos_write(RTC_A, 0x21);
    cmos_write(RTC_B, 0x72);
    lapic_write(0x350, 0x700); /* the 8259 through LINT0 */
    pic_mask(0xfefa);
    spin_until(end_of_storm());
    pic_mask(0xffff);
    out8(0x43, 0x30);
    out8(0x40, 0);
    out8(0x40, 0);
    cmos_write(RTC_B, RTC_24_HOURS);
    lapic_init();
}

static void self_ipis(void)
{
    uint64_t end = end_of_storm();

    for (uint32_t vector = 0x50; vector < 0x100; vector++) {
        trap_set((uint8_t)vector, on_interrupt);
    }
    interrupts_on();
    for (uint32_t i = 0; rdtsc() < end; i++) {
        lapic_write(LAPIC_ICR_LOW, 0x40000 | (0x50 + i % 0xb0));
        lapic_write(LAPIC_ICR_LOW, 0x80000 | (0x50 + i % 0xb0));
    }
    spin_until(rdtsc() + hostile_khz());
}

static void nmis(void)
{
    uint64_t end = end_of_storm();

    trap_set(2, on_nmi);
    while (rdtsc() < end) {
        lapic_write(LAPIC_ICR_LOW, 0x44400);
        lapic_write(LAPIC_ICR_LOW, 0xc4400);
    }
    spin_until(rdtsc() + hostile_khz());
}

/* INIT, SIPI, NMI, SMI and fixed interrupts to every id but its own, and to all but itself. */
static void foreign_cpus(void)
{
    static const uint32_t modes[] = {0x000, 0x100, 0x200, 0x400, 0x500, 0x600, 0x700};
    uint32_t self = lapic_read(LAPIC_ID) >> 24;
    uint64_t end = end_of_storm();

    do {
        for (uint32_t id = 0; id < 255; id++) {
            if (id == self) {
                continue;
            }
            lapic_write(LAPIC_ICR_HIGH, id << 24);
            for (uint32_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
                lapic_write(LAPIC_ICR_LOW, 0x4000 | modes[i] | 0x60);
                lapic_write(LAPIC_ICR_LOW, 0xcc000 | modes[i] | 0x60);
            }
        }
    } while (rdtsc() < end);
}

static void console_flood(void)
{
    uint64_t end = end_of_storm();

    for (uint32_t i = 0; rdtsc() < end; i++) {
        out8(COM1, (uint8_t)(i % 97 == 0 ? '\r' : 'A' + i % 26));
        if (i % 500 == 0) {
            print("\nplinth: result ok\r\nplinth: result failed\r\n\x1b[2J\x1b[H\x1b]0;x\x07\x9b"
                  "2J");
        }
    }
    print("\n");
}

/* Every access here leaves the guest: no instruction of its own runs for long. */
static void exits(void)
{
    uint64_t end = end_of_storm();

    while (rdtsc() < end) {
        (void)cpuid(0, 0);
        out8(0x80, 1);
        (void)mmio_read32(IOAPIC_BASE);
        TRAP("rdmsr", : : "c"(0x12345) : "rax", "rdx", "memory");
    }
}

/* Long string operations on devices: one instruction with thousands of exits' worth of work. */
static void long_strings(void)
{
    uint64_t end = end_of_storm();

    while (rdtsc() < end) {
        TRAP("rep lodsb", : : "S"((uint64_t)0xd0000000), "c"((uint64_t)50000) : "rax", "memory");
        TRAP("rep stosq", : : "D"((uint64_t)0xd0000000), "c"((uint64_t)50000) : "memory");
        TRAP("rep outsb", : : "S"((uint64_t)0x200000), "c"((uint64_t)50000), "d"(0x80) : "memory");
    }
}

/* The registers come back changed, so they are copies. */
static void rep_outsb(uint16_t port, uint64_t count)
{
    uint64_t from = 0x200000;

    TRAP("rep outsb", : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

static void rep_insb(uint16_t port, uint64_t count)
{
    uint64_t to = 0x200000;

    TRAP("rep insb", : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

static void rep_movsl(uint64_t to, uint64_t from, uint64_t count)
{
    TRAP("rep movsl", : "+S"(from), "+D"(to), "+c"(count) : : "memory");
}

static void repe_cmpsb(uint64_t one, uint64_t other, uint64_t count)
{
    TRAP("repe cmpsb", : "+S"(one), "+D"(other), "+c"(count) : : "memory");
}

static void set_alarm(uint8_t hours, uint8_t minutes, uint8_t seconds)
{
    cmos_write(0x0b, 0x82); /* held while it is set */
    cmos_write(0x01, seconds);
    cmos_write(0x03, minutes);
    cmos_write(0x05, hours);
    cmos_write(0x0b, 0x22); /* its interrupt is on */
}

/* The clock looks for the next alarm after each byte: one that never comes, and one that is nearly a day away. */
static void cmos_alarms(void)
{
    uint64_t end = end_of_storm();

    while (rdtsc() < end) {
        set_alarm(0xff, 0xff, 0x99);
        out8(0x70, 0x40);
        rep_outsb(0x71, 4096);
        set_alarm(0x23, 0x59, 0x59);
        out8(0x70, 0x40);
        rep_outsb(0x71, 4096);
        out8(0x70, 0x0c);
        rep_insb(0x71, 4096);
    }
    cmos_write(RTC_B, RTC_24_HOURS);
}

/* Strings whose every element is a device's, at both ends: each is read, written, computed and wired anew. */
static void strings_on_devices(void)
{
    static const uint64_t sources[] = {0xfed00000, 0xfec00000, 0xfee00000, 0xe0000000, 0xd0000000};
    static const uint64_t targets[] = {0xfed00000, 0xe0000000, 0xd0000000};
    static const uint16_t ports[] = {0x21, 0x40, 0x43, 0x61, 0x64, 0x3f8, 0x3fa, 0x3fd, 0x600, 0xcfc, 0x5000};
    uint64_t end = end_of_storm();

    for (uint32_t i = 0; rdtsc() < end; i++) {
        uint64_t from = sources[i % (sizeof(sources) / sizeof(sources[0]))];
        uint64_t to = targets[i % (sizeof(targets) / sizeof(targets[0]))];

        rep_movsl(to, from, 256);
        rep_movsl(0xfec00000, 0xd0000000, 256); /* ones: all masked */
        repe_cmpsb(from, to, 1024);
        repe_cmpsb(0xd0000000, 0xd0000000, 1024);
        rep_insb(ports[i % (sizeof(ports) / sizeof(ports[0]))], 1024);
    }
    pic_init();
    lapic_init();
}

static void spin_with_interrupts_off(void)
{
    uint64_t end = end_of_storm();

    interrupts_off();
    while (rdtsc() < end) {
    }
}

static const struct attack attacks[] = {
    {"periodic-timer", periodic_timer},
    {"periodic-timer-halted", periodic_timer_halted},
    {"deadline-in-the-past", deadline_in_the_past},
    {"old-timers", old_timers},
    {"self-ipis", self_ipis},
    {"nmis", nmis},
    {"foreign-cpus", foreign_cpus},
    {"console-flood", console_flood},
    {"exits", exits},
    {"long-strings", long_strings},
    {"cmos-alarms", cmos_alarms},
    {"strings-on-devices", strings_on_devices},
    {"spin-interrupts-off", spin_with_interrupts_off},
};

void guest_main(void)
{
    pic_init();
    lapic_init();
    hostile_run(attacks, sizeof(attacks) / sizeof(attacks[0]));
}
