/* SPDX-License-Identifier: MIT */
/*
 * Every form of memory access that compilers and kernels use on device registers, on the local APIC and the I/O APIC:
 * a hypervisor decodes these instructions itself, so each must move exactly its bytes, registers and flags.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "mmio";

#define APIC_TPR (LAPIC_BASE + 0x80u)
#define IOAPIC_SELECT IOAPIC_BASE
#define IOAPIC_WINDOW (IOAPIC_BASE + 0x10u)
#define REDIRECTION_LOW 0x14u /* entry 2 */
#define FLAG_CF 0x01u
#define FLAG_ZF 0x40u
#define STATUS_FLAGS 0x8d5u

static volatile uint32_t *at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static void moves_to_and_from_registers(void)
{
    uint32_t value;
    word_t wide;

    *at(APIC_TPR) = 0x20;
    __asm__ volatile("movl %1, %0" : "=r"(value) : "m"(*at(APIC_TPR)));
    CHECK_EQUAL(value, 0x20);
    __asm__ volatile("movl %1, %%eax" : "=a"(wide) : "m"(*at(APIC_TPR)), "0"((word_t)-1));
    CHECK_EQUAL(wide, 0x20); /* the upper half is cleared */
    __asm__ volatile("movl $0x30, %0" : "=m"(*at(APIC_TPR)));
    CHECK_EQUAL(*at(APIC_TPR), 0x30);
}

static void the_accumulator_forms_with_an_absolute_address(void)
{
    word_t value;

    *at(APIC_TPR) = 0x40;
#ifdef __x86_64__
    __asm__ volatile("movabsl 0xfee00080, %%eax" : "=a"(value));
    CHECK_EQUAL(value, 0x40);
    __asm__ volatile("movabsl %%eax, 0xfee00080" : : "a"(0x50) : "memory");
#else
    __asm__ volatile(".byte 0xa1; .long 0xfee00080" : "=a"(value));
    CHECK_EQUAL(value, 0x40);
    __asm__ volatile(".byte 0xa3; .long 0xfee00080" : : "a"(0x50) : "memory");
#endif
    CHECK_EQUAL(*at(APIC_TPR), 0x50);
}

static void every_addressing_form_finds_the_register(void)
{
    uint32_t value;

    *at(APIC_TPR) = 0x60;
#ifdef __x86_64__
    __asm__ volatile("movl 0x10(%1,%2,4), %0" : "=r"(value) : "r"((word_t)LAPIC_BASE), "r"((word_t)0x1c));
    CHECK_EQUAL(value, 0x60);
    __asm__ volatile("movl -0x80(%1), %0" : "=r"(value) : "r"((word_t)APIC_TPR + 0x80));
    CHECK_EQUAL(value, 0x60);
    __asm__ volatile("movq %1, %%r13; movl (%%r13), %%r9d; movl %%r9d, %0"
                     : "=r"(value)
                     : "r"((word_t)APIC_TPR)
                     : "r9", "r13");
    CHECK_EQUAL(value, 0x60);
    __asm__ volatile("movl %%gs:(%1), %0" : "=r"(value) : "r"((word_t)APIC_TPR));
#else
    __asm__ volatile("movl 0x10(%1,%2,4), %0" : "=r"(value) : "r"(LAPIC_BASE), "r"(0x1c));
    CHECK_EQUAL(value, 0x60);
    __asm__ volatile("movl -0x80(%1), %0" : "=r"(value) : "r"(APIC_TPR + 0x80));
    CHECK_EQUAL(value, 0x60);
    __asm__ volatile("movl 0xfee00000(,%1,8), %0" : "=r"(value) : "r"(0x10));
#endif
    CHECK_EQUAL(value, 0x60);
}

