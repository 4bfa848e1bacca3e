/* SPDX-License-Identifier: MIT */
/* A flat binary in long mode at 2 MiB: the same entry state as ELF64. */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-flat64";

void guest_main(void)
{
    entry_dump();
    entry_check_long();
    entry_check_gdt(true);
    entry_check_start_info(entry_state.di, ENTRY_CMDLINE);
}
