/* SPDX-License-Identifier: MIT */
/* A flat binary in real mode at 0x7c00: as a PC starts a boot sector. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "entry-flat16";

#define CR0_PE 0x1u
#define FLAGS_IF 0x200u
#define FIRST_DISK 0x80u
#define IVT_LIMIT_MIN 0x3ffu

void guest_main(void)
{
    print("16-bit entry: cs %x ds %x es %x ss %x sp %q dx %q\n", entry_state.cs, entry_state.ds, entry_state.es,
          entry_state.ss, entry_state.sp, entry_state.dx);
    CHECK_EQUAL(entry_state.bits, 16);
    CHECK_EQUAL(entry_state.cr0 & CR0_PE, 0);
    CHECK_EQUAL(entry_state.cs, 0);
    CHECK_EQUAL(entry_state.ds, 0);
    CHECK_EQUAL(entry_state.ss, 0);
    CHECK_EQUAL(entry_state.sp & 0xffff, 0x7c00);
    CHECK_EQUAL(entry_state.dx & 0xff, FIRST_DISK);
    CHECK_EQUAL(entry_state.flags & FLAGS_IF, 0);
    CHECK_EQUAL(entry_state.idtr.base & 0xffffffff, 0);
    CHECK(entry_state.idtr.limit >= IVT_LIMIT_MIN);
}
