/* SPDX-License-Identifier: MIT */
/* What precedes the 64-bit entry in a Linux kernel: its 32-bit entry, which these guests do not have. */
	.section .text.head, "ax", @progbits
	.fill 0x200, 1, 0xcc
