/* SPDX-License-Identifier: MIT */
/*
 * A guest that asks for a reset as soon as it runs. What lies between that and its first instruction after it is what
 * `make bench-restart` counts.
 */
#include "tests/bench/marks.h"
#include "tests/guests/lib/guest.h"

const char guest_name[] = "bench-restart";

void guest_main(void)
{
    MARK(0);
    print("again\n");
    MARK(1);
    out8(0xcf9, 0x06);
}
