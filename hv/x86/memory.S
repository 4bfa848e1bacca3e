/* SPDX-License-Identifier: MIT */
/*
 * The four functions that the compiler may call by itself (hv/base/memory.h), without vector registers.
 *
 * REP MOVSQ and REP STOSQ are fast-string operations on every CPU that can run a hypervisor (SDM 1 7.3.9.3 "Fast-String
 * Operation"), and in emulators, which count iterations, eight times faster than their byte forms. The Microsoft
 * calling convention preserves RDI and RSI: they are parked in R10 and R11, so that these stay leaf functions without a
 * stack frame and the unwinder needs no table for them.
 * Arguments: RCX, RDX, R8. Result: RAX.
 */
    .text

/* void *memcpy(void *to, const void *from, size_t bytes) */
    .globl memcpy
    .p2align 4
memcpy:
    movq    %rdi, %r10
    movq    %rsi, %r11
    movq    %rcx, %rax
    movq    %rcx, %rdi
    movq    %rdx, %rsi
    movq    %r8, %rcx
    shrq    $3, %rcx
    rep movsq
    movl    %r8d, %ecx
    andl    $7, %ecx
    rep movsb
    movq    %r10, %rdi
    movq    %r11, %rsi
    retq

/* void *memmove(void *to, const void *from, size_t bytes): backwards where the end of `from` would be overwritten. */
    .globl memmove
    .p2align 4
memmove:
    movq    %rcx, %rax
    subq    %rdx, %rax
    cmpq    %r8, %rax               /* to - from, unsigned: below `bytes` only where `to` lies inside `from` */
    jae     memcpy
    movq    %rdi, %r10
    movq    %rsi, %r11
    movq    %rcx, %rax
    leaq    -1(%rcx,%r8), %rdi
    leaq    -1(%rdx,%r8), %rsi
    movq    %r8, %rcx
    std
    rep movsb
    cld
    movq    %r10, %rdi
    movq    %r11, %rsi
    retq

/* void *memset(void *to, int value, size_t bytes) */
    .globl memset
    .p2align 4
memset:
    movq    %rdi, %r10
    movq    %rcx, %r11
    movq    %rcx, %rdi
    movzbl  %dl, %eax
    movabsq $0x0101010101010101, %rdx
    imulq   %rdx, %rax              /* the byte in all eight places */
    movq    %r8, %rcx
    shrq    $3, %rcx
    rep stosq
    movl    %r8d, %ecx
    andl    $7, %ecx
    rep stosb
    movq    %r10, %rdi
    movq    %r11, %rax
    retq

/* int memcmp(const void *left, const void *right, size_t bytes) */
    .globl memcmp
    .p2align 4
memcmp:
    xorl    %eax, %eax
    xorl    %r9d, %r9d
1:  cmpq    %r8, %r9
    jae     2f
    movzbl  (%rcx,%r9), %eax
    movzbl  (%rdx,%r9), %r10d
    incq    %r9
    subl    %r10d, %eax
    jz      1b
2:  retq
