/* SPDX-License-Identifier: MIT */
/*
 * What emulators offer to test kernels behind `debug-ports = yes`: the numbers of QEMU's fw_cfg, a latch, memory that
 * no memory map names, and interrupt lines. Without them this guest has nothing to say.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-testdev";

#define FW_CFG_SELECT 0x510
#define FW_CFG_DATA 0x511
#define KEY_SIGNATURE 0x00
#define KEY_RAM_SIZE 0x03
#define KEY_CPUS 0x05
#define LATCH 0xe0
#define LINES 0x2000
#define MEMORY 0xff000000u
#define PIN 14
#define APIC_EOI 0xb0
#define VECTOR 0x77

static volatile uint32_t interrupts;

static void on_interrupt(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    lapic_write(APIC_EOI, 0);
}

static uint64_t item(uint16_t key, unsigned bytes)
{
    uint64_t value = 0;

    out16(FW_CFG_SELECT, key);
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)in8(FW_CFG_DATA) << (8 * i);
    }
    return value;
}

static void fw_cfg_counts_cpus_and_memory(void)
{
    CHECK_EQUAL(item(KEY_CPUS, 2), 1);
    CHECK(item(KEY_RAM_SIZE, 8) >= 4u << 20);
}

static void the_latch_keeps_what_strings_wrote(void)
{
    static const char text[] = "abcdefgh";
    const char *from = text;
    word_t count = sizeof(text) - 1;

    __asm__ volatile("cld; rep outsb" : "+S"(from), "+c"(count) : "d"(LATCH) : "memory");
    CHECK_EQUAL(in8(LATCH), 'h');
    from = text + sizeof(text) - 2;
    count = sizeof(text) - 1;
    __asm__ volatile("std; rep outsb; cld" : "+S"(from), "+c"(count) : "d"(LATCH) : "memory");
    CHECK_EQUAL(in8(LATCH), 'a');
    CHECK_EQUAL((uintptr_t)from, (uintptr_t)(text - 1));
    out32(LATCH, 0x12345678);
    CHECK_EQUAL(in32(LATCH), 0x12345678);
}

/* Read, modify, write, with a lock, and strings across it. */
static void the_memory_behaves_as_memory(void)
{
    volatile uint32_t *memory = (volatile uint32_t *)(uintptr_t)MEMORY;
    uint32_t old = 5;

    memory[0] = 0x11223344;
    memory[1] = 0x55667788;
    CHECK_EQUAL(*(volatile uint16_t *)(uintptr_t)(MEMORY + 1), 0x2233);
    __asm__ volatile("lock addl $1, %0" : "+m"(memory[0]) : : "cc");
    __asm__ volatile("lock xaddl %0, %1" : "+r"(old), "+m"(memory[1]) : : "cc");
    CHECK_EQUAL(memory[0], 0x11223345);
    CHECK_EQUAL(old, 0x55667788);
    CHECK_EQUAL(memory[1], 0x5566778d);
    for (uint32_t i = 0; i < 16; i++) {
        memory[i] = i;
    }
    {
        void *to = (void *)(uintptr_t)(MEMORY + 64), *from = (void *)(uintptr_t)MEMORY;
        word_t count = 16;

        __asm__ volatile("cld; rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    }
    for (uint32_t i = 0; i < 16; i++) {
        CHECK_EQUAL(memory[16 + i], i);
    }
}

/* What emulators of instructions find hard: a test kernel tries each of them here. */
static void the_memory_takes_instructions_of_every_kind(void)
{
    volatile uint32_t *memory = (volatile uint32_t *)(uintptr_t)MEMORY;
    uint32_t product = 7, low = 100, high = 0, found;
    word_t stack = (word_t)MEMORY + 4096, frame = 0x1234;

    memory[0] = 6;
    __asm__ volatile("imull %1, %0" : "+r"(product) : "m"(memory[0]) : "cc");
    CHECK_EQUAL(product, 42);
    __asm__ volatile("divl %2" : "+a"(low), "+d"(high) : "m"(memory[0]) : "cc");
    CHECK_EQUAL(low, 16);
    CHECK_EQUAL(high, 4);
    __asm__ volatile("bsfl %1, %0" : "=r"(found) : "m"(memory[0]) : "cc");
    CHECK_EQUAL(found, 1);
    __asm__ volatile("shldl $4, %1, %0" : "+m"(memory[0]) : "r"(0xf0000000u) : "cc");
    CHECK_EQUAL(memory[0], 0x6f);
    __asm__ volatile("fninit; fildl %0; fistpl %1" : : "m"(memory[0]), "m"(memory[4]) : "memory");
    CHECK_EQUAL(memory[4], 0x6f);
#ifdef __x86_64__
    __asm__ volatile("xchgq %%rsp, %0; xchgq %%rbp, %1; enter $64, $0; leave; xchgq %%rbp, %1; xchgq %%rsp, %0"
                     : "+r"(stack), "+r"(frame)
                     :
                     : "memory");
#else
    __asm__ volatile("xchgl %%esp, %0; xchgl %%ebp, %1; enter $64, $0; leave; xchgl %%ebp, %1; xchgl %%esp, %0"
                     : "+r"(stack), "+r"(frame)
                     :
                     : "memory");
#endif
    CHECK_EQUAL(stack, (word_t)MEMORY + 4096);
    CHECK_EQUAL(frame, 0x1234);
    CHECK_EQUAL(*(volatile uint32_t *)(uintptr_t)(MEMORY + 4096 - sizeof(word_t)), 0x1234);
    *(volatile uint32_t *)(uintptr_t)(MEMORY + 0xfffc) = 0x55; /* the last of its 64 KiB */
    CHECK_EQUAL(*(volatile uint32_t *)(uintptr_t)(MEMORY + 0xfffc), 0x55);
}

static void a_line_interrupts_once_per_edge(void)
{
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * PIN + 1);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * PIN);
    mmio_write32(IOAPIC_BASE + 0x10, VECTOR);
    interrupts_on();
    out8(LINES + PIN, 1);
    out8(LINES + PIN, 0);
    __asm__ volatile("nop" : : : "memory");
    CHECK_EQUAL(interrupts, 1);
    out8(LINES + PIN, 1);
    out8(LINES + PIN, 1);
    __asm__ volatile("nop" : : : "memory");
    CHECK_EQUAL(interrupts, 2);
    out8(LINES + PIN, 0);
    interrupts_off();
}

void guest_main(void)
{
    if (item(KEY_SIGNATURE, 4) != 0x554d4551u || in8(LATCH) == 0xff) {
        print("  there is no test device\n");
        return;
    }
    pic_init();
    lapic_init();
    trap_set(VECTOR, on_interrupt);
    fw_cfg_counts_cpus_and_memory();
    the_latch_keeps_what_strings_wrote();
    the_memory_behaves_as_memory();
    the_memory_takes_instructions_of_every_kind();
    a_line_interrupts_once_per_edge();
}
