/* SPDX-License-Identifier: MIT */
/*
 * The file that the guests entry-linux* are: a setup sector with a boot protocol 2.15 header and nothing to execute, a
 * second one, because setup_sects 0 would mean 4, and then the kernel, KERNEL, which is loaded at 1 MiB.
 * ENTRY_64 becomes xloadflags: its bit 0 says that there is a 64-bit entry 0x200 bytes into the kernel.
 */
	.section .text
setup:
	.org 0x1f1			/* setup_sects */
	.byte 1
	.org 0x1f4			/* syssize */
	.long (kernel_end - kernel) / 16
	.org 0x1fe			/* boot_flag */
	.word 0xaa55
	.org 0x200			/* a jump over the header */
	.byte 0xeb, header_end - magic
magic:
	.ascii "HdrS"
	.org 0x206			/* version */
	.word 0x20f
	.org 0x20e			/* kernel_version */
	.word version - setup - 0x200
	.org 0x211			/* loadflags: LOADED_HIGH */
	.byte 1
	.org 0x214			/* code32_start */
	.long 0x100000
	.org 0x22c			/* initrd_addr_max */
	.long 0x7fffffff
	.org 0x230			/* kernel_alignment */
	.long 0x1000
	.org 0x234			/* relocatable_kernel, min_alignment */
	.byte 0, 12
	.org 0x236			/* xloadflags */
	.word ENTRY_64
	.org 0x238			/* cmdline_size */
	.long 255
	.org 0x258			/* pref_address */
	.quad 0x100000
	.org 0x260			/* init_size */
	.long 0x100000
	.org 0x268
header_end:
version:
	.asciz "plinth-entry-test (plinth)"
	.org 0x400
kernel:
	.incbin KERNEL
	.balign 16
kernel_end:
