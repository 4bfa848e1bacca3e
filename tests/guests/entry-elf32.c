/* SPDX-License-Identifier: MIT */
/* Plain ELF32: protected mode, ebx = start information, which is also the first argument on the stack. */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-elf32";

void guest_main(void)
{
    const uint32_t *stack = (const uint32_t *)(uintptr_t)entry_state.sp;

    entry_dump();
    entry_check_protected();
    entry_check_gdt(true);
    CHECK_EQUAL(entry_state.di, entry_state.bx);
    CHECK_EQUAL((entry_state.sp + 4) % 16, 0);
    CHECK_EQUAL(stack[0], 0);
    CHECK_EQUAL(stack[1], entry_state.bx);
    entry_check_start_info(entry_state.bx, ENTRY_CMDLINE);
}
