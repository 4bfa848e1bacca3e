/* SPDX-License-Identifier: MIT */
/* Linux, "32-bit Boot Protocol": protected mode, esi = zero page, ebp = edi = ebx = 0, code 0x10, data 0x18. */
#include "tests/guests/lib/entry_linux.h"

const char guest_name[] = "entry-linux32";

void guest_main(void)
{
    entry_dump();
    entry_check_protected();
    entry_check_gdt(true);
    check_linux_selectors();
    CHECK_EQUAL(entry_state.bp | entry_state.di | entry_state.bx, 0);
    check_zero_page(0x100000);
}
