/* SPDX-License-Identifier: MIT */
/*
 * Instructions that may fault on purpose. Where the one at insn_<name>_at raises #GP or #UD, the trap handler continues
 * at insn_safe_failed, which returns false; nothing was pushed since the entry, so the return address is on top.
 */
    .text

/* bool insn_rdmsr_safe(uint32_t msr, uint64_t *value) */
    .globl insn_rdmsr_safe, insn_rdmsr_at
    .p2align 4
insn_rdmsr_safe:
    movq    %rdx, %r8
insn_rdmsr_at:
    rdmsr
    shlq    $32, %rdx
    movl    %eax, %eax
    orq     %rdx, %rax
    movq    %rax, (%r8)
    movl    $1, %eax
    retq

/* bool insn_wrmsr_safe(uint32_t msr, uint64_t value) */
    .globl insn_wrmsr_safe, insn_wrmsr_at
    .p2align 4
insn_wrmsr_safe:
    movl    %edx, %eax
    shrq    $32, %rdx
insn_wrmsr_at:
    wrmsr
    movl    $1, %eax
    retq

/* bool insn_xsetbv_safe(uint32_t index, uint64_t value) */
    .globl insn_xsetbv_safe, insn_xsetbv_at
    .p2align 4
insn_xsetbv_safe:
    movl    %edx, %eax
    shrq    $32, %rdx
insn_xsetbv_at:
    xsetbv
    movl    $1, %eax
    retq

    .globl insn_safe_failed
insn_safe_failed:
    xorl    %eax, %eax
    retq
