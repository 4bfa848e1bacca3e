/* SPDX-License-Identifier: MIT */
/*
 * The way into a 32-bit guest, for ELF32, PVH, multiboot (1 and 2), flat and Linux: they differ in what the registers
 * hold, which entry_state keeps. Offsets are those of struct entry_state, lib/guest.h.
 *
 * MULTIBOOT=1 or 2 puts that version's header in, PVH=1 the note; they are set by mk/guests.mk.
 */
#if MULTIBOOT == 1
	.section .multiboot, "a", @progbits
	.balign 4
	.long 0x1badb002, 7, -(0x1badb002 + 7)
	.skip 20
	.long 0, 0, 0, 0
#elif MULTIBOOT == 2
	.section .multiboot, "a", @progbits
	.balign 8
header2:
	.long 0xe85250d6, 0, header2_end - header2, -(0xe85250d6 + (header2_end - header2))
	.word 1, 0			/* information request: memory map, memory sizes */
	.long 16
	.long 6, 4
	.word 4, 1			/* console flags, optional */
	.long 12
	.long 0, 0
	.word 6, 0			/* modules page-aligned */
	.long 8
	.word 0, 0
	.long 8
header2_end:
#endif
#if PVH
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18
	.asciz "Xen"
	.long _start
#endif

	.section .text.start, "ax", @progbits
	.code32
	.globl _start
_start:
	movl %eax, entry_state+0
	movl %ebx, entry_state+8
	movl %ecx, entry_state+16
	movl %edx, entry_state+24
	movl %esi, entry_state+32
	movl %edi, entry_state+40
	movl %ebp, entry_state+48
	movl %esp, entry_state+56
	movl $stack_top, %esp
	pushfl
	popl entry_state+64
	movl %cr0, %eax
	movl %eax, entry_state+72
	movl %cr3, %eax
	movl %eax, entry_state+80
	movl %cr4, %eax
	movl %eax, entry_state+88
	sgdt entry_state+104
	sidt entry_state+120
	movw %cs, entry_state+136
	movw %ds, entry_state+138
	movw %es, entry_state+140
	movw %fs, entry_state+142
	movw %gs, entry_state+144
	movw %ss, entry_state+146
	str %ax
	movw %ax, entry_state+148
	sldt %ax
	movw %ax, entry_state+150
	movl $32, entry_state+152
	xorl %ebp, %ebp
	call guest_run
	ud2

	.bss
	.balign 16
	.skip 16384
stack_top:

	.data
	.balign 8
	.globl entry_state
entry_state:
	.skip 160
