/* SPDX-License-Identifier: MIT */
/*
 * The two ways into a 64-bit guest: _start in long mode (Plinth's ELF protocol; rdi = start information) and pvh_start
 * in protected mode (the PVH note; ebx = start information), which makes an identity map of 4 GiB and goes to long
 * mode. Both write entry_state first. Offsets are those of struct entry_state, lib/guest.h.
 */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad pvh_start

	.section .text.start, "ax", @progbits
	.code64
	.globl _start
_start:
	movq %rax, entry_state+0(%rip)
	movq %rbx, entry_state+8(%rip)
	movq %rcx, entry_state+16(%rip)
	movq %rdx, entry_state+24(%rip)
	movq %rsi, entry_state+32(%rip)
	movq %rdi, entry_state+40(%rip)
	movq %rbp, entry_state+48(%rip)
	movq %rsp, entry_state+56(%rip)
	leaq stack_top(%rip), %rsp
	pushfq
	popq entry_state+64(%rip)
	movq %cr0, %rax
	movq %rax, entry_state+72(%rip)
	movq %cr3, %rax
	movq %rax, entry_state+80(%rip)
	movq %cr4, %rax
	movq %rax, entry_state+88(%rip)
	movl $0xc0000080, %ecx
	rdmsr
	movl %eax, entry_state+96(%rip)
	movl %edx, entry_state+100(%rip)
	sgdt entry_state+104(%rip)
	sidt entry_state+120(%rip)
	movw %cs, entry_state+136(%rip)
	movw %ds, entry_state+138(%rip)
	movw %es, entry_state+140(%rip)
	movw %fs, entry_state+142(%rip)
	movw %gs, entry_state+144(%rip)
	movw %ss, entry_state+146(%rip)
	str %ax
	movw %ax, entry_state+148(%rip)
	sldt %ax
	movw %ax, entry_state+150(%rip)
	movl $64, entry_state+152(%rip)

run:
	leaq stack_top(%rip), %rsp
	xorl %ebp, %ebp
	call guest_run
	ud2

	.code32
pvh_start:
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
	movl $0xc0000080, %ecx
	rdmsr
	movl %eax, entry_state+96
	movl %edx, entry_state+100
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

	/* PML4, PDPT, four page directories of 2 MiB pages. */
	movl $boot_pdpt + 3, boot_pml4
	movl $boot_pds + 3, boot_pdpt
	movl $boot_pds + 0x1003, boot_pdpt+8
	movl $boot_pds + 0x2003, boot_pdpt+16
	movl $boot_pds + 0x3003, boot_pdpt+24
	xorl %ecx, %ecx
	movl $0x83, %eax
2:	movl %eax, boot_pds(,%ecx,8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $2048, %ecx
	jne 2b
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax
	movl %eax, %cr4
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax
	movl %eax, %cr0
	lgdt start_gdt_pointer
	ljmp $8, $run

	.section .rodata
	.balign 8
start_gdt:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
start_gdt_pointer:
	.word 23
	.long start_gdt

	.bss
	.balign 4096
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pds:
	.skip 4 * 4096
	.skip 16384
stack_top:

	.data
	.balign 8
	.globl entry_state
entry_state:
	.skip 160
