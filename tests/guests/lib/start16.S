/* SPDX-License-Identifier: MIT */
/*
 * The way into a 16-bit guest: a flat binary at its linked address below 64 KiB, so that every segment is 0.
 * Offsets are those of struct entry_state, lib/guest.h.
 */
	.section .text.start, "ax", @progbits
	.code16
	.globl _start
_start:
	movl %eax, %cs:entry_state+0
	movl %ebx, %cs:entry_state+8
	movl %ecx, %cs:entry_state+16
	movl %edx, %cs:entry_state+24
	movl %esi, %cs:entry_state+32
	movl %edi, %cs:entry_state+40
	movl %ebp, %cs:entry_state+48
	movl %esp, %cs:entry_state+56
	movw %cs, %cs:entry_state+136
	movw %ds, %cs:entry_state+138
	movw %es, %cs:entry_state+140
	movw %fs, %cs:entry_state+142
	movw %gs, %cs:entry_state+144
	movw %ss, %cs:entry_state+146
	pushfl
	popl %cs:entry_state+64
	movl %cr0, %eax
	movl %eax, %cs:entry_state+72
	movl %cr4, %eax
	movl %eax, %cs:entry_state+88
	sidtl %cs:entry_state+120
	movw $16, %cs:entry_state+152
	xorl %eax, %eax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $stack_top, %esp
	xorl %ebp, %ebp
	calll guest_run
	ud2

	.bss
	.balign 16
	.skip 4096
stack_top:

	.data
	.balign 8
	.globl entry_state
entry_state:
	.skip 160