static void arithmetic_reads_modifies_and_sets_flags(void)
{
    word_t flags;
    uint32_t value = 0x0f;

    *at(APIC_TPR) = 0x70;
    __asm__ volatile("andl %1, %0" : "+r"(value) : "m"(*at(APIC_TPR)));
    CHECK_EQUAL(value, 0);
    __asm__ volatile("orl $0x03, %0" : "+m"(*at(APIC_TPR)) : : "cc");
    CHECK_EQUAL(*at(APIC_TPR), 0x73);
    __asm__ volatile("andl $0xf0, %0" : "+m"(*at(APIC_TPR)) : : "cc");
    CHECK_EQUAL(*at(APIC_TPR), 0x70);
    __asm__ volatile("xorl %1, %0" : "+m"(*at(APIC_TPR)) : "r"(0x30) : "cc");
    CHECK_EQUAL(*at(APIC_TPR), 0x40);
    __asm__ volatile("cmpl $0x40, %1; pushf; pop %0" : "=r"(flags) : "m"(*at(APIC_TPR)) : "cc");
    CHECK_EQUAL(flags & (FLAG_ZF | FLAG_CF), FLAG_ZF);
    __asm__ volatile("cmpl $0x41, %1; pushf; pop %0" : "=r"(flags) : "m"(*at(APIC_TPR)) : "cc");
    CHECK_EQUAL(flags & (FLAG_ZF | FLAG_CF), FLAG_CF);
    __asm__ volatile("testl $0x40, %1; pushf; pop %0" : "=r"(flags) : "m"(*at(APIC_TPR)) : "cc");
    CHECK_EQUAL(flags & FLAG_ZF, 0);
    __asm__ volatile("testl $0x80, %1; pushf; pop %0" : "=r"(flags) : "m"(*at(APIC_TPR)) : "cc");
    CHECK_EQUAL(flags & FLAG_ZF, FLAG_ZF);
}

/* What compilers make of register * 5, register <<= 1, register == 8 and a choice between a register and a value. */
static void products_shifts_and_conditions(void)
{
    uint32_t value = 3, low, high;
    word_t flags;

    *at(APIC_TPR) = 0x12;
    __asm__ volatile("imull %1, %0" : "+r"(value) : "m"(*at(APIC_TPR)) : "cc");
    CHECK_EQUAL(value, 0x36);
    __asm__ volatile("imull $-2, %1, %0" : "=r"(value) : "m"(*at(APIC_TPR)) : "cc");
    CHECK_EQUAL(value, (uint32_t)-0x24);
    __asm__ volatile("mull %2" : "=a"(low), "=d"(high) : "m"(*at(APIC_TPR)), "0"(0x80000001u) : "cc");
    CHECK_EQUAL(low, 0x12);
    CHECK_EQUAL(high, 9);
    __asm__ volatile("shll $2, %0" : "+m"(*at(APIC_TPR)) : : "cc");
    CHECK_EQUAL(*at(APIC_TPR), 0x48);
    __asm__ volatile("sarl %%cl, %0" : "+m"(*at(APIC_TPR)) : "c"(35) : "cc");
    CHECK_EQUAL(*at(APIC_TPR), 9);
    __asm__ volatile("shrl %1; pushf; pop %0" : "=r"(flags), "+m"(*at(APIC_TPR)) : : "cc");
    CHECK_EQUAL(*at(APIC_TPR), 4);
    CHECK_EQUAL(flags & FLAG_CF, FLAG_CF);
    value = 7;
    __asm__ volatile("cmpl $4, %1; cmovel %1, %0; cmovnel %2, %0"
                     : "+r"(value)
                     : "m"(*at(APIC_TPR)), "m"(*at(APIC_TPR + 0x10))
                     : "cc");
    CHECK_EQUAL(value, 4);
    __asm__ volatile("cmpl $4, %0; sete %1"
                     :
                     : "m"(*at(APIC_TPR)), "m"(*(volatile uint8_t *)(uintptr_t)IOAPIC_SELECT)
                     : "cc", "memory");
    CHECK_EQUAL(*at(IOAPIC_SELECT) & 0xff, 1);
}

static void exchange_takes_the_old_value(void)
{
    uint32_t value = 0x90;

    *at(APIC_TPR) = 0x80;
    __asm__ volatile("xchgl %0, %1" : "+r"(value), "+m"(*at(APIC_TPR)));
    CHECK_EQUAL(value, 0x80);
    CHECK_EQUAL(*at(APIC_TPR), 0x90);
}

