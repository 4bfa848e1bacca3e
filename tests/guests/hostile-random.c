/* SPDX-License-Identifier: MIT */
/*
 * Random instruction streams in ring 0 (seed=N, streams=N): most bytes are random, some begin with an opcode that
 * leaves the guest. Every register holds a hostile value. A timer ends streams that run in circles. It may well destroy
 * itself: then the hypervisor says how, and that is fine.
 */
#include "tests/guests/lib/hostile.h"

const char guest_name[] = "hostile-random";

#define STREAM_BYTES 24u
#define STREAMS_DEFAULT 4000u
#define VECTOR 0x50
#define SANDBOX_BYTES 65536u

static uint8_t stream[4096] __attribute__((aligned(4096)));
static uint8_t sandbox[SANDBOX_BYTES] __attribute__((aligned(4096)));
static uint64_t registers[16]; /* in the order of the encoding; rsp stays the guest's own */
static uint64_t saved_sp;
static uint64_t seed;
static uint64_t cr0, cr3, cr4;
static uint32_t ended_by_timer;

static const uint8_t openings[][4] = {
    {0x0f, 0xa2}, {0x0f, 0x30}, {0x0f, 0x32}, {0xec},       {0xee},       {0xef},       {0xed},       {0x6c},
    {0x6e},       {0xf3, 0x6e}, {0xf3, 0x6c}, {0xf3, 0xa4}, {0xf3, 0xa5}, {0xf3, 0xab}, {0xf2, 0xae}, {0x0f, 0x22},
    {0x0f, 0x20}, {0x0f, 0x23}, {0x0f, 0x21}, {0x0f, 0x01}, {0x0f, 0x00}, {0x0f, 0xae}, {0x0f, 0xc7}, {0x88},
    {0x89},       {0x8a},       {0x8b},       {0x48, 0x89}, {0x48, 0x8b}, {0x66, 0x89}, {0x80},       {0x81},
    {0x83},       {0xc6},       {0xc7},       {0xf6},       {0xf7},       {0x0f, 0xb6}, {0x0f, 0xbe}, {0x0f, 0xba},
    {0x87},       {0xf0, 0x87}, {0xf0, 0x0f}, {0x0f, 0xb1}, {0x0f, 0x09}, {0x0f, 0x08}, {0x0f, 0x78}, {0x0f, 0x79},
    {0x0f, 0x38}, {0x67, 0x8b}, {0x65, 0x8b}, {0x0f, 0x07}, {0xcf},       {0x8e},       {0xcd},       {0xf1},
};

static uint64_t hostile_register(void)
{
    uint64_t r = hostile_random(&seed);

    switch (r & 7) {
    case 0:
        return hostile_values[(r >> 8) % HOSTILE_VALUES];
    case 1:
        return LAPIC_BASE + ((r >> 8) & 0xff0 & ~0x100ULL); /* not the interrupt command, which can end it */
    case 2:
        return IOAPIC_BASE + ((r >> 8) & 0x1f);
    case 3:
        return 0xd0000000 + ((r >> 8) & 0xffffff);
    case 4:
        return 0x1000000 - 8 + ((r >> 8) & 0xf);
    case 5:
        return (r >> 8) & 0xffff; /* ports, MSRs, leaves */
    default:
        return (uintptr_t)sandbox + ((r >> 8) & 0x7fff);
    }
}

static void make_stream(void)
{
    uint64_t kind = hostile_random(&seed);
    uint32_t at = 0;

    for (uint32_t i = 0; i < STREAM_BYTES; i++) {
        stream[i] = (uint8_t)hostile_random(&seed);
    }
    if ((kind & 3) != 0) {
        const uint8_t *opening = openings[(kind >> 8) % (sizeof(openings) / sizeof(openings[0]))];

        for (at = 0; at < 4 && (at == 0 || opening[at] != 0); at++) {
            stream[at] = opening[at];
        }
    }
    for (uint32_t i = STREAM_BYTES; i < STREAM_BYTES + 32; i++) {
        stream[i] = 0xcc;
    }
}

/* What a stream changed and the next one needs. */
static void repair(void)
{
    __asm__ volatile(
        "cld; movq %0, %%cr4; movq %1, %%cr0; movq %2, %%cr3; movq %3, %%dr7; movw %w4, %%ds; movw %w4, %%es; "
        "movw %w4, %%ss"
        :
        : "r"(cr4), "r"(cr0), "r"(cr3), "r"(0x400ULL), "r"(KIT_DATA));
    wrmsr(MSR_APIC_BASE, 0xfee00900);
    wrmsr(0xc0000100, 0);
    wrmsr(0xc0000101, 0);
}

static void run_stream(void)
{
    for (uint32_t i = 0; i < 16; i++) {
        registers[i] = hostile_register();
    }
    trap_last.vector = 0xff;
    __asm__ volatile("pushq %%rbx; pushq %%rbp\n\t"
                     "movq %%rsp, %0\n\t"
                     "leaq 1f(%%rip), %%rax; movq %%rax, trap_resume(%%rip)\n\t"
                     "sti\n\t"
                     "leaq %1, %%rax\n\t"
                     "movq 8(%%rax), %%rcx; movq 16(%%rax), %%rdx; movq 24(%%rax), %%rbx; movq 40(%%rax), %%rbp\n\t"
                     "movq 48(%%rax), %%rsi; movq 56(%%rax), %%rdi; movq 64(%%rax), %%r8; movq 72(%%rax), %%r9\n\t"
                     "movq 80(%%rax), %%r10; movq 88(%%rax), %%r11; movq 96(%%rax), %%r12; movq 104(%%rax), %%r13\n\t"
                     "movq 112(%%rax), %%r14; movq 120(%%rax), %%r15; movq (%%rax), %%rax\n\t"
                     "subq $4096, %%rsp\n\t"
                     "jmp stream\n"
                     "1:\tcli; movq %0, %%rsp; popq %%rbp; popq %%rbx; cld"
                     : "+m"(saved_sp), "+m"(registers)
                     :
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "memory", "cc");
    trap_resume = 0;
}

static void on_timer(struct trap_frame *frame)
{
    ended_by_timer++;
    lapic_write(LAPIC_EOI, 0);
    frame->flags &= ~0x100ULL;
    if (trap_resume != 0) {
        frame->ip = trap_resume;
        frame->cs = KIT_CODE;
        frame->ss = KIT_DATA;
    }
}

void guest_main(void)
{
    uint32_t streams = hostile_number("streams=", STREAMS_DEFAULT);
    uint32_t vectors[32] = {0};

    seed = hostile_number("seed=", 1) * 0x9e3779b97f4a7c15ULL + 1;
    pic_init();
    lapic_init();
    cr0 = read_cr0();
    cr3 = read_cr3();
    cr4 = read_cr4();
    trap_set(VECTOR, on_timer);
    for (uint32_t i = 0; i < streams; i++) {
        make_stream();
        if (stream[0] == 0xf4 || stream[0] == 0xfa) {
            continue; /* HLT and CLI alone would end it at once */
        }
        lapic_init();
        lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
        lapic_write(LAPIC_LVT_TIMER, VECTOR);
        lapic_write(LAPIC_TIMER_INITIAL, 20000000);
        run_stream();
        repair();
        vectors[trap_last.vector & 31]++;
    }
    lapic_init();
    print("%u streams: %u #UD, %u #GP, %u #PF, %u ended by the timer\n", streams, vectors[6], vectors[13], vectors[14],
          ended_by_timer);
}
