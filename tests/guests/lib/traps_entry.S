/* SPDX-License-Identifier: MIT */
/*
 * One stub per vector, 16 bytes apart: each pushes an error code where the CPU does not, and its vector, so that
 * struct trap_frame (lib/guest.h) always looks the same.
 */
#ifdef __x86_64__
#define PUSH pushq
#else
#define PUSH pushl
#endif

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:
	vector = 0
	.rept 256
	.balign 16
	.if (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17)
	PUSH $0
	.endif
	PUSH $vector
	jmp trap_common
	vector = vector + 1
	.endr

	.balign 16
trap_common:
#ifdef __x86_64__
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	movq %rsp, %rbx
	andq $-16, %rsp
	call trap_dispatch
	movq %rbx, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq
#else
	pushal
	cld
	pushl %esp
	call trap_dispatch
	addl $4, %esp
	popal
	addl $8, %esp
	iretl
#endif