static void strings_move_to_and_from_registers_of_devices(void)
{
    uint32_t from = 0xa0, to = 0;
    const void *source = &from;
    void *target = (void *)(uintptr_t)APIC_TPR;
    word_t count = 1;

    __asm__ volatile("rep movsl" : "+S"(source), "+D"(target), "+c"(count) : : "memory");
    CHECK_EQUAL(*at(APIC_TPR), 0xa0);
    CHECK_EQUAL(count, 0);
    source = (const void *)(uintptr_t)APIC_TPR;
    target = &to;
    __asm__ volatile("movsl" : "+S"(source), "+D"(target) : : "memory");
    CHECK_EQUAL(to, 0xa0);
    CHECK_EQUAL((word_t)(uintptr_t)source, APIC_TPR + 4);
    target = (void *)(uintptr_t)APIC_TPR;
    __asm__ volatile("stosl" : "+D"(target) : "a"(0xb0) : "memory");
    CHECK_EQUAL(*at(APIC_TPR), 0xb0);
    source = (const void *)(uintptr_t)APIC_TPR;
    __asm__ volatile("lodsl" : "+S"(source), "=a"(from) : : "memory");
    CHECK_EQUAL(from, 0xb0);
}

/* The I/O APIC is a window: select, then read or write. Bits that are not there stay 0. */
static void the_ioapic_keeps_a_redirection_entry(void)
{
    *at(IOAPIC_SELECT) = 1;
    CHECK_EQUAL((*at(IOAPIC_WINDOW) >> 16) & 0xff, 23); /* 24 entries, as a PC has */
    *at(IOAPIC_SELECT) = REDIRECTION_LOW;
    *at(IOAPIC_WINDOW) = 0x10055;
    CHECK_EQUAL(*at(IOAPIC_WINDOW), 0x10055);
    __asm__ volatile("movb %1, %0" : "=m"(*(volatile uint8_t *)(uintptr_t)IOAPIC_SELECT) : "q"((uint8_t)1));
    CHECK_EQUAL(*at(IOAPIC_SELECT) & 0xff, 1);
    *at(IOAPIC_SELECT) = REDIRECTION_LOW + 1;
    *at(IOAPIC_WINDOW) = 0;
}

static void loads_that_extend(void)
{
    uint32_t value;
    int32_t extended;

    *at(IOAPIC_SELECT) = REDIRECTION_LOW;
    __asm__ volatile("movzbl %1, %0" : "=r"(value) : "m"(*(volatile uint8_t *)(uintptr_t)IOAPIC_SELECT));
    CHECK_EQUAL(value, REDIRECTION_LOW);
    __asm__ volatile("movsbl %1, %0" : "=r"(extended) : "m"(*(volatile uint8_t *)(uintptr_t)IOAPIC_SELECT));
    CHECK_EQUAL((uint32_t)extended, REDIRECTION_LOW);
}

static void flags_survive_moves(void)
{
    word_t flags, before;

    __asm__ volatile("pushf; pop %0" : "=r"(before));
    __asm__ volatile("push %2; popf; movl $0x10, %1; pushf; pop %0"
                     : "=r"(flags), "=m"(*at(APIC_TPR))
                     : "r"((before & ~(word_t)STATUS_FLAGS) | FLAG_CF)
                     : "cc");
    CHECK_EQUAL(flags & STATUS_FLAGS, FLAG_CF);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    moves_to_and_from_registers();
    the_accumulator_forms_with_an_absolute_address();
    every_addressing_form_finds_the_register();
    arithmetic_reads_modifies_and_sets_flags();
    products_shifts_and_conditions();
    exchange_takes_the_old_value();
    strings_move_to_and_from_registers_of_devices();
    the_ioapic_keeps_a_redirection_entry();
    loads_that_extend();
    flags_survive_moves();
    *at(APIC_TPR) = 0;
}
