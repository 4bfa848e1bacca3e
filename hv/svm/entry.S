/* SPDX-License-Identifier: MIT */
/*
 * The way into a guest and back, and round again. APM 2 15.5 "VMRUN Instruction".
 *
 *   void svm_enter(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb)     MS ABI: rcx, rdx, r8
 *
 * Enters the guest for as long as svm_handle_exit(svm, vcpu) says true; svm_shadow_enter() for as long as
 * svm_shadow_handle_exit() does (shadow.h). The loop is here so that what the ABI wants
 * preserved is saved once and not at every exit.
 *
 * Called with GIF clear and RFLAGS.IF set: with V_INTR_MASKING that is what lets physical interrupts end the guest's
 * turn, and nothing else can come. rax and rsp of the guest are in the VMCB, which is the first thing in struct
 * svm_vcpu; all other registers are in gpr[], the first thing in struct vcpu. VMLOAD and VMSAVE switch what VMRUN does
 * not: FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs.
 *
 * svm_enter_guarded() and svm_shadow_enter_guarded() are the same for a CPU that has to do something about speculation
 * at each exit and entry: hv/host/speculation_guard.h.
 *
 * The stack, upwards: the callee's 32 bytes, svm, vcpu, host_vmcb, the saved registers. The .seh lines describe it, so
 * that a report of ours shows the run loop's caller.
 */
#include "hv/host/speculation_guard.inc"

#define FRAME_BYTES 56
#define FRAME_SVM 32(%rsp)
#define FRAME_VCPU 40(%rsp)
#define FRAME_HOST_VMCB 48(%rsp)

    .text
    .macro ENTER name, handle_exit, guarded
    .globl \name
    .seh_proc \name
\name:
    pushq %rbp
    .seh_pushreg %rbp
    pushq %rbx
    .seh_pushreg %rbx
    pushq %rdi
    .seh_pushreg %rdi
    pushq %rsi
    .seh_pushreg %rsi
    pushq %r12
    .seh_pushreg %r12
    pushq %r13
    .seh_pushreg %r13
    pushq %r14
    .seh_pushreg %r14
    pushq %r15
    .seh_pushreg %r15
    subq $FRAME_BYTES, %rsp
    .seh_stackalloc FRAME_BYTES
    .seh_endprologue
    movq %rcx, FRAME_SVM
    movq %rdx, FRAME_VCPU
    movq %r8, FRAME_HOST_VMCB

1:
    .if \guarded
    GUARD_ENTRY
    .endif
    movq FRAME_SVM, %rax
    movq FRAME_VCPU, %rdx
    movq 1*8(%rdx), %rcx
    movq 3*8(%rdx), %rbx
    movq 5*8(%rdx), %rbp
    movq 6*8(%rdx), %rsi
    movq 7*8(%rdx), %rdi
    movq 8*8(%rdx), %r8
    movq 9*8(%rdx), %r9
    movq 10*8(%rdx), %r10
    movq 11*8(%rdx), %r11
    movq 12*8(%rdx), %r12
    movq 13*8(%rdx), %r13
    movq 14*8(%rdx), %r14
    movq 15*8(%rdx), %r15
    movq 2*8(%rdx), %rdx

    .if \guarded
    GUARD_BUFFERS           /* VMLOAD changes GS */
    .endif
    vmload %rax
    vmrun %rax
    vmsave %rax             /* rax and rsp are the host's again */

    movq FRAME_HOST_VMCB, %rax
    vmload %rax
    movq FRAME_VCPU, %rax
    movq %rcx, 1*8(%rax)
    movq %rdx, 2*8(%rax)
    movq %rbx, 3*8(%rax)
    movq %rbp, 5*8(%rax)
    movq %rsi, 6*8(%rax)
    movq %rdi, 7*8(%rax)
    movq %r8, 8*8(%rax)
    movq %r9, 9*8(%rax)
    movq %r10, 10*8(%rax)
    movq %r11, 11*8(%rax)
    movq %r12, 12*8(%rax)
    movq %r13, 13*8(%rax)
    movq %r14, 14*8(%rax)
    movq %r15, 15*8(%rax)

    .if \guarded
    GUARD_EXIT
    movq FRAME_VCPU, %rax
    .endif
    movq FRAME_SVM, %rcx
    movq %rax, %rdx
    callq \handle_exit
    testb %al, %al
    jnz 1b

    addq $FRAME_BYTES, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rsi
    popq %rdi
    popq %rbx
    popq %rbp
    retq
    .seh_endproc
    .endm

    ENTER svm_enter, svm_handle_exit, 0
    ENTER svm_enter_guarded, svm_handle_exit, 1
    ENTER svm_shadow_enter, svm_shadow_handle_exit, 0
    ENTER svm_shadow_enter_guarded, svm_shadow_handle_exit, 1
