/* SPDX-License-Identifier: MIT */
#include "tests/guests/lib/hostile.h"

uint64_t window_directory[512] __attribute__((aligned(4096)));

/* At the entry the root table maps the first 4 GiB by its entry 0, whose table has room. */
void window_init(void)
{
    uint64_t *root = (uint64_t *)(uintptr_t)(read_cr3() & PTE_ADDRESS);
    uint64_t *level3 = (uint64_t *)(uintptr_t)(root[0] & PTE_ADDRESS);

    level3[(WINDOW_BASE >> 30) & 511] = (uint64_t)(uintptr_t)window_directory | PTE_PRESENT | PTE_WRITE;
    write_cr3(read_cr3());
}

void window_map(uint64_t entry)
{
    *(volatile uint64_t *)&window_directory[0] = entry;
    __asm__ volatile("invlpg (%0)" : : "r"((uintptr_t)WINDOW_BASE) : "memory");
}

static uint8_t code_page[4096] __attribute__((aligned(4096)));
static uint64_t saved_sp;

/* The code may lose every register but the instruction pointer: the trap's resume point gets them back. */
void hostile_execute(const uint8_t *code, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        *(volatile uint8_t *)&code_page[i] = code[i];
    }
    *(volatile uint8_t *)&code_page[bytes] = 0xc3;
    trap_last.vector = 0xff;
    __asm__ volatile("pushq %%rbx\n\tpushq %%rbp\n\t"
                     "movq %%rsp, %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, trap_resume(%%rip)\n\t"
                     "movq %1, %%rax\n\t"
                     "call *%%rax\n"
                     "1:\tmovq %0, %%rsp\n\t"
                     "popq %%rbp\n\tpopq %%rbx\n\t"
                     "cld"
                     : "+m"(saved_sp)
                     : "r"((uintptr_t)code_page)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "memory", "cc");
    trap_resume = 0;
}

uint32_t hostile_khz(void)
{
    static uint32_t khz;

    if (khz == 0) {
        khz = tsc_khz();
    }
    return khz;
}
