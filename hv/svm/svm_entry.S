/*
 * The way into a guest and back. APM 2 15.5 "VMRUN Instruction".
 *
 *   void svm_enter(uint64_t guest_vmcb, uint64_t gpr[16], uint64_t host_vmcb)     MS ABI: rcx, rdx, r8
 *
 * Called with GIF clear. rax and rsp of the guest are in the VMCB; all other registers are loaded from and stored to gpr[]
 * here. VMLOAD and VMSAVE switch what VMRUN does not: FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs. The host's
 * RFLAGS.IF is set across VMRUN, because with V_INTR_MASKING that is what lets physical interrupts end the guest's turn.
 */
    .text
    .globl svm_enter
svm_enter:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %rdi
    pushq %rsi
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %r8               /* 8(%rsp): the host's VMCB */
    pushq %rdx              /* 0(%rsp): gpr[] */

    movq %rcx, %rax
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

    vmload %rax
    sti
    vmrun %rax
    cli
    vmsave %rax             /* rax is the host's again: the guest's VMCB */

    movq 8(%rsp), %rax
    vmload %rax
    movq 0(%rsp), %rax
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

    addq $16, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rsi
    popq %rdi
    popq %rbx
    popq %rbp
    retq
