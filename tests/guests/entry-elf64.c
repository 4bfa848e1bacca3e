/* SPDX-License-Identifier: MIT */
/* Plain ELF64: long mode, rdi = rbx = start information, a stack as if called. docs/boot-protocols.md. */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-elf64";

void guest_main(void)
{
    entry_dump();
    entry_check_long();
    entry_check_gdt(true);
    CHECK_EQUAL(entry_state.di, entry_state.bx);
    CHECK_EQUAL((entry_state.sp + 8) % 16, 0);
    CHECK_EQUAL(*(const uint64_t *)(uintptr_t)entry_state.sp, 0);
    entry_check_start_info(entry_state.di, ENTRY_CMDLINE);
}
