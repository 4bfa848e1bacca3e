/* SPDX-License-Identifier: MIT */
/*
 * A guest that asks for a reset as soon as it runs. What lies between that and its first instruction after it is what
 * `make bench-restart` counts.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "bench-restart";

#define MARK(number) __asm__ volatile("nopl %c0(%%rax)" : : "i"(0x504c4e00 + (number)) : "memory") /* qemu_count.c */

void guest_main(void)
{
    MARK(0);
    print("again\n");
    MARK(1);
    out8(0xcf9, 0x06);
}
