/*
 * The way into a guest and back. SDM 3C 26 "VM Entries", 27 "VM Exits".
 *
 *   uint32_t vmx_enter(uint64_t gpr[16], uint32_t launched)      MS ABI: rcx, edx; 0: a VM exit came, 1: VMfail
 *
 * rsp, rip and rflags of the guest are in the VMCS; all other registers are loaded from and stored to gpr[] here. A VM
 * exit continues at vmx_exit with the stack pointer that was written to HOST_RSP just before the entry.
 */
#define HOST_RSP_FIELD 0x6c14

    .text
    .globl vmx_enter
    .globl vmx_exit
vmx_enter:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %rdi
    pushq %rsi
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rcx              /* 0(%rsp): gpr[] */

    movl $HOST_RSP_FIELD, %eax
    vmwrite %rsp, %rax
    testl %edx, %edx        /* the moves below leave the flags alone */
    movq %rcx, %rax
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
    jnz 1f
    vmlaunch
    jmp 2f
1:  vmresume
2:  movl $1, %eax           /* still here: VMfail, and no guest instruction ran */
    addq $8, %rsp
    jmp 3f

vmx_exit:
    pushq %rax
    movq 8(%rsp), %rax
    popq 0*8(%rax)
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
    xorl %eax, %eax
    addq $8, %rsp
3:  popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rsi
    popq %rdi
    popq %rbx
    popq %rbp
    retq
