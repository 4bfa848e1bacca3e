/* SPDX-License-Identifier: MIT */
/*
 * Values that a CPU refuses: reserved bits and forbidden combinations in control registers, bases that are not
 * canonical. QEMU's TCG checks none of these, natively or nested, so this guest is for Bochs and real CPUs.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "reserved";

#define GP 13

static void expect(const char *what)
{
    if (trap_last.vector != GP || trap_last.error != 0) {
        guest_fail("%s: vector %u error 0x%x instead of 13 and 0", what, trap_last.vector, trap_last.error);
    }
}

#ifndef __x86_64__
/*
 * PAE paging: the CPU has its four page-directory pointers in registers. Memory may say nonsense meanwhile, and only a
 * write to a control register that loads them makes it #GP. AMD's nested paging reads them from memory when they are
 * needed, so that MOV to CR3, which no hypervisor sees, gives no #GP there (APM 2 15.25.10).
 */
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define CR4_PGE 0x80u
#define EFER 0xc0000080u
#define EFER_SCE 1u
#define AMD_EBX 0x68747541u /* "Auth" */
#define PAGE_2M 0xe3u       /* present, writable, accessed, dirty, large */

static uint64_t pointers[4] __attribute__((aligned(32)));
static uint64_t directory[512] __attribute__((aligned(4096)));

static void pae_pointers(void)
{
    word_t cr0 = read_cr0(), cr4 = read_cr4();
    bool amd = cpuid(0, 0).ebx == AMD_EBX;
    uint64_t efer = rdmsr(EFER);

    for (uint32_t i = 0; i < 512; i++) {
        directory[i] = (uint64_t)i << 21 | PAGE_2M;
    }
    pointers[0] = (uint32_t)directory | 1u;
    write_cr4(cr4 | CR4_PAE);
    __asm__ volatile("mov %0, %%cr3" : : "r"(pointers) : "memory");
    write_cr0(cr0 | CR0_PG);
    *(volatile uint64_t *)&pointers[2] = 3; /* present, and a reserved bit */
    wrmsr(EFER, efer ^ EFER_SCE);           /* the hypervisor writes the CPU's state back */
    wrmsr(EFER, efer);
    TRAP("mov %0, %%cr0", : : "r"(cr0 | CR0_PG | CR0_CD) : "memory");
    expect("cr0 with a malformed PAE pointer");
    TRAP("mov %0, %%cr4", : : "r"(cr4 | CR4_PAE | CR4_PGE) : "memory");
    expect("cr4 with a malformed PAE pointer");
    if (!amd) {
        TRAP("mov %0, %%cr3", : : "r"(pointers) : "memory");
        expect("cr3 with a malformed PAE pointer");
    }
    *(volatile uint64_t *)&pointers[2] = 2; /* not present: any bits */
    write_cr0(cr0 | CR0_PG | CR0_CD);
    write_cr0(cr0 | CR0_PG);
    write_cr0(cr0 & ~CR0_PG);
    write_cr4(cr4);
}
#endif

void guest_main(void)
{
#ifndef __x86_64__
    pae_pointers();
#endif
    TRAP("mov %0, %%cr0", : : "r"((read_cr0() | (word_t)0x80000000u) & ~(word_t)1) : "memory");
    expect("paging without protection");
    TRAP("mov %0, %%cr4", : : "r"(read_cr4() | (word_t)0x80000000u) : "memory");
    expect("a reserved bit of cr4");
#ifdef __x86_64__
    TRAP("mov %0, %%cr8", : : "r"(0x10ull) : "memory");
    expect("cr8 above 15");
    TRAP("wrmsr", : : "c"(0xc0000100u), "a"(0), "d"(0x80000000u) : "memory");
    expect("a non-canonical FS base");
#endif
}
