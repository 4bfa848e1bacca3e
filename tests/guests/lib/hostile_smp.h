/* SPDX-License-Identifier: MIT */
/*
 * Starts further CPUs in C code, one after the other, in x2APIC mode: for attacks that need several. smp.c tests the
 * start itself. SDM 3A 9.4 "Multiple-Processor (MP) Initialization".
 */
#ifndef TESTS_GUESTS_LIB_HOSTILE_SMP_H
#define TESTS_GUESTS_LIB_HOSTILE_SMP_H

#include "tests/guests/lib/hostile.h"

#define TRAMPOLINE 0x8000u
#define ICR_INIT 0x4500u
#define ICR_SIPI 0x4600u
#define X2APIC_ON 0xc00u
#define MSR_ICR 0x830u
#define MSR_SVR 0x80fu
#define AP_MAX 16u
#define AP_STACK 8192u

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
        "movl $0x20, %eax; movl %eax, %cr4\n"
        "movl 0x8000 + ap_root - ap_start, %eax; movl %eax, %cr3\n"
        "movl $0xc0000080, %ecx; rdmsr; orl $0x900, %eax; wrmsr\n"
        "movl %cr0, %eax; orl $0x80000000, %eax; movl %eax, %cr0\n"
        "ljmpl $24, $(0x8000 + ap_64 - ap_start)\n"
        ".code64\n"
        "ap_64: movl 0x8000 + ap_entry - ap_start, %eax; callq *%rax\n"
        ".balign 8\n"
        "ap_gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff\n"
        "ap_gdt_pointer: .word 31; .long 0x8000 + ap_gdt - ap_start\n"
        ".balign 4\n"
        "ap_stack: .long 0\n"
        "ap_root: .long 0\n"
        "ap_entry: .long 0\n"
        "ap_end:\n"
        ".text\n"
        ".code64\n");
extern const uint8_t ap_start[], ap_stack[], ap_root[], ap_entry[], ap_end[];

static uint8_t ap_stacks[AP_MAX][AP_STACK] __attribute__((aligned(16)));
static volatile uint32_t ap_here;
static void (*ap_main)(void);

static inline void x2apic_on(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ON);
    wrmsr(MSR_SVR, 0x1ff);
}

static inline void send_icr(uint32_t to, uint32_t command)
{
    wrmsr(MSR_ICR, (uint64_t)to << 32 | command);
}

static void ap_c(void)
{
    traps_init();
    x2apic_on();
    ap_here = 1;
    ap_main();
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static inline void put32(const uint8_t *where, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(TRAMPOLINE + (uint32_t)(where - ap_start)) = value;
}

static void start_cpu(uint32_t id, void (*run)(void))
{
    for (uint32_t i = 0; ap_start + i != ap_end; i++) {
        ((volatile uint8_t *)(uintptr_t)TRAMPOLINE)[i] = ap_start[i];
    }
    put32(ap_stack, (uint32_t)(uintptr_t)ap_stacks[id] + AP_STACK);
    put32(ap_root, (uint32_t)read_cr3());
    put32(ap_entry, (uint32_t)(uintptr_t)ap_c);
    ap_main = run;
    ap_here = 0;
    send_icr(id, ICR_INIT);
    send_icr(id, ICR_SIPI | TRAMPOLINE >> 12);
    while (ap_here == 0) {
        __asm__ volatile("pause");
    }
}

#endif
