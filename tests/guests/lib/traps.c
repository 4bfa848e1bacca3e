/* SPDX-License-Identifier: MIT */
/* GDT, IDT and the devices that several guests use, for 32-bit and 64-bit code. */
#include "tests/guests/lib/guest.h"

#define VECTORS 256
#define STUB_BYTES 16 /* lib/traps_entry.S aligns its stubs so */
#define GATE_INTERRUPT 0x8e00u

extern const char trap_stubs[];
void trap_dispatch(struct trap_frame *frame);
void guest_run(void);

struct trap_record trap_last;
volatile word_t trap_resume;

static trap_handler handlers[VECTORS];

struct gate {
    uint16_t offset_low, selector;
    uint16_t attributes, offset_middle;
#ifdef __x86_64__
    uint32_t offset_high, reserved;
#endif
};

struct __attribute__((packed)) descriptor_pointer {
    uint16_t limit;
    word_t base;
};

static struct gate idt[VECTORS];
static uint64_t gdt[3] = {
    0,
#ifdef __x86_64__
    0x00af9b000000ffffULL,
#else
    0x00cf9b000000ffffULL,
#endif
    0x00cf93000000ffffULL,
};

static void load_gdt(void)
{
    struct descriptor_pointer pointer = {sizeof(gdt) - 1, (word_t)(uintptr_t)gdt};

    __asm__ volatile("lgdt %0" : : "m"(pointer));
#ifdef __x86_64__
    __asm__ volatile("pushq $8; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:" : : : "rax", "memory");
#else
    __asm__ volatile("ljmp $8, $1f; 1:" : : : "memory");
#endif
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(KIT_DATA));
}

static void load_idt(void)
{
    struct descriptor_pointer pointer = {sizeof(idt) - 1, (word_t)(uintptr_t)idt};

    for (unsigned i = 0; i < VECTORS; i++) {
        word_t stub = (word_t)(uintptr_t)trap_stubs + i * STUB_BYTES;

        idt[i].offset_low = (uint16_t)stub;
        idt[i].selector = KIT_CODE;
        idt[i].attributes = GATE_INTERRUPT;
        idt[i].offset_middle = (uint16_t)(stub >> 16);
    }
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void traps_init(void)
{
    load_gdt();
    load_idt();
}

void trap_set(uint8_t vector, trap_handler handler)
{
    handlers[vector] = handler;
}

void trap_record(struct trap_frame *frame)
{
    if (trap_resume == 0) {
        guest_fail("unexpected vector %u, error 0x%x, at 0x%w, cr2 0x%w", (uint32_t)frame->vector,
                   (uint32_t)frame->error, frame->ip, read_cr2());
    }
    trap_last =
        (struct trap_record){(uint32_t)frame->vector, (uint32_t)frame->error, frame->ip, frame->flags, read_cr2()};
    frame->ip = trap_resume;
}

void trap_dispatch(struct trap_frame *frame)
{
    trap_handler handler = handlers[frame->vector];

    if (handler != NULL) {
        handler(frame);
        return;
    }
    trap_record(frame);
}

void guest_run(void)
{
    traps_init();
    guest_main();
    guest_pass();
}
