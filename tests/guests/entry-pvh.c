/* SPDX-License-Identifier: MIT */
/* PVH: protected mode, ebx = start information, cr4 = 0, nothing in cr0 but PE (ET, which cannot be cleared, aside). */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-pvh";

#define CR0_ET 0x10u

void guest_main(void)
{
    entry_dump();
    entry_check_protected();
    entry_check_gdt(false);
    CHECK_EQUAL(entry_state.cr0 & ~(uint64_t)CR0_ET, CR0_PE);
    CHECK_EQUAL(entry_state.cr4, 0);
    entry_check_start_info(entry_state.bx, ENTRY_CMDLINE);
}
