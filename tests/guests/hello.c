/* SPDX-License-Identifier: MIT */
/*
 * The demo's second guest: says where it is, waits a few times by its own timer, and powers off.
 */
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "hello";

#define HYPERVISOR_PRESENT 0x80000000u /* CPUID 1 ECX */
#define HYPERVISOR_LEAF 0x40000000u
#define TIMER_IRQ 0
#define TIMER_VECTOR 0x20
#define TIMER_LINES 3
#define TIMER_TICKS_PER_LINE 50
#define TIMER_HZ 100u

static volatile uint32_t ticks;

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    pic_eoi(TIMER_IRQ);
}

static void say_signature(const char *what, uint32_t first, uint32_t second, uint32_t third)
{
    uint32_t words[4] = {first, second, third, 0};

    print("hello: %s \"%s\"\n", what, (const char *)words);
}

static void say_cpu(void)
{
    struct cpuid vendor = cpuid(0, 0), signature = cpuid(HYPERVISOR_LEAF, 0);

    say_signature("the CPU is a", vendor.ebx, vendor.edx, vendor.ecx);
    if ((cpuid(1, 0).ecx & HYPERVISOR_PRESENT) == 0) {
        print("hello: there is no hypervisor here that says so\n");
        return;
    }
    say_signature("the hypervisor says it is", signature.ebx, signature.ecx, signature.edx);
}

static void say_memory(void)
{
    const struct start_info *info = start_info();
    uint64_t bytes = 0;

    CHECK(info != NULL);
    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        bytes += start_info_memory(info)[i].type == START_INFO_RAM ? start_info_memory(info)[i].bytes : 0;
    }
    print("hello: %u KiB of memory, command line \"%s\"\n", (uint32_t)(bytes >> 10), start_info_cmdline(info));
}

/* Channel 0 in mode 2 through the 8259, as the oldest PCs did it. */
static void start_timer(void)
{
    uint32_t count = 1193182u / TIMER_HZ;

    pic_init();
    trap_set(TIMER_VECTOR, on_timer);
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)count);
    out8(0x40, (uint8_t)(count >> 8));
    pic_mask((uint16_t) ~(1u << TIMER_IRQ));
}

void guest_main(void)
{
    print("hello: entered in %u-bit code\n", entry_state.bits);
    say_cpu();
    say_memory();
    print("hello: the TSC runs at %u kHz by the PIT\n", tsc_khz());
    start_timer();
    for (uint32_t line = 1; line <= TIMER_LINES; line++) {
        while (ticks < line * TIMER_TICKS_PER_LINE) {
            wait_for_interrupt();
        }
        print("hello: %u ticks of the timer\n", ticks);
    }
    print("hello: good bye\n");
}
