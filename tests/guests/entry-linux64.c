/* SPDX-License-Identifier: MIT */
/* Linux, "64-bit Boot Protocol": long mode, rsi = zero page, code 0x10, data 0x18, entry at load address + 0x200. */
#include "tests/guests/lib/entry_linux.h"

const char guest_name[] = "entry-linux64";

void guest_main(void)
{
    entry_dump();
    entry_check_long();
    entry_check_gdt(true);
    check_linux_selectors();
    check_zero_page(0x100000);
}
