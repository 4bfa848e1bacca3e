/* SPDX-License-Identifier: MIT */
/*
 * What the last run said, if its memory is still there: the console keeps its last 64 KiB in a ring of RAM
 * (hv/console/console.h), which a warm reset leaves alone. The ring is at the first of a few addresses that the
 * firmware gives, low ones between 1 and 2 MiB first: no guest's large page is lost by it, and firmwares hardly use
 * that memory.
 *
 * A ring that is found is told in a few lines and written to \\plinth\\last-boot.txt; then it is this run's.
 */
#include "efi/efi_stage.h"

#define RING_PAGES (align_up(sizeof(struct console_ram), PAGE_BYTES) / PAGE_BYTES)
#define LINES_SHOWN 6u
#define LINE_BYTES_MAX 160u

/* Puts the ring's text in order and takes out what is no text. */
static struct text text_of_ring(const struct console_ram *ring, char *to)
{
    uint64_t bytes = min_u64(ring->written, CONSOLE_RAM_BYTES);
    uint64_t first = ring->written - bytes;

    for (uint64_t i = 0; i < bytes; i++) {
        char c = ring->data[(first + i) % CONSOLE_RAM_BYTES];

        to[i] = (c >= ' ' && c <= '~') || c == '\n' || c == '\r' ? c : '?';
    }
    return (struct text){to, bytes};
}

/* The start of the last `lines` lines. */
static size_t start_of_last(struct text text, uint32_t lines)
{
    size_t at = text.length;

    while (at > 0 && (text.start[at - 1] == '\n' || text.start[at - 1] == '\r')) {
        at--;
    }
    for (; at > 0; at--) {
        if (text.start[at - 1] == '\n' && --lines == 0) {
            break;
        }
    }
    return at;
}

static void show(struct efi_stage *stage, struct text text)
{
    size_t at = start_of_last(text, LINES_SHOWN);

    while (at < text.length) {
        size_t end = at;

        while (end < text.length && text.start[end] != '\n' && text.start[end] != '\r') {
            end++;
        }
        if (end != at) {
            efi_say(stage, "  | %.*s", (int)min_u64(end - at, LINE_BYTES_MAX), text.start + at);
        }
        at = end + 1;
    }
}

static void tell(struct efi_stage *stage, const struct console_ram *ring)
{
    uint64_t address = 0;
    struct text text;

    if (EFI_ERROR(efi_pages_take(stage, AllocateAnyPages, CONSOLE_RAM_BYTES / PAGE_BYTES, &address))) {
        return;
    }
    text = text_of_ring(ring, (char *)(uintptr_t)address);
    efi_say(stage, "Plinth: the machine was reset without being switched off. The last run ended with:");
    show(stage, text);
    if (efi_volume_write(stage, EFI_LAST_BOOT_PATH, text)) {
        efi_say(stage, "Plinth: all that is left of it is in %s", EFI_LAST_BOOT_PATH);
    }
    efi_pages_return(stage, address);
}

bool efi_last_boot_print(struct efi_stage *stage)
{
    static const uint64_t places[] = {0x180000, 0x140000, 0x1c0000, 0x3c0000, 0x1fc0000};

    for (uint32_t i = 0; i < ARRAY_COUNT(places) && stage->info->console_ring == 0; i++) {
        uint64_t address = places[i];

        if (!EFI_ERROR(efi_pages_take(stage, AllocateAddress, RING_PAGES, &address))) {
            stage->info->console_ring = address;
        }
    }
    if (stage->info->console_ring != 0) {
        struct console_ram *ring = (struct console_ram *)(uintptr_t)stage->info->console_ring;

        if (console_ram_is_valid(ring)) {
            tell(stage, ring);
        }
        ring->magic[0] = '\0';
    }
    return true;
}
