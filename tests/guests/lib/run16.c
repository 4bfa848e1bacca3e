/* SPDX-License-Identifier: MIT */
/* What the start code calls in 16-bit guests: there is nothing to set up. */
#include "tests/guests/lib/guest.h"

void guest_run(void);

void guest_run(void)
{
    guest_main();
    guest_pass();
}
