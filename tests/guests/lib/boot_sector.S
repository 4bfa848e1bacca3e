/* SPDX-License-Identifier: MIT */
/*
 * For the oracle only: the boot sector of a disk image that is a 16-bit guest. The BIOS loads this sector to 0x7c00; it
 * reads the next 63 sectors behind itself (EDD, INT 13h function 42h) and goes on there, where _start is.
 */
	.section .text.head, "ax", @progbits
	.code16
boot:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7000, %sp
	movw $packet, %si
	movb $0x42, %ah
	int $0x13
	jc failed
	movw $0x7c00, %sp
	cli
	jmp _start
failed:
	hlt
	jmp failed
	.balign 4
packet:
	.byte 16, 0
	.word 63
	.word 0x7e00, 0
	.quad 1
	.org 510
	.word 0xaa55
