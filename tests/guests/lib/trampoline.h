/* SPDX-License-Identifier: MIT */
/*
 * Where a further CPU starts after INIT and SIPI: from real mode through protected mode to the paging of the CPU that
 * starts it (32-bit guests: without paging), and into C. For guests with several CPUs. SDM 3A 9.4 "Multiple-Processor
 * (MP) Initialization".
 */
#ifndef TESTS_GUESTS_LIB_TRAMPOLINE_H
#define TESTS_GUESTS_LIB_TRAMPOLINE_H

#include "tests/guests/lib/guest.h"

#define TRAMPOLINE 0x8000u /* what the code says, too */
#define ICR_INIT 0x4500u
#define ICR_SIPI 0x4600u

/* Position-independent but for its own address; the C code fills in the last three words. */
__asm__(".section .rodata\n"
        ".code16\n"
        "ap_start: cli\n"
        "movw %cs, %ax; movw %ax, %ds\n"
        "lgdtl ap_gdt_pointer - ap_start\n"
        "movl %cr0, %eax; orb $1, %al; movl %eax, %cr0\n"
        "ljmpl $8, $(0x8000 + ap_32 - ap_start)\n"
        ".code32\n"
        "ap_32: movw $16, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss\n"
        "movl 0x8000 + ap_stack - ap_start, %esp\n"
#ifdef __x86_64__
        "movl $0x20, %eax; movl %eax, %cr4\n"
        "movl 0x8000 + ap_root - ap_start, %eax; movl %eax, %cr3\n"
        "movl $0xc0000080, %ecx; rdmsr; orl $0x900, %eax; wrmsr\n"
        "movl %cr0, %eax; orl $0x80000000, %eax; movl %eax, %cr0\n"
        "ljmpl $24, $(0x8000 + ap_64 - ap_start)\n"
        ".code64\n"
        "ap_64: movl 0x8000 + ap_entry - ap_start, %eax; callq *%rax\n"
#else
        "movl 0x8000 + ap_entry - ap_start, %eax; calll *%eax\n"
#endif
        ".balign 8\n"
        "ap_gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff\n"
        "ap_gdt_pointer: .word 31; .long 0x8000 + ap_gdt - ap_start\n"
        ".balign 4\n"
        "ap_stack: .long 0\n"
        "ap_root: .long 0\n"
        "ap_entry: .long 0\n"
        "ap_end:\n"
        ".text\n"
#ifdef __x86_64__
        ".code64\n"
#else
        ".code32\n"
#endif
);
extern const uint8_t ap_start[], ap_stack[], ap_root[], ap_entry[], ap_end[];

static inline void trampoline_word(const uint8_t *word, uintptr_t value)
{
    *(volatile uint32_t *)(uintptr_t)(TRAMPOLINE + (uint32_t)(word - ap_start)) = (uint32_t)value;
}

/* The next CPU that starts calls `entry`, which does not return, with this stack. */
static inline void trampoline_put(const uint8_t *stack_end, void (*entry)(void))
{
    volatile uint8_t *to = (volatile uint8_t *)(uintptr_t)TRAMPOLINE;

    for (uint32_t i = 0; i < (uint32_t)(ap_end - ap_start); i++) {
        to[i] = ap_start[i];
    }
    trampoline_word(ap_stack, (uintptr_t)stack_end - 16);
    trampoline_word(ap_root, read_cr3());
    trampoline_word(ap_entry, (uintptr_t)entry);
}

#endif
