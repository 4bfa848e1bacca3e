/* SPDX-License-Identifier: MIT */
/* Changes of stack and of segments, which C has no words for. */
    .text

/*
 * _Noreturn void stack_switch(uint64_t top, void (*next)(void *), void *argument)
 * Goes on in `next` on a new stack whose end is `top`. The zero return address ends every backtrace.
 */
    .globl stack_switch
    .p2align 4
stack_switch:
    movq    %rcx, %rsp
    movq    %r8, %rcx
    xorl    %ebp, %ebp
    subq    $32, %rsp               /* shadow space */
    pushq   $0
    jmpq    *%rdx

/*
 * void segments_load(uint16_t code, uint16_t data)
 * Reloads every segment register from the GDT that was just loaded; CS by a far return. FS and GS get null selectors,
 * which makes their bases zero: the caller sets GS base afterwards.
 */
    .globl segments_load
    .p2align 4
segments_load:
    movl    %edx, %ds
    movl    %edx, %es
    movl    %edx, %ss
    xorl    %eax, %eax
    movl    %eax, %fs
    movl    %eax, %gs
    popq    %rax
    movzwl  %cx, %ecx
    pushq   %rcx
    pushq   %rax
    lretq

/* void unwind_capture(struct unwind_context *context): the caller's registers, as they are after the return. */
    .globl unwind_capture
    .p2align 4
unwind_capture:
    movq    (%rsp), %rax
    movq    %rax, 0(%rcx)           /* rip */
    leaq    8(%rsp), %rax
    movq    %rax, 8+8*4(%rcx)       /* gpr[4]: rsp */
    movq    %rbx, 8+8*3(%rcx)
    movq    %rbp, 8+8*5(%rcx)
    movq    %rsi, 8+8*6(%rcx)
    movq    %rdi, 8+8*7(%rcx)
    movq    %r12, 8+8*12(%rcx)
    movq    %r13, 8+8*13(%rcx)
    movq    %r14, 8+8*14(%rcx)
    movq    %r15, 8+8*15(%rcx)
    retq
