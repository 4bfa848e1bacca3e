/* SPDX-License-Identifier: MIT */
/* What the Linux boot protocol promises in both entries; Documentation/arch/x86/boot.rst and zero-page.rst. */
#ifndef TESTS_GUESTS_LIB_ENTRY_LINUX_H
#define TESTS_GUESTS_LIB_ENTRY_LINUX_H

#include "tests/guests/lib/entry.h"

static inline uint32_t zero_page_u32(uint32_t offset)
{
    return *(const uint32_t *)(uintptr_t)(entry_state.si + offset);
}

static inline void check_zero_page(uint32_t load_address)
{
    const uint8_t *page = (const uint8_t *)(uintptr_t)entry_state.si;

    entry_check_place("zero page", entry_state.si);
    CHECK_EQUAL(zero_page_u32(0x202), 0x53726448); /* "HdrS" */
    CHECK_EQUAL(page[0x1ef], 0);                   /* sentinel */
    CHECK_EQUAL(page[0x210], 0xff);                /* type_of_loader */
    CHECK_EQUAL(zero_page_u32(0x214), load_address);
    for (uint32_t i = 0; i < page[0x1e8]; i++) {
        const uint32_t *entry = (const uint32_t *)(uintptr_t)(entry_state.si + 0x2d0 + i * 20);

        entry_check_memory(entry[0] | (uint64_t)entry[1] << 32, entry[2] | (uint64_t)entry[3] << 32, entry[4]);
    }
    entry_check_memory_end();
    entry_check_text("command line", (const char *)(uintptr_t)zero_page_u32(0x228), ENTRY_CMDLINE);
    entry_check_module(zero_page_u32(0x218), zero_page_u32(0x21c));
    entry_check_rsdp(zero_page_u32(0x70));
}

static inline void check_linux_selectors(void)
{
    CHECK_EQUAL(entry_state.cs, 0x10);
    CHECK_EQUAL(entry_state.ds, 0x18);
    CHECK_EQUAL(entry_state.es, 0x18);
    CHECK_EQUAL(entry_state.ss, 0x18);
}

#endif
