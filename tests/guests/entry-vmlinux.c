/* SPDX-License-Identifier: MIT */
/*
 * Linux's boot protocol in an ELF file, as Firecracker starts it: its own entry, and a zero page that the loader wrote,
 * with the zero page, the command line and the initrd at page boundaries.
 */
#include "tests/guests/lib/entry_linux.h"

const char guest_name[] = "entry-vmlinux";

void guest_main(void)
{
    entry_dump();
    entry_check_long();
    entry_check_gdt(true);
    check_linux_selectors();
    check_zero_page(0x100000);
    CHECK_EQUAL(entry_state.si & 0xfff, 0);
    CHECK_EQUAL(zero_page_u32(0x1fc) >> 16, 0xaa55); /* boot_flag */
    CHECK_EQUAL(zero_page_u32(0x228) & 0xfff, 0);
    CHECK_EQUAL(zero_page_u32(0x238), sizeof(ENTRY_CMDLINE)); /* cmdline_size, with the final zero */
    CHECK_EQUAL(zero_page_u32(0x218) & 0xfff, 0);
}
