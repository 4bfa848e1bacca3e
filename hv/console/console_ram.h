/* SPDX-License-Identifier: MIT */
/*
 * The console's last words: a ring in RAM that a warm reset leaves alone. efi/efi_last_boot.c chooses where it is and
 * reads what the last run left there; hv/console/console.c fills it. A debugger or a memory dump finds it by its magic.
 */
#ifndef HV_CONSOLE_CONSOLE_RAM_H
#define HV_CONSOLE_CONSOLE_RAM_H

#include "hv/base/memory.h"
#include "hv/base/types.h"

#define CONSOLE_RAM_BYTES 65536u
#define CONSOLE_RAM_MAGIC "plinth console"

struct console_ram {
    char magic[16];
    uint64_t written;       /* bytes ever written; the next one goes to written % CONSOLE_RAM_BYTES */
    uint64_t written_again; /* the same number inverted: memory that only looks like a ring does not have it */
    char data[CONSOLE_RAM_BYTES];
};

_Static_assert(sizeof(CONSOLE_RAM_MAGIC) <= sizeof(((struct console_ram *)0)->magic), "the magic fits");

static inline bool console_ram_is_valid(const struct console_ram *ring)
{
    return memcmp(ring->magic, CONSOLE_RAM_MAGIC, sizeof(CONSOLE_RAM_MAGIC)) == 0 && ring->written != 0 &&
           ring->written_again == ~ring->written;
}

static inline void console_ram_put(struct console_ram *ring, const char *bytes, uint32_t count)
{
    while (count != 0) {
        uint32_t at = (uint32_t)(ring->written % CONSOLE_RAM_BYTES);
        uint32_t piece = (uint32_t)min_u64(count, CONSOLE_RAM_BYTES - at);

        memcpy(&ring->data[at], bytes, piece);
        ring->written += piece;
        ring->written_again = ~ring->written;
        bytes += piece;
        count -= piece;
    }
}

#endif
