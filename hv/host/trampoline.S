/* SPDX-License-Identifier: MIT */
/*
 * From the first instruction of a CPU that was sent a SIPI to 64-bit code on its own stack.
 *
 * hv/host/smp.c copies [trampoline_start, trampoline_end) to a page below 1 MiB, to which the SIPI's vector leads, and
 * fills the data at TRAMPOLINE_DATA (struct trampoline_data there, same offsets). The CPU begins in real mode with
 * CS = page << 8, IP = 0. It goes straight to long mode: a GDT of the page's own, PAE and the host's CR4, the host's
 * page-table root, EFER.LME and NXE, paging. SDM 3A 9.4.4 "MP Initialization Example", 10.8.5 "Initializing IA-32e
 * Mode"; APM 2 14.6.
 *
 * A CPU that was told to is parked instead: it halts in this page, which nothing else ever uses. It can go into system
 * management mode there, whose handlers wait for all CPUs, and a machine check that all CPUs get does not shut it down.
 *
 * The page is executable and not writable by then, so the progress mark is written only before paging is on.
 */
#include "hv/host/trampoline.h"

#define CR0_PE_ET 0x11
#define CR0_LONG 0x80010033 /* PG, WP, NE, ET, MP, PE */
#define CR4_MCE 0x40
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900

    .section .rdata, "dr"
    .globl trampoline_start, trampoline_32, trampoline_64, trampoline_park_return, trampoline_end
    .p2align 4
    .code16
trampoline_start:
    cli
    cld
    movw    %cs, %ax
    movw    %ax, %ds
    movl    $TRAMPOLINE_MARK_REAL, TRAMPOLINE_MARK
    cmpl    $0, TRAMPOLINE_PARK
    jne     trampoline_park
    lgdtl   TRAMPOLINE_GDT_POINTER
    movl    $CR0_PE_ET, %eax
    movl    %eax, %cr0
    xorl    %ebx, %ebx
    movw    %cs, %bx
    shll    $4, %ebx                /* the page's address, for the code that has no CS base */
    ljmpl   *TRAMPOLINE_FAR_32

trampoline_park:
    movw    %ax, %ss
    movw    $TRAMPOLINE_DATA, %sp
    lidtl   TRAMPOLINE_VECTORS_POINTER
    movl    $CR4_MCE, %eax
    movl    %eax, %cr4
    movl    $TRAMPOLINE_MARK_PARKED, TRAMPOLINE_MARK
trampoline_parked:
    hlt
    jmp     trampoline_parked
trampoline_park_return:             /* an NMI, or a machine check */
    iretw

    .code32
trampoline_32:
    movl    $TRAMPOLINE_DATA_SELECTOR, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    $TRAMPOLINE_MARK_PROTECTED, TRAMPOLINE_MARK(%ebx)
    movl    TRAMPOLINE_CR4(%ebx), %eax
    movl    %eax, %cr4
    movl    TRAMPOLINE_CR3(%ebx), %eax
    movl    %eax, %cr3
    movl    $MSR_EFER, %ecx
    rdmsr
    orl     $EFER_LME_NXE, %eax
    wrmsr
    movl    $TRAMPOLINE_MARK_LONG, TRAMPOLINE_MARK(%ebx)
    movl    $CR0_LONG, %eax
    movl    %eax, %cr0
    ljmpl   *TRAMPOLINE_FAR_64(%ebx)

    .code64
trampoline_64:
    movl    %ebx, %ebx              /* the upper half is undefined after the change of mode */
    movq    TRAMPOLINE_NEXT(%rbx), %rax   /* struct smp_next: stack, entry, argument */
    movq    TRAMPOLINE_NEXT_STACK(%rax), %rsp
    movq    TRAMPOLINE_NEXT_ARGUMENT(%rax), %rcx
    xorl    %ebp, %ebp
    subq    $32, %rsp
    pushq   $0
    jmpq    *TRAMPOLINE_NEXT_ENTRY(%rax)
trampoline_end:
