/* SPDX-License-Identifier: MIT */
/*
 * The lock around a guest's devices, attacked by several CPUs at once: each element of each CPU's string instruction
 * wants it, and a timer of each CPU is due all the while, so that its host CPU has to go on. A neighbour on one of the
 * host CPUs tells whether an exit waits for the others'. And the lock is fair: each CPU gets its strings done.
 *
 * Command line: cpus=N wait=MS (others find out meanwhile how fast their clocks are) ms=MS
 */
#include "tests/guests/lib/cmos.h"
#include "tests/guests/lib/hostile.h"
#include "tests/guests/lib/hostile_smp.h"

const char guest_name[] = "hostile-lock";

#define STRING_BYTES 64u
#define MSR_TIMER_LVT 0x832u
#define MSR_TIMER_INITIAL 0x838u
#define MSR_TIMER_DIVIDE 0x83eu
#define MSR_ID 0x802u
#define TIMER_PERIODIC 0x20000u
#define VECTOR 0x50u

static uint8_t buffer[STRING_BYTES];
static volatile bool over;
static volatile uint64_t strings[AP_MAX];

static void start_timer(void)
{
    wrmsr(MSR_TIMER_DIVIDE, 0xb);
    wrmsr(MSR_TIMER_LVT, TIMER_PERIODIC | VECTOR);
    wrmsr(MSR_TIMER_INITIAL, 100000);
}

static void write_string(uint32_t id)
{
    const void *from = buffer;
    uint64_t left = STRING_BYTES;

    __asm__ volatile("rep outsb" : "+S"(from), "+c"(left) : "d"(0x71) : "memory");
    strings[id]++;
}

static void hammer(void)
{
    uint32_t id = (uint32_t)rdmsr(MSR_ID);

    start_timer();
    while (!over) {
        write_string(id);
    }
}

/* The alarm that never comes, and a byte of memory for what follows. */
static void set_alarm(void)
{
    cmos_write(0x0b, 0x82);
    cmos_write(0x01, 0x99);
    cmos_write(0x03, 0xff);
    cmos_write(0x05, 0xff);
    cmos_write(0x0b, 0x22);
    out8(0x70, 0x40);
}

static void spin_ms(uint32_t khz, uint32_t ms)
{
    uint64_t start = rdtsc();

    while (rdtsc() - start < (uint64_t)khz * ms) {
    }
}

void guest_main(void)
{
    uint32_t cpus = hostile_number("cpus=", 4);
    uint32_t khz = tsc_khz();
    uint64_t start;

    pic_init();
    x2apic_on();
    spin_ms(khz, hostile_number("wait=", 0));
    set_alarm();
    for (uint32_t id = 1; id < cpus; id++) {
        start_cpu(id, hammer);
    }
    start_timer();
    for (start = rdtsc(); rdtsc() - start < (uint64_t)khz * hostile_number("ms=", 1000);) {
        write_string(0);
    }
    over = true;
    for (uint32_t id = 0; id < cpus; id++) {
        print("CPU %u wrote %u strings\n", id, (uint32_t)strings[id]);
    }
    for (uint32_t id = 0; id < cpus; id++) {
        if (strings[id] == 0) {
            guest_fail("CPU %u has not got one string done", id);
        }
    }
}
