/* SPDX-License-Identifier: MIT */
/*
 * The way into a guest and back, and round again. SDM 3C 27 "VM Entries"; SDM 3C 28 "VM Exits".
 *
 *   uint32_t vmx_enter(struct vcpu *vcpu, uint32_t launched)     MS ABI: rcx, edx
 *
 * Enters the guest for as long as vmx_handle_exit(vcpu) says true; then the result is 0. 1: VMfail, no guest
 * instruction ran. vmx_shadow_enter() asks vmx_shadow_handle_exit() (shadow.h). The loop is here so that what the ABI
 * wants preserved, and HOST_RSP, are saved once and not at every exit.
 *
 * rsp, rip and rflags of the guest are in the VMCS; all other registers are in gpr[], the first thing in struct vcpu. A
 * VM exit continues at vmx_exit, or at vmx_shadow_exit.
 *
 * vmx_enter_guarded() and vmx_exit_guarded are the same for a CPU that has to do something about speculation at each
 * exit and entry: hv/host/speculation_guard.h.
 *
 * The stack, upwards: the callee's 32 bytes, vcpu, launched, the saved registers. The .seh lines describe it, so that a
 * report of ours shows the run loop's caller.
 */
#include "hv/host/speculation_guard.inc"

#define HOST_RSP_FIELD 0x6c14
#define FRAME_BYTES 56
#define FRAME_VCPU 32(%rsp)
#define FRAME_LAUNCHED 40(%rsp)

    .text
    .macro ENTER name, exit, handle_exit, guarded
    .globl \name
    .globl \exit
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
    movq %rcx, FRAME_VCPU
    movl %edx, FRAME_LAUNCHED
    movl $HOST_RSP_FIELD, %eax
    vmwrite %rsp, %rax

1:
    .if \guarded
    GUARD_ENTRY
    .endif
    movq FRAME_VCPU, %rax
    movq 1*8(%rax), %rcx
    movq 2*8(%rax), %rdx
    movq 3*8(%rax), %rbx
    movq 5*8(%rax), %rbp
    movq 6*8(%rax), %rsi
    movq 7*8(%rax), %rdi
    movq 8*8(%rax), %r8
    movq 9*8(%rax), %r9
    movq 10*8(%rax), %r10
    movq 11*8(%rax), %r11
    movq 12*8(%rax), %r12
    movq 13*8(%rax), %r13
    movq 14*8(%rax), %r14
    movq 15*8(%rax), %r15
    movq 0*8(%rax), %rax
    .if \guarded
    GUARD_BUFFERS
    .endif
    vmresume                /* fails the first time, for which VMLAUNCH is */
    cmpl $0, FRAME_LAUNCHED
    jne 2f
    movl $1, FRAME_LAUNCHED
    vmlaunch
2:  movl $1, %eax           /* still here: VMfail */
    jmp 3f

\exit:
    pushq %rcx
    movq 8+FRAME_VCPU, %rcx
    movq %rax, 0*8(%rcx)
    popq 1*8(%rcx)
    movq %rdx, 2*8(%rcx)
    movq %rbx, 3*8(%rcx)
    movq %rbp, 5*8(%rcx)
    movq %rsi, 6*8(%rcx)
    movq %rdi, 7*8(%rcx)
    movq %r8, 8*8(%rcx)
    movq %r9, 9*8(%rcx)
    movq %r10, 10*8(%rcx)
    movq %r11, 11*8(%rcx)
    movq %r12, 12*8(%rcx)
    movq %r13, 13*8(%rcx)
    movq %r14, 14*8(%rcx)
    movq %r15, 15*8(%rcx)
    .if \guarded
    GUARD_EXIT
    movq FRAME_VCPU, %rcx
    .endif
    callq \handle_exit
    testb %al, %al
    jnz 1b
    xorl %eax, %eax

3:  addq $FRAME_BYTES, %rsp
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

    ENTER vmx_enter, vmx_exit, vmx_handle_exit, 0
    ENTER vmx_enter_guarded, vmx_exit_guarded, vmx_handle_exit, 1
    ENTER vmx_shadow_enter, vmx_shadow_exit, vmx_shadow_handle_exit, 0
    ENTER vmx_shadow_enter_guarded, vmx_shadow_exit_guarded, vmx_shadow_handle_exit, 1

/* What vmx_insn_vmread_sure() and vmx_insn_vmwrite_sure() call where the instruction fails: vmx_field_failed() with the
 * field in rax. The caller may have no frame, and any alignment. */
    .globl vmx_access_failed
    .seh_proc vmx_access_failed
vmx_access_failed:
    pushq %rbp
    .seh_pushreg %rbp
    movq %rsp, %rbp
    .seh_setframe %rbp, 0
    .seh_endprologue
    andq $-16, %rsp
    subq $32, %rsp
    movl %eax, %ecx
    callq vmx_field_failed
    int3
    .seh_endproc
