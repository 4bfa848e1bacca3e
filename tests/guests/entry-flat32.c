/* SPDX-License-Identifier: MIT */
/* A flat binary in protected mode at 0x8000: the same entry state as ELF32. */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-flat32";

void guest_main(void)
{
    entry_dump();
    entry_check_protected();
    entry_check_gdt(true);
    CHECK_EQUAL(((const uint32_t *)(uintptr_t)entry_state.sp)[1], entry_state.bx);
    entry_check_start_info(entry_state.bx, ENTRY_CMDLINE);
}
