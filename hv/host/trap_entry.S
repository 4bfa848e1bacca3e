/* SPDX-License-Identifier: MIT */
/*
 * Where the CPU lands: stubs of 16 bytes, for the 32 exceptions in the order of their vectors, then for the timer, the
 * kick and any other interrupt, then for those of devices in the order of their vectors, two runs of them; and the
 * common way in and out.
 *
 * Each stub but the timer's makes the stack look alike: exceptions without an error code push a zero, then every one
 * pushes its vector. What lies on the stack afterwards is struct trap_frame (hv/host/traps.h). The CPU aligned RSP to
 * 16 before it pushed its five words; with error, vector and 15 registers that makes 176 bytes, so RSP is aligned again
 * at the call. SDM 3A 6.14 "Exception and Interrupt Handling in 64-bit Mode".
 *
 * GS needs no care: the hypervisor always runs with its own GS base, and interrupts and NMIs are held off between an
 * exit and its restoration (GIF on AMD; the VMCS restores it on Intel).
 */
#include "hv/host/host_vectors.h"

    .text

/* \@ counts the macro's uses: it is the vector. 8, 10-14, 17, 21, 29 and 30 come with an error code. SDM 3A 6.13;
 * APM 2 8.2 for 29 and 30. */
    .macro TRAP_STUB
    .p2align 4
    .if (\@ != 8) && ((\@ < 10) || (\@ > 14)) && (\@ != 17) && (\@ != 21) && (\@ != 29) && (\@ != 30)
    pushq   $0
    .endif
    pushq   $\@
    jmp     trap_common
    .endm

/* Of an interrupt that is not one of ours it does not matter which it is. */
    .macro INTERRUPT_STUB vector
    .p2align 4
    pushq   $0
    pushq   $\vector
    jmp     trap_common
    .endm

    .globl trap_stubs
    .p2align 4
trap_stubs:
    .rept 32
    TRAP_STUB
    .endr
    .p2align 4
    jmp     trap_timer_common       /* no frame: it comes at each tick of a guest */
    INTERRUPT_STUB HOST_VECTOR_KICK
    INTERRUPT_STUB HOST_VECTOR_SPURIOUS
    .set device_vector, HOST_VECTOR_DEVICE
    .rept HOST_VECTOR_DEVICES
    INTERRUPT_STUB device_vector
    .set device_vector, device_vector + 1
    .endr
    .set message_vector, HOST_VECTOR_MESSAGE
    .rept HOST_VECTOR_MESSAGES
    INTERRUPT_STUB message_vector
    .set message_vector, message_vector + 1
    .endr

/* Saves what trap_timer() may change: the ABI's volatile registers. With them RSP is aligned to 16 at the call. */
trap_timer_common:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    cld
    subq    $32, %rsp
    callq   trap_timer
    addq    $32, %rsp
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rdx
    popq    %rcx
    popq    %rax
    iretq

trap_common:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    pushq   %rbx
    pushq   %rbp
    pushq   %rsi
    pushq   %rdi
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    cld
    movq    %rsp, %rcx
    subq    $32, %rsp               /* the callee's shadow space */
    callq   trap_dispatch
    addq    $32, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rdi
    popq    %rsi
    popq    %rbp
    popq    %rbx
    popq    %rdx
    popq    %rcx
    popq    %rax
    addq    $16, %rsp               /* vector and error code */
    iretq
